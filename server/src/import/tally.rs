//! How an import went.

use std::fmt;
use std::time::Duration;

use crate::output::grouped;

/// Rows by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All rows of the file.
    pub(crate) rows: u64,
    /// Recorded by this import.
    pub(crate) recorded: u64,
    /// There before it.
    pub(crate) already: u64,
    /// Neither.
    pub(crate) bad: u64,
    /// Deliveries that had to be repeated.
    pub(crate) repeated: u64,
    /// The last position that an answer named.
    pub(crate) position: i64,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Tally {
    /// Rows whose fate is known.
    pub(super) fn done(&self) -> u64 {
        self.recorded + self.already + self.bad
    }

    /// Rows a second.
    pub(super) fn rate(&self, elapsed: Duration) -> u64 {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.done().saturating_mul(1_000) / millis
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
        let (seconds, tenths) = (self.took.as_secs(), self.took.subsec_millis() / 100);
        write!(
            f,
            "{} sales recorded, {} already there, {} bad rows; {} rows in {seconds}.{tenths} s \
             ({} a second)",
            count(self.recorded),
            count(self.already),
            count(self.bad),
            count(self.rows),
            count(self.rate(self.took)),
        )?;
        if self.repeated > 0 {
            write!(f, ", {} deliveries repeated", count(self.repeated))?;
        }
        Ok(())
    }
}
