//! Money on its way back.

use accrue_gateways::payment::names::PaymentId;
use accrue_gateways::payment::{NotDone, Part, PaymentGateway, Refusal};

use crate::harness::{World, key, pence, world};

async fn captured() -> (World, PaymentId) {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    it.stripe.capture(&key("capture"), &held.id, Part::Rest).await.unwrap();
    (it, held.id)
}

fn invalid(code: &str) -> NotDone {
    NotDone::Refused(Refusal::Invalid { code: code.to_owned() })
}

#[tokio::test]
async fn parts_come_back_until_nothing_is_left() {
    let (it, id) = captured().await;
    let first = it.stripe.refund(&key("refund-1"), &id, Part::Of(pence(300))).await.unwrap();
    assert_eq!((first.money, first.settled, &first.payment), (pence(300), true, &id));
    let too_much = it.stripe.refund(&key("refund-2"), &id, Part::Of(pence(701))).await;
    assert_eq!(too_much, Err(invalid("amount_too_large")));
    let rest = it.stripe.refund(&key("refund-3"), &id, Part::Rest).await.unwrap();
    assert_eq!(rest.money, pence(700));
    let none = it.stripe.refund(&key("refund-4"), &id, Part::Rest).await;
    assert_eq!(none, Err(invalid("charge_already_refunded")));
    assert_eq!(it.totals().await, [1_000, 1_000, 1_000, 0]);
}

#[tokio::test]
async fn the_same_key_gives_back_once() {
    let (it, id) = captured().await;
    let first = it.stripe.refund(&key("refund"), &id, Part::Of(pence(300))).await;
    let second = it.stripe.refund(&key("refund"), &id, Part::Of(pence(300))).await;
    assert!(first.is_ok());
    assert_eq!(first, second);
    assert_eq!(it.totals().await, [1_000, 1_000, 300, 0]);
}

#[tokio::test]
async fn what_was_not_captured_does_not_come_back() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    let answer = it.stripe.refund(&key("refund"), &held.id, Part::Of(pence(1))).await;
    assert_eq!(answer, Err(invalid("payment_intent_unexpected_state")));
}
