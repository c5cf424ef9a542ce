//! Which offset of a partition may be committed while its records end out of order.

use std::collections::BTreeSet;

/// The records of one partition that were begun.
#[derive(Debug, Default)]
pub(super) struct Track {
    open: BTreeSet<i64>,
    /// Behind the last record that was begun.
    next: i64,
}

impl Track {
    /// A record was received; false if it lies before one that was received already, which is
    /// none of the same run of offsets.
    #[must_use]
    pub(super) fn begin(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.open.insert(offset);
        self.next = offset + 1;
        true
    }

    /// A record is dealt with. Returns the offset to go on from, if that has moved: everything
    /// before it is dealt with.
    pub(super) fn end(&mut self, offset: i64) -> Option<i64> {
        let first = self.open.first().copied() == Some(offset);
        let known = self.open.remove(&offset);
        (known && first).then(|| self.open.first().copied().unwrap_or(self.next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Track;

    #[test]
    fn an_offset_is_committed_when_all_before_it_have_ended() {
        let mut track = Track::default();
        // Offsets have gaps where transactions were.
        assert!([4, 5, 7].into_iter().all(|offset| track.begin(offset)));
        assert_eq!(track.end(5), None);
        assert_eq!(track.end(4), Some(7));
        assert_eq!(track.end(4), None);
        assert!(track.begin(8));
        assert!(!track.begin(7), "it was begun before");
        assert_eq!(track.end(7), Some(8));
        assert_eq!(track.end(8), Some(9));
    }

    proptest! {
        #[test]
        fn never_past_one_that_is_open_and_in_the_end_past_all(
            order in Just((0..40_i64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut track = Track::default();
            prop_assert!((0..40).all(|offset| track.begin(offset)));
            let mut ended = BTreeSetOf::new();
            let mut last = None;
            for offset in order {
                ended.insert(offset);
                if let Some(next) = track.end(offset) {
                    prop_assert!((0..next).all(|it| ended.contains(&it)));
                    prop_assert!(last < Some(next));
                    last = Some(next);
                }
            }
            prop_assert_eq!(last, Some(40));
        }
    }

    type BTreeSetOf = std::collections::BTreeSet<i64>;
}
