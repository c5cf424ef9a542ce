//! A simulator of Stripe's PaymentIntents: a real HTTP server on loopback, with the states,
//! idempotency, test cards, errors and signed webhooks of the original, and switches that make
//! it fail in the ways in which networks and providers do.
//!
//! Fed by: the adaptor in `payment/stripe.rs`, tests and demos. It keeps all in memory, and is no
//! place for real cards: nothing is charged.
//!
//! - `/v1/…` is the API; any secret key is right.
//! - `POST /_switches` takes [`Switches`] and replaces the ones before.
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
use axum::extract::{Extension, Json, RawForm, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use chrono::Utc;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::delivery::Delivery;
use self::world::{Answer, Call, World};
use super::stripe::webhook::Secret;

pub use self::switches::{Fail, Switches};
pub use self::world::Totals;

/// Where webhooks go.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// Takes a `POST` of each event.
    pub url: String,
    /// Signs them.
    pub secret: Secret,
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let delivery = webhooks.map(|it| Delivery::start(it, stop.clone())).transpose();
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
    delivery: Option<Delivery>,
}

/// The world is changed by whole calls only, so one that panicked leaves nothing half done.
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/{*path}", any(api))
        .route("/_switches", post(set_switches))
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

async fn set_switches(State(service): State<Service>, Json(new): Json<Switches>) -> StatusCode {
    *lock(&service.switches) = new;
    StatusCode::NO_CONTENT
}

async fn ledger(State(service): State<Service>) -> Json<BTreeMap<String, Totals>> {
    Json(lock(&service.world).ledger())
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
    let switches = lock(&service.switches).take_for(&method);
    if let Some(status) = switches.fail {
        let body = json!({"error": {"type": "api_error", "message": "switched on"}});
        return respond(&Answer { status, body });
    }
    if switches.hang {
        return std::future::pending().await;
    }
    tokio::time::sleep(Duration::from_millis(switches.slow_ms)).await;
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if !text("authorization").is_some_and(|it| it.starts_with("Bearer ")) {
        let body = json!({"error": {"type": "invalid_request_error", "message": "no API key"}});
        return respond(&Answer { status: 401, body });
    }
    let call = Call {
        path: uri.path(),
        form: &form,
        key: text("idempotency-key"),
        decline: switches.decline.as_deref(),
        customer_action: switches.customer_action,
        now: Utc::now(),
    };
    let (answer, events) = if method == Method::POST {
        lock(&service.world).post(&call)
    } else {
        (lock(&service.world).get(uri.path(), query.as_deref().unwrap_or_default()), vec![])
    };
    if let Some(delivery) = &service.delivery {
        delivery.send(events, switches.webhook_twice, switches.webhook_first).await;
    }
    if switches.drop_connection {
        hangup.cancel();
        return std::future::pending().await;
    }
    respond(&answer)
}

fn respond(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(&answer.body)).into_response()
}
