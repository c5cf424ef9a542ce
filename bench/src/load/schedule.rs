//! When the requests of an open loop are due.
//!
//! The due time of a request depends on the rate alone, never on how fast earlier answers came, and
//! latency counts from it: a server that stalls is charged for every request that had to wait
//! (no coordinated omission).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Hands out due times, in order, to whichever connection is free.
#[derive(Debug)]
pub(crate) struct Schedule {
    per_second: u64,
    requests: u64,
    next: AtomicU64,
}

impl Schedule {
    pub(crate) fn new(per_second: u64, length: Duration) -> Self {
        let nanos = length.as_nanos().saturating_mul(u128::from(per_second));
        let requests = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        Self { per_second, requests, next: AtomicU64::new(0) }
    }

    /// The due time of the next request, from the start of the run; none when all are handed out.
    pub(crate) fn take(&self) -> Option<Duration> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        if ticket >= self.requests {
            return None;
        }
        let nanos = u128::from(ticket) * 1_000_000_000 / u128::from(self.per_second);
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use std::time::Duration;

    fn due(schedule: &Schedule) -> Vec<u128> {
        std::iter::from_fn(|| schedule.take()).map(|due| due.as_micros()).collect()
    }

    #[test]
    fn requests_are_due_at_even_distances() {
        let schedule = Schedule::new(4, Duration::from_millis(1500));
        assert_eq!(due(&schedule), [0, 250_000, 500_000, 750_000, 1_000_000, 1_250_000]);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let schedule = Schedule::new(3, Duration::from_secs(100));
        let due = due(&schedule);
        assert_eq!(due.len(), 300);
        assert_eq!((due[1], due[2], due[299]), (333_333, 666_666, 99_666_666));
    }

    #[test]
    fn an_exhausted_schedule_stays_exhausted() {
        let schedule = Schedule::new(1, Duration::from_secs(1));
        assert_eq!(schedule.take(), Some(Duration::ZERO));
        assert_eq!((schedule.take(), schedule.take()), (None, None));
    }
}
