//! Deadlines: what time does is recorded soon after it happened, and stories that wait for a time
//! go on.
//!
//! Nothing depends on this being prompt: every decision and every reading counts a lapsed lot as
//! lapsed and an overdue hold as released from the instant on. Any number of schedulers may run;
//! two that settled the same page would change nothing twice.

use std::collections::HashMap;
use std::time::Duration;

use accrue_domain::action::Action;
use accrue_domain::aggregate::Kind;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{AccountId, ProductId, ProgramId, WalletId};
use accrue_domain::{account, product, wallet};
use accrue_event_store::lease::{self, Terms};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::ExecuteError;
use accrue_event_store::stream::StreamKey;
use accrue_event_store::timers::{self, Due, Of};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::purchases::Purchases;
use crate::runner::Runner;

/// Most deadlines in one page.
const PAGE_MAX: usize = 1_000;

/// First and longest pause of a deadline that cannot be settled; the first is also that of the
/// scheduler itself while there is no database.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Longest pause between two cues to a purchase that does not move.
const WAKE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Most deadlines that are remembered because they wait.
const ASIDE_MAX: usize = 100_000;

/// Who sends the commands.
const ACTOR: &str = "accrue/deadlines";

/// Kinds of streams that are stories: time changes nothing in them, it only lets them go on.
const STORIES: &[Kind] = &[Kind::Purchase];

/// What a scheduler does with deadlines that have passed. Two schedulers share the work, since
/// stories go on where they run, which may be another process than the one that settles.
#[derive(Debug)]
pub(crate) enum Duty {
    /// Records what time has done to everything but stories, while the lease is held.
    Settle(Terms),
    /// Lets purchases go on.
    Wake(Runner<Purchases>),
}

/// Settles whatever has a deadline that has passed, or wakes purchases that wait for one.
#[derive(Debug)]
pub(crate) struct Scheduler {
    ledger: Ledger,
    metrics: Metrics,
    every: Duration,
    duty: Duty,
    /// Deadlines that did not go away: they wait, so that they are no load, and never stand in
    /// the way of others.
    aside: HashMap<StreamKey, Aside>,
    /// The page that was settled last.
    settled: HashMap<StreamKey, DateTime<Utc>>,
}

#[derive(Debug)]
struct Aside {
    due_at: DateTime<Utc>,
    retry_at: Instant,
    pause: Duration,
}

/// Why a page could not be settled.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Executor(#[from] ExecuteError),
}

impl Scheduler {
    /// A scheduler that looks so often.
    pub(crate) fn new(ledger: Ledger, metrics: Metrics, every: Duration, duty: Duty) -> Self {
        let (aside, settled) = (HashMap::new(), HashMap::new());
        Self { ledger, metrics, every, duty, aside, settled }
    }

    /// Settles until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let page = tokio::select! {
                () = stop.cancelled() => return,
                page = self.page() => page,
            };
            let pause = match page {
                Ok(count) if count >= PAGE_MAX => Duration::ZERO,
                Ok(_) => self.every,
                Err(error) => {
                    let outage = self.ledger.servers().outage();
                    if !matches!(&error, Failure::Database(error) if outage.met(error)) {
                        tracing::warn!(%error, "deadlines will be tried again");
                    }
                    self.every.max(PAUSE.0)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Settles what is due, at most a page of it, and returns how much that was.
    async fn page(&mut self) -> Result<usize, Failure> {
        let due = self.due().await?;
        let count = due.len();
        let settled = std::mem::take(&mut self.settled);
        let mut waiting = Vec::with_capacity(count);
        for due in due {
            if let Duty::Wake(purchases) = &self.duty {
                let purchases = purchases.clone();
                self.wake(&purchases, due);
            } else if settled.get(&due.stream) == Some(&due.due_at) {
                self.set_aside(due, "it was settled and did not move");
            } else if let Some(envelope) = settle(&due) {
                let answer = self.ledger.executor().submit(envelope).await;
                waiting.push((due, answer?));
            } else {
                self.set_aside(due, "streams of this kind have no deadlines");
            }
        }
        let mut failure = None;
        for (due, answer) in waiting {
            match answer.await {
                Ok(receipt) => {
                    if !receipt.events.is_empty() {
                        self.metrics.deadlines_settled.inc();
                    }
                    self.aside.remove(&due.stream);
                    self.settled.insert(due.stream, due.due_at);
                }
                Err(error @ (ExecuteError::Refused { .. } | ExecuteError::Fault)) => {
                    self.set_aside(due, &error.to_string());
                }
                Err(error) => failure = Some(Failure::Executor(error)),
            }
        }
        failure.map_or(Ok(count), Err)
    }

    /// A purchase goes on by itself; one that does not is woken again, less and less often.
    fn wake(&mut self, purchases: &Runner<Purchases>, due: Due) {
        let before = self.aside.get(&due.stream).filter(|it| it.due_at == due.due_at);
        let pause = before.map_or(PAUSE.0, |it| (it.pause * 2).min(WAKE_PAUSE_MAX));
        let retry_at = Instant::now() + pause;
        let aside = Aside { due_at: due.due_at, retry_at, pause };
        self.aside.insert(due.stream.clone(), aside);
        purchases.wake(due.stream, None);
    }

    /// What is due, without those that wait.
    async fn due(&mut self) -> sqlx::Result<Vec<Due>> {
        // So many more that those that wait, which are the oldest, hide no other.
        let limit = i64::try_from(PAGE_MAX + self.aside.len()).unwrap_or(i64::MAX);
        let of = match self.duty {
            Duty::Settle(_) => Of::AllBut(STORIES),
            Duty::Wake(_) => Of::Only(STORIES),
        };
        let (duty, now) = (&self.duty, self.ledger.clock().now());
        let due = async |conn: &mut PgConnection| {
            let due = timers::due(conn, now, of, limit).await?;
            // Whoever was paused past its term finds out here, before it does what others do by now.
            // What slips through in between is settled twice, which changes nothing.
            if let Duty::Settle(terms) = duty
                && !due.is_empty()
                && !lease::guard(conn, terms.name(), terms.epoch()).await?
            {
                return Ok(Vec::new());
            }
            Ok(due)
        };
        let mut due = self.ledger.pool().ask(due).await?;
        let now = Instant::now();
        due.retain(|due| self.aside.get(&due.stream).is_none_or(|it| !it.waits(due, now)));
        due.truncate(PAGE_MAX);
        // A purchase that moved has another deadline or none, so its entry is never asked again.
        if self.aside.len() > ASIDE_MAX {
            self.aside.retain(|_, it| now < it.retry_at);
        }
        Ok(due)
    }

    fn set_aside(&mut self, due: Due, reason: &str) {
        let before = self.aside.get(&due.stream).filter(|it| it.due_at == due.due_at);
        let pause = before.map_or(PAUSE.0, |it| (it.pause * 2).min(PAUSE.1));
        if before.is_none() {
            self.metrics.deadlines_set_aside.inc();
            tracing::error!(stream = ?due.stream, due_at = %due.due_at, reason, "deadline set aside");
        }
        let retry_at = Instant::now() + pause;
        self.aside.insert(due.stream, Aside { due_at: due.due_at, retry_at, pause });
    }
}

impl Aside {
    fn waits(&self, due: &Due, now: Instant) -> bool {
        self.due_at == due.due_at && now < self.retry_at
    }
}

/// The command that a deadline leads to; none for a stream that has no deadlines.
///
/// Its answer is not kept under its id. Settling twice changes nothing by itself, so a kept answer
/// would save nothing; and where the same deadline comes again (another process with a clock that
/// lags gives points that lapse at that very instant) it would be repeated in place of settling,
/// and the deadline would be due for ever.
fn settle(due: &Due) -> Option<Envelope> {
    let id = due.stream.id();
    let action = match due.stream.kind() {
        Kind::Account => {
            Action::Account(AccountId::new(id).ok()?, account::command::Command::Settle)
        }
        Kind::Product => {
            Action::Product(ProductId::new(id).ok()?, product::command::Command::Settle)
        }
        Kind::Wallet => Action::Wallet(WalletId::new(id).ok()?, wallet::command::Command::Settle),
        Kind::Campaign | Kind::Program | Kind::Purchase | Kind::Sale => return None,
    };
    Some(Envelope {
        id: due.command_id(),
        fingerprint: None,
        program: ProgramId::new(due.stream.program()).ok()?,
        occurred_at: None,
        correlation_id: None,
        causation_id: None,
        actor: Some(ACTOR.into()),
        expected_version: None,
        actions: vec![action],
    })
}
