//! Chance that can be had again: every failure prints its seed.

use std::time::{Duration, SystemTime};

/// Takes the seed of an earlier run.
const SEED: &str = "ACCRUE_TEST_SEED";

/// A sequence of numbers (splitmix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A new sequence, or that of `ACCRUE_TEST_SEED`; says which.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let given = std::env::var(SEED).ok().and_then(|it| it.parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seed = given.unwrap_or_else(|| u64::from(now.subsec_nanos()));
        println!("{what}: {SEED}={seed}");
        Self(seed)
    }

    /// The next number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A moment to come, for a fault that may strike at any.
    pub fn moment(&mut self, at_most: Duration) -> Duration {
        let micros = u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros))
    }
}
