//! What the policies promise.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn lapse(zone: &str, from: &str, period: &str, round: Round) -> String {
    let policy = Policy::After { period: period.parse().unwrap(), round };
    match lapses_at(&policy, at(from), zone.parse().unwrap()) {
        Ok(Some(at)) => at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        other => format!("{other:?}"),
    }
}

#[test]
fn months_clamp_to_the_last_day() {
    let utc = |from, period| lapse("UTC", from, period, Round::None);
    assert_snapshot!(utc("2026-01-31T10:00:00Z", "P1M"), @"2026-02-28T10:00:00Z");
    assert_snapshot!(utc("2024-01-31T10:00:00Z", "P1M"), @"2024-02-29T10:00:00Z");
    assert_snapshot!(utc("2024-02-29T10:00:00Z", "P1Y"), @"2025-02-28T10:00:00Z");
    assert_snapshot!(utc("2024-02-29T10:00:00Z", "P4Y"), @"2028-02-29T10:00:00Z");
    assert_snapshot!(utc("2026-01-31T10:00:00Z", "P1M1D"), @"2026-03-01T10:00:00Z");
    assert_snapshot!(utc("2026-01-31T10:00:00Z", "P2W"), @"2026-02-14T10:00:00Z");
    assert_snapshot!(utc("2026-01-31T10:00:00.1234567Z", "P1D"), @"2026-02-01T10:00:00.123456Z");
}

#[test]
fn a_rounded_lot_is_valid_through_the_whole_last_day() {
    let utc = |from, period, round| lapse("UTC", from, period, round);
    assert_snapshot!(utc("2026-01-15T10:00:00Z", "P12M", Round::MonthEnd), @"2027-02-01T00:00:00Z");
    assert_snapshot!(utc("2026-01-31T23:59:59Z", "P12M", Round::MonthEnd), @"2027-02-01T00:00:00Z");
    assert_snapshot!(utc("2026-02-01T00:00:00Z", "P12M", Round::MonthEnd), @"2027-03-01T00:00:00Z");
    assert_snapshot!(utc("2026-11-15T10:00:00Z", "P1M", Round::MonthEnd), @"2027-01-01T00:00:00Z");
    assert_snapshot!(utc("2026-12-31T10:00:00Z", "P12M", Round::YearEnd), @"2028-01-01T00:00:00Z");
    assert_snapshot!(utc("2026-01-01T00:00:00Z", "P1D", Round::YearEnd), @"2027-01-01T00:00:00Z");
}

#[test]
fn months_end_where_the_program_is() {
    let month = |zone, from| lapse(zone, from, "P1M", Round::MonthEnd);
    // 23:30 UTC on 31 May is June in London, and still May in New York.
    assert_snapshot!(month("Europe/London", "2026-05-31T23:30:00Z"), @"2026-07-31T23:00:00Z");
    assert_snapshot!(month("America/New_York", "2026-05-31T23:30:00Z"), @"2026-07-01T04:00:00Z");
    assert_snapshot!(month("Asia/Kathmandu", "2026-05-31T23:30:00Z"), @"2026-07-31T18:15:00Z");
}

#[test]
fn a_skipped_local_time_is_the_instant_of_the_jump() {
    // London: 01:00 to 02:00 on 29 March 2026. Days keep the local time of day.
    assert_snapshot!(lapse("Europe/London", "2026-03-28T01:30:00Z", "P1D", Round::None), @"2026-03-29T01:00:00Z");
    assert_snapshot!(lapse("Europe/London", "2026-03-28T00:59:59Z", "P1D", Round::None), @"2026-03-29T00:59:59Z");
    assert_snapshot!(lapse("Europe/London", "2026-03-28T02:00:00Z", "P1D", Round::None), @"2026-03-29T01:00:00Z");
    // Beirut: midnight itself is skipped. Samoa skipped all of 30 December 2011.
    assert_snapshot!(lapse("Asia/Beirut", "2026-03-27T22:00:00Z", "P1D", Round::None), @"2026-03-28T22:00:00Z");
    assert_snapshot!(lapse("Pacific/Apia", "2011-12-29T22:00:00Z", "P1D", Round::None), @"2011-12-30T10:00:00Z");
    // Toronto: half past eleven of 30 March 1919 jumped over midnight.
    assert_snapshot!(lapse("America/Toronto", "1919-03-30T05:15:00Z", "P1D", Round::None), @"1919-03-31T04:30:00Z");
}

#[test]
fn a_repeated_local_time_is_the_first_of_the_two() {
    // London: 01:00 to 02:00 comes twice on 25 October 2026.
    assert_snapshot!(lapse("Europe/London", "2026-10-24T00:30:00Z", "P1D", Round::None), @"2026-10-25T00:30:00Z");
    // Havana repeats the first hour of 1 November 2026.
    assert_snapshot!(lapse("America/Havana", "2026-10-15T12:00:00Z", "P1D", Round::MonthEnd), @"2026-11-01T04:00:00Z");
}

#[test]
fn instants_stay_in_four_digit_years() {
    assert_snapshot!(lapse("UTC", "9999-12-30T00:00:00Z", "P1D", Round::None), @"9999-12-31T00:00:00Z");
    assert_snapshot!(lapse("UTC", "9999-12-31T00:00:00Z", "P1D", Round::None), @"Err(OutOfRange)");
    assert_snapshot!(lapse("UTC", "9999-12-01T00:00:00Z", "P1D", Round::MonthEnd), @"Err(OutOfRange)");
    let never = lapses_at(&Policy::Never, at("2026-01-01T00:00:00Z"), Zone::UTC);
    assert_eq!(never, Ok(None));
}

fn read(json: &str) -> String {
    match serde_json::from_str::<Policy>(json) {
        Ok(policy) => serde_json::to_string(&policy).unwrap(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_policy_is_read_and_written() {
    for json in [
        r#""never""#,
        r#"{"at":"2027-01-31T00:00:00Z"}"#,
        r#"{"after":"P12M"}"#,
        r#"{"after":"P12M","round":"month_end"}"#,
        r#"{"after":"P1Y6M","round":"year_end"}"#,
    ] {
        assert_eq!(read(json), json);
    }
    assert_snapshot!(read(r#"{"at":"2027-01-31T01:00:00+01:00"}"#), @r#"{"at":"2027-01-31T00:00:00Z"}"#);
    assert_snapshot!(read(r#"{"after":"P12M","round":"none"}"#), @r#"{"after":"P12M"}"#);
}

#[test]
fn anything_else_is_refused_with_a_reason() {
    let all = [
        r#""always""#,
        "null",
        "12",
        "{}",
        r#"{"round":"month_end"}"#,
        r#"{"at":"2027-01-31T00:00:00Z","after":"P1M"}"#,
        r#"{"at":"2027-01-31T00:00:00Z","round":"month_end"}"#,
        r#"{"after":"P1M","round":"week_end"}"#,
        r#"{"after":"1 month"}"#,
        r#"{"after":"P1M","until":1}"#,
        r#"{"at":"tomorrow"}"#,
        r#"{"at":"0000-01-01T00:00:00Z"}"#,
        r#"{"after":"P0D"}"#,
    ];
    assert_snapshot!(all.map(read).join("\n"), @r#"
    invalid value: string "always", expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"} at line 1 column 8
    invalid type: null, expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"} at line 1 column 4
    invalid type: integer `12`, expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"} at line 1 column 2
    expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"}: neither `at` nor `after` is given
    expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"}: neither `at` nor `after` is given
    expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"}: `at` and `after` exclude each other
    expected "never", {"at": instant} or {"after": period, "round": "month_end"|"year_end"}: `round` goes with `after` only
    unknown variant `week_end`, expected one of `none`, `month_end`, `year_end` at line 1 column 33
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "1 month": it does not begin with P at line 1 column 19
    unknown field `until`, expected one of `at`, `after`, `round` at line 1 column 22
    invalid value: string "tomorrow", expected an RFC 3339 instant such as 2027-01-31T00:00:00Z at line 1 column 17
    expected an instant in the years 1 to 9999
    expected a period of at least 1 day at line 1 column 15
    "#);
}

proptest! {
    #[test]
    fn adding_months_lands_in_the_right_month_and_clamps(
        days in 0..40_000_i64,
        months in 1..=600_u32,
    ) {
        let from = at("1970-01-01T12:00:00Z") + TimeDelta::days(days);
        let policy = Policy::After { period: Period::of_months(months).unwrap(), round: Round::None };
        let end = lapses_at(&policy, from, Zone::UTC).unwrap().unwrap();
        let count = |at: DateTime<Utc>| i64::from(at.year()) * 12 + i64::from(at.month0());
        prop_assert_eq!(count(end) - count(from), i64::from(months));
        let last_day = (end + TimeDelta::days(1)).day() == 1;
        prop_assert!(end.day() == from.day() || (end.day() < from.day() && last_day));
        prop_assert_eq!(end.time(), from.time());
    }

    #[test]
    fn the_end_of_a_period_lies_behind_its_start_in_every_zone(
        seconds in 0..4_000_000_000_i64,
        zone in proptest::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        days in 1..400_u32,
        round in proptest::sample::select(vec![Round::None, Round::MonthEnd, Round::YearEnd]),
    ) {
        let from = DateTime::from_timestamp(seconds, 0).unwrap();
        let policy = Policy::After { period: Period::of_days(days).unwrap(), round };
        let end = lapses_at(&policy, from, Zone::from(zone)).unwrap().unwrap();
        prop_assert!(end > from);
        if round != Round::None {
            let before = (end - TimeDelta::seconds(1)).with_timezone(&zone);
            let at_end = end.with_timezone(&zone);
            prop_assert_eq!(at_end.day(), 1);
            prop_assert_ne!((before.year(), before.month()), (at_end.year(), at_end.month()));
        }
    }
}
