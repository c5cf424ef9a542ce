//! Dates: texts of any format in a zone, and history moved by whole days.

use anyhow::{Result, ensure};
use chrono::format::{Item, StrftimeItems};
use chrono::{
    DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound as _, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// Tried in this order where no format is given, after RFC 3339.
const ISO: [&str; 4] =
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

/// Reads dates.
#[derive(Debug, Clone)]
pub(crate) struct DateReader {
    format: Option<String>,
    pub(crate) zone: Tz,
}

impl DateReader {
    /// A reader of one format, or of ISO 8601.
    pub(crate) fn new(format: Option<String>, zone: Tz) -> Result<Self> {
        if let Some(format) = &format {
            let wrong = StrftimeItems::new(format).any(|item| matches!(item, Item::Error));
            ensure!(!wrong, "--date-format: {format:?} holds a code that strftime does not know");
        }
        Ok(Self { format, zone })
    }

    /// A moment in its own offset, or the zone's local time.
    pub(super) fn read(&self, text: &str) -> Result<Moment, String> {
        let found = match &self.format {
            Some(format) => read_as(text, format),
            None => DateTime::parse_from_rfc3339(text)
                .map(|it| Moment::Instant(it.with_timezone(&Utc)))
                .ok()
                .or_else(|| ISO.iter().find_map(|format| read_as(text, format)))
                .or_else(|| read_as(text, "%Y-%m-%d")),
        };
        found.ok_or_else(|| {
            let expected = self.format.as_deref().unwrap_or("2010-12-01 or 2010-12-01T08:26:00Z");
            format!("occurred_at: expected a date such as {expected}, got {text:?}")
        })
    }

    /// The instant of a moment that is moved by so many days. Local times keep their clock time,
    /// so that midnight stays midnight across a change to summer time.
    pub(super) fn instant(&self, moment: Moment, shift: Shift) -> Option<DateTime<Utc>> {
        match moment {
            Moment::Instant(it) => it.checked_add_signed(TimeDelta::days(shift.0)),
            Moment::Local(it) => local(shift.of(it)?, self.zone),
        }
    }

    /// The shift that brings a moment to today, or to yesterday where its clock time is still to
    /// come today: nothing is sold in the future.
    pub(super) fn until(&self, last: Moment, now: DateTime<Utc>) -> Shift {
        let today = now.with_timezone(&self.zone).date_naive();
        let shift = Shift::between(self.day(last), today);
        let ahead = self.instant(last, shift).is_some_and(|at| at > now);
        if ahead { Shift(shift.0.saturating_sub(1)) } else { shift }
    }

    /// How far a moment was moved that is at this instant now; none where no number of days leads
    /// there, so that it must be another's.
    pub(super) fn moved(&self, moment: Moment, to: DateTime<Utc>) -> Option<Shift> {
        let near = Shift::between(self.day(moment), to.with_timezone(&self.zone).date_naive()).0;
        // The log has microseconds.
        let leads = |shift: &Shift| {
            let at = self.instant(moment, *shift);
            at.is_some_and(|at| at.trunc_subsecs(6) == to.trunc_subsecs(6))
        };
        // Days of an instant have 24 hours, and its date in the zone may move by one more or less.
        let days = [near, near.saturating_sub(1), near.saturating_add(1)];
        days.map(Shift).into_iter().find(leads)
    }

    /// The day of a moment in the zone.
    pub(super) fn day(&self, moment: Moment) -> NaiveDate {
        match moment {
            Moment::Instant(it) => it.with_timezone(&self.zone).date_naive(),
            Moment::Local(it) => it.date(),
        }
    }
}

/// A point in time as a file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Instant(DateTime<Utc>),
    Local(NaiveDateTime),
}

/// Days by which history is moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shift(pub(super) i64);

impl Shift {
    /// From one day to another.
    pub(super) fn between(from: NaiveDate, to: NaiveDate) -> Self {
        Self(to.signed_duration_since(from).num_days())
    }

    fn of(self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let days = Days::new(self.0.unsigned_abs());
        if self.0 < 0 { local.checked_sub_days(days) } else { local.checked_add_days(days) }
    }
}

fn read_as(text: &str, format: &str) -> Option<Moment> {
    if let Ok(it) = DateTime::parse_from_str(text, format) {
        return Some(Moment::Instant(it.with_timezone(&Utc)));
    }
    let date = || NaiveDate::parse_from_str(text, format).map(|it| it.and_time(NaiveTime::MIN));
    NaiveDateTime::parse_from_str(text, format).or_else(|_| date()).ok().map(Moment::Local)
}

/// The first instant that a clock in the zone shows this; where it is set forward over it, the
/// instant that the clock would have shown it without that.
fn local(at: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(it) = zone.from_local_datetime(&at).earliest() {
        return Some(it.with_timezone(&Utc));
    }
    let before = at.checked_sub_signed(TimeDelta::hours(3))?;
    let before = zone.from_local_datetime(&before).earliest()?;
    before.with_timezone(&Utc).checked_add_signed(TimeDelta::hours(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Option<&str>, zone: Tz, text: &str, days: i64) -> String {
        let reader = DateReader::new(format.map(str::to_owned), zone).unwrap();
        match reader.read(text) {
            Ok(moment) => reader.instant(moment, Shift(days)).unwrap().to_rfc3339(),
            Err(error) => error,
        }
    }

    #[test]
    fn iso_dates_are_read_without_a_format() {
        let london = chrono_tz::Europe::London;
        let cases = [
            ("2010-12-01", "2010-12-01T00:00:00+00:00"),
            ("2011-07-01", "2011-06-30T23:00:00+00:00"),
            ("2011-07-01 08:26", "2011-07-01T07:26:00+00:00"),
            ("2011-07-01T08:26:30", "2011-07-01T07:26:30+00:00"),
            ("2011-07-01T08:26:00+02:00", "2011-07-01T06:26:00+00:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(None, london, text, 0), expected);
        }
        assert!(read(None, london, "12-01-2010", 0).starts_with("occurred_at: expected a date"));
    }

    #[test]
    fn a_format_is_followed_to_the_letter() {
        let utc = Tz::UTC;
        let format = Some("%m-%d-%Y %H:%M");
        assert_eq!(read(format, utc, "12-01-2010 08:26", 0), "2010-12-01T08:26:00+00:00");
        assert!(read(format, utc, "2010-12-01", 0).contains("such as %m-%d-%Y %H:%M, got"));
        assert_eq!(read(Some("%d.%m.%Y"), utc, "31.01.2011", 0), "2011-01-31T00:00:00+00:00");
        assert!(DateReader::new(Some("%Q%".to_owned()), utc).is_err());
    }

    #[test]
    fn history_moves_by_whole_days_and_keeps_its_distances_and_clock_times() {
        let london = chrono_tz::Europe::London;
        let shift =
            |from: &str, to: &str| Shift::between(from.parse().unwrap(), to.parse().unwrap()).0;
        let days = shift("2011-12-09", "2026-07-01");
        assert_eq!(days, 5_318);
        // The last day becomes today at local midnight, the first one stays 373 days before it.
        assert_eq!(read(None, london, "2011-12-09", days), "2026-06-30T23:00:00+00:00");
        assert_eq!(read(None, london, "2010-12-01", days), "2025-06-22T23:00:00+00:00");
        assert_eq!(shift("2010-12-01", "2011-12-09"), shift("2025-06-23", "2026-07-01"));
        assert_eq!(read(None, london, "2026-07-01", -days), "2011-12-09T00:00:00+00:00");
        assert_eq!(
            read(None, london, "2011-12-09T10:00:00Z", days),
            "2026-07-01T10:00:00+00:00",
            "an instant moves by days of 24 hours"
        );
    }

    #[test]
    fn the_last_moment_comes_to_today_and_never_into_the_future() {
        let reader = DateReader::new(None, chrono_tz::Europe::London).unwrap();
        let shifted = |last: &str, now: &str| {
            let last = reader.read(last).unwrap();
            let shift = reader.until(last, now.parse().unwrap());
            reader.instant(last, shift).unwrap().to_rfc3339()
        };
        let now = "2026-01-31T10:00:00Z";
        assert_eq!(shifted("2010-12-05", now), "2026-01-31T00:00:00+00:00");
        assert_eq!(shifted("2010-12-05 10:00", now), "2026-01-31T10:00:00+00:00");
        assert_eq!(shifted("2010-12-05 10:01", now), "2026-01-30T10:01:00+00:00");
    }

    #[test]
    fn how_far_a_moment_was_moved_is_seen_from_where_it_is_now() {
        let reader = DateReader::new(None, chrono_tz::Europe::London).unwrap();
        let moved = |from: &str, to: &str| {
            let shift = reader.moved(reader.read(from).unwrap(), to.parse().unwrap());
            shift.map(|it| it.0)
        };
        // Local midnight, from winter to summer.
        assert_eq!(moved("2011-12-09", "2026-06-30T23:00:00Z"), Some(5_318));
        // The second of July in London, and from there the sixth of December.
        assert_eq!(moved("2011-07-01T23:30:00Z", "2011-12-06T23:30:00Z"), Some(158));
        assert_eq!(moved("2011-12-06T23:30:00Z", "2011-07-01T23:30:00Z"), Some(-158));
        assert_eq!(moved("2011-12-09T10:00:00.1234567Z", "2011-12-10T10:00:00.123456Z"), Some(1));
        // Another clock time is another's.
        assert_eq!(moved("2011-12-09", "2026-06-30T23:00:01Z"), None);
        assert_eq!(moved("2011-12-09 10:00", "2026-07-01T10:00:00Z"), None);
    }

    #[test]
    fn a_clock_time_that_does_not_exist_is_the_one_the_clock_was_set_forward_to() {
        let london = chrono_tz::Europe::London;
        assert_eq!(read(None, london, "2011-03-27 01:30", 0), "2011-03-27T01:30:00+00:00");
        assert_eq!(read(None, london, "2011-10-30 01:30", 0), "2011-10-30T00:30:00+00:00");
    }
}
