//! LONG STORIES: events in, commands out.
//!
//! Everything here may be killed at any moment, run twice, or begin anew from an old position:
//! commands have ids that follow from what caused them, and what they ask for is the same however
//! often it is asked.

use std::time::Duration;

use accrue_event_store::follow::{Runner, Status};
use accrue_event_store::ledger::Ledger;
use chrono::TimeDelta;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::awards::Awards;
use crate::deadlines::Scheduler;
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
mod deadlines;
mod failpoint;
mod flight;
mod plan;
mod runner;
mod skips;
mod story;

/// What may be tuned.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often the scheduler looks for deadlines that have passed.
    pub deadlines_every: Duration,
    /// How long the answer to a command is kept for a retry.
    pub answers_kept: TimeDelta,
    /// How often older answers are forgotten.
    pub housekeeping_every: Duration,
    /// The payment provider.
    pub payments: Payments,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadlines_every: Duration::from_millis(200),
            answers_kept: TimeDelta::days(30),
            housekeeping_every: Duration::from_secs(60),
            payments: Payments::new(None, TimeDelta::seconds(30), || 0),
        }
    }
}

/// What was started.
#[derive(Debug)]
pub struct Sagas {
    /// How the awards are doing: the checkpoint is the position up to which every sale was judged
    /// and every award is durable.
    pub awards: Status,
    /// What a payment provider tells by itself comes in here.
    pub hooks: Hooks,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts every saga; they end with `stop`.
pub fn start(
    ledger: Ledger,
    config: Config,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Sagas {
    let metrics = Metrics::new(registry);
    let (runner, awards) =
        Runner::new(ledger.clone(), Awards::new(ledger.clone(), metrics.clone()));
    config.payments.register(registry);
    let purchases = Purchases::new(config.payments.clone());
    let purchases = Stories::new(ledger.clone(), purchases, stop.clone());
    let hooks = Hooks::new(ledger.clone(), config.payments, purchases.clone());
    let scheduler =
        Scheduler::new(ledger.clone(), metrics, config.deadlines_every, purchases.clone());
    let tasks = vec![
        tokio::spawn(runner.run(stop.clone())),
        tokio::spawn(purchases.listen()),
        tokio::spawn(scheduler.run(stop.clone())),
        tokio::spawn(housekeeping::run(
            ledger,
            config.answers_kept,
            config.housekeeping_every,
            stop.clone(),
        )),
    ];
    Sagas { awards, hooks, tasks }
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
