//! A simulator of Stripe's PaymentIntents: a real HTTP server on loopback, with the states,
//! idempotency, test cards, errors and signed webhooks of the original, and switches that make
//! it fail in the ways in which networks and providers do.
//!
//! Fed by: the adaptor in `payment/stripe.rs`, tests and demos. It keeps all in memory, and is no
//! place for real cards: nothing is charged.
//!
//! - `/v1/…` is the API; any secret key is right.
//! - `POST /_switches` takes [`Switches`] and replaces the ones before; `GET` tells what is left of them.
//! - `POST /_complete` takes [`Completion`]: the customer acts on a payment that waits for them. It
//!   is answered when the webhook of that has been tried.
//! - `POST /_fail_refunds` takes [`RefundFailure`]: every refund that has not failed does now, as an
//!   issuer may decide days after the provider took it on. It is answered as that above.
//! - `POST /_webhooks` takes [`WebhookTarget`]: where webhooks go from then on.
//! - `GET /_ledger` answers with [`Totals`] by currency.

mod cards;
mod delivery;
mod switches;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Json, RawForm, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use chrono::Utc;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::delivery::Delivery;
use self::switches::Fate;
use self::world::{Answer, Call, World};
use super::stripe::webhook::Secret;

pub use self::switches::{CallKind, Fail, Switches};
pub use self::world::Totals;

/// Where webhooks go.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// Takes a `POST` of each event.
    pub url: String,
    /// Signs them.
    pub secret: Secret,
}

/// What a customer does about a payment that waits for them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// The payment, `pi_…`.
    pub payment: String,
    /// How it ends.
    #[serde(default)]
    pub outcome: Completed,
}

/// How 3-D Secure ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completed {
    /// The issuer agrees, and the money is held.
    #[default]
    Authorised,
    /// The issuer does not.
    Declined,
}

/// Why refunds that were taken on come to nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefundFailure {
    /// Stripe's word for it.
    pub reason: String,
}

impl Default for RefundFailure {
    fn default() -> Self {
        Self { reason: "lost_or_stolen_card".to_owned() }
    }
}

/// Where webhooks are to go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// Takes a `POST` of each event.
    pub url: String,
    /// Signs them.
    pub secret: String,
}

/// A simulator that runs until it is dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Simulator {
    /// Starts one on a free port of the loopback interface, within the current Tokio runtime.
    ///
    /// # Errors
    /// When there is no port, or no HTTP client can be made for the webhooks.
    pub async fn start(webhooks: Option<WebhookEndpoint>) -> io::Result<Self> {
        Self::start_on(0, webhooks).await
    }

    /// As [`Simulator::start`], on that port.
    ///
    /// # Errors
    /// As there; also when the port is not free.
    pub async fn start_on(port: u16, webhooks: Option<WebhookEndpoint>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let delivery = Delivery::start(webhooks, stop.clone());
        let service = Service {
            world: Arc::default(),
            switches: Arc::default(),
            delivery: delivery.map_err(io::Error::other)?,
        };
        tokio::spawn(accept(listener, router(service), stop.clone()));
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// What a client takes as Stripe's address.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[derive(Debug, Clone)]
struct Service {
    world: Arc<Mutex<World>>,
    switches: Arc<Mutex<Switches>>,
    delivery: Delivery,
}

/// The world is changed by whole calls only, so one that panicked leaves nothing half done.
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/{*path}", any(api))
        .route("/_switches", get(switches).post(set_switches))
        .route("/_complete", post(complete))
        .route("/_fail_refunds", post(fail_refunds))
        .route("/_webhooks", post(set_webhooks))
        .route("/_ledger", get(ledger))
        .with_state(service)
}

/// Ends the connection that a request came by.
#[derive(Debug, Clone)]
struct Hangup(CancellationToken);

/// Connections are served by hand, since a handler of axum cannot drop its own.
async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        // Out of file handles, or a client that went away: the next may be fine.
        let Ok((stream, _)) = stream else { continue };
        let hangup = stop.child_token();
        let router = router.clone().layer(Extension(Hangup(hangup.clone())));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            tokio::select! {
                _ = connection => {}
                () = hangup.cancelled() => {}
            }
        });
    }
}

async fn switches(State(service): State<Service>) -> Json<Switches> {
    Json(lock(&service.switches).clone())
}

async fn set_switches(State(service): State<Service>, Json(new): Json<Switches>) -> StatusCode {
    *lock(&service.switches) = new;
    StatusCode::NO_CONTENT
}

async fn ledger(State(service): State<Service>) -> Json<BTreeMap<String, Totals>> {
    Json(lock(&service.world).ledger())
}

async fn set_webhooks(
    State(service): State<Service>,
    Json(WebhookTarget { url, secret }): Json<WebhookTarget>,
) -> StatusCode {
    service.delivery.redirect(Some(WebhookEndpoint { url, secret: Secret::new(secret) }));
    StatusCode::NO_CONTENT
}

async fn complete(
    State(service): State<Service>,
    Json(Completion { payment, outcome }): Json<Completion>,
) -> Response {
    let authorised = outcome == Completed::Authorised;
    let (answer, events) = lock(&service.world).complete(&payment, authorised, Utc::now());
    let twice = lock(&service.switches).webhook_twice;
    service.delivery.send(events, twice, true).await;
    respond(&answer)
}

async fn fail_refunds(
    State(service): State<Service>,
    Json(RefundFailure { reason }): Json<RefundFailure>,
) -> StatusCode {
    let events = lock(&service.world).fail_refunds(&reason, Utc::now());
    let twice = lock(&service.switches).webhook_twice;
    service.delivery.send(events, twice, true).await;
    StatusCode::NO_CONTENT
}

/// A call as it came in.
#[derive(Debug)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Option<String>,
    form: Bytes,
}

async fn api(
    State(service): State<Service>,
    Extension(Hangup(hangup)): Extension<Hangup>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    RawForm(form): RawForm,
) -> Response {
    let fate = lock(&service.switches).take_for(CallKind::of(&method, uri.path()));
    if let Some(status) = fate.fail {
        let body = json!({"error": {"type": "api_error", "message": "switched on"}});
        return respond(&Answer { status, body });
    }
    if fate.hang {
        return std::future::pending().await;
    }
    let drop_connection = fate.drop_connection;
    let request = Request { method, uri, headers, query, form };
    // A task of its own: what was asked for happens, whether or not the caller waits for it.
    let work = tokio::spawn(async move { service.work(&fate, &request).await });
    let answer = work.await;
    if drop_connection {
        hangup.cancel();
        return std::future::pending().await;
    }
    let fault = |_| Answer { status: 500, body: json!({"error": {"type": "api_error"}}) };
    respond(&answer.unwrap_or_else(fault))
}

impl Service {
    async fn work(&self, fate: &Fate, request: &Request) -> Answer {
        tokio::time::sleep(Duration::from_millis(fate.slow_ms)).await;
        let text = |name: &str| request.headers.get(name)?.to_str().ok();
        if !text("authorization").is_some_and(|it| it.starts_with("Bearer ")) {
            let body = json!({"error": {"type": "invalid_request_error", "message": "no API key"}});
            return Answer { status: 401, body };
        }
        let path = request.uri.path();
        let (answer, events) = if request.method == Method::POST {
            lock(&self.world).post(&Call {
                path,
                form: &request.form,
                key: text("idempotency-key"),
                forget_keys: fate.forget_keys,
                pending_refunds: fate.pending_refunds,
                decline: fate.decline.as_deref(),
                customer_action: fate.customer_action,
                now: Utc::now(),
            })
        } else {
            (lock(&self.world).get(path, request.query.as_deref().unwrap_or_default()), vec![])
        };
        self.delivery.send(events, fate.webhook_twice, fate.webhook_first).await;
        answer
    }
}

fn respond(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(&answer.body)).into_response()
}
