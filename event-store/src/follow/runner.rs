//! Runs one follower: batches in order, a transaction each, for as long as the server lives.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::{self, Parked};
use super::{FollowError, Follower, Status, UNKNOWN};
use crate::codec::DecodeError;
use crate::ledger::Ledger;
use crate::metrics::Of;
use crate::record::{Position, Recorded};

/// Most events in a batch.
const BATCH_EVENTS_MAX: usize = 2_000;

/// Batches begin at least so far apart while they are not full: a trickle of events then costs
/// few transactions, and nobody waits longer than this.
const LINGER: Duration = Duration::from_millis(10);

/// How often a follower without news says that it lives, and sees whether its database does.
const IDLE: Duration = Duration::from_millis(500);

/// First and longest pause after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A follower with what it needs to run.
#[derive(Debug)]
pub struct Runner<F> {
    ledger: Ledger,
    follower: F,
    status: Status,
    position: Position,
    parked: HashSet<(Arc<str>, Arc<str>)>,
}

/// A page of the log, ready for a follower.
struct Page {
    events: Vec<Arc<Recorded>>,
    /// The position that the page brings the follower to.
    until: Position,
    /// An event behind the page that must not be passed.
    barrier: Option<String>,
    /// An event behind the page that does not decode; its stream is to be parked.
    damaged: Option<(Arc<Recorded>, String)>,
}

impl<F: Follower> Runner<F> {
    /// A runner, and a view on how it will be doing.
    pub fn new(ledger: Ledger, follower: F) -> (Self, Status) {
        let status = Status::new(follower.name());
        ledger.tail().invalidates(status.clone());
        let runner =
            Self { ledger, follower, status: status.clone(), position: -1, parked: HashSet::new() };
        (runner, status)
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = BACKOFF.0;
        while !stop.is_cancelled() {
            let before = self.position;
            let (mut moves, status) = (self.ledger.tail().moves(), self.status.clone());
            let end = tokio::select! {
                () = stop.cancelled() => return,
                // Whatever it waits for: a server that has vanished will never answer.
                _ = moves.changed() => {
                    status.moved(UNKNOWN);
                    Ok(())
                }
                end = self.session() => end,
            };
            if self.position > before {
                pause = BACKOFF.0;
            }
            let Err(error) = end else {
                // Somebody else is at the same work; there is no hurry.
                tokio::time::sleep(BACKOFF.0).await;
                continue;
            };
            tracing::warn!(follower = self.status.name(), %error, "follower will try again");
            // Until it is read again, nobody may be told that it has come so far.
            self.status.moved(UNKNOWN);
            self.status.update(|health| health.stopped = Some(error.to_string()));
            self.stopped(true);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Follows over one connection. Ends well when somebody else moved the checkpoint.
    async fn session(&mut self) -> Result<(), FollowError> {
        let name = self.follower.name().to_owned();
        let mut conn = self.connect().await?;
        self.ledger.tail().agree(&mut conn).await?;
        self.position = checkpoint::begin(&mut conn, &name).await?;
        let parked = checkpoint::parked(&mut conn, &name).await?;
        self.parked = parked
            .into_iter()
            .map(|it| (it.aggregate_type.into(), it.aggregate_id.into()))
            .collect();
        self.follower.reset(&mut conn, self.position).await?;
        self.status.moved(self.position);
        let mut heads = self.ledger.tail().head();
        loop {
            let begun = Instant::now();
            let events = self.ledger.tail().read(self.position, BATCH_EVENTS_MAX).await?;
            let full = events.len() >= BATCH_EVENTS_MAX;
            if !events.is_empty() && !self.take(&mut conn, events).await? {
                return Ok(());
            }
            // Also where another has taken the events that this one stood still at.
            self.status.update(|health| health.stopped = None);
            self.stopped(false);
            self.report();
            if !full {
                tokio::time::sleep_until(begun + LINGER).await;
                let position = self.position;
                let news = heads.wait_for(|head| *head > position);
                let idle = tokio::time::timeout(IDLE, news).await.is_err();
                // A database that died and came back may have lost our last commits, which are
                // not waited for; without an event nothing else would tell.
                if idle && checkpoint::position(&mut conn, &name).await? != Some(position) {
                    self.status.moved(UNKNOWN);
                    return Ok(());
                }
            }
        }
    }

    /// Takes a run of events as far as it goes; false when somebody else moved the checkpoint.
    async fn take(
        &mut self,
        conn: &mut PgConnection,
        events: Vec<Arc<Recorded>>,
    ) -> Result<bool, FollowError> {
        let page = self.page(events);
        if page.until > self.position && !self.batch(conn, &page.events, page.until).await? {
            return Ok(false);
        }
        if let Some((event, reason)) = page.damaged {
            return self.park(conn, &event, reason).await;
        }
        match page.barrier {
            None => Ok(true),
            Some(reason) => Err(FollowError::NotReady(reason)),
        }
    }

    /// Cuts the events off before the first that this build must not pass, and leaves out parked
    /// streams.
    fn page(&self, events: Vec<Arc<Recorded>>) -> Page {
        let mut page =
            Page { events: Vec::new(), until: self.position, barrier: None, damaged: None };
        for event in events {
            let id = (Arc::clone(&event.row.aggregate_type), Arc::clone(&event.row.aggregate_id));
            if self.parked.contains(&id) {
                page.until = event.position;
                continue;
            }
            let kind = event.stream.as_ref().map(|stream| stream.kind());
            match &event.decoded {
                Err(_) if kind.is_some_and(|kind| !self.follower.reads(kind)) => {
                    page.until = event.position;
                    page.events.push(event);
                }
                Ok(_) => {
                    page.until = event.position;
                    page.events.push(event);
                }
                Err(error @ DecodeError::Unknown { .. }) => {
                    page.barrier = Some(format!("position {}: {error}", event.position));
                    return page;
                }
                Err(error @ DecodeError::Malformed { .. }) => {
                    let reason = error.to_string();
                    page.damaged = Some((event, reason));
                    return page;
                }
            }
        }
        page
    }

    /// Takes a batch whole; where an event in it cannot be digested, one by one.
    async fn batch(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
        until: Position,
    ) -> Result<bool, FollowError> {
        match self.transact(conn, events, until).await {
            Err(error) if is_data_error(&error) => {
                tracing::warn!(follower = self.status.name(), %error, "looking for a bad event");
            }
            done => return done,
        }
        self.follower.reset(conn, self.position).await?;
        for event in events {
            let id = (Arc::clone(&event.row.aggregate_type), Arc::clone(&event.row.aggregate_id));
            if self.parked.contains(&id) {
                continue;
            }
            let single = std::slice::from_ref(event);
            let done = match self.transact(conn, single, event.position).await {
                Err(error) if is_data_error(&error) => {
                    self.park(conn, event, error.to_string()).await?
                }
                done => done?,
            };
            if !done {
                return Ok(false);
            }
        }
        if self.position < until {
            return self.transact(conn, &[], until).await;
        }
        Ok(true)
    }

    async fn transact(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
        until: Position,
    ) -> Result<bool, FollowError> {
        if !events.is_empty() {
            self.follower.prepare(events).await?;
        }
        let mut tx = conn.begin().await?;
        if !events.is_empty() {
            self.follower.write(&mut tx, events).await?;
        }
        let name = self.follower.name();
        if !checkpoint::advance(&mut tx, name, self.position, until).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        self.moved(until);
        Ok(true)
    }

    /// Sets a stream aside from this event on, and goes on behind it.
    async fn park(
        &mut self,
        conn: &mut PgConnection,
        event: &Recorded,
        reason: String,
    ) -> Result<bool, FollowError> {
        let row = &event.row;
        tracing::error!(
            follower = self.status.name(),
            position = event.position,
            stream = row.subject(),
            reason,
            "stream parked"
        );
        let parked = Parked {
            aggregate_type: row.aggregate_type.to_string(),
            aggregate_id: row.aggregate_id.to_string(),
            position: event.position,
            reason,
        };
        let mut tx = conn.begin().await?;
        checkpoint::park(&mut tx, self.follower.name(), &parked).await?;
        let name = self.follower.name();
        if !checkpoint::advance(&mut tx, name, self.position, event.position).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        self.parked.insert((Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id)));
        self.follower.reset(conn, event.position).await?;
        self.moved(event.position);
        Ok(true)
    }

    fn moved(&mut self, position: Position) {
        self.position = position;
        self.status.moved(position);
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let name = format!("accrue {}", self.status.name());
        let adapt = |options: PgConnectOptions| {
            options.application_name(&name).options([
                ("search_path", "read,public"),
                // What a follower writes can be made again from the log; its checkpoint goes
                // with it.
                ("synchronous_commit", "off"),
            ])
        };
        self.ledger.servers().connect(adapt).await
    }

    fn stopped(&self, stopped: bool) {
        let of = Of { follower: self.status.name().to_owned() };
        let metrics = self.ledger.metrics();
        metrics.follower_stopped.get_or_create(&of).set(i64::from(stopped));
    }

    fn report(&self) {
        let now = self.ledger.clock().now();
        let head = *self.ledger.tail().head().borrow();
        let lag = (head - self.position).max(0);
        let of = Of { follower: self.status.name().to_owned() };
        let metrics = self.ledger.metrics();
        metrics.follower_position.get_or_create(&of).set(self.position);
        metrics.follower_lag_events.get_or_create(&of).set(lag);
        metrics.follower_polled_at.get_or_create(&of).set(now.timestamp());
        let parked = self.parked.len();
        let count = i64::try_from(parked).unwrap_or(i64::MAX);
        metrics.follower_parked.get_or_create(&of).set(count);
        self.status.update(|health| {
            health.polled_at = Some(now);
            health.parked = parked;
        });
    }
}

/// Does the error lie in the data, so that repeating the batch cannot help?
#[must_use]
pub fn is_data_error(error: &FollowError) -> bool {
    match error {
        FollowError::Poison { .. } => true,
        FollowError::NotReady(_) => false,
        FollowError::Database(sqlx::Error::Database(error)) => {
            // Data exceptions and violated constraints.
            error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }
        FollowError::Database(error) => {
            matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_))
        }
    }
}
