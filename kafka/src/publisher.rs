//! What is published is there for its readers whole or not at all in each partition, and only from
//! whoever has fenced all others last.
//!
//! A batch goes by several producers at once, each with partitions of its own. The client library
//! sends a request a partition, and a broker answers those of one connection one after the other: by
//! several connections they are not in each other's way. A partition is written under one name only.
//! Were it two, the mark of the end of the later of two transactions could be kept and that of the
//! earlier one lost with the partition's end, and the last record would not tell of the gap.
//!
//! Everything here blocks, for bounded times, and belongs on a thread that may.

mod lane;
mod reports;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use accrue_event_store::record::Recorded;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use crate::phases::Phases;
use crate::settings::Settings;
use lane::Lane;

/// Producers side by side.
const LANES: usize = 3;

/// An event, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// No offset below this is given to it, unless the partition has lost its end.
    pub(crate) offset_min: i64,
    pub(crate) event: Arc<Recorded>,
}

/// Why nothing of a batch was published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// These of the batch, by their index; the others were not at fault.
    #[error("Kafka does not take records as large as those of {} events", .0.len())]
    TooLarge(Vec<usize>),
    /// A batch of records is larger than the broker takes; which of them is not known.
    #[error("Kafka does not take a record as large as one of these")]
    BatchTooLarge,
    #[error("partition {partition} of {topic} has lost its end")]
    EndLost { topic: Arc<str>, partition: i32 },
    #[error("stopped")]
    Stopped,
}

/// How a publisher goes about its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Many records a request.
    Swift,
    /// Each record by itself, so that one that is refused takes no other with it.
    Singly,
}

/// Transactional producers.
pub(crate) struct Publisher {
    lanes: Vec<Lane>,
    phases: Phases,
}

/// What of a batch goes by one producer, and which of the batch those are.
#[derive(Debug, Default)]
struct Share<'a> {
    batch: Vec<&'a Outgoing>,
    indices: Vec<usize>,
}

impl Publisher {
    /// Producers of that name. They cannot publish yet: see [`Publisher::fence`].
    pub(crate) fn open(
        settings: &Settings,
        name: &str,
        manner: Manner,
        phases: Phases,
    ) -> Result<Self, KafkaError> {
        let open = |at: usize| match at {
            // The one name that there was before there were several is fenced with the others.
            0 => Lane::open(settings, name, manner),
            at => Lane::open(settings, &format!("{name}.{at}"), manner),
        };
        let lanes = (0..LANES).map(open).collect::<Result<_, _>>()?;
        Ok(Self { lanes, phases })
    }

    /// From here on nobody else of this name publishes anything; what another has not committed is
    /// taken back.
    pub(crate) fn fence(&self, stop: &CancellationToken) -> Result<(), PublishError> {
        at_once(&self.lanes, |lane| lane.fence(stop)).into_iter().collect()
    }

    /// Publishes a batch in the order given; the offset of each. After an error in the last of its
    /// steps, some partitions may have their part and others not.
    pub(crate) fn publish(
        &self,
        batch: &[Outgoing],
        stop: &CancellationToken,
    ) -> Result<Vec<i64>, PublishError> {
        let begun = Instant::now();
        let shares = self.shares(batch);
        let busy: Vec<_> = self.lanes.iter().zip(&shares).filter(|(_, it)| it.is_any()).collect();
        let delivered = at_once(&busy, |(lane, share)| {
            lane.deliver(&share.batch, stop).map_err(|error| share.of_batch(error))
        });
        let (mut delivered_at, mut failed) = (Vec::with_capacity(busy.len()), None);
        for delivered in delivered {
            match delivered {
                Ok(offsets) => delivered_at.push(offsets),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            at_once(&busy, |(lane, _)| lane.abort());
            return Err(error);
        }
        let acknowledged = Instant::now();
        self.phases.took("deliver", acknowledged - begun);
        for committed in at_once(&busy, |(lane, _)| lane.commit(stop)) {
            committed?;
        }
        self.phases.took("commit", acknowledged.elapsed());
        let mut offsets = vec![-1; batch.len()];
        for ((_, share), delivered_at) in busy.iter().zip(delivered_at) {
            for (at, offset) in share.indices.iter().zip(delivered_at) {
                offsets[*at] = offset;
            }
        }
        Ok(offsets)
    }

    /// Ends transactions of an earlier publisher of this name that the broker believes ended, and of
    /// whose end a partition knows nothing: it lost that with its tail, and would show its readers
    /// nothing more.
    pub(crate) fn clear(
        &self,
        topic: &str,
        partitions: &[i32],
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        // Which of the names it was is not known: there may have been fewer then.
        self.lanes.iter().try_for_each(|lane| lane.clear(topic, partitions, stop))
    }

    fn shares<'a>(&self, batch: &'a [Outgoing]) -> Vec<Share<'a>> {
        let mut shares: Vec<_> = self.lanes.iter().map(|_| Share::default()).collect();
        for (at, it) in batch.iter().enumerate() {
            let lane = usize::try_from(it.partition).unwrap_or_default() % self.lanes.len();
            shares[lane].batch.push(it);
            shares[lane].indices.push(at);
        }
        shares
    }
}

impl Share<'_> {
    fn is_any(&self) -> bool {
        !self.batch.is_empty()
    }

    /// An error about some of the share, as one about those of the batch.
    fn of_batch(&self, error: PublishError) -> PublishError {
        match error {
            PublishError::TooLarge(which) => {
                PublishError::TooLarge(which.into_iter().map(|at| self.indices[at]).collect())
            }
            error => error,
        }
    }
}

/// Does it for all of them at once, and waits for the last.
fn at_once<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Some((first, rest)) = all.split_first() else { return Vec::new() };
    let work = &work;
    thread::scope(|scope| {
        let rest: Vec<_> = rest.iter().map(|it| scope.spawn(move || work(it))).collect();
        let mut done = vec![work(first)];
        done.extend(rest.into_iter().map(|it| match it.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        done
    })
}
