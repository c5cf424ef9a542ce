//! What became of the records of a batch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use crate::context::Quiet;

/// What became of a batch, once that is settled.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything was acknowledged, at these offsets.
    Delivered(Vec<i64>),
    /// The broker found these too large, or the batch that they were in.
    TooLarge(Vec<usize>),
    /// Something was not delivered.
    Failed(KafkaError),
}

/// Told by the client's own thread, asked by the publisher's.
#[derive(Debug, Default)]
pub(super) struct Reports {
    batch: Mutex<Batch>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Batch {
    offsets: Vec<i64>,
    open: usize,
    too_large: Vec<usize>,
    failed: Option<KafkaError>,
}

impl Reports {
    /// Expects so many.
    pub(super) fn begin(&self, records: usize) {
        *self.batch() = Batch { offsets: vec![-1; records], open: records, ..Batch::default() };
    }

    /// What became of them; none when that is open after `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Option<Outcome> {
        let open = |batch: &mut Batch| batch.open > 0;
        let waited = self.settled.wait_timeout_while(self.batch(), patience, open);
        let (mut batch, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if batch.open > 0 {
            return None;
        }
        // The reason comes before what it led to: with a record that is too large, the others of
        // the transaction fail as well.
        if !batch.too_large.is_empty() {
            return Some(Outcome::TooLarge(std::mem::take(&mut batch.too_large)));
        }
        Some(match batch.failed.take() {
            Some(error) => Outcome::Failed(error),
            None => Outcome::Delivered(std::mem::take(&mut batch.offsets)),
        })
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducerContext for Reports {
    /// Its index in the batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, at: usize) {
        let mut batch = self.batch();
        match result {
            Ok(message) => {
                if let Some(offset) = batch.offsets.get_mut(at) {
                    *offset = message.offset();
                }
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                batch.too_large.push(at);
            }
            Err((error, _)) => {
                batch.failed.get_or_insert_with(|| error.clone());
            }
        }
        batch.open = batch.open.saturating_sub(1);
        if batch.open == 0 {
            self.settled.notify_all();
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}
