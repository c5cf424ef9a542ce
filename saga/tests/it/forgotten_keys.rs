//! Answers that are lost, and asked for again when the provider has forgotten the call's key: what
//! has happened is found, and does not happen twice.

use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{ProductId, PurchaseId};
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::payment_method::PaymentMethod;
use accrue_domain::product::Offering;
use accrue_domain::product::command::{Command as OnProduct, New};
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::command::{Asked, Command, Offer, Place, Portion, Refund};
use accrue_domain::purchase::refunds::Stage;
use accrue_domain::quantity::Quantity;
use accrue_event_store::clock::Clock as _;
use accrue_gateways::payment::simulator::Totals;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::world::{Running, World, envelope};

/// Longer than the provider is trusted to know a key; what waits for it has six days.
const LONG: TimeDelta = TimeDelta::hours(21);

struct Counter {
    world: World,
    provider: Provider,
    running: Running,
}

fn pounds(pence: i64) -> Money {
    Money { amount: Minor::new(pence).unwrap(), currency: Currency::GBP }
}

impl Counter {
    async fn open() -> Self {
        let (world, provider) = (World::new().await, Provider::start().await);
        let new = New {
            name: "a lesson".to_owned(),
            kind: Offering::Service,
            description: None,
            image: None,
            price: pounds(1_000),
        };
        world.execute(Action::Product(lesson(), OnProduct::Create(new))).await;
        let payments = provider.payments();
        let running = world.start_with(accrue_saga::Config { payments, ..Default::default() });
        Self { world, provider, running }
    }

    /// A lesson by card.
    async fn place(&self) {
        let payment_method = PaymentMethod::parse("pm_card_visa").unwrap();
        let quantity = Quantity::new(1).unwrap();
        let place = Place {
            account: None,
            lines: vec![Asked { product: lesson(), quantity, price: None }],
            discounts: Vec::new(),
            tenders: vec![Offer::Card { payment_method, money: None }],
            until: Some(self.world.clock.now() + TimeDelta::days(6)),
            reference: None,
            quotes: Vec::new(),
        };
        let order = Action::Purchase(id(), Command::Place(Box::new(place)));
        let actions = vec![Action::Product(lesson(), OnProduct::Quote), order.clone()];
        let envelope = Envelope { actions, ..envelope("order", order) };
        self.world.ledger.execute(envelope).await.unwrap();
    }

    async fn send(&self, command: Command) {
        self.world.execute(Action::Purchase(id(), command)).await;
    }

    async fn refund(&self, pence: i64) {
        let portion = Portion::Amount(pounds(pence));
        self.send(Command::Refund(Refund { id: None, portion, reference: None })).await;
    }

    /// Waits until so many of those have happened.
    async fn until(&self, event: &str, count: i64) {
        let sql = format!("SELECT count(*) FROM events WHERE event_type = '{event}'");
        self.world.until(&sql, count).await;
    }

    /// The next call of that kind is worked on, and its answer is lost.
    async fn lose(&self, kind: &str) {
        self.provider.switch(json!({"only": kind, "drop_connection": 1})).await;
    }

    /// It is later, and the provider knows no key any more.
    async fn pass(&self, time: TimeDelta) {
        self.provider.switch(json!({"forget_keys": true})).await;
        self.world.clock.set(self.world.clock.now() + time);
    }

    async fn state(&self) -> &'static str {
        self.world.load::<Purchase>(id().as_str()).await.status().as_str()
    }

    /// Ends it; what the provider has counted: authorised, captured, refunded, released.
    async fn end(self) -> [i64; 4] {
        self.running.end().await;
        let Totals { authorised, captured, refunded, released } = self.provider.totals().await;
        [authorised, captured, refunded, released]
    }
}

fn lesson() -> ProductId {
    ProductId::new("lesson").unwrap()
}

fn id() -> PurchaseId {
    PurchaseId::new("p").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_that_came_about_is_found_and_captured() {
    let it = Counter::open().await;
    it.lose("authorise").await;
    it.place().await;
    it.until("PurchaseStepDelayed", 1).await;
    it.pass(LONG).await;
    it.until("PurchaseCompleted", 1).await;
    assert_eq!(it.end().await, [1_000, 1_000, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_of_which_nothing_is_found_is_made() {
    let it = Counter::open().await;
    let fail: Value = json!({"only": "authorise", "fail": {"status": 500, "times": 1}});
    it.provider.switch(fail).await;
    it.place().await;
    it.until("PurchaseStepDelayed", 1).await;
    it.pass(LONG).await;
    it.until("PurchaseCompleted", 1).await;
    assert_eq!(it.end().await, [1_000, 1_000, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_that_came_about_is_found_and_voided() {
    let it = Counter::open().await;
    it.lose("authorise").await;
    it.place().await;
    it.until("PurchaseStepDelayed", 1).await;
    it.provider.switch(json!({"fail": {"status": 429, "times": 1}})).await;
    it.send(Command::Cancel { reason: None, actor: None }).await;
    it.until("PurchaseStepDelayed", 2).await;
    it.pass(LONG).await;
    it.until("PurchaseRejected", 1).await;
    assert_eq!(it.end().await, [1_000, 0, 0, 1_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_was_made_is_found() {
    let it = Counter::open().await;
    it.lose("capture").await;
    it.place().await;
    it.until("PurchaseStepDelayed", 1).await;
    it.pass(LONG).await;
    it.until("PurchaseCompleted", 1).await;
    let again = r#"accrue_payments_calls_total{call="capture",outcome="refused""#;
    assert_eq!(it.running.metric(again), "", "it was not called again");
    assert_eq!(it.end().await, [1_000, 1_000, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_on_the_way_back_is_found() {
    let it = Counter::open().await;
    it.lose("capture").await;
    it.place().await;
    it.until("PurchaseStepDelayed", 1).await;
    it.lose("refund").await;
    it.send(Command::Cancel { reason: None, actor: None }).await;
    it.until("PurchaseStepDelayed", 2).await;
    it.pass(LONG).await;
    it.until("PurchaseRejected", 1).await;
    assert_eq!(it.state().await, "rejected");
    assert_eq!(it.end().await, [1_000, 1_000, 1_000, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_was_made_is_found_and_one_that_was_not_is_made() {
    for (lost, switches) in [
        ("its answer", json!({"only": "refund", "drop_connection": 1})),
        ("the call", json!({"only": "refund", "fail": {"status": 500, "times": 1}})),
    ] {
        let it = Counter::open().await;
        it.place().await;
        it.until("PurchaseCompleted", 1).await;
        it.provider.switch(switches).await;
        it.refund(300).await;
        it.until("PurchaseStepDelayed", 1).await;
        it.pass(LONG).await;
        it.until("PurchaseRefunded", 1).await;
        let purchase = it.world.load::<Purchase>("p").await;
        assert!(purchase.refunds().iter().all(|it| it.stage == Stage::Done), "{lost}");
        assert_eq!(it.end().await, [1_000, 1_000, 300, 0], "{lost} was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_knows_is_used_again_without_looking() {
    let it = Counter::open().await;
    it.place().await;
    it.until("PurchaseCompleted", 1).await;
    it.lose("refund").await;
    it.refund(300).await;
    it.until("PurchaseStepDelayed", 1).await;
    it.world.clock.set(it.world.clock.now() + TimeDelta::hours(20));
    it.until("PurchaseRefunded", 1).await;
    let looked = it.running.metric(r#"accrue_payments_calls_total{call="look_up""#);
    assert_eq!((looked.as_str(), it.end().await), ("", [1_000, 1_000, 300, 0]));
}
