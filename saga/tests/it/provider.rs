//! A simulated payment provider, and calls to it that are given up soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accrue_gateways::breaker;
use accrue_gateways::payment::simulator::{Simulator, Totals};
use accrue_gateways::payment::stripe::{Settings, Stripe};
use accrue_gateways::retry::Backoff;
use accrue_saga::purchases::payments::Payments;
use chrono::TimeDelta;
use serde_json::Value;

pub(crate) struct Provider(Simulator);

impl Provider {
    pub(crate) async fn start() -> Self {
        Self(Simulator::start(None).await.unwrap())
    }

    /// What the saga calls it with.
    pub(crate) fn payments(&self) -> Payments {
        let stripe = Stripe::new(Settings {
            base_url: self.0.base_url(),
            secret_key: "sk_test_market".to_owned(),
            call_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_millis(200),
        });
        let breaker = breaker::Settings { failures_max: 5, open_for: Duration::from_millis(20) };
        let backoff = Backoff { delay_ms_base: 500, delay_ms_max: 60_000, attempts_max: 4 };
        Payments::new(Some(Arc::new(stripe.unwrap())), TimeDelta::seconds(2), || 1 << 31)
            .with_backoff(backoff)
            .with_breaker(breaker)
    }

    /// Has it misbehave so.
    pub(crate) async fn switch(&self, switches: Value) {
        let url = format!("{}/_switches", self.0.base_url());
        let body = switches.to_string();
        let request = client().post(url).header("content-type", "application/json").body(body);
        assert!(request.send().await.unwrap().status().is_success(), "{switches}");
    }

    /// What it has counted in pounds.
    pub(crate) async fn totals(&self) -> Totals {
        let url = format!("{}/_ledger", self.0.base_url());
        let text = client().get(url).send().await.unwrap().text().await.unwrap();
        let ledger: BTreeMap<String, Totals> = serde_json::from_str(&text).unwrap();
        ledger.get("gbp").copied().unwrap_or_default()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().unwrap()
}
