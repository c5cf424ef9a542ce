//! Calls that get lost on the way out or on the way back.

use std::time::Duration;

use accrue_gateways::payment::simulator::{Fail, Switches};
use accrue_gateways::payment::{NotDone, Part, PaymentGateway, State, Trouble};

use crate::harness::{adaptor, key, pence, reference, ten_pounds, world};

/// Shorter than for ever, which is what it is held against.
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn an_answer_that_got_lost_charges_once_however_often_it_is_tried() {
    let it = world().await;
    it.switch(&Switches { drop_connection: 2, ..Switches::default() }).await;
    for _ in 0..2 {
        let lost = it.authorise("authorise", "pm_card_visa").await;
        assert_eq!(lost, Err(NotDone::Unknown(Trouble::Broken)));
    }
    assert_eq!(it.totals().await, [1_000, 0, 0, 0], "it did happen");
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    assert_eq!(it.totals().await, [1_000, 0, 0, 0], "and only once");
    assert_eq!(it.stripe.find(&reference()).await.unwrap().len(), 1);

    it.switch(&Switches { drop_connection: 1, ..Switches::default() }).await;
    let lost = it.stripe.capture(&key("capture"), &held.id, Part::Rest).await;
    assert_eq!(lost, Err(NotDone::Unknown(Trouble::Broken)));
    let taken = it.stripe.capture(&key("capture"), &held.id, Part::Rest).await.unwrap();
    assert_eq!(taken.state, State::Captured);

    it.switch(&Switches { drop_connection: 1, ..Switches::default() }).await;
    let part = Part::Of(pence(250));
    let lost = it.stripe.refund(&key("refund"), &held.id, part).await;
    assert_eq!(lost, Err(NotDone::Unknown(Trouble::Broken)));
    it.stripe.refund(&key("refund"), &held.id, part).await.unwrap();
    assert_eq!(it.totals().await, [1_000, 1_000, 250, 0]);
}

#[tokio::test]
async fn a_lost_void_is_done_when_tried_again() {
    let it = world().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    it.switch(&Switches { drop_connection: 1, ..Switches::default() }).await;
    let lost = it.stripe.void(&key("void"), &held.id).await;
    assert_eq!(lost, Err(NotDone::Unknown(Trouble::Broken)));
    assert_eq!(it.stripe.look_up(&held.id).await.unwrap().state, State::Voided);
    assert_eq!(it.stripe.void(&key("void"), &held.id).await.unwrap().state, State::Voided);
    assert_eq!(it.totals().await, [1_000, 0, 0, 1_000]);
}

#[tokio::test]
async fn a_call_that_hangs_ends_as_unknown_and_can_be_tried_again() {
    let it = world().await;
    it.switch(&Switches { hang: 1, ..Switches::default() }).await;
    let hasty = adaptor(&it.simulator.base_url(), SHORT);
    let hung = hasty.authorise(&key("authorise"), &ten_pounds("pm_card_visa")).await;
    assert_eq!(hung, Err(NotDone::Unknown(Trouble::Timeout)));
    assert!(it.authorise("authorise", "pm_card_visa").await.is_ok());
    assert_eq!(it.totals().await, [1_000, 0, 0, 0]);
}

#[tokio::test]
async fn a_slow_call_is_done_within_the_time_limit_and_unknown_beyond_it() {
    let it = world().await;
    it.switch(&Switches { slow_ms: 20, ..Switches::default() }).await;
    assert!(it.authorise("patient", "pm_card_visa").await.is_ok());
    it.switch(&Switches { slow_ms: 3_600_000, ..Switches::default() }).await;
    let hasty = adaptor(&it.simulator.base_url(), SHORT);
    let late = hasty.authorise(&key("hasty"), &ten_pounds("pm_card_visa")).await;
    assert_eq!(late, Err(NotDone::Unknown(Trouble::Timeout)));
}

#[tokio::test]
async fn an_error_of_the_server_is_unknown_and_then_fine() {
    let it = world().await;
    let fail = Some(Fail { status: 500, times: 2 });
    it.switch(&Switches { fail, ..Switches::default() }).await;
    for _ in 0..2 {
        let failed = it.authorise("authorise", "pm_card_visa").await;
        assert_eq!(failed, Err(NotDone::Unknown(Trouble::Status(500))));
    }
    assert!(it.authorise("authorise", "pm_card_visa").await.is_ok());
    assert_eq!(it.totals().await, [1_000, 0, 0, 0]);
}

#[tokio::test]
async fn a_call_turned_away_had_no_effect_and_one_in_conflict_may_have() {
    let it = world().await;
    let expected = [
        (429, NotDone::NoEffect(Trouble::Status(429))),
        (409, NotDone::Unknown(Trouble::Status(409))),
    ];
    for (status, verdict) in expected {
        let fail = Some(Fail { status, times: 1 });
        it.switch(&Switches { fail, ..Switches::default() }).await;
        assert_eq!(it.authorise("authorise", "pm_card_visa").await, Err(verdict));
    }
}

#[tokio::test]
async fn without_a_connection_nothing_has_happened() {
    // A port that was free a moment ago and that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let stripe = adaptor(&url, Duration::from_secs(30));
    let answer = stripe.authorise(&key("authorise"), &ten_pounds("pm_card_visa")).await;
    assert_eq!(answer, Err(NotDone::NoEffect(Trouble::Connect)));
}

#[tokio::test]
async fn nothing_secret_shows_in_debug() {
    let it = world().await;
    let shown = format!("{:?} {:?}", it.stripe, ten_pounds("pm_card_visa"));
    assert!(!shown.contains("sk_test") && !shown.contains("pm_card"), "{shown}");
}
