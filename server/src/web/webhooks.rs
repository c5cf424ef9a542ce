//! Webhooks of the payment provider: who sent one is checked here, what it leads to is the saga's.

use accrue_event_store::ledger::Ledger;
use accrue_gateways::payment::stripe::webhook::{self, Invalid, Secret, TOLERANCE_SECONDS};
use accrue_http::extract::{Raw, header_text};
use accrue_http::header::Header;
use accrue_http::problem::Problem;
use accrue_saga::purchases::hooks::{Hooks, Missed};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use chrono::TimeDelta;
use serde::Serialize;
use utoipa::ToSchema;

use crate::payments::WEBHOOK_PATH;

static SIGNATURE: Header = Header::new("stripe-signature", "Stripe-Signature");

/// What the route needs.
#[derive(Debug, Clone)]
pub(crate) struct Webhooks {
    /// None: no webhooks are taken.
    pub(crate) secret: Option<Secret>,
    /// None: this process runs no sagas.
    pub(crate) hooks: Option<Hooks>,
    /// Whose clock says how old a signature is.
    pub(crate) ledger: Ledger,
}

/// A webhook that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Received {
    /// `true`.
    received: bool,
}

pub(super) fn router(webhooks: Webhooks) -> Router {
    Router::new().route(WEBHOOK_PATH, post(payments)).with_state(webhooks)
}

/// What the payment provider tells by itself.
///
/// Signed as Stripe signs its webhooks, with the secret of `payments_webhook_secret`. It is a cue
/// only: the payment is looked up, so one that is old, repeated, early or out of order is
/// harmless. The answer comes when what it leads to is durable.
#[utoipa::path(
    post, path = "/v1/webhooks/payments", tag = "operations", operation_id = "payments_webhook",
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…` of the raw body")),
    request_body(content = String, content_type = "application/json",
                 description = "An event as Stripe sends it"),
    responses(
        (status = 200, description = "Taken, whether or not it led to anything", body = Received),
        (status = 400, description = "Not signed with our secret, not in time, or no event; \
                                      nothing was done",
         body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "This server takes no webhooks: no secret is configured",
         body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now, or not in this process: send it again",
         body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn payments(
    State(webhooks): State<Webhooks>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Received>, Problem> {
    let Webhooks { secret, hooks, ledger } = webhooks;
    let secret = secret.ok_or_else(not_configured)?;
    let hooks = hooks.ok_or_else(no_sagas)?;
    let header = header_text(&headers, &SIGNATURE)?.ok_or_else(|| wrong(Invalid::Header))?;
    let tolerance = TimeDelta::seconds(TOLERANCE_SECONDS);
    let now = ledger.clock().now();
    let event = webhook::verify(&body, header, &secret, now, tolerance).map_err(wrong)?;
    if let Some(payment) = &event.payment {
        let led = hooks.payment_changed(payment).await.map_err(missed)?;
        tracing::debug!(event.id, event.kind, %payment, ?led, "a webhook was taken");
    }
    Ok(Json(Received { received: true }))
}

fn not_configured() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "webhooks-not-configured",
        "No webhooks are taken",
        "expected a server with a payment provider and payments_webhook_secret, this has none",
    )
}

fn no_sagas() -> Problem {
    let detail = "expected a process with the role saga, this one has it not";
    Problem::unavailable("no-sagas", detail)
}

fn wrong(invalid: Invalid) -> Problem {
    let (code, field, expected) = match invalid {
        Invalid::Header => ("invalid-signature", SIGNATURE.shown, "expected t=…,v1=…".to_owned()),
        Invalid::Signature => {
            let detail = "expected a signature of this body with payments_webhook_secret";
            ("invalid-signature", SIGNATURE.shown, detail.to_owned())
        }
        Invalid::Time => {
            let detail = format!("expected one of the last {TOLERANCE_SECONDS} s");
            ("stale-signature", SIGNATURE.shown, detail)
        }
        Invalid::Payload => {
            let detail = "expected an event with id, type, created and data.object";
            ("invalid-event", "", detail.to_owned())
        }
    };
    let title = "The webhook is not as the provider sends it";
    Problem::new(StatusCode::BAD_REQUEST, code, title, format!("{invalid}: {expected}"))
        .at(field, expected)
}

fn missed(missed: Missed) -> Problem {
    match missed {
        Missed::Provider(not_done) => {
            let detail = format!("the payment provider was asked about it: {not_done}");
            Problem::unavailable("payments-unavailable", &detail)
        }
        Missed::Database(error) => Problem::database(&error),
        Missed::Ledger(error) => Problem::from(error),
    }
}
