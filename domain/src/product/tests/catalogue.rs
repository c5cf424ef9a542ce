//! Create, change, retire, and stock without holds.

use insta::assert_snapshot;

use super::shelf::*;
use crate::product::Offering::{Goods, Service};
use crate::product::command::{Changes, Command};
use crate::quantity::UNITS_MAX;

#[test]
fn a_product_is_created_once_and_a_retry_changes_nothing() {
    let mut shelf = Shelf::new();
    assert_snapshot!(shelf.does(create(Goods)), @"ProductCreated kind=goods name=Unicorn price=170000GBP");
    assert_snapshot!(shelf.does(create(Goods)), @"nothing");
    assert_snapshot!(shelf.does(create(Service)), @"product-exists - Conflict: the product was created with other content");
    let mut changed = shelf.did(reprice(1));
    assert_snapshot!(changed.does(create(Goods)), @"nothing");
    let now = crate::product::command::New { price: pounds(1), ..unicorn(Goods) };
    assert_snapshot!(changed.does(Command::Create(now)), @"product-exists - Conflict: the product was created with other content");
}

#[test]
fn a_product_that_was_never_created_is_unknown() {
    for command in [
        reprice(1),
        Command::Retire,
        adjust(1),
        hold("h", 1, None),
        capture("h", None),
        release("h"),
    ] {
        let answer = Shelf::new().does(command);
        assert_eq!(answer, "unknown-product - NotFound: there is no product of that id");
    }
    assert_eq!(Shelf::new().does(Command::Settle), "nothing");
}

#[test]
fn a_change_leaves_what_it_does_not_name() {
    let mut shelf = Shelf::with(4);
    let changes = |description: &str| Changes {
        description: Some(description.to_owned()),
        image: Some("/unicorn.png".to_owned()),
        ..Changes::default()
    };
    assert_snapshot!(shelf.does(Command::Change(changes("White"))), @"ProductChanged description=White image=/unicorn.png name=Unicorn price=170000GBP");
    assert_snapshot!(shelf.does(Command::Change(changes("White"))), @"nothing");
    assert_snapshot!(shelf.does(reprice(5)), @"ProductChanged description=White image=/unicorn.png name=Unicorn price=5GBP");
    assert_snapshot!(shelf.does(Command::Change(changes(""))), @"ProductChanged image=/unicorn.png name=Unicorn price=5GBP");
    assert_snapshot!(shelf.does(Command::Change(Changes::default())), @"nothing");
}

#[test]
fn texts_and_images_are_checked() {
    let mut shelf = Shelf::with(4);
    let name = |name: String| Command::Change(Changes { name: Some(name), ..Changes::default() });
    assert_snapshot!(shelf.does(name(" ".to_owned())), @"invalid-text /name Invalid: expected a text of 1 to 200 characters, got an empty one");
    assert_snapshot!(shelf.does(name("n".repeat(201))), @"invalid-text /name Invalid: expected a text of 1 to 200 characters, got 201");
    let long = Changes { description: Some("d".repeat(2_001)), ..Changes::default() };
    assert_snapshot!(shelf.does(Command::Change(long)), @"invalid-text /description Invalid: expected a text of at most 2000 characters, got 2001");
    let mut image = |image: &str| {
        let changes = Changes { image: Some(image.to_owned()), ..Changes::default() };
        shelf.does(Command::Change(changes)).split(' ').next().unwrap().to_owned()
    };
    for wrong in ["javascript:alert(1)", "//elsewhere/x.png", "unicorn.png", "https://a b", "/é"] {
        assert_eq!(image(wrong), "invalid-image", "{wrong}");
    }
    assert_eq!(image(&format!("/{}", "x".repeat(2_000))), "invalid-image");
    assert_eq!(image(&format!("/{}", "x".repeat(1_999))), "ProductChanged");
    assert_eq!(image("https://shop.example/u.png"), "ProductChanged");
}

#[test]
fn a_retired_product_takes_no_new_hold_and_never_changes_again() {
    let mut shelf = Shelf::with(4).did(hold("h", 2, None)).did(hold("i", 1, None));
    assert_snapshot!(shelf.does(Command::Retire), @"ProductRetired");
    assert_snapshot!(shelf.does(Command::Retire), @"nothing");
    assert_snapshot!(shelf.does(hold("j", 1, None)), @"product-retired - Conflict: the product is retired");
    assert_snapshot!(shelf.does(hold("h", 2, None)), @"nothing");
    assert_snapshot!(shelf.does(reprice(1)), @"product-retired - Conflict: the product is retired");
    assert_snapshot!(shelf.does(create(Goods)), @"nothing");
    assert_snapshot!(shelf.does(capture("h", None)), @"StockCaptured hold=h quantity=2 released=0");
    assert_snapshot!(shelf.does(release("i")), @"StockReleased hold=i quantity=1 reason=requested");
    assert_snapshot!(shelf.does(adjust(-2)), @"StockAdjusted delta=-2 reason=delivery");
    assert_snapshot!(shelf.has(), @"available 0 held 0");
}

#[test]
fn stock_never_falls_below_what_is_held_and_never_beyond_the_limit() {
    let mut shelf = Shelf::with(4).did(hold("h", 3, None));
    assert_snapshot!(shelf.does(adjust(-2)), @"insufficient-stock /delta Conflict: insufficient stock: a change by -2 requested, 1 available");
    assert_snapshot!(shelf.does(adjust(-1)), @"StockAdjusted delta=-1 reason=delivery");
    assert_snapshot!(shelf.does(adjust(-1)), @"insufficient-stock /delta Conflict: insufficient stock: a change by -1 requested, 0 available");
    assert_snapshot!(shelf.does(adjust(UNITS_MAX - 2)), @"limit-exceeded /delta Conflict: the stock would exceed the limit of 1000000000 units");
    assert_snapshot!(shelf.does(adjust(UNITS_MAX - 3)), @"StockAdjusted delta=999999997 reason=delivery");
    assert_snapshot!(shelf.has(), @"available 999999997 held 3");
    let unsaid = Command::AdjustStock {
        delta: crate::quantity::Delta::new(1).unwrap(),
        reason: String::new(),
        reference: None,
    };
    assert_snapshot!(shelf.does(unsaid), @"invalid-text /reason Invalid: expected a text of 1 to 200 characters, got an empty one");
}

#[test]
fn a_service_has_no_stock_and_its_holds_set_nothing_aside() {
    let mut shelf = Shelf::new().did(create(Service));
    assert_snapshot!(shelf.does(adjust(1)), @"no-stock - Conflict: a service has no stock");
    assert_snapshot!(shelf.does(hold("h", 1_000, Some(1))), @"StockHeld hold=h quantity=1000 until=2026-01-02");
    assert_snapshot!(shelf.has(), @"available 0 held 0");
    assert_snapshot!(shelf.does(capture("h", Some(999))), @"StockCaptured hold=h quantity=999 released=1");
    assert_snapshot!(shelf.does(release("h")), @"hold-ended /hold Conflict: hold h has ended: captured");
    assert_snapshot!(shelf.has(), @"available 0 held 0");
    let mut retired = shelf.did(Command::Retire);
    assert_snapshot!(retired.does(hold("i", 1, None)), @"product-retired - Conflict: the product is retired");
}
