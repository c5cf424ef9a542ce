//! A simulator, an adaptor that talks to it, and short ways to say what a test is about.

use std::collections::BTreeMap;
use std::time::Duration;

use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::payment_method::PaymentMethod;
use accrue_gateways::payment::names::{IdempotencyKey, Reference};
use accrue_gateways::payment::simulator::{
    RefundFailure, Simulator, Switches, Totals, WebhookEndpoint,
};
use accrue_gateways::payment::stripe::{Settings, Stripe};
use accrue_gateways::payment::{Authorise, Outcome, Payment, PaymentGateway};

/// Far more than any call takes that gets an answer at all.
const ANSWER_MAX: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) stripe: Stripe,
}

pub(crate) async fn world() -> World {
    world_with(None).await
}

pub(crate) async fn world_with(webhooks: Option<WebhookEndpoint>) -> World {
    let simulator = Simulator::start(webhooks).await.unwrap();
    let stripe = adaptor(&simulator.base_url(), ANSWER_MAX);
    World { simulator, stripe }
}

pub(crate) fn adaptor(base_url: &str, call_timeout: Duration) -> Stripe {
    Stripe::new(Settings {
        base_url: base_url.to_owned(),
        secret_key: "sk_test_simulated".to_owned(),
        call_timeout,
        connect_timeout: ANSWER_MAX,
    })
    .unwrap()
}

impl World {
    pub(crate) async fn switch(&self, switches: &Switches) {
        let url = format!("{}/_switches", self.simulator.base_url());
        let answer = reqwest::Client::new().post(url).json(switches).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Refunds that were taken on come to nothing.
    pub(crate) async fn fail_refunds(&self) {
        let url = format!("{}/_fail_refunds", self.simulator.base_url());
        let failure = RefundFailure::default();
        let answer = reqwest::Client::new().post(url).json(&failure).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// What the simulator has counted in pounds: authorised, captured, refunded, released.
    pub(crate) async fn totals(&self) -> [i64; 4] {
        let url = format!("{}/_ledger", self.simulator.base_url());
        let totals: BTreeMap<String, Totals> =
            reqwest::get(url).await.unwrap().json().await.unwrap();
        let it = totals.get("gbp").copied().unwrap_or_default();
        [it.authorised, it.captured, it.refunded, it.released]
    }

    /// Ten pounds on a card, under the key of a step.
    pub(crate) async fn authorise(&self, step: &str, card: &str) -> Outcome<Payment> {
        self.stripe.authorise(&key(step), &ten_pounds(card)).await
    }
}

pub(crate) fn key(step: &str) -> IdempotencyKey {
    IdempotencyKey::of("purchase/17", step).unwrap()
}

pub(crate) fn pence(units: i64) -> Money {
    Money { amount: Minor::new(units).unwrap(), currency: Currency::GBP }
}

pub(crate) fn reference() -> Reference {
    Reference::parse("purchase 17").unwrap()
}

pub(crate) fn ten_pounds(card: &str) -> Authorise {
    Authorise {
        money: pence(1_000),
        method: PaymentMethod::parse(card).unwrap(),
        reference: reference(),
    }
}
