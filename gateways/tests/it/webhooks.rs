//! Webhooks of the simulator, taken by an endpoint of ours.

use accrue_gateways::payment::simulator::{Switches, WebhookEndpoint};
use accrue_gateways::payment::stripe::webhook::{self, Event, Secret};
use accrue_gateways::payment::{Part, PaymentGateway};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use chrono::{TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::harness::{World, key, world_with};

const SECRET: &str = "whsec_simulated";

/// A world whose webhooks come out of a queue, verified.
async fn listening() -> (World, UnboundedReceiver<Event>) {
    let (sender, events) = unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| {
        let header = headers["stripe-signature"].to_str().unwrap();
        let tolerance = TimeDelta::seconds(webhook::TOLERANCE_SECONDS);
        let event = webhook::verify(&body, header, &Secret::new(SECRET), Utc::now(), tolerance);
        // The receiver is gone when its test is over.
        let _ = sender.send(event.unwrap());
        std::future::ready(())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
    let router = Router::new().route("/webhooks", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (world_with(Some(WebhookEndpoint { url, secret: Secret::new(SECRET) })).await, events)
}

#[tokio::test]
async fn each_change_is_told_once_in_order_and_a_replay_not_again() {
    let (it, mut events) = listening().await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    it.authorise("authorise", "pm_card_visa").await.unwrap();
    it.stripe.capture(&key("capture"), &held.id, Part::Rest).await.unwrap();
    it.stripe.refund(&key("refund"), &held.id, Part::Rest).await.unwrap();
    for kind in
        ["payment_intent.amount_capturable_updated", "payment_intent.succeeded", "refund.created"]
    {
        let event = events.recv().await.unwrap();
        assert_eq!((event.kind.as_str(), event.payment), (kind, Some(held.id.clone())));
    }
}

#[tokio::test]
async fn a_duplicate_has_the_same_id() {
    let (it, mut events) = listening().await;
    it.switch(&Switches { webhook_twice: true, ..Switches::default() }).await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    // So that there is a second event in any case.
    it.stripe.void(&key("void"), &held.id).await.unwrap();
    let (first, second) = (events.recv().await.unwrap(), events.recv().await.unwrap());
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_webhook_can_arrive_before_the_answer() {
    let (it, mut events) = listening().await;
    it.switch(&Switches { webhook_first: true, ..Switches::default() }).await;
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    let event = events.try_recv().expect("it is here already");
    assert_eq!(event.payment, Some(held.id));
}

#[tokio::test]
async fn a_webhook_tells_of_a_payment_whose_answer_got_lost() {
    let (it, mut events) = listening().await;
    it.switch(&Switches { drop_connection: 1, ..Switches::default() }).await;
    it.authorise("authorise", "pm_card_visa").await.unwrap_err();
    let event = events.recv().await.unwrap();
    let held = it.authorise("authorise", "pm_card_visa").await.unwrap();
    assert_eq!(event.payment, Some(held.id));
}
