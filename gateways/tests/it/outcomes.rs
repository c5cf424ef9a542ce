//! Calls that reach the provider and are answered: done, or refused for good.

use accrue_gateways::payment::names::PaymentId;
use accrue_gateways::payment::simulator::Switches;
use accrue_gateways::payment::{NotDone, Part, PaymentGateway, Refusal, State};

use crate::harness::{key, pence, reference, ten_pounds, world};

fn declined(code: &str) -> NotDone {
    NotDone::Refused(Refusal::Declined { code: code.to_owned() })
}

fn invalid(code: &str) -> NotDone {
    NotDone::Refused(Refusal::Invalid { code: code.to_owned() })
}

#[tokio::test]
async fn a_good_card_is_authorised_and_captured() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    assert_eq!(
        (held.state, held.money, held.capturable),
        (State::Authorised, pence(1_000), pence(1_000).amount)
    );
    assert_eq!(held.reference, Some(reference()));
    assert_eq!(it.totals().await, [1_000, 0, 0, 0]);
    let taken = it.stripe.capture(&key("capture"), &held.id, Part::Rest).await.unwrap();
    assert_eq!((taken.state, taken.captured), (State::Captured, pence(1_000).amount));
    assert_eq!(it.totals().await, [1_000, 1_000, 0, 0]);
}

#[tokio::test]
async fn a_part_is_captured_and_the_rest_released() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    let too_much = it.stripe.capture(&key("more"), &held.id, Part::Of(pence(1_001))).await;
    assert_eq!(too_much, Err(invalid("amount_too_large")));
    let part = Part::Of(pence(400));
    let taken = it.stripe.capture(&key("capture"), &held.id, part).await.unwrap();
    assert_eq!((taken.captured, taken.capturable), (pence(400).amount, pence(0).amount));
    assert_eq!(it.totals().await, [1_000, 400, 0, 600]);
    let again = it.stripe.capture(&key("again"), &held.id, Part::Of(pence(600))).await;
    assert_eq!(again, Err(invalid("payment_intent_unexpected_state")));
}

#[tokio::test]
async fn a_void_ends_the_hold_and_one_that_is_over_is_done() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    for step in ["void", "void", "void-again"] {
        let payment = it.stripe.void(&key(step), &held.id).await.unwrap();
        assert_eq!(payment.state, State::Voided, "{step}");
    }
    assert_eq!(it.totals().await, [1_000, 0, 0, 1_000]);
    let late = it.stripe.capture(&key("capture"), &held.id, Part::Rest).await;
    assert_eq!(late, Err(invalid("payment_intent_unexpected_state")));
}

#[tokio::test]
async fn what_was_captured_is_not_voided() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    it.stripe.capture(&key("capture"), &held.id, Part::Rest).await.unwrap();
    let void = it.stripe.void(&key("void"), &held.id).await;
    assert_eq!(void, Err(invalid("payment_intent_unexpected_state")));
}

#[tokio::test]
async fn each_test_card_is_declined_for_its_own_reason() {
    let it = world().await;
    for (card, code) in [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
    ] {
        assert_eq!(it.authorise(card, card).await, Err(declined(code)), "{card}");
    }
    assert_eq!(it.authorise("x", "pm_card_none").await, Err(invalid("resource_missing")));
    assert_eq!(it.totals().await, [0; 4]);
}

#[tokio::test]
async fn a_card_that_asks_for_the_customer_holds_nothing_and_can_be_voided() {
    let it = world().await;
    let answer = it.authorise("authorise", "pm_card_authenticationRequired").await;
    let Err(NotDone::Refused(Refusal::CustomerAction { payment: Some(id), url: Some(url) })) =
        answer
    else {
        panic!("{answer:?}");
    };
    assert!(url.starts_with("https://hooks.stripe.com/"), "{url}");
    assert_eq!(it.stripe.look_up(&id).await.unwrap().state, State::CustomerAction);
    assert_eq!(it.stripe.void(&key("void"), &id).await.unwrap().state, State::Voided);
    assert_eq!(it.totals().await, [0; 4]);
}

#[tokio::test]
async fn switches_decline_a_good_card_or_ask_for_the_customer() {
    let it = world().await;
    let decline = Some("do_not_honor".to_owned());
    it.switch(&Switches { decline, ..Switches::default() }).await;
    assert_eq!(it.authorise("one", "pm_card_visa").await, Err(declined("do_not_honor")));
    it.switch(&Switches { customer_action: true, ..Switches::default() }).await;
    let answer = it.authorise("two", "pm_card_visa").await;
    let asked = matches!(answer, Err(NotDone::Refused(Refusal::CustomerAction { .. })));
    assert!(asked, "{answer:?}");
    assert_eq!(it.totals().await, [0; 4]);
}

#[tokio::test]
async fn a_key_has_one_use() {
    let it = world().await;
    let first = it.authorise("authorise", "pm_card_visa").await.unwrap();
    assert_eq!(it.authorise("authorise", "pm_card_visa").await, Ok(first.clone()));
    let mut other = ten_pounds("pm_card_visa");
    other.money = pence(1_001);
    let reused = it.stripe.authorise(&key("authorise"), &other).await;
    assert!(matches!(reused, Err(NotDone::Refused(Refusal::Invalid { .. }))), "{reused:?}");
    let elsewhere = it.stripe.capture(&key("authorise"), &first.id, Part::Rest).await;
    assert!(matches!(elsewhere, Err(NotDone::Refused(Refusal::Invalid { .. }))), "{elsewhere:?}");
    assert_eq!(it.totals().await, [1_000, 0, 0, 0]);
}

#[tokio::test]
async fn a_refusal_is_kept_under_its_key() {
    let it = world().await;
    let decline = Some("try_again_later".to_owned());
    it.switch(&Switches { decline, ..Switches::default() }).await;
    assert_eq!(it.authorise("authorise", "pm_card_visa").await, Err(declined("try_again_later")));
    it.switch(&Switches::default()).await;
    assert_eq!(it.authorise("authorise", "pm_card_visa").await, Err(declined("try_again_later")));
    assert!(it.authorise("second", "pm_card_visa").await.is_ok());
}

#[tokio::test]
async fn payments_are_found_by_id_and_by_reference() {
    let it = world().await;
    assert_eq!(it.stripe.find(&reference()).await, Ok(vec![]));
    let first = it.authorise("one", "pm_card_visa").await.unwrap();
    let second = it.authorise("two", "pm_card_visa").await.unwrap();
    assert_eq!(it.stripe.look_up(&first.id).await.as_ref(), Ok(&first));
    assert_eq!(it.stripe.find(&reference()).await, Ok(vec![second, first]));
    let none = it.stripe.look_up(&PaymentId::parse("pi_none").unwrap()).await;
    assert_eq!(none, Err(invalid("resource_missing")));
}

#[tokio::test]
async fn an_amount_that_cannot_be_charged_is_not_sent() {
    let it = world().await;
    let mut nothing = ten_pounds("pm_card_visa");
    nothing.money = pence(0);
    let answer = it.stripe.authorise(&key("authorise"), &nothing).await;
    assert_eq!(answer, Err(invalid("amount_not_representable")));
}
