//! Tells of what is durable: the tail first, then everybody who waits for an answer. A task of its
//! own, so that the next batch is on its way to Postgres meanwhile.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::batch::{Decided, Pending};
use super::request::Work;
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt};
use crate::record::{Position, Recorded};
use crate::tail::Tail;

/// A durable batch.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) pending: Pending,
    /// The position before its first event; none for a batch that needed no row.
    pub(super) base: Option<Position>,
}

pub(super) struct Publisher {
    pub(super) durable: mpsc::Receiver<Durable>,
    pub(super) tail: Tail,
    pub(super) metrics: Metrics,
}

impl Publisher {
    /// Publishes in the order of the log, until nothing more can come.
    pub(super) async fn run(mut self) {
        while let Some(durable) = self.durable.recv().await {
            self.publish(durable);
        }
    }

    fn publish(&self, Durable { pending, base }: Durable) {
        // All that such a batch was decided on has been published by now.
        let base = base.unwrap_or_else(|| *self.tail.head().borrow());
        let mut position = base;
        let fresh = pending.events.into_iter();
        let events: Vec<Arc<Recorded>> = fresh
            .map(|event| {
                position += 1;
                Arc::new(Recorded {
                    position,
                    stream: event.stream,
                    sequence: event.sequence,
                    decoded: match event.decoded {
                        // A raw append to one of our streams is decoded as any reader would.
                        crate::record::Decoded::Foreign => self.tail.codec().decode(
                            &event.row.aggregate_type,
                            &event.row.event_type,
                            &event.row.event_version,
                            &event.row.payload,
                        ),
                        decoded => Ok(decoded),
                    },
                    row: event.row,
                })
            })
            .collect();
        if !events.is_empty() {
            self.metrics.batches.inc();
            self.metrics.events.inc_by(events.len() as u64);
            self.metrics.batch_events.observe(observed(events.len()));
            self.metrics.head.set(position);
        }
        self.tail.push(events.clone());
        for decided in pending.decided {
            answer(decided, &events, base);
        }
    }
}

fn answer(decided: Decided, events: &[Arc<Recorded>], base: Position) {
    let end = decided.first + decided.count;
    let answer = match decided.refusal {
        Some(refusal) => Err(ExecuteError::Refused { refusal, replayed: false }),
        None => Ok(Receipt {
            command_id: match &decided.request.work {
                Work::Command(envelope) => envelope.id.clone(),
                Work::Raw { .. } => raw_id(),
            },
            position: base + Position::try_from(end).unwrap_or(0),
            version: decided.version,
            events: events[decided.first..end].to_vec(),
            replayed: false,
        }),
    };
    decided.request.answer(answer);
}

fn raw_id() -> accrue_domain::id::CommandId {
    accrue_domain::id::CommandId::new("append").expect("a plain word is a command id")
}

#[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand events at most")]
fn observed(events: usize) -> f64 {
    events as f64
}
