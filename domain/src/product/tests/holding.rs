//! Hold, capture, release, deadlines.

use chrono::TimeDelta;
use insta::assert_snapshot;

use super::shelf::*;
use crate::aggregate::Aggregate;
use crate::product::Product;
use crate::product::command::Command;
use crate::product::event::Event;

#[test]
fn a_hold_sets_units_aside_and_never_more_than_are_available() {
    let mut shelf = Shelf::with(4);
    assert_snapshot!(shelf.does(hold("h", 3, Some(2))), @"StockHeld hold=h quantity=3 until=2026-01-03");
    assert_snapshot!(shelf.has(), @"available 1 held 3");
    assert_snapshot!(shelf.does(hold("i", 2, None)), @"insufficient-stock /quantity Conflict: insufficient stock: 2 requested, 1 available");
    assert_snapshot!(shelf.does(hold("i", 1, None)), @"StockHeld hold=i quantity=1");
    assert_snapshot!(shelf.has(), @"available 0 held 4");
}

#[test]
fn a_hold_is_captured_in_whole_or_in_part() {
    let shelf = Shelf::with(4).did(hold("h", 3, None));
    assert_snapshot!(shelf.clone().does(capture("h", None)), @"StockCaptured hold=h quantity=3 released=0");
    assert_snapshot!(shelf.clone().does(capture("h", Some(4))), @"exceeds-hold /quantity Conflict: hold h has 3 units, 4 requested");
    let mut part = shelf;
    assert_snapshot!(part.does(capture("h", Some(2))), @"StockCaptured hold=h quantity=2 released=1");
    assert_snapshot!(part.has(), @"available 2 held 0");
}

#[test]
fn a_hold_ends_once_and_a_retry_changes_nothing() {
    let shelf = Shelf::with(10).did(hold("h", 7, Some(5)));
    let mut captured = shelf.clone().did(capture("h", None));
    assert_snapshot!(captured.does(capture("h", None)), @"nothing");
    assert_snapshot!(captured.does(capture("h", Some(7))), @"nothing");
    assert_snapshot!(captured.does(capture("h", Some(6))), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(release("h")), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(captured.does(hold("h", 7, Some(5))), @"nothing");
    let mut released = shelf.did(release("h"));
    assert_snapshot!(released.does(release("h")), @"nothing");
    assert_snapshot!(released.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(released.clone().on(9).does(hold("h", 7, Some(5))), @"nothing");
    assert_snapshot!(released.does(hold("h", 6, Some(5))), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.does(hold("h", 7, None)), @"hold-exists /hold Conflict: hold h exists with other content");
    assert_snapshot!(released.does(capture("i", None)), @"unknown-hold /hold NotFound: no hold i was placed on this product");
    assert_snapshot!(released.does(release("i")), @"unknown-hold /hold NotFound: no hold i was placed on this product");
    assert_snapshot!(released.has(), @"available 10 held 0");
}

#[test]
fn a_deadline_lies_after_now_and_within_a_year() {
    let mut shelf = Shelf::with(4).on(3);
    let refused =
        "invalid-until /until Invalid: a hold's deadline lies after now and at most 366 days ahead";
    assert_eq!(shelf.does(hold("h", 1, Some(3))), refused);
    assert_eq!(shelf.does(hold("h", 1, Some(370))), refused);
    assert_snapshot!(shelf.does(hold("h", 1, Some(369))), @"StockHeld hold=h quantity=1 until=2027-01-05");
    assert_eq!(shelf.product.next_deadline(), Some(day(369)));
}

#[test]
fn an_overdue_hold_is_released_before_anything_else() {
    let shelf = Shelf::with(4).did(hold("h", 4, Some(2))).did(adjust(1));
    let mut just_before = shelf.clone();
    just_before.now = day(2) - TimeDelta::microseconds(1);
    assert_snapshot!(just_before.does(hold("i", 2, None)), @"insufficient-stock /quantity Conflict: insufficient stock: 2 requested, 1 available");
    assert_eq!(just_before.does(Command::Settle), "nothing");
    let mut overdue = shelf.on(2);
    assert_snapshot!(overdue.does(capture("h", None)), @"hold-ended /hold Conflict: hold h has ended: released");
    assert_snapshot!(overdue.does(hold("i", 5, None)), @r"
    StockReleased hold=h quantity=4 reason=deadline
    StockHeld hold=i quantity=5
    ");
    assert_eq!(overdue.product.next_deadline(), None);
    assert_snapshot!(overdue.does(release("h")), @"nothing");
}

#[test]
fn a_hundred_buyers_of_four_units_get_four() {
    let mut shelf = Shelf::with(4);
    let got = |n: &i64| shelf.tries(hold(&format!("buyer-{n}"), 1, None)).is_ok();
    assert_eq!((0..100).filter(got).count(), 4);
    assert_eq!(shelf.has(), "available 0 held 4");
}

#[test]
fn a_snapshot_brings_back_the_same_product() {
    let shelf = Shelf::with(9)
        .did(hold("open", 3, Some(5)))
        .did(hold("captured", 2, None))
        .did(capture("captured", Some(1)))
        .did(hold("released", 1, Some(4)))
        .did(release("released"));
    let kept = serde_json::to_string(&shelf.product).unwrap();
    let back: Product = serde_json::from_str(&kept).unwrap();
    assert_eq!(back, shelf.product);
    assert_eq!(back.next_deadline(), Some(day(5)));
}

#[test]
fn a_log_that_contradicts_itself_refuses_every_command() {
    let mut shelf = Shelf::with(2).did(hold("h", 2, None));
    let Ok([Event::StockReleased { hold, reason, .. }]) =
        shelf.clone().tries(release("h")).map(|events| <[Event; 1]>::try_from(events).unwrap())
    else {
        panic!("expected a release")
    };
    let quantity = crate::quantity::Quantity::new(1).unwrap();
    let reference = None;
    shelf.product.evolve(&Event::StockReleased { hold, quantity, reason, reference });
    assert_snapshot!(shelf.does(adjust(1)), @"damaged-product - Conflict: the log of this product contradicts itself: hold h ended with another number of units than it had");
}
