//! How much of what was received is held in memory, and that no topic has all of that.
//!
//! Records of a topic may wait for long: for one another where they share a key, or for a topic of
//! results that cannot be written to. They may take as much room as they leave free, so half of it;
//! two such topics take a third each, and so on. It is the dynamic threshold of Choudhury and Hahne,
//! "Dynamic queue length thresholds for shared-memory packet switches" (1998), with a factor of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Records without a result, and bytes of them, that all topics share. The bytes are those of bodies
/// and keys: headers come on top, a key is kept up to three times, and the client reads ahead by
/// itself. So they bound the memory, and are not all of it.
const ALL_MAX: Size = Size { records: 4_096, bytes: 128 << 20 };

/// What a topic may hold however much others do: nobody is to wait for them, and to fetch for less
/// costs more than it brings.
const MIN: Size = Size { records: 64, bytes: 2 << 20 };

/// A topic that was full goes on when it holds so small a part of what it may. What was fetched ahead
/// is thrown away when fetching stops, so it is not begun again for every record that leaves.
const ROOMY_PART: usize = 3;

#[derive(Debug)]
struct Size {
    records: usize,
    bytes: usize,
}

/// What is held in memory of records without a result: at work, or behind others.
#[derive(Debug, Default)]
pub(super) struct Room {
    all: Arc<Load>,
    topics: HashMap<String, Arc<Load>>,
}

#[derive(Debug, Default)]
struct Load {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    fn size(&self) -> Size {
        let (records, bytes) = (&self.records, &self.bytes);
        Size { records: records.load(Ordering::Acquire), bytes: bytes.load(Ordering::Acquire) }
    }
}

impl Room {
    /// Nothing more of this topic is to be fetched.
    pub(super) fn is_full_for(&self, topic: &str) -> bool {
        let (held, may) = (self.held(topic), self.may_hold());
        held.records >= may.records || held.bytes >= may.bytes
    }

    /// There is room for a good many of this topic.
    pub(super) fn is_roomy_for(&self, topic: &str) -> bool {
        let (held, may) = (self.held(topic), self.may_hold());
        held.records <= may.records / ROOMY_PART && held.bytes <= may.bytes / ROOMY_PART
    }

    /// Records without a result.
    pub(super) fn records(&self) -> usize {
        self.all.size().records
    }

    pub(super) fn hold(&mut self, topic: &str, bytes: usize) -> Held {
        let topic = self.topics.entry(topic.to_owned()).or_default();
        let held = Held { loads: [&self.all, topic].map(Arc::clone), bytes };
        for load in &held.loads {
            load.records.fetch_add(1, Ordering::AcqRel);
            load.bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        held
    }

    fn held(&self, topic: &str) -> Size {
        self.topics.get(topic).map_or(Size { records: 0, bytes: 0 }, |load| load.size())
    }

    /// What is free, and so what any topic may hold.
    fn may_hold(&self) -> Size {
        let all = self.all.size();
        Size {
            records: ALL_MAX.records.saturating_sub(all.records).max(MIN.records),
            bytes: ALL_MAX.bytes.saturating_sub(all.bytes).max(MIN.bytes),
        }
    }
}

/// A record's part of the room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    loads: [Arc<Load>; 2],
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        for load in &self.loads {
            load.records.fetch_sub(1, Ordering::AcqRel);
            load.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a topic take all that it may.
    fn fill(room: &mut Room, topic: &str, bytes: usize) -> Vec<Held> {
        let mut held = Vec::new();
        while !room.is_full_for(topic) {
            held.push(room.hold(topic, bytes));
        }
        held
    }

    #[test]
    fn a_topic_takes_as_much_as_it_leaves_and_goes_on_at_a_third_of_that() {
        let mut room = Room::default();
        let mut held = fill(&mut room, "a", 10);
        assert_eq!((held.len(), room.records()), (2_048, 2_048));
        assert!(!room.is_roomy_for("a") && room.is_roomy_for("b"));
        held.truncate(1_025);
        assert!(!room.is_full_for("a") && !room.is_roomy_for("a"));
        held.truncate(1_024);
        assert!(room.is_roomy_for("a"));
    }

    #[test]
    fn however_many_topics_wait_there_is_room_for_another() {
        for (bytes, least) in [(10, MIN.records), (1 << 20, 2)] {
            let mut room = Room::default();
            let waiting: Vec<_> =
                (0..200).map(|at| fill(&mut room, &at.to_string(), bytes)).collect();
            assert!(waiting.iter().all(|it| it.len() >= least));
            assert!(room.is_roomy_for("another"));
            assert_eq!(fill(&mut room, "another", bytes).len(), least);
        }
    }

    #[test]
    fn few_large_records_fill_it_as_many_small_ones_do() {
        let mut room = Room::default();
        let large = fill(&mut room, "a", 1 << 20);
        assert_eq!(large.len(), 64);
        assert!(!room.is_roomy_for("a") && room.is_roomy_for("b"));
        drop(large);
        assert!(room.is_roomy_for("a"));
        assert_eq!(room.records(), 0);
    }
}
