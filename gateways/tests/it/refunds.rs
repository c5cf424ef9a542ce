//! Money on its way back.

use accrue_gateways::payment::names::PaymentId;
use accrue_gateways::payment::simulator::Switches;
use accrue_gateways::payment::{NotDone, Part, PaymentGateway, RefundState, Refusal};

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
    let expected = (pence(300), &RefundState::Settled, &id);
    assert_eq!((first.money, &first.state, &first.payment), expected);
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

#[tokio::test]
async fn a_refund_that_was_taken_on_can_fail_later_and_is_found_by_its_key() {
    let (it, id) = captured().await;
    it.switch(&Switches { pending_refunds: true, ..Switches::default() }).await;
    let part = Part::Of(pence(300));
    let taken_on = it.stripe.refund(&key("refund"), &id, part).await.unwrap();
    assert_eq!(taken_on.state, RefundState::UnderWay);
    assert_eq!(it.totals().await, [1_000, 1_000, 300, 0]);
    it.fail_refunds().await;
    assert_eq!(it.totals().await, [1_000, 1_000, 0, 0], "the money is with us again");
    let again = it.stripe.refund(&key("refund"), &id, part).await.unwrap();
    assert_eq!(again, taken_on, "its key keeps the first answer");
    it.switch(&Switches::default()).await;
    it.stripe.refund(&key("refund#2"), &id, part).await.unwrap();
    let found = it.stripe.refunds(&id).await.unwrap();
    let found: Vec<_> = found.iter().map(|it| (it.key.as_deref(), it.state.clone())).collect();
    let code = "lost_or_stolen_card".to_owned();
    let expected = [
        (Some("purchase/17/refund#2"), RefundState::Settled),
        (Some("purchase/17/refund"), RefundState::Failed { code }),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn more_refunds_than_fit_on_a_page_are_all_found() {
    let (it, id) = captured().await;
    for number in 0..101 {
        let key = key(&format!("refund.{number}"));
        it.stripe.refund(&key, &id, Part::Of(pence(1))).await.unwrap();
    }
    let found = it.stripe.refunds(&id).await.unwrap();
    assert_eq!((found.len(), found[100].key.as_deref()), (101, Some("purchase/17/refund.0")));
}

#[tokio::test]
async fn a_provider_that_forgets_keys_takes_a_call_for_a_new_one() {
    let (it, id) = captured().await;
    let part = Part::Of(pence(300));
    let first = it.stripe.refund(&key("refund"), &id, part).await.unwrap();
    it.switch(&Switches { forget_keys: true, ..Switches::default() }).await;
    let second = it.stripe.refund(&key("refund"), &id, part).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(it.totals().await, [1_000, 1_000, 600, 0]);
}
