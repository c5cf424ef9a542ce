//! What was received and is not dealt with: what may be handed over, and which offsets may be
//! committed.
//!
//! Invariants
//! - After a new assignment everything that is not committed comes again: what was begun under the
//!   last one is forgotten, and moves nothing when it ends.
//! - Where a partition loses its end, nothing comes again. So nothing of what was received is
//!   forgotten, of this partition or another; offsets of the lost end are committed no more.

use std::collections::{HashMap, VecDeque};

use rdkafka::message::{Message as _, OwnedMessage};

use super::desk::{Done, Record};
use super::lanes::Lanes;
use super::room::Held;
use super::track::{Begun, Track};

/// The records of one assignment.
#[derive(Debug, Default)]
pub(super) struct Intake {
    assignment: u64,
    tracks: HashMap<(String, i32), Track>,
    lanes: Lanes<Record>,
    /// To be handed over, in this order.
    waiting: VecDeque<Record>,
}

impl Intake {
    /// Forgets everything, if that is another assignment than the last.
    pub(super) fn is_under(&mut self, assignment: u64) {
        if self.assignment != assignment {
            self.assignment = assignment;
            self.tracks.clear();
            self.stop();
        }
    }

    /// Forgets what is not handed over yet.
    pub(super) fn stop(&mut self) {
        self.lanes.clear();
        self.waiting.clear();
    }

    /// Takes a record in. Where its partition has lost its end, returns the offset to go on from,
    /// which is lower than one that may be committed by now.
    pub(super) fn take(
        &mut self,
        message: OwnedMessage,
        program: String,
        held: Held,
    ) -> Option<i64> {
        let (topic, partition) = (message.topic().to_owned(), message.partition());
        let lane = message.key().map(|key| (topic.clone(), partition, key.to_vec()));
        let track = self.tracks.entry((topic, partition)).or_default();
        let Begun { run, lowered } = track.begin(message.offset());
        let assignment = self.assignment;
        let record = Record { _held: held, message, program, lane: lane.clone(), assignment, run };
        self.waiting.extend(self.lanes.enter(lane.as_ref(), record));
        lowered
    }

    /// The next record to be handed over.
    pub(super) fn next(&mut self) -> Option<Record> {
        self.waiting.pop_front()
    }

    /// A record is dealt with. Returns the offset to go on from in its partition, if that has moved.
    pub(super) fn done(&mut self, done: &Done) -> Option<i64> {
        if done.assignment != self.assignment {
            return None;
        }
        self.waiting.extend(self.lanes.leave(done.lane.as_ref()));
        let partition = (done.topic.clone(), done.partition);
        self.tracks.get_mut(&partition)?.end(done.offset, done.run)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;

    use super::super::room::Room;
    use super::*;

    struct World {
        intake: Intake,
        room: Room,
    }

    impl World {
        fn new() -> Self {
            let mut intake = Intake::default();
            intake.is_under(1);
            Self { intake, room: Room::default() }
        }

        fn take(&mut self, partition: i32, offset: i64, key: Option<&str>) -> Option<i64> {
            let (key, topic) = (key.map(|it| it.as_bytes().to_vec()), "t".to_owned());
            let time = Timestamp::NotAvailable;
            let message = OwnedMessage::new(None, key, topic, time, partition, offset, None);
            self.intake.take(message, "p".to_owned(), self.room.hold("t", 1))
        }

        /// The places of what may be handed over by now.
        fn begin(&mut self) -> Vec<Done> {
            std::iter::from_fn(|| self.intake.next()).map(Record::done).collect()
        }

        fn done(&mut self, all: &[Done]) -> Vec<Option<i64>> {
            all.iter().map(|it| self.intake.done(it)).collect()
        }
    }

    fn places(all: &[Done]) -> Vec<(i32, i64)> {
        all.iter().map(|it| (it.partition, it.offset)).collect()
    }

    #[test]
    fn a_partition_that_loses_its_end_costs_no_other_a_record() {
        let mut world = World::new();
        // In partition 1 one is at work, one waits behind it, and one has not been begun.
        assert_eq!(world.take(0, 5, None), None);
        assert_eq!(world.take(1, 10, Some("a")), None);
        let at_work = world.begin();
        assert_eq!(world.take(1, 11, Some("a")), None);
        assert_eq!(world.take(1, 12, None), None);
        assert_eq!(world.take(0, 3, None), Some(3), "partition 0 begins anew");
        assert_eq!(world.take(1, 13, None), None);

        let begun = world.begin();
        assert_eq!(places(&begun), [(1, 12), (0, 3), (1, 13)]);
        // Nothing is passed over in partition 1, and the record that was in 0 before moves nothing.
        assert_eq!(world.done(&begun), [None, Some(4), None]);
        assert_eq!(world.done(&at_work), [None, Some(11)]);
        let last = world.begin();
        assert_eq!(places(&last), [(1, 11)]);
        assert_eq!(world.done(&last), [Some(14)]);
    }

    #[test]
    fn what_waits_in_a_partition_that_loses_its_end_is_decided_before_what_follows() {
        let mut world = World::new();
        for offset in [7, 8, 9] {
            assert_eq!(world.take(0, offset, Some("a")), None);
        }
        let first = world.begin();
        assert_eq!(world.take(0, 9, Some("a")), Some(7), "7 and 8 are still to be done");
        assert_eq!(world.done(&first), [Some(8)]);
        let second = world.begin();
        assert_eq!(places(&second), [(0, 8)]);
        assert_eq!(world.done(&second), [Some(9)]);
        // The lost one was received, and is decided as well; the offset is for the one after it.
        let lost = world.begin();
        assert_eq!(places(&lost), [(0, 9)]);
        assert_eq!(world.done(&lost), [None]);
        let instead = world.begin();
        assert_eq!(places(&instead), [(0, 9)]);
        assert_eq!(world.done(&instead), [Some(10)]);
    }

    #[test]
    fn what_was_begun_under_another_assignment_moves_nothing() {
        let mut world = World::new();
        world.take(0, 1, Some("a"));
        let before = world.begin();
        world.take(0, 2, Some("a"));
        world.intake.is_under(2);
        // Both come again.
        world.take(0, 1, Some("a"));
        world.take(0, 2, Some("a"));
        let again = world.begin();
        assert_eq!(places(&again), [(0, 1)]);
        assert_eq!(world.done(&before), [None]);
        assert_eq!(places(&world.begin()), [], "its lane is not left by the one before");
        assert_eq!(world.done(&again), [Some(2)]);
        assert_eq!(places(&world.begin()), [(0, 2)]);
        assert_eq!(world.room.records(), 0);
    }
}
