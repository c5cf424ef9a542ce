//! Stripe's PaymentIntents with manual capture, over HTTP.
//!
//! Fed by: sagas, through [`PaymentGateway`]. Its counterpart for tests and demos is
//! `payment/simulator.rs`.
//! Invariants: nothing is logged here, and no error carries a key, a token or a body. No call is
//! repeated here: how often, and when, is the caller's.

mod amount;
mod verdict;
pub mod webhook;
mod wire;

use std::fmt;
use std::time::Duration;

use accrue_domain::money::Money;
use async_trait::async_trait;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::names::{IdempotencyKey, PaymentId, Reference};
use super::{Authorise, NotDone, Outcome, Part, Payment, PaymentGateway, Refund, Refusal, State};

/// Stripe itself.
pub const BASE_URL: &str = "https://api.stripe.com";

/// The version of the API whose answers [`wire`] reads; without it an account's own would apply.
const API_VERSION: &str = "2024-06-20";

/// Longest answer that is read, in bytes. An intent takes about four thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Most payments or refunds that one answer lists; Stripe's own limit for a page.
const FOUND_MAX: &str = "100";

/// Most pages of refunds that are read: far more than a purchase can have.
const PAGES_MAX: usize = 20;

/// Where Stripe is, and as whom to call it.
#[derive(Clone)]
pub struct Settings {
    /// [`BASE_URL`], or that of a simulator; without a `/` at the end.
    pub base_url: String,
    /// The account's secret key. Never shown by `Debug`.
    pub secret_key: String,
    /// Longest time for one call, from connecting to the last byte of the answer.
    pub call_timeout: Duration,
    /// Longest time for connecting, which is the part of a call that surely had no effect.
    pub connect_timeout: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("secret_key", &"…")
            .field("call_timeout", &self.call_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// The HTTP client could not be made: no certificates on this machine, or settings it refuses.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an HTTP client for Stripe: {0}")]
pub struct Unusable(#[from] reqwest::Error);

/// The adaptor.
#[derive(Debug, Clone)]
pub struct Stripe {
    settings: Settings,
    http: Client,
}

type Form<'a> = Vec<(&'a str, String)>;

impl Stripe {
    /// An adaptor that has not called yet.
    ///
    /// # Errors
    /// [`Unusable`] when no HTTP client can be made.
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        // Without TLS, as to a simulator, a machine without any certificates is good enough.
        let plain = settings.base_url.starts_with("http://");
        let builder = Client::builder();
        let builder = if plain { builder.tls_certs_only([]) } else { builder };
        let http = builder
            .timeout(settings.call_timeout)
            .connect_timeout(settings.connect_timeout)
            // A payment API does not redirect; whoever does it is not to get our key.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { settings, http })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.settings.base_url))
            .bearer_auth(&self.settings.secret_key)
            .header("Stripe-Version", API_VERSION)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        key: &IdempotencyKey,
        path: &str,
        form: &Form<'_>,
    ) -> Outcome<T> {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key.as_str());
        call(request.form(form)).await
    }
}

/// One call: sent, read, judged.
async fn call<T: DeserializeOwned>(request: RequestBuilder) -> Outcome<T> {
    let (status, body) = exchange(request).await?;
    if !status.is_success() {
        return Err(verdict::of_answer(status, &body));
    }
    serde_json::from_slice(&body).map_err(|_| verdict::not_understood())
}

async fn exchange(request: RequestBuilder) -> Outcome<(StatusCode, Vec<u8>)> {
    let response = request.send().await.map_err(|error| verdict::of_transport(&error))?;
    Ok((response.status(), read(response).await?))
}

async fn read(mut response: Response) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|it| verdict::of_transport(&it))? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(verdict::not_understood());
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The form's fields for an amount, checked against what Stripe can count.
fn units(money: Money) -> Outcome<String> {
    match amount::to_stripe(money) {
        Ok(units) => Ok(units.to_string()),
        Err(_) => {
            Err(NotDone::Refused(Refusal::Invalid { code: "amount_not_representable".to_owned() }))
        }
    }
}

#[async_trait]
impl PaymentGateway for Stripe {
    async fn authorise(&self, key: &IdempotencyKey, request: &Authorise) -> Outcome<Payment> {
        let form = vec![
            ("amount", units(request.money)?),
            ("currency", request.money.currency.code().to_ascii_lowercase()),
            ("payment_method", request.method.expose().to_owned()),
            ("payment_method_types[]", "card".to_owned()),
            ("capture_method", "manual".to_owned()),
            ("confirm", "true".to_owned()),
            ("metadata[reference]", request.reference.as_str().to_owned()),
        ];
        let intent: wire::Intent = self.post(key, "/v1/payment_intents", &form).await?;
        verdict::of_authorisation(intent)
    }

    async fn capture(&self, key: &IdempotencyKey, id: &PaymentId, part: Part) -> Outcome<Payment> {
        let form = match part {
            Part::Rest => vec![],
            Part::Of(money) => vec![("amount_to_capture", units(money)?)],
        };
        let path = format!("/v1/payment_intents/{id}/capture");
        let payment = self.post::<wire::Intent>(key, &path, &form).await?.payment()?;
        verdict::expect_state(payment, State::Captured)
    }

    async fn void(&self, key: &IdempotencyKey, id: &PaymentId) -> Outcome<Payment> {
        let path = format!("/v1/payment_intents/{id}/cancel");
        let request = self.request(Method::POST, &path).header("Idempotency-Key", key.as_str());
        let (status, body) = exchange(request.form(&Form::new())).await?;
        let intent = if status.is_success() {
            serde_json::from_slice(&body).map_err(|_| verdict::not_understood())?
        } else {
            // Voided before, say by a person at Stripe's dashboard: that is what we want.
            verdict::already_cancelled(&body).ok_or_else(|| verdict::of_answer(status, &body))?
        };
        verdict::expect_state(wire::Intent::payment(intent)?, State::Voided)
    }

    async fn refund(&self, key: &IdempotencyKey, id: &PaymentId, part: Part) -> Outcome<Refund> {
        // The key is written on it, so that it is found where the provider has forgotten the key.
        let mut form = vec![
            ("payment_intent", id.as_str().to_owned()),
            ("metadata[key]", key.as_str().to_owned()),
        ];
        if let Part::Of(money) = part {
            form.push(("amount", units(money)?));
        }
        let refund: wire::Refund = self.post(key, "/v1/refunds", &form).await?;
        verdict::of_refund(refund, id)
    }

    async fn refunds(&self, id: &PaymentId) -> Outcome<Vec<Refund>> {
        let mut refunds: Vec<Refund> = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("payment_intent", id.as_str()), ("limit", FOUND_MAX)];
            let last = refunds.last().map(|it| it.id.clone());
            query.extend(last.as_deref().map(|last| ("starting_after", last)));
            let request = self.request(Method::GET, "/v1/refunds").query(&query);
            let page: wire::Refunds = call(request).await?;
            let more = page.has_more && !page.data.is_empty();
            for refund in page.data {
                refunds.push(refund.refund(id)?);
            }
            if !more {
                return Ok(refunds);
            }
        }
        Err(verdict::not_understood())
    }

    async fn look_up(&self, id: &PaymentId) -> Outcome<Payment> {
        let path = format!("/v1/payment_intents/{id}");
        call::<wire::Intent>(self.request(Method::GET, &path)).await?.payment()
    }

    async fn find(&self, reference: &Reference) -> Outcome<Vec<Payment>> {
        let query = format!("metadata['reference']:'{}'", reference.as_str());
        let request = self
            .request(Method::GET, "/v1/payment_intents/search")
            .query(&[("query", query.as_str()), ("limit", FOUND_MAX)]);
        let found: wire::Found = call(request).await?;
        found.data.into_iter().map(wire::Intent::payment).collect()
    }
}
