//! Commands that come by Kafka, through the same door as those that come by HTTP.

use accrue_command_api::door::{self, Door};
use accrue_domain::id::ProgramId;
use accrue_event_store::ledger::Ledger;
use accrue_kafka::commands::{Executes, Outcome};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The ledger, for envelopes from Kafka.
pub(crate) struct Commands(Door);

impl Commands {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self(Door::new(ledger))
    }
}

impl Executes for Commands {
    fn enter<'a>(
        &'a self,
        program: &'a str,
        envelope: &'a [u8],
        place: String,
    ) -> BoxFuture<'a, BoxFuture<'static, Outcome>> {
        self.hand_over(program, envelope, place).boxed()
    }
}

impl Commands {
    async fn hand_over(
        &self,
        program: &str,
        envelope: &[u8],
        place: String,
    ) -> BoxFuture<'static, Outcome> {
        let Ok(program) = ProgramId::new(program) else {
            let reason = format!("no program can have the name {program:?}");
            return std::future::ready(unnamed(reason)).boxed();
        };
        let entered = self.0.enter(&program, envelope).await;
        async move { of(entered.outcome(&place).await) }.boxed()
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
