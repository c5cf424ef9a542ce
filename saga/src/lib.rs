//! LONG STORIES: events in, commands out.
//!
//! Everything here may be killed at any moment, run twice, or begin anew from an old position:
//! commands have ids that follow from what caused them, and what they ask for is the same however
//! often it is asked.

use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::follow::{self, Feeds, Runner, Status};
use accrue_event_store::lease::{self, Terms};
use accrue_event_store::ledger::Ledger;
use chrono::TimeDelta;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::awards::Awards;
use crate::cues::Cues;
use crate::deadlines::{Duty, Scheduler};
use crate::metrics::Metrics;
use crate::purchases::Purchases;
use crate::purchases::hooks::Hooks;
use crate::purchases::payments::Payments;
use crate::runner::Runner as Stories;

pub mod awards;
pub mod document;
pub mod housekeeping;
pub mod metrics;
pub mod purchases;

mod campaigns;
mod cues;
mod deadlines;
mod failpoint;
mod flight;
mod plan;
mod runner;
mod skips;
mod story;

/// The lease of whoever settles deadlines.
const TIMERS_LEASE: &str = "timers";

/// Which of the sagas' work a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Takes purchases to their end. Safe in several processes: of two that try the same step one
    /// is refused as out of turn.
    pub purchases: bool,
    /// Judges sales by the campaigns. Safe in several processes: commands have ids that follow
    /// from what caused them, and the checkpoint moves once.
    pub awards: bool,
    /// Settles deadlines and forgets old answers, under a lease: one process at a time.
    pub timers: bool,
}

impl Work {
    /// All of it.
    pub const ALL: Self = Self { purchases: true, awards: true, timers: true };

    /// Whether there is any.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.purchases || self.awards || self.timers
    }
}

/// What may be tuned.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is done.
    pub work: Work,
    /// How often the scheduler looks for deadlines that have passed.
    pub deadlines_every: Duration,
    /// How long the answer to a command is kept for a retry.
    pub answers_kept: TimeDelta,
    /// How often older answers are forgotten.
    pub housekeeping_every: Duration,
    /// The payment provider.
    pub payments: Payments,
    /// Where events come from.
    pub feeds: Feeds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            work: Work::ALL,
            deadlines_every: Duration::from_millis(200),
            answers_kept: TimeDelta::days(30),
            housekeeping_every: Duration::from_secs(60),
            payments: Payments::new(None, TimeDelta::seconds(30), || 0),
            feeds: Feeds::by_log(),
        }
    }
}

/// What was started.
#[derive(Debug)]
pub struct Sagas {
    /// How the awards are doing: the checkpoint is the position up to which every sale was judged
    /// and every award is durable. None where another process makes them.
    pub awards: Option<Status>,
    /// How the cues of purchases are doing, where they come by a feed that processes share.
    pub cues: Option<Status>,
    /// What a payment provider tells by itself comes in here; none where another process takes
    /// purchases to their end.
    pub hooks: Option<Hooks>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the work of this process; it ends with `stop`.
pub fn start(
    ledger: Ledger,
    config: Config,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Sagas {
    let metrics = Metrics::new(registry);
    let mut sagas = Sagas { awards: None, cues: None, hooks: None, tasks: Vec::new() };
    if config.work.awards {
        let awards = Awards::new(ledger.clone(), metrics.clone(), config.feeds.in_order());
        let feed = config.feeds.of(&ledger, awards::NAME);
        let (runner, status) = Runner::new(ledger.clone(), awards, feed);
        sagas.awards = Some(status);
        sagas.tasks.push(tokio::spawn(runner.run(stop.clone())));
    }
    let scheduler =
        |duty| Scheduler::new(ledger.clone(), metrics.clone(), config.deadlines_every, duty);
    if config.work.purchases {
        config.payments.register(registry);
        let purchases = Purchases::new(config.payments.clone());
        let purchases = Stories::new(ledger.clone(), purchases, stop.clone());
        let hooks = Hooks::new(ledger.clone(), config.payments.clone(), purchases.clone());
        sagas.hooks = Some(hooks);
        let waking = scheduler(Duty::Wake(purchases.clone()));
        if config.feeds.in_order() {
            let ledger = ledger.clone();
            sagas.tasks.push(tokio::spawn(async move {
                // Where Kafka brought them before, nobody would move it on.
                let forgetting = async {
                    if let Err(error) = forget(&ledger, purchases::NAME).await {
                        tracing::warn!(%error, "the checkpoint of the cues by Kafka is left behind");
                    }
                };
                // What happens meanwhile is a cue, too.
                tokio::join!(purchases.listen(), forgetting);
            }));
        } else {
            let clock = Arc::clone(ledger.clock());
            let cues = Cues { name: purchases::NAME, stories: purchases.clone(), clock };
            let feed = config.feeds.of(&ledger, purchases::NAME);
            let (cues, status) = Runner::new(ledger.clone(), cues, feed);
            sagas.cues = Some(status);
            let stop = stop.clone();
            sagas.tasks.push(tokio::spawn(async move {
                cues.run(stop).await;
                purchases.ended().await;
            }));
        }
        sagas.tasks.push(tokio::spawn(waking.run(stop.clone())));
    }
    if config.work.timers {
        sagas.tasks.push(tokio::spawn(timers(ledger, config, metrics, stop.clone())));
    }
    sagas
}

async fn forget(ledger: &Ledger, follower: &str) -> sqlx::Result<()> {
    ledger.pool().ask(async |conn| follow::retire(conn, follower).await).await
}

/// Settles deadlines and forgets old answers, while no other process does.
async fn timers(ledger: Ledger, config: Config, metrics: Metrics, stop: CancellationToken) {
    let servers = ledger.servers().clone();
    let work = |terms: Terms| {
        let (ledger, every) = (ledger.clone(), config.deadlines_every);
        let over = terms.over().clone();
        let duty = Duty::Settle(terms);
        let scheduler = Scheduler::new(ledger.clone(), metrics.clone(), every, duty);
        let (kept, every) = (config.answers_kept, config.housekeeping_every);
        async move {
            let forgetting = housekeeping::run(ledger, kept, every, over.clone());
            tokio::join!(scheduler.run(over), forgetting);
        }
    };
    lease::lead(servers, TIMERS_LEASE, stop, work).await;
}

impl Sagas {
    /// Returns when all of them have ended.
    pub async fn ended(self) {
        for task in self.tasks {
            // A task that panicked has ended too, and said why.
            let _ = task.await;
        }
    }
}
