//! Sagas: what people do about a story that is stuck. So far every saga is that of a purchase.

use accrue_domain::action::Action;
use accrue_domain::purchase::command::Command as OnPurchase;
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, Path};
use accrue_http::problem::Problem;
use accrue_http::receipt::ReceiptView;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::call::{Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field;
use crate::prefer::ReturnHeader;
use crate::purchases::no_card_number;
use crate::target::OfSaga;

/// A stuck saga to try again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "the provider is back", "actor": "night-desk"}))]
pub(crate) struct RetrySaga {
    /// Why.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
    /// Who.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    actor: String,
}

/// A stuck step that people take upon themselves.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "refunded in the provider's dashboard", "actor": "night-desk"}))]
pub(crate) struct AbandonSaga {
    /// Why.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
    /// Who.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    actor: String,
}

impl Command for RetrySaga {
    const TYPE: &'static str = "retry_saga";
    const HAS_ACTOR: bool = true;
    type Target = OfSaga;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn actor(&self) -> Option<&str> {
        Some(&self.actor)
    }

    fn actions(self, OfSaga { saga }: OfSaga) -> Result<Vec<Action>, Problem> {
        let Self { reason, actor } = self;
        no_card_number(Some(&reason), "/reason")?;
        no_card_number(Some(&actor), "/actor")?;
        Ok(vec![Action::Purchase(saga.purchase, OnPurchase::Retry { reason, actor })])
    }
}

impl Command for AbandonSaga {
    const TYPE: &'static str = "abandon_saga";
    const HAS_ACTOR: bool = true;
    type Target = OfSaga;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn actor(&self) -> Option<&str> {
        Some(&self.actor)
    }

    fn actions(self, OfSaga { saga }: OfSaga) -> Result<Vec<Action>, Problem> {
        let Self { reason, actor } = self;
        no_card_number(Some(&reason), "/reason")?;
        no_card_number(Some(&actor), "/actor")?;
        Ok(vec![Action::Purchase(saga.purchase, OnPurchase::Abandon { reason, actor })])
    }
}

/// Try again what is stuck.
///
/// What the payment provider has refused is called anew, under another key: it would repeat its
/// answer otherwise. What may have happened is called again under its own.
#[utoipa::path(
    post, path = "/v1/sagas/{saga}/retry", tag = "sagas", operation_id = "retry_saga",
    params(OfSaga, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = RetrySaga,
    responses(
        (status = 200, description = "It goes on", body = ReceiptView),
        (status = 404, description = "There is no such saga",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not stuck",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has gone on since",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn retry(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfSaga>,
    Json(body): Json<RetrySaga>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Take the stuck step upon yourself: the rest goes on without it.
#[utoipa::path(
    post, path = "/v1/sagas/{saga}/abandon", tag = "sagas", operation_id = "abandon_saga",
    params(OfSaga, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = AbandonSaga,
    responses(
        (status = 200, description = "It goes on without the step", body = ReceiptView),
        (status = 404, description = "There is no such saga",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not stuck",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has gone on since",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn abandon(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfSaga>,
    Json(body): Json<AbandonSaga>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
