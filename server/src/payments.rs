//! The payment provider of this process.

use std::sync::Arc;
use std::time::Duration;

use accrue_gateways::breaker;
use accrue_gateways::payment::PaymentGateway;
use accrue_gateways::payment::simulator::{Simulator, WebhookEndpoint};
use accrue_gateways::payment::stripe::webhook::Secret;
use accrue_gateways::payment::stripe::{Settings, Stripe};
use accrue_gateways::retry::{self, Backoff};
use accrue_saga::purchases::payments::Payments;
use anyhow::{Context as _, Result};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::config::{self, Provider};

/// Most calls that one step makes, as a rule: asking again for a payment, ending it, looking at it.
const CALLS_MAX: i64 = 3;

/// What a step's lease has beyond its own time limit: nobody else makes it before.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(2);

/// Longest time for connecting, which is the part of a call that surely had no effect.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The secret of the simulator in this process, which takes any key.
const SIMULATOR_KEY: &str = "sk_test_simulator";

/// Where webhooks come in.
pub(crate) const WEBHOOK_PATH: &str = "/v1/webhooks/payments";

/// No provider: for a process that makes no payments.
pub(crate) fn none() -> Payments {
    Payments::new(None, LEASE_MARGIN, chance)
}

/// The provider, and the simulator where it is one.
pub(crate) async fn open(
    config: &config::Payments,
    url: &str,
) -> Result<(Payments, Option<Simulator>)> {
    let timeout_seconds = i64::from(config.timeout_seconds);
    let lease = TimeDelta::seconds(timeout_seconds * CALLS_MAX) + LEASE_MARGIN;
    let simulator = match config.provider {
        Provider::Simulator => {
            let endpoint = (!config.webhook_secret.is_empty()).then(|| WebhookEndpoint {
                url: format!("{url}{WEBHOOK_PATH}"),
                secret: Secret::new(config.webhook_secret.clone()),
            });
            let started = Simulator::start(endpoint).await;
            Some(started.context("the payment simulator cannot be started")?)
        }
        Provider::None | Provider::Url(_) => None,
    };
    let (base_url, secret_key) = match (&config.provider, &simulator) {
        (Provider::Url(url), _) => (url.clone(), config.key.clone()),
        (_, Some(simulator)) => (simulator.base_url(), SIMULATOR_KEY.to_owned()),
        (_, None) => return Ok((Payments::new(None, lease, chance), None)),
    };
    let call_timeout = Duration::from_secs(u64::from(config.timeout_seconds));
    let connect_timeout = CONNECT_MAX.min(call_timeout);
    let settings = Settings { base_url, secret_key, call_timeout, connect_timeout };
    let stripe = Stripe::new(settings).context("the payment provider cannot be called")?;
    let gateway: Arc<dyn PaymentGateway> = Arc::new(stripe);
    let backoff = Backoff {
        delay_ms_max: u64::from(config.retry_seconds_max).saturating_mul(1_000),
        attempts_max: config.attempts_max,
        ..retry::PAYMENT
    };
    let open_for = Duration::from_secs(u64::from(config.breaker_seconds));
    let breaker = breaker::Settings { open_for, ..breaker::PAYMENT };
    let payments = Payments::new(Some(gateway), lease, chance);
    let keys_kept = TimeDelta::hours(i64::from(config.keys_hours));
    let payments = payments.with_backoff(backoff).with_breaker(breaker);
    Ok((payments.with_keys_kept(keys_kept), simulator))
}

/// What webhooks are checked with; none where there is none, or nobody who would send them.
pub(crate) fn webhook_secret(config: &config::Payments) -> Option<Secret> {
    let is_there = config.provider != Provider::None && !config.webhook_secret.is_empty();
    is_there.then(|| Secret::new(config.webhook_secret.clone()))
}

/// 32 random bits.
fn chance() -> u32 {
    let bytes = *Uuid::new_v4().as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
