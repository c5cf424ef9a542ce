//! How long a commit takes beside its rows, which says whether it pays to leave half of a crowd to the
//! next batch.
//!
//! Of `n` commands that wait for each other's batches, all in one are done in `L + n (w + a)`: the commit's
//! own time, and to write each, answer it and have the next. In halves they are done in
//! `2 L + n w`, since one half is answered while the other is written. So halves pay where `L < n a`.

use std::time::Duration;

/// About what it takes to answer a command and have the next.
const COMMAND: Duration = Duration::from_micros(15);

/// About what it takes to write a row; a command has an event and a key, or more.
const ROW: Duration = Duration::from_nanos(7_500);

/// A batch of fewer commands is never closed for the sake of the next one.
const HALF_MIN: usize = 32;

/// The least of so many commits, and of as many before, is what one takes by itself: the others had to
/// wait for a processor or the disk.
const COMMITS: usize = 32;

/// The pace of commits.
#[derive(Debug)]
pub(super) struct Pace {
    least: Option<Duration>,
    /// Of the commits before.
    before: Option<Duration>,
    count: usize,
    /// Kept, since it is asked for with every command.
    half_min: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { least: None, before: None, count: 0, half_min: HALF_MIN }
    }
}

impl Pace {
    /// A batch of so many rows was durable after that time.
    pub(super) fn committed(&mut self, rows: usize, took: Duration) {
        if self.count == COMMITS {
            (self.before, self.count) = (self.least.take(), 0);
        }
        self.count += 1;
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let beside = took.saturating_sub(ROW.saturating_mul(rows));
        let least = self.least.map_or(beside, |least| least.min(beside));
        self.least = Some(least);
        let least = self.before.map_or(least, |before| before.min(least));
        let answered = least.as_micros() / COMMAND.as_micros();
        self.half_min = usize::try_from(answered / 2).unwrap_or(usize::MAX).max(HALF_MIN);
    }

    /// No batch could be written. Until one is, none is closed: who was left to the next one would
    /// only hear of it later.
    pub(super) const fn failed(&mut self) {
        self.half_min = usize::MAX;
    }

    /// Fewest commands of a batch that leaves as many to the next one.
    pub(super) const fn half_min(&self) -> usize {
        self.half_min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(400);
    const SLOW: Duration = Duration::from_millis(9);

    /// Of commits with so many rows.
    fn after(commits: impl IntoIterator<Item = (usize, Duration)>) -> usize {
        let mut pace = Pace::default();
        commits.into_iter().for_each(|(rows, took)| pace.committed(rows, took));
        pace.half_min()
    }

    #[test]
    fn a_quick_commit_is_worth_a_few_commands() {
        assert_eq!(after([]), HALF_MIN);
        assert_eq!(after([(10, QUICK), (512, 512 * ROW + QUICK)]), HALF_MIN);
    }

    #[test]
    fn a_slow_commit_is_worth_as_many_as_are_answered_in_half_of_its_time() {
        assert_eq!(after([(200, 200 * ROW + SLOW)]), 300);
        assert_eq!(after([(1, Duration::MAX), (usize::MAX, SLOW)]), HALF_MIN);
    }

    #[test]
    fn until_one_is_written_again_no_batch_is_closed() {
        let mut pace = Pace::default();
        pace.failed();
        assert_eq!(pace.half_min(), usize::MAX);
        pace.committed(2, QUICK);
        assert_eq!(pace.half_min(), HALF_MIN);
    }

    #[test]
    fn one_that_was_held_up_does_not_count_and_what_was_quick_is_forgotten() {
        assert_eq!(after([(0, QUICK), (0, SLOW)]), HALF_MIN);
        let slow = |count| std::iter::once((0, QUICK)).chain((0..count).map(|_| (0, SLOW)));
        assert_eq!(after(slow(2 * COMMITS - 1)), HALF_MIN);
        assert_eq!(after(slow(2 * COMMITS)), 300);
    }
}
