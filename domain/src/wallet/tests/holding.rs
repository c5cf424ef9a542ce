//! Hold, capture, release, deadlines.

use chrono::TimeDelta;
use insta::assert_snapshot;

use super::purse::*;
use crate::aggregate::Aggregate;
use crate::wallet::Wallet;
use crate::wallet::command::Command;
use crate::wallet::event::Event;

#[test]
fn a_hold_sets_money_aside_and_never_more_than_is_available() {
    let mut purse = Purse::with(400);
    assert_snapshot!(purse.does(hold("h", usd(300), Some(2))), @"WalletMoneyHeld hold=h money=300USD until=2026-01-03");
    assert_snapshot!(purse.has(), @"USD 100 held 300");
    assert_snapshot!(purse.does(hold("i", usd(101), None)), @"insufficient-funds /money/amount Conflict: insufficient funds: 1.01 USD requested, 1.00 USD available");
    assert_snapshot!(purse.does(hold("i", jpy(1), None)), @"insufficient-funds /money/amount Conflict: insufficient funds: 1 JPY requested, 0 JPY available");
    assert_snapshot!(purse.does(hold("i", usd(100), None)), @"WalletMoneyHeld hold=i money=100USD");
    assert_snapshot!(purse.has(), @"USD 0 held 400");
}

#[test]
fn a_hold_is_captured_in_whole_or_in_part() {
    let purse = Purse::with(400).did(hold("h", usd(300), None));
    assert_snapshot!(purse.clone().does(capture("h", None)), @"WalletMoneyCaptured hold=h money=300USD released=0");
    assert_snapshot!(purse.clone().does(capture("h", Some(usd(301)))), @"exceeds-hold /money/amount Conflict: hold h has 3.00 USD, 3.01 USD requested");
    assert_snapshot!(purse.clone().does(capture("h", Some(jpy(300)))), @"currency-mismatch /money/currency Conflict: hold h is in USD, got JPY");
    let mut part = purse;
    assert_snapshot!(part.does(capture("h", Some(usd(200)))), @"WalletMoneyCaptured hold=h money=200USD released=100");
    assert_snapshot!(part.has(), @"USD 200 held 0");
}

#[test]
fn a_hold_ends_once_and_a_retry_changes_nothing() {
    let purse = Purse::with(10).did(hold("h", usd(7), Some(5)));
    let mut captured = purse.clone().did(capture("h", None));
    assert_snapshot!(captured.does(capture("h", Some(usd(7)))), @"nothing");
    assert_snapshot!(captured.does(capture("h", Some(usd(6)))), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(release("h")), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(hold("h", usd(7), Some(5))), @"nothing");
    let mut released = purse.did(release("h"));
    assert_snapshot!(released.does(release("h")), @"nothing");
    assert_snapshot!(released.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(released.clone().on(9).does(hold("h", usd(7), Some(5))), @"nothing");
    assert_snapshot!(released.does(hold("h", usd(6), Some(5))), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.does(hold("h", jpy(7), Some(5))), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.does(capture("i", None)), @"unknown-hold /hold NotFound: no hold i was placed on this wallet");
    assert_snapshot!(released.has(), @"USD 10 held 0");
}

#[test]
fn a_deadline_lies_after_now_and_within_a_year() {
    let mut purse = Purse::with(4).on(3);
    let refused =
        "invalid-until /until Invalid: a hold's deadline lies after now and at most 366 days ahead";
    assert_eq!(purse.does(hold("h", usd(1), Some(3))), refused);
    assert_eq!(purse.does(hold("h", usd(1), Some(370))), refused);
    assert_snapshot!(purse.does(hold("h", usd(1), Some(369))), @"WalletMoneyHeld hold=h money=1USD until=2027-01-05");
    assert_eq!(purse.wallet.next_deadline(), Some(day(369)));
}

#[test]
fn an_overdue_hold_is_released_before_anything_else() {
    let purse = Purse::with(4).did(hold("h", usd(4), Some(2))).did(top_up(usd(1)));
    let mut just_before = purse.clone();
    just_before.now = day(2) - TimeDelta::microseconds(1);
    assert_eq!(just_before.has(), "USD 1 held 4");
    assert_eq!(just_before.does(Command::Settle), "nothing");
    let mut overdue = purse.on(2);
    assert_eq!(overdue.has(), "USD 5 held 0");
    assert_snapshot!(overdue.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(overdue.does(hold("i", usd(5), None)), @r"
    WalletMoneyReleased hold=h money=4USD reason=deadline
    WalletMoneyHeld hold=i money=5USD
    ");
    assert_eq!(overdue.wallet.next_deadline(), None);
    assert_snapshot!(overdue.does(release("h")), @"nothing");
}

#[test]
fn a_snapshot_brings_back_the_same_wallet() {
    let purse = Purse::with(9)
        .did(top_up(jpy(500)))
        .did(hold("open", usd(3), Some(5)))
        .did(hold("captured", jpy(2), None))
        .did(capture("captured", Some(jpy(1))))
        .did(hold("released", usd(1), Some(4)))
        .did(release("released"));
    let kept = serde_json::to_string(&purse.wallet).unwrap();
    let back: Wallet = serde_json::from_str(&kept).unwrap();
    assert_eq!(back, purse.wallet);
    assert_eq!(back.next_deadline(), Some(day(5)));
}

#[test]
fn a_log_that_contradicts_itself_refuses_every_command() {
    let mut purse = Purse::with(2).did(hold("h", usd(2), None));
    let events = purse.clone().tries(release("h")).unwrap();
    let [Event::WalletMoneyReleased { hold, reason, .. }] = &events[..] else {
        panic!("expected a release")
    };
    let (hold, reason, reference) = (hold.clone(), *reason, None);
    purse.wallet.evolve(&Event::WalletMoneyReleased { hold, money: usd(1), reason, reference });
    assert_snapshot!(purse.does(top_up(usd(1))), @"damaged-wallet - Conflict: the log of this wallet contradicts itself: hold h ended with other money than it had");
}
