//! Place, capture, release, deadlines.

use chrono::TimeDelta;
use insta::assert_snapshot;

use super::member::*;
use crate::account::command::Command;
use crate::aggregate::Aggregate;

#[test]
fn a_hold_pins_points_of_lots_soonest_to_expire_first() {
    let mut member = Member::new().did(issue("n", 5)).did(lapsing("a", 5, 30));
    assert_snapshot!(member.does(place("h", 7, Some(2))), @"HoldPlaced hold=h lots=[a:5 n:2] points=7 until=2026-01-03");
    assert_snapshot!(member.has(), @"balance 10 available 3 pending 0 held 7 debt 0");
    assert_snapshot!(member.does(redeem(4)), @"insufficient-points /points Conflict: insufficient points: 4 requested, 3 available");
    assert_snapshot!(member.does(place("i", 4, None)), @"insufficient-points /points Conflict: insufficient points: 4 requested, 3 available");
    assert_snapshot!(member.does(place("i", 3, None)), @"HoldPlaced hold=i lots=[n:3] points=3");
}

#[test]
fn a_hold_is_captured_in_whole_or_in_part() {
    let member = Member::new().did(issue("n", 5)).did(lapsing("a", 5, 30)).did(place("h", 7, None));
    assert_snapshot!(member.clone().does(capture("h", None)), @"HoldCaptured hold=h lots=[a:5 n:2] points=7 released=[]");
    assert_snapshot!(member.clone().does(capture("h", Some(7))), @"HoldCaptured hold=h lots=[a:5 n:2] points=7 released=[]");
    assert_snapshot!(member.clone().does(capture("h", Some(8))), @"exceeds-hold /points Conflict: hold h has 7 points, 8 requested");
    let mut part = member;
    assert_snapshot!(part.does(capture("h", Some(4))), @"HoldCaptured hold=h lots=[a:4] points=4 released=[a:1 n:2]");
    assert_snapshot!(part.has(), @"balance 6 available 6 pending 0 held 0 debt 0");
}

#[test]
fn a_hold_ends_once_and_a_retry_changes_nothing() {
    let member = Member::new().did(issue("n", 10)).did(place("h", 7, Some(5)));
    let mut captured = member.clone().did(capture("h", None));
    assert_snapshot!(captured.does(capture("h", None)), @"nothing");
    assert_snapshot!(captured.does(capture("h", Some(7))), @"nothing");
    assert_snapshot!(captured.does(capture("h", Some(6))), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(release("h")), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(place("h", 7, Some(5))), @"nothing");
    let mut released = member.did(release("h"));
    assert_snapshot!(released.does(release("h")), @"nothing");
    assert_snapshot!(released.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(released.clone().on(9).does(place("h", 7, Some(5))), @"nothing");
    assert_snapshot!(released.does(place("h", 6, Some(5))), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.does(place("h", 7, None)), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.has(), @"balance 10 available 10 pending 0 held 0 debt 0");
}

#[test]
fn a_hold_that_was_never_placed_is_unknown() {
    let mut member = Member::new().did(issue("n", 10));
    assert_snapshot!(member.does(capture("h", None)), @"unknown-hold /hold NotFound: no hold h was placed on this account");
    assert_snapshot!(member.does(release("h")), @"unknown-hold /hold NotFound: no hold h was placed on this account");
}

#[test]
fn a_deadline_lies_after_now_and_within_a_year() {
    let mut member = Member::new().did(issue("n", 10)).on(3);
    let refused =
        "invalid-until /until Invalid: a hold's deadline lies after now and at most 366 days ahead";
    assert_eq!(member.does(place("h", 1, Some(3))), refused);
    assert_eq!(member.does(place("h", 1, Some(370))), refused);
    assert_snapshot!(member.does(place("h", 1, Some(369))), @"HoldPlaced hold=h lots=[n:1] points=1 until=2027-01-05");
    assert_eq!(member.account.next_deadline(), Some(day(369)));
}

#[test]
fn an_overdue_hold_is_released_before_anything_else() {
    let member = Member::new().did(issue("n", 5)).did(place("h", 5, Some(2)));
    let mut just_before = member.clone();
    just_before.now = day(2) - TimeDelta::microseconds(1);
    assert_snapshot!(just_before.does(redeem(1)), @"insufficient-points /points Conflict: insufficient points: 1 requested, 0 available");
    let mut overdue = member.on(2);
    assert_snapshot!(overdue.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(overdue.does(redeem(1)), @r"
    HoldReleased hold=h lots=[n:5] points=5 reason=deadline
    PointsRedeemed lots=[n:1] points=1
    ");
    assert_snapshot!(overdue.does(release("h")), @"nothing");
}

#[test]
fn a_pinned_part_does_not_lapse_until_it_is_released() {
    let member = Member::new().did(lapsing("a", 5, 10)).did(place("h", 3, Some(20))).on(12);
    let settled = member.did(Command::Settle);
    assert_snapshot!(settled.has(), @"balance 3 available 0 pending 0 held 3 debt 0");
    assert_eq!(settled.account.next_deadline(), Some(day(20)));
    assert_snapshot!(settled.clone().does(capture("h", Some(2))), @r"
    HoldCaptured hold=h lots=[a:2] points=2 released=[a:1]
    PointsExpired lots=[a:1] points=1
    ");
    assert_snapshot!(settled.clone().does(release("h")), @r"
    HoldReleased hold=h lots=[a:3] points=3 reason=requested
    PointsExpired lots=[a:3] points=3
    ");
    assert_snapshot!(settled.on(20).does(Command::Settle), @r"
    HoldReleased hold=h lots=[a:3] points=3 reason=deadline
    PointsExpired lots=[a:3] points=3
    ");
}

#[test]
fn a_hold_of_too_many_lots_is_refused() {
    let mut member = Member::new();
    for n in 0..10_001 {
        member = member.did(issue(&format!("lot-{n}"), 1));
    }
    assert_snapshot!(member.does(place("h", 10_001, None)), @"limit-exceeded /points Conflict: the number of lots in a hold would exceed the limit of 10000");
    assert!(member.asks(place("h", 10_000, None)).is_ok());
}

#[test]
fn overdue_holds_are_released_longest_overdue_first() {
    let mut member = Member::new()
        .did(issue("n", 9))
        .did(place("late", 2, Some(4)))
        .did(place("early", 3, Some(3)))
        .did(place("open", 4, Some(6)))
        .on(5);
    assert_snapshot!(member.does(Command::Settle), @r"
    HoldReleased hold=early lots=[n:3] points=3 reason=deadline
    HoldReleased hold=late lots=[n:2] points=2 reason=deadline
    ");
    assert_eq!(member.account.next_deadline(), Some(day(6)));
}

#[test]
fn a_release_gives_every_part_back_to_its_lot() {
    let mut member = Member::new()
        .did(issue("n", 5))
        .did(lapsing("a", 5, 30))
        .did(place("h", 7, None))
        .did(redeem(1));
    assert_snapshot!(member.does(release("h")), @"HoldReleased hold=h lots=[a:5 n:2] points=7 reason=requested");
    assert_snapshot!(member.does(redeem(9)), @"PointsRedeemed lots=[a:5 n:4] points=9");
}
