//! Reverse, sale returns, debts.

use insta::assert_snapshot;

use super::member::*;
use crate::account::command::{Command, Issue};
use crate::expiry::Policy;
use crate::points::Points;

#[test]
fn a_reversal_takes_the_lot_then_active_then_pending_lots_then_makes_a_debt() {
    let mut member = Member::new()
        .did(lapsing("spent", 10, 20))
        .did(redeem(8))
        .did(issue("never", 3))
        .did(lapsing("soon", 3, 30))
        .did(pending("waiting", 1, 5));
    assert_snapshot!(member.does(reverse("spent", None)), @"PointsReversed debt=1 lot=spent lots=[spent:2 soon:3 never:3 waiting:1] points=10");
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 1");
}

#[test]
fn a_reversal_is_in_whole_or_in_part_but_never_more_than_was_issued() {
    let mut member = Member::new().did(issue("a", 10)).did(issue("b", 10));
    assert_snapshot!(member.does(reverse("a", Some(4))), @"PointsReversed debt=0 lot=a lots=[a:4] points=4");
    assert_snapshot!(member.does(reverse("a", Some(7))), @"exceeds-lot /points Conflict: lot a has 6 points that are not reversed, 7 requested");
    assert_snapshot!(member.does(reverse("a", None)), @"PointsReversed debt=0 lot=a lots=[a:6] points=6");
    assert_snapshot!(member.does(reverse("a", None)), @"already-reversed /lot Conflict: lot a is fully reversed");
    assert_snapshot!(member.does(reverse("a", Some(1))), @"already-reversed /lot Conflict: lot a is fully reversed");
    assert_snapshot!(member.does(reverse("z", None)), @"unknown-lot /lot NotFound: no lot z was issued to this account");
    assert_snapshot!(member.has(), @"balance 10 available 10 pending 0 held 0 debt 0");
}

#[test]
fn a_reversal_takes_its_own_lot_also_while_it_is_pending() {
    let mut member = Member::new().did(issue("a", 10)).did(pending("p", 5, 5));
    assert_snapshot!(member.does(reverse("p", None)), @"PointsReversed debt=0 lot=p lots=[p:5] points=5");
}

#[test]
fn held_points_are_not_clawed_back_but_repay_when_they_are_released() {
    let member = Member::new().did(issue("a", 10)).did(place("h", 8, Some(5)));
    let mut member = member.clone();
    assert_snapshot!(member.does(reverse("a", None)), @"PointsReversed debt=8 lot=a lots=[a:2] points=10");
    assert_snapshot!(member.has(), @"balance 8 available 0 pending 0 held 8 debt 8");
    assert_snapshot!(member.clone().does(release("h")), @r"
    HoldReleased hold=h lots=[a:8] points=8 reason=requested
    DebtRepaid lots=[a:8] points=8
    ");
    assert_snapshot!(member.clone().does(capture("h", Some(5))), @r"
    HoldCaptured hold=h lots=[a:5] points=5 released=[a:3]
    DebtRepaid lots=[a:3] points=3
    ");
    assert_snapshot!(member.on(5).does(Command::Settle), @r"
    HoldReleased hold=h lots=[a:8] points=8 reason=deadline
    DebtRepaid lots=[a:8] points=8
    ");
}

#[test]
fn a_debt_is_repaid_by_what_comes_next_pending_points_too() {
    let member = Member::new().did(issue("a", 10)).did(redeem(10)).did(reverse("a", None));
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 10");
    let mut member = member;
    assert_snapshot!(member.does(redeem(1)), @"insufficient-points /points Conflict: insufficient points: 1 requested, 0 available");
    assert_snapshot!(member.does(issue("b", 4)), @r"
    PointsIssued lot=b points=4 source=kind=issue
    DebtRepaid lots=[b:4] points=4
    ");
    assert_snapshot!(member.does(pending("c", 4, 5)), @r"
    PointsIssued available_from=2026-01-06 lot=c points=4 source=kind=issue
    DebtRepaid lots=[c:4] points=4
    ");
    assert_snapshot!(member.does(credit("d", 4)), @r"
    PointsCredited actor=desk lot=d points=4 reason=goodwill
    DebtRepaid lots=[d:2] points=2
    ");
    assert_snapshot!(member.has(), @"balance 2 available 2 pending 0 held 0 debt 0");
}

#[test]
fn a_lot_that_lapsed_on_arrival_repays_nothing() {
    let mut member = Member::new().did(issue("a", 5)).did(redeem(5)).did(reverse("a", None)).on(10);
    member.occurred_at = Some(day(0));
    let old = Issue { expires: Some(Policy::At(day(9))), ..never("b", 5) };
    assert_snapshot!(member.does(Command::Issue(old)), @r"
    PointsIssued expires_at=2026-01-10 lot=b points=5 source=kind=issue
    PointsExpired lots=[b:5] points=5
    ");
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 5");
}

#[test]
fn a_debt_has_a_limit() {
    let max = Points::MAX.get();
    let mut member = Member::new()
        .did(issue("a", max))
        .did(redeem(max))
        .did(issue("b", 1))
        .did(redeem(1))
        .did(reverse("a", None));
    assert_snapshot!(member.does(reverse("b", None)), @"limit-exceeded /points Conflict: the account's debt would exceed the limit of 1000000000000");
}

#[test]
fn a_return_takes_back_its_share_of_every_award_of_the_sale() {
    let mut member = Member::new()
        .did(award("x", 10, "s"))
        .did(award("y", 7, "s"))
        .did(award("z", 5, "other"))
        .did(issue("w", 5));
    assert_snapshot!(member.does(reverse_sale("s", 50, 100)), @r"
    PointsReversed debt=0 lot=x lots=[x:5] points=5 return_id=return-1
    PointsReversed debt=0 lot=y lots=[y:3] points=3 return_id=return-1
    ");
    assert_snapshot!(member.does(reverse_sale("s", 50, 100)), @"nothing");
    assert_snapshot!(member.does(reverse_sale("s", 40, 100)), @"nothing");
    assert_snapshot!(member.does(reverse_sale("s", 100, 100)), @r"
    PointsReversed debt=0 lot=x lots=[x:5] points=5 return_id=return-1
    PointsReversed debt=0 lot=y lots=[y:4] points=4 return_id=return-1
    ");
    assert_snapshot!(member.has(), @"balance 10 available 10 pending 0 held 0 debt 0");
}

#[test]
fn what_has_lapsed_is_taken_back_like_what_was_spent() {
    let award = |id: &str| match award(id, 10, "s") {
        Command::Issue(issue) => {
            Command::Issue(Issue { expires: Some(Policy::At(day(5))), ..issue })
        }
        other => other,
    };
    let mut member = Member::new().did(award("x")).did(issue("w", 4)).on(9);
    assert_snapshot!(member.does(reverse_sale("s", 100, 100)), @r"
    PointsExpired lots=[x:10] points=10
    PointsReversed debt=6 lot=x lots=[w:4] points=10 return_id=return-1
    ");
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 6");
}

#[test]
fn a_return_of_a_sale_that_earned_nothing_changes_nothing() {
    let mut member = Member::new();
    assert_snapshot!(member.does(reverse_sale("s", 100, 100)), @"nothing");
    assert!(!member.account.is_open());
}

#[test]
fn a_share_of_a_sale_lies_between_nothing_and_all() {
    let mut member = Member::new().did(award("x", 10, "s"));
    for (returned, total) in [(0, 0), (1, 0), (-1, 100), (101, 100), (0, -1)] {
        let refused = member.does(reverse_sale("s", returned, total));
        assert!(refused.starts_with("invalid-share /returned Invalid: "), "{refused}");
    }
    assert_snapshot!(member.does(reverse_sale("s", 0, 100)), @"nothing");
}
