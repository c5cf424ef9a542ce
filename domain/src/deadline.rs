//! Deadlines of holds: the same bound whatever is held.

use chrono::{DateTime, TimeDelta, Utc};

/// Longest hold in days.
pub(crate) const DAYS_MAX: i64 = 366;

/// May a hold that is placed now be released by itself then? After now, and not too far away.
pub(crate) fn is_near(until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let last = now.checked_add_signed(TimeDelta::days(DAYS_MAX));
    until > now && last.is_none_or(|last| until <= last)
}
