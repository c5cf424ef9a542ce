//! Purchases: in a list, and one with every step that was taken, as the log has it.

use accrue_domain::aggregate::{Aggregate as _, Kind};
use accrue_domain::event::Event;
use accrue_domain::id::PurchaseId;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::event::Event as Happened;
use accrue_domain::purchase::step::{KeyNumber, Step, Way};
use accrue_event_store::log_query::read_stream_until;
use accrue_event_store::record::Recorded;
use accrue_event_store::stream::StreamKey;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::problem::Problem;
use accrue_http::purchase::PurchaseView;
use axum::extract::State;
use axum::response::Response;
use axum::{Router, routing};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{AsOf, reading, versioned};
use crate::live::Views;

pub(super) mod list;

/// Most events of one purchase that are read: thousands of refunds and retries.
const EVENTS_MAX: i64 = 20_000;

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/purchases", routing::get(list::list))
        .route("/v1/purchases/{purchase}", routing::get(get))
}

/// A purchase and its trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PurchaseWithSteps)]
pub(super) struct PurchaseWithSteps {
    #[serde(flatten)]
    purchase: PurchaseView,
    /// What happened, in order.
    steps: Vec<StepView>,
}

/// Something that happened to a purchase.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = PurchaseStep)]
pub(super) struct StepView {
    /// By the server's clock.
    at: DateTime<Utc>,
    /// `placed`, `started`, `done`, `undone`, `refused`, `delayed`, `customer_asked`,
    /// `cancelled`, `timed_out`, `stuck`, `retried`, `abandoned`, `completed`, `rejected`,
    /// `refund_requested`, `refunded` or `refund_failed`.
    what: &'static str,
    /// `hold_stock`, `hold_tenders`, `authorise_card`, `capture_card`, `settle`, `refund_card` or
    /// `settle_refund`.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    /// `do` or `undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    /// How often it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// When it is tried again, or looked after.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    /// Stable name of the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Of a retry: the number of the key under which what was refused is called anew, from 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u32>,
    /// The refund that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<String>,
    /// Its place in the log.
    position: i64,
}

/// A purchase: its state, tenders, refunds, and the steps that were taken.
#[utoipa::path(get, path = "/v1/purchases/{purchase}", tag = "purchases", operation_id = "get_purchase",
    params(("purchase" = String, Path, description = "The purchase"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = PurchaseWithSteps, headers(("ETag" = String, description = "The purchase's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<PurchaseId>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::log(&views, query.min_position).await?;
    let unknown = || Problem::not_found("purchase", id.as_str());
    let stream = StreamKey::new(Kind::Purchase, &program, id.as_str());
    let (codec, all) = (views.ledger.codec(), DateTime::<Utc>::MAX_UTC);
    let events = read_stream_until(&mut conn, codec, &stream, 0, all, EVENTS_MAX).await?;
    drop(conn);
    let mut purchase = Purchase::default();
    let mut steps = Vec::with_capacity(events.len());
    for recorded in &events {
        for event in recorded.events() {
            if let Event::Purchase(event) = event {
                purchase.evolve(event);
                steps.push(step(recorded, event));
            }
        }
    }
    let last = events.last().ok_or_else(unknown)?;
    let (position, version) = (last.position, last.sequence);
    let purchase = PurchaseView::of(id.as_str(), &purchase, position, version);
    let purchase = purchase.ok_or_else(unknown)?;
    Ok(versioned(version, &PurchaseWithSteps { purchase, steps }))
}

fn step(recorded: &Recorded, event: &Happened) -> StepView {
    let at = |what| StepView {
        at: recorded.row.recorded_at,
        position: recorded.position,
        what,
        ..StepView::default()
    };
    let of = |what, step: &Step, way: Way| StepView {
        step: Some(step.as_str()),
        way: Some(way.as_str()),
        ..at(what)
    };
    match event {
        Happened::PurchasePlaced { until, .. } => StepView { until: Some(*until), ..at("placed") },
        Happened::PurchaseStepStarted { step, way, attempt, until } => {
            StepView { attempt: Some(*attempt), until: Some(*until), ..of("started", step, *way) }
        }
        Happened::PurchaseStepDone { step, .. } => of("done", step, Way::Do),
        Happened::PurchaseStepRefused { step, reason, detail } => StepView {
            reason: Some(reason.clone()),
            detail: Some(detail.clone()),
            ..of("refused", step, Way::Do)
        },
        Happened::PurchaseStepDelayed { step, way, detail, retry_at, .. } => StepView {
            detail: Some(detail.clone()),
            until: Some(*retry_at),
            ..of("delayed", step, *way)
        },
        Happened::PurchaseActionRequired { retry_at, .. } => StepView {
            until: Some(*retry_at),
            ..of("customer_asked", &Step::AuthoriseCard, Way::Do)
        },
        Happened::PurchaseStepUndone { step } => of("undone", step, Way::Undo),
        Happened::PurchaseCancelled { reason, actor } => {
            StepView { detail: reason.clone(), actor: actor.clone(), ..at("cancelled") }
        }
        Happened::PurchaseTimedOut {} => at("timed_out"),
        Happened::PurchaseStuck { step, way, detail, .. } => {
            StepView { detail: Some(detail.clone()), ..of("stuck", step, *way) }
        }
        Happened::PurchaseRetried { reason, actor, key } => StepView {
            detail: Some(reason.clone()),
            actor: Some(actor.clone()),
            key: key.map(KeyNumber::get),
            ..at("retried")
        },
        Happened::PurchaseStepAbandoned { step, way, reason, actor } => StepView {
            detail: Some(reason.clone()),
            actor: Some(actor.clone()),
            ..of("abandoned", step, *way)
        },
        Happened::PurchaseCompleted { .. } => at("completed"),
        Happened::PurchaseRejected { reason, detail } => StepView {
            reason: Some(reason.clone()),
            detail: Some(detail.clone()),
            ..at("rejected")
        },
        Happened::PurchaseRefundRequested { refund, .. } => {
            StepView { refund: Some(refund.to_string()), ..at("refund_requested") }
        }
        Happened::PurchaseRefunded { refund, .. } => {
            StepView { refund: Some(refund.to_string()), ..at("refunded") }
        }
        Happened::PurchaseRefundFailed { refund, detail, .. } => StepView {
            refund: refund.as_ref().map(ToString::to_string),
            detail: Some(detail.clone()),
            ..at("refund_failed")
        },
    }
}
