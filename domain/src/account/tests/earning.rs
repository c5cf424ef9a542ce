//! Issue, credit, opening, limits.

use chrono::TimeDelta;
use insta::assert_snapshot;

use super::member::*;
use crate::account::command::{Change, Command, Issue};
use crate::aggregate::Aggregate;
use crate::expiry::period::Period;
use crate::expiry::{Policy, Round};
use crate::points::Points;

fn after(period: &str, round: Round) -> Option<Policy> {
    Some(Policy::After { period: period.parse::<Period>().unwrap(), round })
}

#[test]
fn an_account_opens_with_its_first_command_and_only_once() {
    let mut member = Member::new();
    assert_snapshot!(member.does(Command::Settle), @"nothing");
    assert!(!member.account.is_open());
    assert_snapshot!(member.does(Command::Open), @"AccountOpened");
    assert_snapshot!(member.does(Command::Open), @"nothing");
    let mut other = Member::new();
    assert_snapshot!(other.does(issue("a", 5)), @r"
    AccountOpened
    PointsIssued lot=a points=5 source=kind=issue
    ");
    assert_snapshot!(other.does(issue("b", 6)), @"PointsIssued lot=b points=6 source=kind=issue");
}

#[test]
fn a_refused_first_command_opens_nothing() {
    let mut member = Member::new();
    assert_snapshot!(member.does(redeem(1)), @"insufficient-points /points Conflict: insufficient points: 1 requested, 0 available");
    assert!(!member.account.is_open());
}

#[test]
fn a_lot_counts_from_its_business_time_in_the_programs_zone() {
    let mut member = Member::new().on(90);
    member.settings.zone = "Europe/London".parse().unwrap();
    member.occurred_at = Some(day(30)); // 31 January
    let with = |id, expires| Command::Issue(Issue { expires, ..never(id, 1) });
    assert_snapshot!(member.does(with("month", after("P12M", Round::MonthEnd))), @r"
    AccountOpened
    PointsIssued expires_at=2027-02-01 lot=month points=1 source=kind=issue
    ");
    assert_snapshot!(member.does(with("plain", after("P3M", Round::None))),
        @"PointsIssued expires_at=2026-04-29T23:00:00Z lot=plain points=1 source=kind=issue");
    assert_snapshot!(member.does(with("year", after("P1D", Round::YearEnd))),
        @"PointsIssued expires_at=2027-01-01 lot=year points=1 source=kind=issue");
}

#[test]
fn a_pending_lot_counts_from_its_start() {
    let mut member = Member::new().did(Command::Open);
    let command = Command::Issue(Issue {
        available_from: Some(day(31)),
        expires: after("P1M", Round::None),
        ..never("a", 9)
    });
    assert_snapshot!(member.does(command), @"PointsIssued available_from=2026-02-01 expires_at=2026-03-01 lot=a points=9 source=kind=issue");
    assert_snapshot!(member.has(), @"balance 9 available 0 pending 9 held 0 debt 0");
    assert_eq!(member.account.next_deadline(), Some(day(59)));
    assert_snapshot!(member.on(31).has(), @"balance 9 available 9 pending 0 held 0 debt 0");
}

#[test]
fn the_programs_policy_holds_where_an_issue_has_none() {
    let mut member = Member::new().did(Command::Open);
    member.settings.expiry = Policy::At(day(10));
    assert_snapshot!(member.does(issue("a", 1)), @"PointsIssued expires_at=2026-01-11 lot=a points=1 source=kind=issue");
    assert_snapshot!(member.does(credit("b", 2)), @"PointsCredited actor=desk expires_at=2026-01-11 lot=b points=2 reason=goodwill");
}

#[test]
fn a_lot_lapses_after_its_start() {
    let mut member = Member::new().did(Command::Open).on(5);
    assert_snapshot!(member.does(lapsing("a", 1, 5)), @"invalid-expiry /expires Invalid: a lot must lapse after its start: it starts at 2026-01-06T00:00:00+00:00, and would lapse at 2026-01-06T00:00:00+00:00");
    assert_snapshot!(member.does(lapsing("a", 1, 6)), @"PointsIssued expires_at=2026-01-07 lot=a points=1 source=kind=issue");
    let late = |days| {
        let expires = Some(Policy::At(day(20)));
        Command::Issue(Issue { expires, available_from: Some(day(days)), ..never("b", 1) })
    };
    assert_snapshot!(member.does(late(20)), @"invalid-expiry /expires Invalid: a lot must lapse after its start: it starts at 2026-01-21T00:00:00+00:00, and would lapse at 2026-01-21T00:00:00+00:00");
    assert_snapshot!(member.does(late(19)), @"PointsIssued available_from=2026-01-20 expires_at=2026-01-21 lot=b points=1 source=kind=issue");
}

#[test]
fn a_lot_from_long_ago_lapses_on_arrival() {
    let mut member = Member::new().did(Command::Open).on(800);
    member.occurred_at = Some(day(0));
    let command = Command::Issue(Issue { expires: after("P1Y", Round::None), ..never("a", 4) });
    assert_snapshot!(member.does(command), @r"
    PointsIssued expires_at=2027-01-01 lot=a points=4 source=kind=issue
    PointsExpired lots=[a:4] points=4
    ");
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 0");
}

#[test]
fn the_same_lot_again_is_a_no_op_and_another_content_is_refused() {
    let asked = Issue {
        expires: after("P1M", Round::None),
        available_from: Some(day(3)),
        reference: Some("r".into()),
        ..never("a", 5)
    };
    let mut member = Member::new().did(Command::Issue(asked.clone())).on(2);
    assert_snapshot!(member.does(Command::Issue(asked.clone())), @"nothing");
    let refused = "lot-exists /lot Conflict: lot a exists with other content";
    for other in [
        Issue { points: amount(6), ..asked.clone() },
        Issue { expires: Some(Policy::Never), ..asked.clone() },
        Issue { expires: Some(Policy::At(day(60))), ..asked.clone() },
        Issue { available_from: None, ..asked.clone() },
        Issue { reference: None, ..asked.clone() },
    ] {
        assert_eq!(member.does(Command::Issue(other)), refused);
    }
    assert_eq!(member.does(award("a", 5, "s")), refused);
    assert_eq!(member.does(credit("a", 5)), refused);
}

#[test]
fn a_retry_after_the_lot_has_lapsed_still_is_one() {
    let member = Member::new().did(lapsing("a", 5, 10)).on(20);
    assert_snapshot!(member.clone().does(lapsing("a", 5, 10)), @"PointsExpired lots=[a:5] points=5");
    let mut settled = member.did(Command::Settle);
    assert_snapshot!(settled.does(lapsing("a", 5, 10)), @"nothing");
}

#[test]
fn the_same_credit_again_is_a_no_op() {
    let mut member = Member::new().did(credit("a", 5));
    assert_snapshot!(member.does(credit("a", 5)), @"nothing");
    assert_snapshot!(member.does(credit("a", 6)), @"lot-exists /lot Conflict: lot a exists with other content");
    assert_snapshot!(member.does(issue("a", 5)), @"lot-exists /lot Conflict: lot a exists with other content");
}

#[test]
fn an_award_of_a_build_that_named_its_lot_otherwise_is_not_made_again() {
    let mut member = Member::new().did(award("tenth.7", 5, "s"));
    assert_snapshot!(member.does(award("award:tenth.7", 5, "s")), @"nothing");
    assert_snapshot!(member.does(award("award:tenth.7", 6, "s")), @"nothing");
    let mut taken = Member::new().did(issue("tenth.7", 5));
    assert!(taken.does(award("award:tenth.7", 5, "s")).contains("lot=award:tenth.7"));
}

#[test]
fn a_lot_whose_name_is_taken_is_refused_where_the_command_names_none_too() {
    let mut member = Member::new().did(issue("command-2", 5));
    let nameless = Command::Issue(Issue { lot: None, ..never("-", 6) });
    assert_snapshot!(member.does(nameless), @"lot-exists - Conflict: the lot that is named after the command, command-2, exists with other content");
}

#[test]
fn a_lot_without_an_id_is_named_by_its_command() {
    let mut member = Member::new();
    let command = Command::Issue(Issue { lot: None, ..never("-", 5) });
    assert_snapshot!(member.does(command.clone()), @r"
    AccountOpened
    PointsIssued lot=command-1 points=5 source=kind=issue
    ");
    assert_eq!(member.asks(command), Ok(vec![]), "the same command id again");
}

#[test]
fn a_balance_has_a_limit() {
    let max = Points::MAX.get();
    let mut member = Member::new().did(issue("a", max - 1));
    assert_snapshot!(member.does(issue("b", 2)), @"limit-exceeded /points Conflict: the account's balance would exceed the limit of 1000000000000");
    assert_snapshot!(member.does(credit("b", 2)), @"limit-exceeded /points Conflict: the account's balance would exceed the limit of 1000000000000");
    assert_snapshot!(member.does(issue("b", 1)), @"PointsIssued lot=b points=1 source=kind=issue");
}

#[test]
fn texts_are_checked_with_the_field_named() {
    let mut member = Member::new().did(issue("a", 10));
    let adjust = |reason: &str, actor: &str, reference: Option<&str>| Command::Adjust {
        change: Change::Debit { points: amount(1) },
        reason: reason.into(),
        actor: actor.into(),
        reference: reference.map(Into::into),
    };
    assert_snapshot!(member.does(adjust("", "desk", None)), @"invalid-text /reason Invalid: expected a text of 1 to 200 characters, got an empty one");
    assert_snapshot!(member.does(adjust("why", "a\nb", None)), @r"invalid-text /actor Invalid: expected no control character, got '\n' at character 2");
    assert_snapshot!(member.does(adjust("why", "desk", Some(&"x".repeat(201)))), @"invalid-text /reference Invalid: expected a text of 1 to 200 characters, got 201");
    assert_snapshot!(member.does(adjust("why", "desk", Some(&"x".repeat(200)))).lines().count(), @"1");
    let noted = |reference: &str| {
        Command::Issue(Issue { reference: Some(reference.into()), ..never("b", 1) })
    };
    assert_snapshot!(member.does(noted("")), @"invalid-text /reference Invalid: expected a text of 1 to 200 characters, got an empty one");
}

#[test]
fn times_beyond_the_calendar_are_refused() {
    let mut member = Member::new().did(Command::Open);
    let far = chrono::DateTime::from_timestamp(253_402_300_800, 0).unwrap(); // year 10000
    let last = far - TimeDelta::seconds(1);
    let from = |at| Command::Issue(Issue { available_from: Some(at), ..never("a", 1) });
    assert_snapshot!(member.does(from(far)), @"invalid-time /available_from Invalid: expected an instant in the years 1 to 9999");
    assert_snapshot!(member.does(from(last)), @"PointsIssued available_from=9999-12-31T23:59:59Z lot=a points=1 source=kind=issue");
    let until = |at| Command::Issue(Issue { expires: Some(Policy::At(at)), ..never("b", 1) });
    assert_snapshot!(member.does(until(far)), @"invalid-time /expires Invalid: expected an instant in the years 1 to 9999");
    assert_snapshot!(member.does(until(last)), @"PointsIssued expires_at=9999-12-31T23:59:59Z lot=b points=1 source=kind=issue");
}
