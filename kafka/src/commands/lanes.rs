//! Records of one key go one behind the other; others beside them.

use std::collections::{HashMap, VecDeque};

/// What must stay in order: a key of a partition.
pub(super) type Lane = (String, i32, Vec<u8>);

/// Records that wait for the one before them.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// A lane is here while one of its records is at work.
    busy: HashMap<Lane, VecDeque<T>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { busy: HashMap::new() }
    }
}

impl<T> Lanes<T> {
    /// The record, if nothing is before it; else it waits. One without a lane never does.
    pub(super) fn enter(&mut self, lane: Option<&Lane>, record: T) -> Option<T> {
        let Some(lane) = lane else { return Some(record) };
        if let Some(waiting) = self.busy.get_mut(lane) {
            waiting.push_back(record);
            return None;
        }
        self.busy.insert(lane.clone(), VecDeque::new());
        Some(record)
    }

    /// The lane's record is dealt with: the next one of it.
    pub(super) fn leave(&mut self, lane: Option<&Lane>) -> Option<T> {
        let lane = lane?;
        let next = self.busy.get_mut(lane)?.pop_front();
        if next.is_none() {
            self.busy.remove(lane);
        }
        next
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, Lanes};

    #[test]
    fn one_at_a_time_of_a_key_and_any_number_without() {
        let lane = |key: &str| -> Lane { ("t".to_owned(), 0, key.as_bytes().to_vec()) };
        let (a, b) = (lane("a"), lane("b"));
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(Some(&a), 1), Some(1));
        assert_eq!(lanes.enter(Some(&a), 2), None);
        assert_eq!(lanes.enter(Some(&a), 3), None);
        assert_eq!(lanes.enter(Some(&b), 4), Some(4));
        assert_eq!((lanes.enter(None, 5), lanes.enter(None, 6)), (Some(5), Some(6)));
        assert_eq!(lanes.leave(Some(&a)), Some(2));
        assert_eq!(lanes.leave(Some(&b)), None);
        assert_eq!(lanes.leave(Some(&a)), Some(3));
        assert_eq!(lanes.leave(Some(&a)), None);
        assert_eq!(lanes.enter(Some(&a), 7), Some(7));
    }
}
