//! Restore: what a captured hold spent comes back.

use insta::assert_snapshot;

use super::member::*;
use crate::account::Spent;
use crate::account::command::Command;
use crate::aggregate::Aggregate;
use crate::holds::Stage;
use crate::points::Points;

/// Two lots, and a hold that spent seven points: five of `a`, two of `n`.
fn spent() -> Member {
    Member::new()
        .did(issue("n", 5))
        .did(lapsing("a", 5, 30))
        .did(place("h", 8, None))
        .did(capture("h", Some(7)))
}

#[test]
fn points_come_back_to_their_lots_those_used_last_first() {
    let mut member = spent();
    assert_snapshot!(member.does(restore("h", 3)), @"PointsRestored hold=h lots=[n:2 a:1] points=3");
    assert_snapshot!(member.has(), @"balance 6 available 6 pending 0 held 0 debt 0");
    assert_snapshot!(member.does(restore("h", 1)), @"PointsRestored hold=h lots=[a:1] points=1");
    assert_snapshot!(member.does(restore("h", 3)), @"PointsRestored hold=h lots=[a:3] points=3");
    assert_snapshot!(member.has(), @"balance 10 available 10 pending 0 held 0 debt 0");
    assert_eq!(member.account.next_deadline(), Some(day(30)));
}

#[test]
fn never_more_comes_back_than_was_captured() {
    let mut member = spent();
    assert_snapshot!(member.does(restore("h", 8)), @"exceeds-captured /points Conflict: hold h has 7 spent points left to restore, 8 requested");
    assert_snapshot!(member.does(restore("h", 7)), @"PointsRestored hold=h lots=[n:2 a:5] points=7");
    assert_snapshot!(member.does(restore("h", 1)), @"exceeds-captured /points Conflict: hold h has 0 spent points left to restore, 1 requested");
}

#[test]
fn only_a_captured_hold_gives_back() {
    let mut member = Member::new().did(issue("n", 10)).did(place("open", 1, None));
    member = member.did(place("released", 1, None)).did(release("released"));
    assert_snapshot!(member.does(restore("open", 1)), @"hold-not-captured /hold Conflict: hold open was not captured: it is open");
    assert_snapshot!(member.does(restore("released", 1)), @"hold-ended /hold Conflict: hold released has ended: released");
}

#[test]
fn a_part_whose_lot_has_lapsed_comes_back_as_a_lot_of_thirty_days() {
    let member = spent();
    let mut just_before = member.clone().on(29);
    assert_snapshot!(just_before.does(restore("h", 7)), @"PointsRestored hold=h lots=[n:2 a:5] points=7");
    let mut lapsed = member.on(30);
    assert_snapshot!(lapsed.does(restore("h", 3)), @"PointsRestored grace=expires_at=2026-03-02 lot=command-5 points=1 hold=h lots=[n:2] points=3");
    assert_snapshot!(lapsed.does(restore("h", 4)), @"PointsRestored grace=expires_at=2026-03-02 lot=command-6 points=4 hold=h lots=[] points=4");
    assert_snapshot!(lapsed.has(), @"balance 10 available 10 pending 0 held 0 debt 0");
    assert_snapshot!(lapsed.on(60).does(Command::Settle), @"PointsExpired lots=[command-5:1 command-6:4] points=5");
}

#[test]
fn what_comes_back_repays_a_debt() {
    let mut member = spent().did(reverse("a", None));
    assert_snapshot!(member.has(), @"balance 0 available 0 pending 0 held 0 debt 2");
    assert_snapshot!(member.does(restore("h", 3)), @r"
    PointsRestored hold=h lots=[n:2 a:1] points=3
    DebtRepaid lots=[a:1 n:1] points=2
    ");
    assert_snapshot!(member.has(), @"balance 1 available 1 pending 0 held 0 debt 0");
}

#[test]
fn what_a_forgotten_hold_spent_comes_back_as_a_lot_of_its_own() {
    let mut member = spent();
    for n in 0..1_000 {
        member = member.did(place(&format!("later-{n}"), 1, None));
        if n == 999 {
            assert!(member.asks(restore("h", 1)).is_ok());
        }
        member = member.did(release(&format!("later-{n}")));
    }
    assert_snapshot!(member.does(restore("h", 1)), @"PointsRestored grace=expires_at=2026-01-31 lot=command-2005 points=1 hold=h lots=[] points=1");
}

#[test]
fn who_knows_what_a_forgotten_hold_spent_gets_it_back_into_its_lots() {
    let mut member = spent();
    let Some(Stage::Captured(spent)) =
        member.account.holds().get(&hold_id("h")).map(|it| it.stage.clone())
    else {
        panic!("it was captured");
    };
    let back = |points, restored| {
        let spent = Some(Spent { restored, ..spent.clone() });
        Command::RestoreHold { hold: hold_id("h"), points: amount(points), spent, reference: None }
    };
    for n in 0..1_000 {
        let later = format!("later-{n}");
        member = member.did(place(&later, 1, None)).did(release(&later));
    }
    let none = Points::ZERO;
    assert_snapshot!(member.does(back(8, none)), @"exceeds-captured /points Conflict: hold h has 7 spent points left to restore, 8 requested");
    assert_snapshot!(member.does(back(3, none)), @"PointsRestored hold=h lots=[n:2 a:1] points=3");
    // The rest when one of the lots has lapsed.
    let mut lapsed = member.on(30);
    let restored = Points::new(3).unwrap();
    assert_snapshot!(lapsed.does(back(4, restored)), @r"
    PointsExpired lots=[a:1] points=1
    PointsRestored grace=expires_at=2026-03-02 lot=command-2007 points=4 hold=h lots=[] points=4
    ");
    assert_snapshot!(lapsed.has(), @"balance 9 available 9 pending 0 held 0 debt 0");
}
