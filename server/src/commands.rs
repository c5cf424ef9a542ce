//! Commands that come by Kafka, through the same door as those that come by HTTP.

use accrue_command_api::door::{self, Door};
use accrue_domain::id::ProgramId;
use accrue_event_store::ledger::Ledger;
use accrue_http::problem::Problem;
use accrue_kafka::commands::{Executes, Outcome, Received};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;

/// How far clocks may differ: as far ahead as a broker lets a record be.
const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::hours(1);

/// The ledger, for envelopes from Kafka.
pub(crate) struct Commands {
    door: Door,
    ledger: Ledger,
    /// For how long it is known of a command that it was decided; none: older ones are decided all
    /// the same.
    keys_kept: Option<TimeDelta>,
}

impl Commands {
    pub(crate) fn new(ledger: Ledger, keys_kept: Option<TimeDelta>) -> Self {
        Self { door: Door::new(ledger.clone()), ledger, keys_kept }
    }
}

impl Executes for Commands {
    fn enter<'a>(&'a self, received: Received<'a>) -> BoxFuture<'a, BoxFuture<'static, Outcome>> {
        self.hand_over(received).boxed()
    }
}

impl Commands {
    async fn hand_over(&self, received: Received<'_>) -> BoxFuture<'static, Outcome> {
        let Received { program, envelope, place, written_at } = received;
        let Ok(program) = ProgramId::new(program) else {
            let reason = format!("no program can have the name {program:?}");
            return std::future::ready(unnamed(reason)).boxed();
        };
        let entered = match self.too_old(written_at) {
            Some(problem) => Door::refuse(&program, envelope, problem),
            None => self.door.enter(&program, envelope, written_at).await,
        };
        async move { of(entered.outcome(&place).await) }.boxed()
    }

    /// A record may be read again when its offset is lost, however old it is. Once its key may be
    /// forgotten nothing would tell that it was decided before.
    fn too_old(&self, written_at: Option<DateTime<Utc>>) -> Option<Problem> {
        let kept = self.keys_kept?;
        let oldest = self.ledger.clock().now() - (kept - CLOCKS_DIFFER_MAX);
        if written_at.is_some_and(|at| at > oldest) {
            return None;
        }
        let age = match written_at {
            Some(at) => format!("written at {}, it is", at.format("%FT%TZ")),
            None => "without a time, it may be".to_owned(),
        };
        let detail = format!(
            "{age} older than the keys are kept ({} days): whether it was decided before is not \
             known any more",
            kept.num_days()
        );
        let title = "It is not known whether this was done before";
        Some(Problem::new(StatusCode::GONE, "command-too-old", title, detail))
    }
}

/// A topic that is no program's: there is nobody to tell a result.
fn unnamed(reason: String) -> Outcome {
    Outcome::Unusable { reason, result: b"{}".to_vec() }
}

fn of(outcome: door::Outcome) -> Outcome {
    match outcome {
        door::Outcome::Decided(result) => Outcome::Decided(result),
        door::Outcome::Unusable { reason, result } => Outcome::Unusable { reason, result },
        door::Outcome::NotNow { reason } => Outcome::NotNow { reason },
    }
}
