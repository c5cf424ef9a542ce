//! Which offset of a partition may be committed while its records end out of order.

use std::collections::BTreeMap;

/// The records of one partition that were begun.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Offsets, and the run of each.
    open: BTreeMap<i64, u64>,
    /// Behind the last record that was begun.
    next: i64,
    /// The run at hand: offsets that grow.
    run: u64,
}

/// A record that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// The run that it belongs to.
    pub(super) run: u64,
    /// Where the partition has lost its end, or is another of the same name: the offset to go on
    /// from now, which is lower than it was.
    pub(super) lowered: Option<i64>,
}

impl Track {
    /// A record was received. One that lies before another begins a new run.
    pub(super) fn begin(&mut self, offset: i64) -> Begun {
        let falls = offset < self.next;
        if falls {
            self.run += 1;
            // What was begun from here on is there no more, or comes again. What lies before it does
            // not, and keeps the offset back until it is dealt with.
            let _gone = self.open.split_off(&offset);
        }
        self.open.insert(offset, self.run);
        self.next = offset + 1;
        Begun { run: self.run, lowered: falls.then(|| self.from()) }
    }

    /// A record is dealt with. Returns the offset to go on from, if that has moved: everything
    /// before it is dealt with.
    pub(super) fn end(&mut self, offset: i64, run: u64) -> Option<i64> {
        // In another run there is another record at this offset.
        if self.open.get(&offset) != Some(&run) {
            return None;
        }
        let first = self.from() == offset;
        self.open.remove(&offset);
        first.then(|| self.from())
    }

    fn from(&self) -> i64 {
        self.open.first_key_value().map_or(self.next, |(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Begun, Track};

    #[test]
    fn an_offset_is_committed_when_all_before_it_have_ended() {
        let mut track = Track::default();
        // Offsets have gaps where transactions were.
        for offset in [4, 5, 7] {
            assert_eq!(track.begin(offset), Begun { run: 0, lowered: None });
        }
        assert_eq!(track.end(5, 0), None);
        assert_eq!(track.end(4, 0), Some(7));
        assert_eq!(track.end(4, 0), None);
        assert_eq!(track.begin(8).lowered, None);
        assert_eq!(track.end(7, 0), Some(8));
        assert_eq!(track.end(8, 0), Some(9));
    }

    #[test]
    fn where_the_end_is_lost_what_lies_before_it_still_keeps_the_offset_back() {
        let mut track = Track::default();
        assert!((4..9).all(|offset| track.begin(offset).lowered.is_none()));
        assert_eq!(track.end(4, 0), Some(5));
        // 5 and 6 are at work; 7 is another record from here on, and 8 is there no more.
        assert_eq!(track.begin(7), Begun { run: 1, lowered: Some(5) });
        assert_eq!((track.end(7, 0), track.end(8, 0)), (None, None));
        assert_eq!(track.end(7, 1), None);
        assert_eq!(track.end(5, 0), Some(6));
        assert_eq!(track.end(6, 0), Some(8));
        assert_eq!(track.begin(8), Begun { run: 1, lowered: None });
        assert_eq!(track.end(8, 1), Some(9));
        assert_eq!(track.begin(0), Begun { run: 2, lowered: Some(0) });
    }

    proptest! {
        #[test]
        fn never_past_one_that_is_open_and_in_the_end_past_all(
            order in Just((0..40_i64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut track = Track::default();
            prop_assert!((0..40).all(|offset| track.begin(offset).lowered.is_none()));
            let mut ended = BTreeSet::new();
            let mut last = None;
            for offset in order {
                ended.insert(offset);
                if let Some(next) = track.end(offset, 0) {
                    prop_assert!((0..next).all(|it| ended.contains(&it)));
                    prop_assert!(last < Some(next));
                    last = Some(next);
                }
            }
            prop_assert_eq!(last, Some(40));
        }
    }
}
