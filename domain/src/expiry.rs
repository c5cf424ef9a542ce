//! When points lapse: expiry policies and month arithmetic.
//!
//! A period is added to the local time of the program's zone, months first and clamped to the
//! month's last day (31 January + 1 month is 28 or 29 February, as chrono's
//! `checked_add_months` has it), then days. Rounding up to the end of a month or year gives the
//! first instant of the next one, so that a lot that lapses "at month end" is valid through the
//! whole last day. A local time that a clock change skips or repeats means the first instant
//! at which the zone's clocks show it or a later one.

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset,
    SubsecRound, TimeDelta, TimeZone, Utc,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod period;
mod wire;
pub mod zone;

use period::Period;
use zone::Zone;

/// The last year of an instant that the ledger writes: RFC 3339 has four digits for it.
const YEAR_MAX: i32 = 9999;

/// When a lot lapses. JSON: `"never"`, `{"at": "2027-01-31T00:00:00Z"}`, `{"after": "P12M"}`,
/// `{"after": "P12M", "round": "month_end"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "wire::Policy", into = "wire::Policy")]
#[schemars(with = "wire::Policy")]
pub enum Policy {
    /// The lot never lapses.
    #[default]
    Never,
    /// The lot lapses at a fixed instant.
    At(DateTime<Utc>),
    /// The lot lapses a period after its `occurred_at` (or `available_from`, where later).
    After {
        /// How long.
        period: Period,
        /// What the end is rounded up to, in the program's zone.
        round: Round,
    },
}

/// What the end of a period is rounded up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Round {
    /// The very instant.
    #[default]
    None,
    /// The end of the month's last day.
    MonthEnd,
    /// The end of 31 December.
    YearEnd,
}

/// Why no instant follows from a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The instant lies outside of the years 1 to 9999.
    #[error("expected an instant in the years 1 to {YEAR_MAX}")]
    OutOfRange,
}

/// When a lot lapses that counts from `from`; none where it never does. To the microsecond,
/// which is what the log's database keeps.
///
/// # Errors
/// When the instant lies outside of the years 1 to 9999.
pub fn lapses_at(
    policy: &Policy,
    from: DateTime<Utc>,
    zone: Zone,
) -> Result<Option<DateTime<Utc>>, Error> {
    match policy {
        Policy::Never => Ok(None),
        Policy::At(at) => instant(*at).map(Some),
        Policy::After { period, round } => after(period, *round, from, zone).map(Some),
    }
}

/// An instant as the ledger keeps it: to the microsecond, in the years 1 to 9999.
///
/// # Errors
/// When it lies outside of those years.
pub fn instant(at: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    if !(1..=YEAR_MAX).contains(&at.year()) {
        return Err(Error::OutOfRange);
    }
    Ok(at.trunc_subsecs(6))
}

fn after(
    period: &Period,
    round: Round,
    from: DateTime<Utc>,
    zone: Zone,
) -> Result<DateTime<Utc>, Error> {
    let local = instant(from)?.with_timezone(&zone.tz()).naive_local();
    let end = local
        .checked_add_months(Months::new(period.months_total()))
        .and_then(|end| end.checked_add_days(Days::new(u64::from(period.days_total()))))
        .and_then(|end| round_up(end, round))
        .ok_or(Error::OutOfRange)?;
    first_instant(end, zone).and_then(instant)
}

/// The first instant of the month or year behind `end`; `end` itself where nothing is rounded.
/// An end that is the first instant of a month already belongs to that month.
fn round_up(end: NaiveDateTime, round: Round) -> Option<NaiveDateTime> {
    let first_day = match round {
        Round::None => return Some(end),
        Round::MonthEnd => end.date().with_day(1)?.checked_add_months(Months::new(1))?,
        Round::YearEnd => NaiveDate::from_ymd_opt(end.year().checked_add(1)?, 1, 1)?,
    };
    Some(first_day.and_time(NaiveTime::MIN))
}

/// The first instant at which the zone's clocks show `local` or later.
fn first_instant(local: NaiveDateTime, zone: Zone) -> Result<DateTime<Utc>, Error> {
    match zone.tz().from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(at.with_timezone(&Utc)),
        LocalResult::None => end_of_gap(local, zone).ok_or(Error::OutOfRange),
    }
}

/// The instant at which the clocks jumped over `local`. The gap begins less than two days
/// before it: the longest ever was a whole day, when Samoa crossed the date line in 2011.
fn end_of_gap(local: NaiveDateTime, zone: Zone) -> Option<DateTime<Utc>> {
    let mut before = (1..=48).find_map(|hours| {
        let earlier = local.checked_sub_signed(TimeDelta::hours(hours))?;
        zone.tz().from_local_datetime(&earlier).latest()
    })?;
    let offset = before.offset().fix();
    let mut behind = before.checked_add_signed(TimeDelta::hours(49))?;
    // Halves the span until one second is left: the offset changes at its end.
    while behind.signed_duration_since(before) > TimeDelta::seconds(1) {
        let half = behind.signed_duration_since(before).num_seconds().checked_div(2)?;
        let middle = before.checked_add_signed(TimeDelta::seconds(half))?;
        if middle.offset().fix() == offset {
            before = middle;
        } else {
            behind = middle;
        }
    }
    Some(behind.with_timezone(&Utc).trunc_subsecs(0))
}

#[cfg(test)]
mod tests;
