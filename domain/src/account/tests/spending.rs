//! Redeem, debit, expiry, and what must stay cheap.

use insta::assert_snapshot;

use super::member::*;
use crate::account::Account;
use crate::account::command::{Command, Source};
use crate::account::event::Event;
use crate::account::settle::PARTS_MAX;
use crate::aggregate::Aggregate;
use crate::points::Points;

#[test]
fn points_are_spent_soonest_to_expire_first_and_never_expiring_last() {
    let mut member = Member::new()
        .did(issue("never-1", 5))
        .did(lapsing("late", 5, 60))
        .did(lapsing("soon", 5, 30))
        .did(issue("never-2", 5))
        .did(lapsing("soon-2", 5, 30));
    assert_snapshot!(member.does(redeem(17)), @"PointsRedeemed lots=[soon:5 soon-2:5 late:5 never-1:2] points=17");
    assert_snapshot!(member.does(debit(4)), @"PointsDebited actor=desk lots=[never-1:3 never-2:1] points=4 reason=mistake");
    assert_snapshot!(member.has(), @"balance 4 available 4 pending 0 held 0 debt 0");
}

#[test]
fn the_last_point_can_be_spent_and_no_more() {
    let mut member = Member::new().did(issue("a", 10));
    assert_snapshot!(member.does(redeem(11)), @"insufficient-points /points Conflict: insufficient points: 11 requested, 10 available");
    assert_snapshot!(member.does(debit(11)), @"insufficient-points /points Conflict: insufficient points: 11 requested, 10 available");
    assert_snapshot!(member.does(redeem(10)), @"PointsRedeemed lots=[a:10] points=10");
    assert_snapshot!(member.does(redeem(1)), @"insufficient-points /points Conflict: insufficient points: 1 requested, 0 available");
}

#[test]
fn pending_points_are_spent_from_their_start_on() {
    let member = Member::new().did(pending("p", 5, 10)).did(issue("a", 3));
    let mut early = member.clone().on(9);
    assert_snapshot!(early.does(redeem(4)), @"insufficient-points /points Conflict: insufficient points: 4 requested, 3 available");
    assert_snapshot!(early.has(), @"balance 8 available 3 pending 5 held 0 debt 0");
    assert_snapshot!(member.on(10).does(redeem(8)), @"PointsRedeemed lots=[p:5 a:3] points=8");
}

#[test]
fn a_lot_is_spent_until_it_lapses() {
    let member = Member::new().did(lapsing("a", 5, 10)).did(issue("b", 1));
    assert_eq!(member.account.next_deadline(), Some(day(10)));
    let mut in_time = member.clone();
    in_time.now = day(10) - chrono::TimeDelta::microseconds(1);
    assert_snapshot!(in_time.does(redeem(6)), @"PointsRedeemed lots=[a:5 b:1] points=6");
    let mut late = member.on(10);
    assert_snapshot!(late.has(), @"balance 6 available 1 pending 0 held 0 debt 0");
    assert_snapshot!(late.does(redeem(6)), @"insufficient-points /points Conflict: insufficient points: 6 requested, 1 available");
    assert_snapshot!(late.has(), @"balance 6 available 1 pending 0 held 0 debt 0");
    assert_snapshot!(late.does(redeem(1)), @r"
    PointsExpired lots=[a:5] points=5
    PointsRedeemed lots=[b:1] points=1
    ");
    assert_eq!(late.account.next_deadline(), None);
}

#[test]
fn settling_records_what_has_lapsed_once() {
    let mut member = Member::new().did(lapsing("a", 5, 10)).did(lapsing("b", 5, 9)).on(10);
    assert_snapshot!(member.does(Command::Settle), @"PointsExpired lots=[b:5 a:5] points=10");
    assert_snapshot!(member.does(Command::Settle), @"nothing");
    assert_snapshot!(member.does(Command::Open), @"nothing");
}

/// An account of so many lots of one point each.
fn many(lots: usize, source: &Source) -> Account {
    let mut account = Account::default();
    for n in 0..lots {
        account.evolve(&Event::PointsIssued {
            lot: lot(&format!("lot-{n}")),
            points: Points::new(1).unwrap(),
            available_from: None,
            expires_at: Some(day(30)),
            source: source.clone(),
            reference: None,
        });
    }
    account
}

#[test]
fn a_spend_of_very_many_lots_is_split_into_events_of_bounded_size() {
    let account = many(PARTS_MAX * 2 + 1, &Source::Issue);
    let member = Member { account, ..Member::new() };
    let sizes = |events: Vec<Event>| -> Vec<i64> {
        events
            .iter()
            .map(|event| match event {
                Event::PointsRedeemed { points, lots, .. }
                | Event::PointsExpired { points, lots }
                | Event::PointsReversed { points, lots, .. } => {
                    assert!(lots.len() <= PARTS_MAX);
                    points.get()
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    };
    assert_eq!(sizes(member.asks(redeem(2001)).unwrap()), [1000, 1000, 1]);
    assert_eq!(sizes(member.asks(redeem(2000)).unwrap()), [1000, 1000]);
    assert_eq!(sizes(member.clone().on(30).asks(Command::Settle).unwrap()), [1000, 1000, 1]);
}

#[test]
fn a_spend_looks_at_no_more_lots_than_it_uses() {
    let account = many(20_000, &Source::Issue);
    let now = day(1);
    let looked = std::cell::Cell::new(0);
    let lots = account.lots().spendable(now).inspect(|_| looked.set(looked.get() + 1));
    let (parts, missing) = crate::account::settle::gather(Points::new(3).unwrap(), lots);
    assert_eq!((parts.len(), missing), (3, Points::ZERO));
    assert!(looked.get() <= 4, "looked at {} lots", looked.get());
}

#[test]
fn an_account_whose_log_contradicts_itself_refuses_and_says_so() {
    let mut member = Member::new().did(issue("a", 5));
    let issued = member.asks(issue("b", 1)).unwrap();
    member.account.evolve(&issued[0]);
    member.account.evolve(&issued[0]);
    assert_snapshot!(member.does(redeem(1)), @"damaged-account - Conflict: the log of this account contradicts itself: lot b was issued twice");
}
