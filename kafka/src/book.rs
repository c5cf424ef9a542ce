//! What is in which partition, as was looked up, and what of a page is therefore still to be sent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use accrue_event_store::placement;
use accrue_event_store::record::{Position, Recorded};

use crate::publisher::Outgoing;

/// The end of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// Position of its last event.
    pub(crate) position: Position,
    /// No offset below this comes next.
    pub(crate) offset_min: i64,
}

/// The ends of all partitions that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Book {
    topics: HashMap<Arc<str>, Vec<At>>,
}

/// What a page comes to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) outgoing: Vec<Outgoing>,
    /// Streams whose events were left out, since they are parked.
    pub(crate) parked: usize,
}

impl Book {
    /// Was this topic looked at?
    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Notes what was seen.
    pub(crate) fn enter(&mut self, topic: &str, partitions: Vec<At>) {
        self.topics.insert(topic.into(), partitions);
    }

    /// The topics, and the least offset that comes next in each of their partitions.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &[At])> {
        self.topics.iter().map(|(topic, partitions)| (topic, &partitions[..]))
    }

    /// What of these events is not in its partition yet. `topic_of` names the topic of an event,
    /// none where it is not to be published; the topic is one that was entered.
    pub(crate) fn plan(
        &self,
        events: &[Arc<Recorded>],
        parked: &HashSet<(Arc<str>, Arc<str>)>,
        topic_of: impl Fn(&Recorded) -> Option<Arc<str>>,
    ) -> Plan {
        let mut plan = Plan::default();
        for event in events {
            let row = &event.row;
            // Most ledgers have nothing parked, and this is asked for every event.
            if !parked.is_empty()
                && parked
                    .contains(&(Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id)))
            {
                plan.parked += 1;
                continue;
            }
            let Some(topic) = topic_of(event) else { continue };
            let Some(partitions) = self.topics.get(&topic) else { continue };
            let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
            let partition = placement::of_event(row, count);
            let at = partitions[usize::try_from(partition).unwrap_or_default()];
            if event.position > at.position {
                let (event, offset_min) = (Arc::clone(event), at.offset_min);
                plan.outgoing.push(Outgoing { topic, partition, offset_min, event });
            }
        }
        plan
    }

    /// Notes what was published, at those offsets; where the partitions are now.
    pub(crate) fn published(
        &mut self,
        sent: &[Outgoing],
        offsets: &[i64],
    ) -> Vec<(Arc<str>, i32, At)> {
        let mut moved = HashMap::<(Arc<str>, i32), At>::new();
        for (it, offset) in sent.iter().zip(offsets) {
            let at = At { position: it.event.position, offset_min: offset + 1 };
            moved.insert((Arc::clone(&it.topic), it.partition), at);
        }
        for ((topic, partition), at) in &moved {
            let partitions = self.topics.get_mut(topic);
            let index = usize::try_from(*partition).unwrap_or_default();
            if let Some(entry) = partitions.and_then(|it| it.get_mut(index)) {
                *entry = *at;
            }
        }
        moved.into_iter().map(|((topic, partition), at)| (topic, partition, at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use accrue_event_store::record::{Decoded, Row};
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    const PARTITIONS: i32 = 4;

    fn event(position: Position, stream: u8) -> Arc<Recorded> {
        let row = Row {
            program: "default".into(),
            aggregate_type: "account".into(),
            aggregate_id: format!("default/{stream}").into(),
            event_type: "E".into(),
            event_version: "1".into(),
            payload: String::new(),
            metadata: String::new(),
            recorded_at: DateTime::UNIX_EPOCH,
        };
        let decoded = Ok(Decoded::Foreign);
        Arc::new(Recorded { position, stream: None, sequence: 1, row: Arc::new(row), decoded })
    }

    fn topic(_: &Recorded) -> Option<Arc<str>> {
        Some("t".into())
    }

    /// A topic as its readers see it.
    #[derive(Default)]
    struct Kafka(Vec<Vec<Position>>);

    impl Kafka {
        fn new() -> Self {
            Self(vec![Vec::new(); usize::try_from(PARTITIONS).expect("few")])
        }

        fn look(&self) -> Book {
            let mut book = Book::default();
            let end = |it: &Vec<Position>| At {
                position: it.last().copied().unwrap_or(0),
                offset_min: i64::try_from(it.len()).expect("few"),
            };
            book.enter("t", self.0.iter().map(end).collect());
            book
        }

        fn take(&mut self, sent: &[Outgoing]) -> Vec<i64> {
            let take = |it: &Outgoing| {
                let partition = &mut self.0[usize::try_from(it.partition).expect("small")];
                partition.push(it.event.position);
                i64::try_from(partition.len()).expect("few") - 1
            };
            sent.iter().map(take).collect()
        }
    }

    /// What may happen to a batch, or between two.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Done,
        /// Committed in Kafka, and the relay died before its checkpoint.
        CheckpointLost,
        /// The relay died before it committed.
        NothingDone,
        /// A partition loses so many of its last records; noticed before the next batch.
        EndLost(usize, usize),
    }

    fn fates() -> impl Strategy<Value = Vec<(usize, Fate)>> {
        let fate = prop_oneof![
            4 => Just(Fate::Done),
            2 => Just(Fate::CheckpointLost),
            1 => Just(Fate::NothingDone),
            1 => (0..4_usize, 1..9_usize).prop_map(|(at, count)| Fate::EndLost(at, count)),
        ];
        proptest::collection::vec((1..9_usize, fate), 1..40)
    }

    proptest! {
        #[test]
        fn whatever_happens_each_event_is_there_once_and_in_order(
            streams in proptest::collection::vec(0..6_u8, 1..120), fates in fates()
        ) {
            let log: Vec<_> = (1..).zip(&streams).map(|(at, stream)| event(at, *stream)).collect();
            let (mut kafka, mut checkpoint) = (Kafka::new(), 0_usize);
            let mut known = [0; 4];
            let steps = fates.into_iter().chain(std::iter::repeat_n((50, Fate::Done), 20));
            let (mut book, mut cursor) = (kafka.look(), 0_usize);
            for (size, fate) in steps {
                if let Fate::EndLost(at, count) = fate {
                    let partition = &mut kafka.0[at];
                    partition.truncate(partition.len().saturating_sub(count));
                }
                let page = &log[cursor..log.len().min(cursor + size)];
                let sent = book.plan(page, &HashSet::new(), topic).outgoing;
                let restart = match fate {
                    Fate::Done => {
                        let offsets = kafka.take(&sent);
                        cursor += page.len();
                        checkpoint = checkpoint.max(cursor);
                        for (_, partition, at) in book.published(&sent, &offsets) {
                            let known = &mut known[usize::try_from(partition).expect("small")];
                            *known = at.position.max(*known);
                        }
                        false
                    }
                    Fate::CheckpointLost => {
                        kafka.take(&sent);
                        true
                    }
                    Fate::NothingDone | Fate::EndLost(..) => true,
                };
                if restart {
                    book = kafka.look();
                    let (_, ends) = book.topics().next().expect("one topic");
                    // What is found is known from here on, or nobody would miss it later.
                    for (known, end) in known.iter_mut().zip(ends) {
                        *known = end.position.max(*known);
                    }
                    let lost = ends.iter().zip(known).filter(|(end, known)| end.position < *known);
                    let from = lost.map(|(end, _)| usize::try_from(end.position).expect("small"));
                    cursor = from.min().unwrap_or(checkpoint).min(checkpoint);
                }
            }
            let mut all: Vec<_> = kafka.0.iter().flatten().copied().collect();
            prop_assert!(kafka.0.iter().all(|it| it.is_sorted()));
            all.sort_unstable();
            let expected: Vec<_> = log.iter().map(|it| it.position).collect();
            prop_assert_eq!(all, expected);
        }
    }

    #[test]
    fn a_parked_stream_is_left_out_and_counted() {
        let book = Kafka::new().look();
        let parked = HashSet::from([("account".into(), "default/1".into())]);
        let plan = book.plan(&[event(1, 1), event(2, 2), event(3, 1)], &parked, topic);
        assert_eq!(plan.parked, 2);
        assert_eq!(plan.outgoing.len(), 1);
        assert_eq!(plan.outgoing[0].event.position, 2);
    }
}
