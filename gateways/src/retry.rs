//! Exponential backoff with full jitter. Pure: chance is handed in, and waiting is the caller's.

use std::time::Duration;

/// When, and how often, a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait before the first retry, in milliseconds; it doubles with each further one.
    pub delay_ms_base: u64,
    /// No wait is longer, in milliseconds.
    pub delay_ms_max: u64,
    /// Calls in all, the first included; after that many the caller gives up.
    pub attempts_max: u32,
}

/// For calls to a payment provider: half a second at first, five minutes at most.
pub const PAYMENT: Backoff =
    Backoff { delay_ms_base: 500, delay_ms_max: 300_000, attempts_max: 12 };

/// A number from 0 (included) to 1 (excluded) in steps of 2⁻³²: the value over 2³². A caller with
/// a source of random bits passes 32 of them as they are, and no float is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance(pub u32);

impl Backoff {
    /// How long to wait after `attempt` calls have failed (1 after the first), or nothing when it
    /// was the last one.
    ///
    /// Full jitter, so anything from no wait to the whole one: callers that failed at the same
    /// moment, as all do when a provider goes down, then come back spread evenly.
    #[must_use]
    pub fn delay(&self, attempt: u32, chance: Chance) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let ceiling = u128::from(self.ceiling_ms(attempt));
        let delay = (ceiling * u128::from(chance.0)) >> 32;
        Some(Duration::from_millis(u64::try_from(delay).unwrap_or(self.delay_ms_max)))
    }

    /// The longest wait after `attempt` failed calls, in milliseconds.
    fn ceiling_ms(&self, attempt: u32) -> u64 {
        let factor = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        self.delay_ms_base.saturating_mul(factor).min(self.delay_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IT: Backoff = Backoff { delay_ms_base: 100, delay_ms_max: 1_000, attempts_max: 7 };
    const HALF: Chance = Chance(1 << 31);

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_then_ends() {
        let waits: Vec<_> = (1..=7).map(|n| IT.delay(n, HALF).map(|it| it.as_millis())).collect();
        let expected = [Some(50), Some(100), Some(200), Some(400), Some(500), Some(500), None];
        assert_eq!(waits, expected);
    }

    #[test]
    fn jitter_is_full() {
        assert_eq!(IT.delay(1, Chance(0)), Some(Duration::ZERO));
        assert_eq!(IT.delay(1, Chance(u32::MAX)), Some(Duration::from_millis(99)));
    }

    proptest! {
        #[test]
        fn no_numbers_overflow(base: u64, max: u64, attempt: u32, chance: u32) {
            let it = Backoff { delay_ms_base: base, delay_ms_max: max, attempts_max: u32::MAX };
            if let Some(delay) = it.delay(attempt, Chance(chance)) {
                prop_assert!(delay <= Duration::from_millis(max));
            }
        }
    }
}
