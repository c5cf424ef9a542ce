//! Commands by Kafka: the envelopes of `POST /v1/commands` as records of `accrue.commands.<program>`,
//! their results in `accrue.results.<program>`.
//!
//! Invariants
//! - **One effect.** A record may be delivered any number of times: the envelope's `id` is the key
//!   under which the ledger knows the command again. An envelope without one is not taken.
//! - **Nothing lost.** An offset is committed when the command is durable (or is none) and its
//!   result is in its topic; a crash in between delivers the record again.
//! - **In order per key.** Records of one key are decided one behind the other, also over an
//!   outage. Records without a key are handed over in their order, many at a time; one that an
//!   outage hits is sent again behind those that came after it.
//! - **No record stops a partition.** What is no command goes to `accrue.commands-dead.<program>`,
//!   with the reason and the place it had; so does one that brings out a defect of ours, and one
//!   that is so old that its key may be forgotten. What only cannot be done *now* is tried until it
//!   can.
//! - **No process stops the group.** The consumer is asked all the time; while there is no room for
//!   more, its partitions are paused.

mod desk;
mod intake;
mod lanes;
mod metrics;
mod room;
mod session;
mod topics;
mod track;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use metrics::Metrics;
use session::Session;

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

/// Takes commands from Kafka until `stop`.
pub fn start(
    settings: Settings,
    executes: Arc<dyn Executes>,
    registry: &mut Registry,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let metrics = Metrics::new(registry);
    tokio::spawn(async move {
        let mut pause = BACKOFF.0;
        while !stop.is_cancelled() {
            let before = metrics.taken();
            let executes = Arc::clone(&executes);
            let session = Session::open(&settings, executes, metrics.clone(), stop.clone());
            let ended = match session {
                Ok(session) => session.run().await,
                Err(error) => Err(error),
            };
            metrics.assigned.set(0);
            let Err(error) = ended else { return };
            tracing::warn!(%error, "commands from Kafka: the consumer begins anew");
            if metrics.taken() > before {
                pause = BACKOFF.0;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    })
}
