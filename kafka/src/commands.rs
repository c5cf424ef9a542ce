//! Commands by Kafka: the envelopes of `POST /v1/commands` as records of `accrue.commands.<program>`,
//! their results in `accrue.results.<program>`.
//!
//! Invariants
//! - **One effect.** A record may be delivered any number of times: the envelope's `id` is the key
//!   under which the ledger knows the command again. An envelope without one is not taken.
//! - **Nothing lost.** An offset is committed when the command is durable (or is none) and its
//!   result is in its topic; a crash in between delivers the record again. A result that its topic
//!   refuses for good is logged and left out: the command has been decided.
//! - **In order per key.** Records of one key are decided one behind the other, also over an
//!   outage. Records without a key are handed over in their order, many at a time; one that an
//!   outage hits is sent again behind those that came after it.
//! - **No record stops a partition.** What is no command goes to `accrue.commands-dead.<program>`,
//!   with the reason and the place it had; so does one that brings out a defect of ours, and one
//!   that is so old that its key may be forgotten. What only cannot be done *now* is tried until it
//!   can.
//! - **No process stops the group.** The consumer is asked all the time; while there is no room for
//!   more of a topic, its partitions are paused.
//! - **No program has all the room.** However long its records wait, they leave some for others'.

mod desk;
mod intake;
mod lanes;
mod metrics;
mod room;
mod session;
mod status;
mod topics;
mod track;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use rdkafka::error::KafkaError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use metrics::Metrics;
use session::Session;

pub use status::Status;

/// First and longest pause before a consumer is made anew.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Whoever knows what an envelope is.
pub trait Executes: Send + Sync + 'static {
    /// Hands an envelope over, and waits for room. Envelopes that are handed over one behind the
    /// other are decided in that order. What comes back tells what became of it.
    fn enter<'a>(&'a self, received: Received<'a>) -> BoxFuture<'a, BoxFuture<'static, Outcome>>;
}

/// An envelope, and where it came from.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// The program of its topic.
    pub program: &'a str,
    /// The record's value.
    pub envelope: &'a [u8],
    /// Members for the result's object: the record's partition and offset.
    pub place: String,
    /// When the record was written: by the broker's clock where the topic is made by us, by its
    /// sender's where the topic has it so.
    pub written_at: Option<DateTime<Utc>>,
}

/// What became of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Decided for good; the result for its sender.
    Decided(Vec<u8>),
    /// It is no command, or none that is to be decided.
    Unusable {
        /// What is wrong with it.
        reason: String,
        /// The result for its sender.
        result: Vec<u8>,
    },
    /// It is to be handed over again.
    NotNow {
        /// Why.
        reason: String,
    },
}

/// Commands that are taken.
#[derive(Debug)]
pub struct Running {
    /// How they are getting on.
    pub status: Status,
    /// Ends after `stop`.
    pub task: JoinHandle<()>,
}

/// Takes commands from Kafka until `stop`.
pub fn start(
    settings: Settings,
    executes: Arc<dyn Executes>,
    registry: &mut Registry,
    stop: CancellationToken,
) -> Running {
    let metrics = Metrics::new(registry);
    let status = Status::default();
    let told = status.clone();
    let task = tokio::spawn(async move {
        let mut pause = BACKOFF.0;
        while !stop.is_cancelled() {
            let before = metrics.taken();
            let (settings, executes) = (settings.clone(), Arc::clone(&executes));
            let (metrics_of, told_by, stop_of) = (metrics.clone(), told.clone(), stop.clone());
            let session = async move {
                Session::open(&settings, executes, metrics_of, told_by, stop_of)?.run().await
            };
            let ended = through(session).await;
            metrics.assigned.set(0);
            let Err(reason) = ended else { return };
            tracing::warn!(reason, "commands from Kafka: the consumer begins anew");
            told.ended(reason);
            if metrics.taken() > before {
                pause = BACKOFF.0;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    });
    Running { status, task }
}

/// Runs a session, in a task of its own: a panic ends that one, and not all that would follow.
async fn through(
    session: impl Future<Output = Result<(), KafkaError>> + Send + 'static,
) -> Result<(), String> {
    match tokio::spawn(session).await {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_panics_has_ended_and_another_may_begin() {
        let defective = async { panic!("a defect") };
        assert!(through(defective).await.is_err_and(|it| it.contains("a defect")));
        let fatal = async { Err(KafkaError::Canceled) };
        assert!(through(fatal).await.is_err());
        assert_eq!(through(async { Ok(()) }).await, Ok(()));
    }
}
