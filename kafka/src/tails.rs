//! What the end of each partition holds: how far the log is in Kafka, whoever put it there.
//!
//! Positions grow within a partition, so its last record tells all.

use std::time::{Duration, Instant};

use accrue_event_store::codec::Codec;
use accrue_event_store::log::Names;
use accrue_event_store::record::{Position, Recorded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::Quiet;
use crate::record::{self, Incoming};
use crate::settings::Settings;

/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long looking may take in all.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Offsets that are looked at first, from the end. Ends of transactions take up offsets too.
const WINDOW: i64 = 64;

/// What to widen the window by where it holds no record.
const WIDER: i64 = 32;

/// Why the end of a topic cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("{topic} has {found} partitions, and had {known}: its streams would move")]
    Partitions { topic: String, found: usize, known: usize },
    #[error("partition {partition} of {topic} holds what is no event of ours: {reason}")]
    Foreign { topic: String, partition: i32, reason: String },
    #[error("the end of {0} could not be read in time")]
    Slow(String),
}

/// The end of one partition, as its readers see it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// First offset that is kept.
    pub(crate) low: i64,
    /// Offset behind the last that readers may see.
    pub(crate) stable: i64,
    /// Offset behind the last that is there at all: further than `stable` while a transaction is
    /// open.
    pub(crate) high: i64,
    /// The last event; none where there is none, or none is kept.
    pub(crate) last: Option<Recorded>,
}

/// Reads the ends of topics.
pub(crate) struct Looker {
    /// Sees what is committed.
    readers: BaseConsumer<Quiet>,
    /// Sees everything.
    all: BaseConsumer<Quiet>,
    codec: Codec,
}

impl Looker {
    pub(crate) fn open(settings: &Settings, codec: &Codec) -> Result<Self, KafkaError> {
        let open = |isolation: &str| -> Result<BaseConsumer<Quiet>, KafkaError> {
            let mut client = settings.client();
            client
                .set("group.id", format!("{}.relay", settings.prefix))
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "error")
                .set("isolation.level", isolation)
                .set("fetch.wait.max.ms", "50");
            client.create_with_context(Quiet)
        };
        Ok(Self {
            readers: open("read_committed")?,
            all: open("read_uncommitted")?,
            codec: codec.clone(),
        })
    }

    /// How many partitions a topic has; none when there is no such topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        let metadata = self.readers.fetch_metadata(Some(topic), ANSWER_MAX)?;
        let Some(found) = metadata.topics().iter().find(|it| it.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(found.partitions().len()).filter(|count| *count > 0)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(KafkaError::MetadataFetch(code)),
        }
    }

    /// Offset behind the last record of each partition, committed or not.
    pub(crate) fn highs(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, KafkaError> {
        let high = |at| self.all.fetch_watermarks(topic, at, ANSWER_MAX).map(|(_, high)| high);
        (0..partitions).map(high).collect()
    }

    /// The ends of a topic's first partitions.
    pub(crate) fn look(&self, topic: &str, partitions: i32) -> Result<Vec<End>, LookError> {
        let mut ends = Vec::new();
        for at in 0..partitions {
            let (low, stable) = self.readers.fetch_watermarks(topic, at, ANSWER_MAX)?;
            let (_, high) = self.all.fetch_watermarks(topic, at, ANSWER_MAX)?;
            ends.push(End { low, stable, high, last: None });
        }
        let limit = Instant::now() + LOOK_MAX;
        let mut window = WINDOW;
        let mut open: Vec<i32> = (0..partitions)
            .zip(&ends)
            .filter(|(_, it)| it.low < it.stable)
            .map(|(at, _)| at)
            .collect();
        while !open.is_empty() {
            self.read(topic, &open, window, &mut ends, limit)?;
            open.retain(|at| {
                let end = &ends[usize::try_from(*at).unwrap_or_default()];
                end.last.is_none() && end.stable - window > end.low
            });
            window = window.saturating_mul(WIDER);
        }
        Ok(ends)
    }

    /// Reads these partitions from so many offsets before their end to it.
    fn read(
        &self,
        topic: &str,
        open: &[i32],
        window: i64,
        ends: &mut [End],
        limit: Instant,
    ) -> Result<(), LookError> {
        let from = open.iter().map(|at| {
            let end = &ends[usize::try_from(*at).unwrap_or_default()];
            (*at, (end.stable - window).max(end.low))
        });
        let from: Vec<_> = from.collect();
        self.each(topic, &from, limit, |partition, event| {
            if let Some(end) = ends.get_mut(partition) {
                end.last = Some(event);
            }
            Read::On
        })
    }

    /// The first event that each partition keeps, of those that have a last one.
    pub(crate) fn firsts(
        &self,
        topic: &str,
        ends: &[End],
    ) -> Result<Vec<Option<Recorded>>, LookError> {
        let from = (0..).zip(ends).filter(|(_, end)| end.last.is_some());
        let from: Vec<_> = from.map(|(at, end)| (at, end.low)).collect();
        let mut firsts: Vec<Option<Recorded>> = ends.iter().map(|_| None).collect();
        self.each(topic, &from, Instant::now() + LOOK_MAX, |partition, event| {
            if let Some(first) = firsts.get_mut(partition) {
                first.get_or_insert(event);
            }
            Read::Enough
        })?;
        Ok(firsts)
    }

    /// Reads these partitions from these offsets, each to its end unless there was enough of it.
    fn each(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        limit: Instant,
        mut take: impl FnMut(usize, Recorded) -> Read,
    ) -> Result<(), LookError> {
        let mut offsets = TopicPartitionList::new();
        for (at, offset) in from {
            offsets.add_partition_offset(topic, *at, Offset::Offset(*offset))?;
        }
        self.readers.assign(&offsets)?;
        let mut reading: Vec<i32> = from.iter().map(|(at, _)| *at).collect();
        let mut names = Names::default();
        while !reading.is_empty() {
            match self.readers.poll(Duration::from_millis(500)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(at))) => reading.retain(|it| *it != at),
                Some(Err(error)) => return Err(error.into()),
                // What is still to come of one that there was enough of.
                Some(Ok(message)) if !reading.contains(&message.partition()) => {}
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let event = record::decode(&self.codec, &mut names, &Incoming::of(&message));
                    let event = event.map_err(|error| LookError::Foreign {
                        topic: topic.to_owned(),
                        partition,
                        reason: error.to_string(),
                    })?;
                    if let Read::Enough =
                        take(usize::try_from(partition).unwrap_or_default(), event)
                    {
                        reading.retain(|it| *it != partition);
                    }
                }
            }
            if Instant::now() > limit {
                return Err(LookError::Slow(topic.to_owned()));
            }
        }
        self.readers.unassign()?;
        Ok(())
    }
}

/// Whether a partition is to be read on.
enum Read {
    On,
    Enough,
}

impl End {
    /// How far the log is in this partition, given what is known to have been acknowledged: where
    /// nothing is kept any more and nothing is missing, that.
    pub(crate) fn position(&self, known: Position, known_offset: i64) -> Position {
        match &self.last {
            Some(event) => event.position,
            None if self.low > 0 && self.stable >= known_offset => known,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_whose_records_were_deleted_by_age_has_lost_nothing() {
        let end = |low, stable| End { low, stable, high: stable, last: None };
        assert_eq!(end(0, 0).position(0, 0), 0, "never written");
        assert_eq!(end(90, 90).position(7, 90), 7, "all of it deleted");
        assert_eq!(end(0, 0).position(7, 90), 0, "made anew");
        assert_eq!(end(40, 40).position(7, 90), 0, "deleted, and its end lost");
    }
}
