//! Purchases whose card payments go wrong in every way that a provider and a network know, at every
//! call: each ends as it must, and no money and no goods are lost or made.

use accrue_gateways::payment::simulator::{CallKind, Completed, Fail, Switches};
use accrue_gateways::payment::stripe::webhook::{Secret, sign};
use accrue_tests::client::Answer;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use accrue_tests::till::{CAREFUL_CARD, GOOD_CARD, SECRET, Till};
use chrono::{DateTime, TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};

const HOOKS: &str = "/v1/webhooks/payments";

/// Purchases that meet the trouble at authorising, at capturing and at refunding, and come through.
async fn come_through(trouble: Switches) -> Till {
    let till = Till::open().await;
    for (id, kind) in [("a", CallKind::Authorise), ("c", CallKind::Capture)] {
        till.switch_only(kind, trouble.clone()).await;
        till.place(id, GOOD_CARD, json!({})).await.taken();
        till.comes_to(id, "completed").await;
    }
    till.switch_only(CallKind::Refund, trouble).await;
    // A webhook may have ended it by the time of the answer.
    let status = till.refund("c").await.status;
    assert!([201, 202].contains(&status), "{status}");
    till.comes_to("c", "refunded").await;
    till.adds_up(&["a", "c"]).await;
    till
}

/// Some seconds from now.
fn until(seconds: i64) -> Value {
    json!({"until": Utc::now() + TimeDelta::seconds(seconds)})
}

#[tokio::test]
async fn nothing_goes_wrong() {
    let till = come_through(Switches::default()).await;
    let it = till.totals().await;
    assert_eq!((it.authorised, it.captured, it.refunded, it.released), (1_000, 1_000, 500, 0));
}

#[tokio::test]
async fn a_decline_undoes_all_and_of_a_refund_is_for_people() {
    let till = Till::open().await;
    let decline = Switches { decline: Some("do_not_honor".to_owned()), ..Switches::default() };
    till.place("s", GOOD_CARD, json!({})).await.taken();
    till.comes_to("s", "completed").await;
    for (id, kind) in [("a", CallKind::Authorise), ("c", CallKind::Capture)] {
        till.switch_only(kind, decline.clone()).await;
        till.place(id, GOOD_CARD, json!({})).await.taken();
        let it = till.comes_to(id, "rejected").await;
        assert_eq!(it["reason"], "payment_declined", "{it}");
    }
    till.switch_only(CallKind::Refund, decline).await;
    till.refund("s").await.taken();
    let it = till.comes_to("s", "stuck").await;
    assert!(it["detail"].as_str().is_some_and(|it| it.contains("do_not_honor")), "{it}");
    till.operate("s", "abandon").await.expect(200);
    // The card's part is the operator's now; the rest of the refund went on.
    let it = till.comes_to("s", "refunded").await;
    assert_eq!((&it["refunded"], &it["refunds"][0]["state"]), (&json!(1_000), &json!("done")));
}

#[tokio::test]
async fn a_refused_refund_is_made_anew_when_people_say_so() {
    let till = Till::open().await;
    till.place("s", GOOD_CARD, json!({})).await.taken();
    till.comes_to("s", "completed").await;
    let decline = Switches { decline: Some("do_not_honor".to_owned()), ..Switches::default() };
    till.switch_only(CallKind::Refund, decline).await;
    till.refund("s").await.taken();
    till.comes_to("s", "stuck").await;
    // The provider would give its first answer under the same key for ever, and does so here.
    let times = "SELECT count(*) FROM events WHERE event_type = 'PurchaseStuck'";
    till.operate("s", "retry").await.expect(200);
    eventually("it is stuck again", async || {
        (till.database.number(times).await == 2).then_some(())
    })
    .await;
    till.calm().await;
    till.operate("s", "retry").await.expect(200);
    eventually("it goes on", async || {
        (till.purchase("s").await["state"] == "refunded").then_some(())
    })
    .await;
    till.adds_up(&["s"]).await;
}

#[tokio::test]
async fn a_refund_that_fails_behind_its_answer_is_for_people() {
    let till = Till::open().await;
    till.switch(&Switches { pending_refunds: true, ..Switches::default() }).await;
    for id in ["r", "a"] {
        till.place(id, GOOD_CARD, json!({})).await.taken();
        till.comes_to(id, "completed").await;
        till.refund(id).await.taken();
        till.comes_to(id, "refunded").await;
    }
    // The webhook is acknowledged, so that it is noted.
    till.fail_refunds().await;
    for id in ["r", "a"] {
        let it = till.purchase(id).await;
        let (state, refund) = (&it["state"], &it["refunds"][0]);
        assert_eq!((state, &refund["state"]), (&json!("stuck"), &json!("stuck")), "{it}");
        let detail = it["detail"].as_str().expect("a detail");
        assert!(detail.contains("lost_or_stolen_card"), "{it}");
        let path = format!("/v1/sagas/purchase:{id}?min_position={}", it["position"]);
        let saga = till.client.get(&path).await.expect(200).json();
        let at = (&saga["state"], &saga["step"], &saga["detail"]);
        assert_eq!(at, (&json!("stuck"), &json!("refund_card"), &json!(detail)));
    }
    assert_eq!(till.totals().await.refunded, 0);
    till.calm().await;
    till.operate("a", "abandon").await.expect(200);
    assert_eq!(till.purchase("a").await["state"], "refunded");
    till.operate("r", "retry").await.expect(200);
    eventually("it is made anew", async || {
        (till.purchase("r").await["state"] == "refunded").then_some(())
    })
    .await;
    let it = till.totals().await;
    assert_eq!((it.captured, it.refunded), (1_000, 500));
}

#[tokio::test]
async fn money_of_a_rejected_order_that_does_not_come_back_is_for_people() {
    let till = Till::open().await;
    till.switch_only(CallKind::Capture, Switches { slow_ms: 600, ..Switches::default() }).await;
    till.place("p", GOOD_CARD, json!({})).await.taken();
    started(&till, "p", "capture_card").await;
    till.cancel("p").await.taken();
    till.comes_to("p", "rejected").await;
    assert_eq!(till.totals().await.refunded, 500);
    till.fail_refunds().await;
    let it = till.purchase("p").await;
    assert_eq!((&it["state"], &it["open"]["step"]), (&json!("stuck"), &json!("capture_card")));
    till.calm().await;
    till.operate("p", "retry").await.expect(200);
    eventually("it is made anew", async || {
        (till.purchase("p").await["state"] == "rejected").then_some(())
    })
    .await;
    till.adds_up(&["p"]).await;
}

#[tokio::test]
async fn a_customer_who_acts_is_noticed_before_the_webhook_is_acknowledged() {
    let till = Till::open().await;
    for (id, outcome, end) in
        [("y", Completed::Authorised, "completed"), ("n", Completed::Declined, "rejected")]
    {
        till.place(id, CAREFUL_CARD, json!({})).await.taken();
        let it = till.comes_to(id, "waiting").await;
        assert!(it["action_url"].as_str().is_some_and(|it| it.starts_with("https://")), "{it}");
        till.customer_acts(id, outcome).await;
        // It is told by no more than the webhook: it would be looked at ten seconds later only.
        let it = till.purchase(id).await;
        assert!(it["action_url"].is_null(), "{it}");
        till.comes_to(id, end).await;
    }
    till.adds_up(&["y", "n"]).await;
}

#[tokio::test]
async fn a_customer_who_never_acts_gets_nothing_and_owes_nothing() {
    let till = Till::open().await;
    till.place("p", CAREFUL_CARD, until(3)).await.taken();
    till.comes_to("p", "waiting").await;
    let it = till.comes_to("p", "rejected").await;
    assert_eq!(it["reason"], "timed_out", "{it}");
    till.adds_up(&["p"]).await;
}

#[tokio::test]
async fn an_answer_that_comes_after_the_timeout_counts_once() {
    let till = Till::open().await;
    let slow = Switches { slow_ms: 1_500, ..Switches::default() };
    let moved = async |amount: fn(&accrue_gateways::payment::simulator::Totals) -> i64, sum| {
        eventually("it happens behind the caller's back", async || {
            (amount(&till.totals().await) == sum).then_some(())
        })
        .await;
        till.calm().await;
    };
    till.switch_only(CallKind::Authorise, slow.clone()).await;
    till.place("a", GOOD_CARD, json!({})).await.taken();
    moved(|it| it.authorised, 500).await;
    till.comes_to("a", "completed").await;
    till.switch_only(CallKind::Capture, slow.clone()).await;
    till.place("c", GOOD_CARD, json!({})).await.taken();
    moved(|it| it.captured, 1_000).await;
    till.comes_to("c", "completed").await;
    till.switch_only(CallKind::Refund, slow).await;
    till.refund("c").await.taken();
    moved(|it| it.refunded, 500).await;
    till.comes_to("c", "refunded").await;
    till.adds_up(&["a", "c"]).await;
}

#[tokio::test]
async fn a_call_that_hangs_is_made_again() {
    let till = come_through(Switches { hang: 1, ..Switches::default() }).await;
    let unknown = r#"accrue_payments_calls_total{call="capture",outcome="unknown"}"#;
    assert_eq!(till.figure(unknown).await, Some(1.0));
    assert_eq!(till.figure("accrue_payments_breaker_state").await, Some(0.0));
}

#[tokio::test]
async fn errors_of_the_provider_pass() {
    come_through(Switches { fail: Some(Fail { status: 500, times: 2 }), ..Switches::default() })
        .await;
}

#[tokio::test]
async fn an_answer_that_gets_lost_is_asked_for_again() {
    come_through(Switches { drop_connection: 1, ..Switches::default() }).await;
}

#[tokio::test]
async fn webhooks_that_come_twice_or_before_the_answer_change_nothing() {
    come_through(Switches { webhook_twice: true, ..Switches::default() }).await;
    come_through(Switches { webhook_first: true, webhook_twice: true, ..Switches::default() })
        .await;
}

#[tokio::test]
async fn without_a_provider_an_order_waits_for_its_time_and_is_undone() {
    let till = Till::open_without_provider().await;
    let ids = ["p", "q", "r", "s", "t", "u"];
    for id in ids {
        till.place(id, GOOD_CARD, until(3)).await.taken();
    }
    let it = till.comes_to("p", "waiting").await;
    let open = &it["open"];
    assert_eq!((&open["step"], &open["deadline"]), (&json!("authorise_card"), &it["until"]));
    assert_eq!(open["detail"], "had no effect: no connection", "{it}");
    assert!(open["attempts"].as_i64() > Some(0) && open["next_at"].is_string(), "{it}");
    eventually("the breaker opens", async || {
        (till.figure("accrue_payments_breaker_state").await == Some(2.0)).then_some(())
    })
    .await;
    let check = till.client.get("/readyz").await.expect(200).check("payments");
    assert_eq!(check["ok"], true);
    assert!(check["reason"].as_str().is_some_and(|it| it.contains("failed")), "{check}");
    for id in ids {
        let it = till.comes_to(id, "rejected").await;
        assert_eq!(it["reason"], "timed_out", "{it}");
    }
    till.adds_up(&ids).await;
    let no_effect = r#"accrue_payments_calls_total{call="authorise",outcome="no_effect"}"#;
    assert!(till.figure(no_effect).await >= Some(5.0));
}

#[tokio::test]
async fn a_provider_that_goes_away_leaves_what_may_have_happened_to_people() {
    let mut till = Till::open().await;
    till.place("r", GOOD_CARD, json!({})).await.taken();
    till.comes_to("r", "completed").await;
    till.switch_only(CallKind::Capture, Switches { hang: 1_000, ..Switches::default() }).await;
    till.place("c", GOOD_CARD, until(4)).await.taken();
    started(&till, "c", "capture_card").await;
    till.simulator = None;
    till.refund("r").await.taken();
    // The money may be taken, so that the purchase is not called rejected.
    let it = till.comes_to("c", "stuck").await;
    assert_eq!((&it["reason"], &it["open"]["state"]), (&json!("timed_out"), &json!("stuck")));
    till.comes_to("r", "stuck").await;
    let stock = till.client.get("/v1/products/tea/stock").await.expect(200).json();
    assert_eq!((&stock["on_hand"], &stock["available"]), (&json!(99), &json!(98)));
}

#[tokio::test]
async fn a_card_takes_and_gives_back_tens_of_fils() {
    let till = Till::open().await;
    let dinars = |amount: i64| json!({"amount": amount, "currency": "KWD"});
    let rug = json!({"id": "rug", "name": "Rug", "kind": "service", "price": dinars(1_005)});
    till.client.post("/v1/products", rug).await.expect(201);
    let order = |id: &str, quantity: i64| {
        let lines = json!([{"product": "rug", "quantity": quantity}]);
        let tenders = json!([{"kind": "card", "payment_method": GOOD_CARD}]);
        json!({"id": id, "lines": lines, "tenders": tenders})
    };
    let odd = till.client.post("/v1/purchases", order("odd", 1)).await;
    assert_snapshot!(odd.problem(), @"422 invalid-tenders /tenders/0/money");
    till.client.post("/v1/purchases", order("p", 2)).await.expect(201);
    let refund = async |body: Value| till.client.post("/v1/purchases/p/refund", body).await;
    let odd = refund(json!({"amount": dinars(1_005)})).await;
    assert_snapshot!(odd.problem(), @"422 invalid-amount /amount/amount");
    for amount in [1_000, 1_010] {
        let it = refund(json!({"lines": [{"line": 1, "quantity": 1}]})).await.expect(201).json();
        assert_eq!(
            it["refunds"].as_array().and_then(|it| it.last()).expect("one")["amount"],
            amount,
            "{it}"
        );
    }
    assert_eq!(till.purchase("p").await["state"], "refunded");
}

/// Everything that a provider and a network do, that a void and a refund come through by themselves.
fn troubles() -> [(&'static str, Switches); 9] {
    let fail = |status, times| Some(Fail { status, times });
    [
        ("slow", Switches { slow_ms: 300, ..none() }),
        ("later", Switches { slow_ms: 1_300, ..none() }),
        ("hang", Switches { hang: 1, ..none() }),
        ("fail", Switches { fail: fail(500, 2), ..none() }),
        ("away", Switches { fail: fail(429, 2), ..none() }),
        ("drop", Switches { drop_connection: 1, ..none() }),
        ("twice", Switches { webhook_twice: true, ..none() }),
        ("first", Switches { webhook_first: true, ..none() }),
        ("both", Switches { webhook_first: true, webhook_twice: true, ..none() }),
    ]
}

/// Waits until a purchase is back at its beginning. What is later than its caller waits for is so
/// once: else it would be for people in the end.
async fn comes_back(till: &Till, id: &str, trouble: &Switches) {
    if trouble.slow_ms > 1_000 {
        let sql = format!(
            "SELECT count(*) FROM events WHERE event_type = 'PurchaseStepDelayed' \
             AND aggregate_id LIKE '%/{id}' AND payload->'PurchaseStepDelayed'->>'way' = 'undo'"
        );
        eventually("nobody waits any more", async || {
            (till.database.number(&sql).await > 0).then_some(())
        })
        .await;
        till.calm().await;
    }
    let it = till.comes_to(id, "rejected").await;
    assert_eq!(it["reason"], "cancelled", "{it}");
}

#[tokio::test]
async fn a_void_meets_everything_that_can_go_wrong() {
    let till = Till::open().await;
    let troubles = troubles();
    for (id, trouble) in &troubles {
        till.calm().await;
        till.place(id, CAREFUL_CARD, json!({})).await.taken();
        till.comes_to(id, "waiting").await;
        till.switch_only(CallKind::Void, trouble.clone()).await;
        till.cancel(id).await.taken();
        comes_back(&till, id, trouble).await;
    }
    till.adds_up(&troubles.map(|(id, _)| id)).await;
}

#[tokio::test]
async fn giving_back_what_was_captured_meets_everything_that_can_go_wrong() {
    let till = Till::open().await;
    let troubles = troubles();
    for (id, trouble) in &troubles {
        captured_and_cancelled(&till, id, trouble.clone()).await;
        comes_back(&till, id, trouble).await;
    }
    // What the provider refuses it refuses for ever, under that key.
    let decline = Switches { decline: Some("expired_or_canceled_card".to_owned()), ..none() };
    captured_and_cancelled(&till, "no", decline).await;
    let it = till.comes_to("no", "stuck").await;
    assert!(it["detail"].as_str().is_some_and(|it| it.contains("expired_or_canceled")), "{it}");
    till.calm().await;
    till.operate("no", "retry").await.expect(200);
    eventually("it goes on", async || {
        (till.purchase("no").await["state"] == "rejected").then_some(())
    })
    .await;
    let all: Vec<_> = troubles.iter().map(|(id, _)| *id).chain(["no"]).collect();
    till.adds_up(&all).await;
    let it = till.totals().await;
    assert_eq!((it.captured, it.refunded), (5_000, 5_000));
}

fn none() -> Switches {
    Switches::default()
}

/// Cancels a purchase while its capture is on the way, which comes through. What is given back then
/// meets the trouble.
async fn captured_and_cancelled(till: &Till, id: &str, trouble: Switches) {
    till.switch_only(CallKind::Capture, Switches { slow_ms: 600, ..none() }).await;
    till.place(id, GOOD_CARD, json!({})).await.taken();
    started(till, id, "capture_card").await;
    let captured = till.totals().await.captured;
    till.cancel(id).await.taken();
    till.switch_only(CallKind::Refund, trouble).await;
    eventually("it is captured", async || (till.totals().await.captured > captured).then_some(()))
        .await;
}

/// Waits until a call of that step is on its way.
async fn started(till: &Till, id: &str, step: &str) {
    let sql = format!(
        "SELECT count(*) FROM events WHERE event_type = 'PurchaseStepStarted' \
         AND aggregate_id LIKE '%/{id}' AND payload->'PurchaseStepStarted'->>'step' = '{step}'"
    );
    eventually("the call is made", async || (till.database.number(&sql).await > 0).then_some(()))
        .await;
}

#[tokio::test]
async fn cancelling_while_a_call_hangs_takes_back_what_it_may_have_done() {
    let till = Till::open().await;
    let all =
        [("a", CallKind::Authorise, "authorise_card"), ("c", CallKind::Capture, "capture_card")];
    for (id, kind, step) in all {
        till.switch_only(kind, Switches { hang: 1, ..Switches::default() }).await;
        till.place(id, GOOD_CARD, json!({})).await.taken();
        started(&till, id, step).await;
        till.cancel(id).await.taken();
        let it = till.comes_to(id, "rejected").await;
        assert_eq!(it["reason"], "cancelled", "{it}");
    }
    // The answer is on its way when the way turns.
    for (id, kind, step) in
        [("l", CallKind::Authorise, "authorise_card"), ("m", CallKind::Capture, "capture_card")]
    {
        till.switch_only(kind, Switches { slow_ms: 600, ..Switches::default() }).await;
        till.place(id, GOOD_CARD, json!({})).await.taken();
        started(&till, id, step).await;
        till.cancel(id).await.taken();
        till.comes_to(id, "rejected").await;
    }
    till.adds_up(&["a", "c", "l", "m"]).await;
}

#[tokio::test]
async fn a_capture_that_somebody_else_has_made_counts_as_made() {
    let till = Till::open().await;
    till.switch_only(CallKind::Capture, Switches { hang: 1, ..Switches::default() }).await;
    till.place("p", GOOD_CARD, json!({})).await.taken();
    // The call is out and gets nowhere; the next is told that there is nothing to capture.
    till.hangs().await;
    let held = "SELECT payload->'PurchaseStepDone'->>'payment' FROM events \
                WHERE event_type = 'PurchaseStepDone' \
                AND payload->'PurchaseStepDone'->>'step' = 'authorise_card'";
    let payment = till.database.text(held).await;
    till.capture_by_hand(&payment).await;
    till.comes_to("p", "completed").await;
    till.adds_up(&["p"]).await;
}

/// A purchase whose void the provider keeps failing.
async fn stuck() -> Till {
    let till = Till::open().await;
    till.place("p", CAREFUL_CARD, json!({})).await.taken();
    till.comes_to("p", "waiting").await;
    let fail = Some(Fail { status: 500, times: u32::MAX });
    till.switch_only(CallKind::Void, Switches { fail, ..Switches::default() }).await;
    assert_eq!(till.operate("p", "retry").await.problem(), "409 not-stuck");
    till.cancel("p").await.taken();
    till.comes_to("p", "stuck").await;
    till
}

#[tokio::test]
async fn a_stuck_purchase_is_tried_again_when_people_say_so() {
    let till = stuck().await;
    till.operate("p", "retry").await.expect(200);
    let times = "SELECT count(*) FROM events WHERE event_type = 'PurchaseStuck'";
    eventually("it is stuck again", async || {
        (till.database.number(times).await == 2).then_some(())
    })
    .await;
    till.calm().await;
    till.operate("p", "retry").await.expect(200);
    let it = eventually("it goes on", async || {
        let it = till.purchase("p").await;
        (it["state"] == "rejected").then_some(it)
    });
    assert_eq!(it.await["reason"], "cancelled");
    assert_snapshot!(till.operate("p", "abandon").await.problem(), @"409 not-stuck");
    till.adds_up(&["p"]).await;
}

#[tokio::test]
async fn a_payment_that_comes_about_behind_an_abandoned_void_is_voided() {
    let till = stuck().await;
    till.operate("p", "abandon").await.expect(200);
    let it = eventually("it goes on", async || {
        let it = till.purchase("p").await;
        (it["state"] == "rejected").then_some(it)
    });
    assert_eq!(it.await["reason"], "cancelled");
    till.calm().await;
    till.customer_acts("p", Completed::Authorised).await;
    // The webhook was acknowledged, so that it is done.
    let it = till.totals().await;
    assert_eq!((it.authorised, it.released), (500, 500));
    till.adds_up(&["p"]).await;
}

/// An event about a payment, signed then with that secret.
async fn hook(till: &Till, body: &Value, secret: &str, at: DateTime<Utc>) -> Answer {
    let body = body.to_string();
    let signature = sign(body.as_bytes(), &Secret::new(secret), at);
    till.client.with("stripe-signature", &signature).post_text(HOOKS, body).await
}

#[tokio::test]
async fn webhooks_are_taken_from_the_provider_only() {
    let till = Till::open().await;
    till.place("p", CAREFUL_CARD, json!({})).await.taken();
    till.comes_to("p", "waiting").await;
    let payment = till.payment("p").await;
    let event = |kind: &str, payment: &str| {
        let object = json!({"object": "payment_intent", "id": payment});
        json!({"id": "evt_1", "type": kind, "created": 1_700_000_000, "data": {"object": object}})
    };
    let head = "SELECT position FROM log_head";
    let before = till.database.number(head).await;
    let good = event("payment_intent.succeeded", &payment);
    let now = Utc::now();
    let unsigned = till.client.post(HOOKS, good.clone()).await;
    assert_snapshot!(unsigned.problem(), @"400 invalid-signature Stripe-Signature");
    assert_snapshot!(hook(&till, &good, "whsec_other", now).await.problem(), @"400 invalid-signature Stripe-Signature");
    let stale = hook(&till, &good, SECRET, now - TimeDelta::seconds(302)).await;
    assert_snapshot!(stale.problem(), @"400 stale-signature Stripe-Signature");
    assert_snapshot!(hook(&till, &json!({}), SECRET, now).await.problem(), @"400 invalid-event");
    // It says that the money was taken, and the provider itself says that it was not.
    hook(&till, &good, SECRET, now).await.expect(200);
    hook(&till, &event("invoice.paid", "pi_nobodys"), SECRET, now).await.expect(200);
    let other = json!({"id": "evt_2", "type": "new.kind", "created": 1, "data": {"object": {}}});
    hook(&till, &other, SECRET, now).await.expect(200);
    assert_eq!(till.purchase("p").await["state"], "waiting");
    assert_eq!(till.database.number(head).await, before, "nothing was noted");
    // While the provider cannot be asked, it is to be sent again.
    let fail = Some(Fail { status: 500, times: 1 });
    till.switch_only(CallKind::Read, Switches { fail, ..Switches::default() }).await;
    assert_snapshot!(hook(&till, &good, SECRET, now).await.problem(), @"503 payments-unavailable");
}

#[tokio::test]
async fn webhooks_need_a_secret_and_the_sagas() {
    let database = Database::create().await;
    let server = Server::start(&database).await;
    let none = server.client().post(HOOKS, json!({})).await;
    assert_snapshot!(none.problem(), @"404 webhooks-not-configured");
    let flags = ["--database-url", &database.url, "--roles", "api", "--payments", "simulator"];
    let secret = [("ACCRUE_PAYMENTS_WEBHOOK_SECRET", SECRET)];
    let reader = Server::start_in(&flags, &secret).await;
    let elsewhere = reader.client().post(HOOKS, json!({})).await;
    assert_snapshot!(elsewhere.problem(), @"503 no-sagas");
}
