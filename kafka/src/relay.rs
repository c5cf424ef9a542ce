//! The relay: publishes every event of the log to the topic of its program, once, in order.
//!
//! Invariants
//! - **Once.** What a batch has for a partition is sent in one Kafka transaction, so it is there whole
//!   or not at all; and an event is sent only if it is behind the last one in its partition, which is
//!   looked up whenever this process begins, or something went wrong. What the checkpoint says is only
//!   where to read from.
//! - **One publisher.** Who holds the lease fences all others in Kafka before it looks, and makes
//!   sure that it still holds the lease before it sends. One that was paused in between finds its
//!   transactions refused.
//! - **In order.** Events are sent in the order of the log, those of a partition by one producer that
//!   never overtakes itself; a stream is in one partition.
//! - **Nothing waits for it.** Kafka may be away, slow, or forgetful: the relay lags, tells by how
//!   much, and catches up.

mod metrics;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accrue_event_store::follow::{self, Status};
use accrue_event_store::lease::{self, Terms};
use accrue_event_store::ledger::Ledger;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;

use crate::progress::NAME;
use crate::settings::Settings;
use metrics::Metrics;
use session::{Over, Pace, Session};

/// First and longest pause after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often one that does not publish looks how far the one that does has come.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// How long a session may take to end behind its lease.
const GRACE: Duration = Duration::from_secs(5);

/// One that gets through no turn for errors lets go of the lease at the second in a row, if that takes
/// longer than this: a batch that was too large for a slow Kafka is not yet a reason.
const FRUITLESS: (u32, Duration) = (2, Duration::from_secs(10));

/// The position of a relay that has not said where it is.
const UNKNOWN: i64 = -1;

/// A relay at work.
#[derive(Debug)]
pub struct Running {
    /// How it is doing; while another process publishes, how that is.
    pub status: Status,
    /// Ends after `stop`.
    pub task: JoinHandle<()>,
}

/// Publishes until `stop`, whenever this process holds the lease.
pub fn start(
    ledger: Ledger,
    settings: Settings,
    registry: &mut Registry,
    stop: CancellationToken,
) -> Running {
    let status = Status::new(NAME);
    let relay = Relay {
        settings: Arc::new(settings),
        status: status.clone(),
        metrics: Metrics::new(registry),
        leading: AtomicBool::new(false),
        pace: Mutex::new(Pace::default()),
        ledger,
    };
    let task = tokio::spawn(async move {
        let this = &relay;
        let servers = relay.ledger.servers().clone();
        let leading = lease::lead(servers, NAME, stop.clone(), |terms| this.publish(terms));
        tokio::join!(leading, relay.watch(stop));
    });
    Running { status, task }
}

/// What one relay keeps from session to session.
#[derive(Debug)]
struct Relay {
    ledger: Ledger,
    settings: Arc<Settings>,
    status: Status,
    metrics: Metrics,
    /// Is it this process that publishes?
    leading: AtomicBool,
    /// What was learnt of Kafka. Not forgotten with the lease, which may come back to us.
    pace: Mutex<Pace>,
}

impl Relay {
    /// Publishes for as long as the lease is held: a session after another, each with a producer of
    /// its own, since one that has failed is not to be used again.
    async fn publish(&self, terms: Terms) {
        self.leading.store(true, Ordering::Release);
        self.metrics.leading.set(1);
        let mut pace = self.pace.lock().await;
        let (mut went_well_at, mut failures, mut pause) = (Instant::now(), 0, BACKOFF.0);
        while !terms.over().is_cancelled() {
            let well_before = went_well_at;
            self.metrics.sessions.inc();
            let end = self.session(&terms, &mut pace, &mut went_well_at).await;
            if went_well_at > well_before {
                (failures, pause) = (0, BACKOFF.0);
            }
            let error = match end {
                Ok(Over::NotOurs) => break,
                Ok(Over::OtherManner) => continue,
                Err(error) => error,
            };
            if terms.over().is_cancelled() {
                break;
            }
            self.status.update(|health| health.stopped = Some(error.to_string()));
            failures += 1;
            if failures >= FRUITLESS.0 && went_well_at.elapsed() > FRUITLESS.1 {
                // Perhaps another process reaches Kafka.
                tracing::warn!(%error, "nothing gets through; the relay gives its lease up");
                break;
            }
            tracing::warn!(%error, "the relay begins anew");
            tokio::select! {
                () = terms.over().cancelled() => break,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
        self.metrics.leading.set(0);
        self.leading.store(false, Ordering::Release);
    }

    async fn session(
        &self,
        terms: &Terms,
        pace: &mut Pace,
        went_well_at: &mut Instant,
    ) -> Result<Over, session::Error> {
        let opening = Session::open(self, terms, *pace);
        let opened = tokio::select! {
            () = terms.over().cancelled() => return Ok(Over::NotOurs),
            opened = opening => opened?,
        };
        let Some(mut session) = opened else { return Ok(Over::NotOurs) };
        let end = tokio::select! {
            end = session.run(pace, went_well_at) => end,
            // A database that does not answer any more must not hold up the next term.
            () = async { terms.over().cancelled().await; sleep(GRACE).await } => Ok(Over::NotOurs),
        };
        session.close().await;
        end
    }

    /// Tells how far the one that publishes has come, while that is another.
    async fn watch(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if !self.leading.load(Ordering::Acquire)
                && let Err(error) = self.ledger.pool().within(self.look()).await
            {
                tracing::debug!(%error, "how far the relay is cannot be read");
                self.status.moved(UNKNOWN);
            }
        }
    }

    async fn look(&self) -> sqlx::Result<()> {
        let mut conn = self.ledger.pool().acquire().await?;
        let position = follow::position(&mut conn, NAME).await?;
        let parked = follow::parked(&mut conn, NAME).await?.len();
        if self.leading.load(Ordering::Acquire) {
            return Ok(());
        }
        self.status.moved(position.unwrap_or_default());
        let now = self.ledger.clock().now();
        self.status.update(|health| {
            health.polled_at = Some(now);
            health.parked = parked;
            health.stopped = None;
        });
        Ok(())
    }
}
