//! Holds: points promised to something that is not settled yet.

use accrue_domain::account::command::Command as OnAccount;
use accrue_domain::action::Action;
use accrue_domain::id::HoldId;
use accrue_domain::points::Amount;
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, JsonOrEmpty, Path};
use accrue_http::problem::Problem;
use accrue_http::receipt::ReceiptView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::call::{Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field;
use crate::prefer::ReturnHeader;
use crate::target::{OfAccount, OfHold};

/// Points to set aside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "booking-5", "points": 30, "until": "2027-01-01T00:00:00Z"}))]
pub(crate) struct PlaceHold {
    /// The hold's id: names one hold until 1,000 later ones of this account have ended. In an
    /// envelope: `hold`.
    #[schema(value_type = String, max_length = 100)]
    id: HoldId,
    /// How many.
    #[serde(deserialize_with = "field::points")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_i64)]
    points: Amount,
    /// Released by itself then; lies after now.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    until: Option<DateTime<Utc>>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
    /// Your own note.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reference: Option<String>,
}

impl Command for PlaceHold {
    const TYPE: &'static str = "place_hold";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("hold");
    type Target = OfAccount;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfAccount { account }: OfAccount) -> Result<Vec<Action>, Problem> {
        let Self { id: hold, points, until, reference, occurred_at: _ } = self;
        let command = OnAccount::PlaceHold { hold, points, until, reference };
        Ok(vec![Action::Account(account, command)])
    }
}

/// How much of a hold to spend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"points": 20}))]
pub(crate) struct CaptureHold {
    /// How many; all where absent. What is not captured is released.
    #[serde(
        default,
        deserialize_with = "field::optional_points",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000_i64)]
    points: Option<Amount>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
    /// Your own note.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reference: Option<String>,
}

impl Command for CaptureHold {
    const TYPE: &'static str = "capture_hold";
    type Target = OfHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfHold { account, hold }: OfHold) -> Result<Vec<Action>, Problem> {
        let Self { points, reference, occurred_at: _ } = self;
        Ok(vec![Action::Account(account, OnAccount::CaptureHold { hold, points, reference })])
    }
}

/// A hold to give back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reference": "cancelled"}))]
pub(crate) struct ReleaseHold {
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
    /// Your own note.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reference: Option<String>,
}

impl Command for ReleaseHold {
    const TYPE: &'static str = "release_hold";
    type Target = OfHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfHold { account, hold }: OfHold) -> Result<Vec<Action>, Problem> {
        let Self { reference, occurred_at: _ } = self;
        Ok(vec![Action::Account(account, OnAccount::ReleaseHold { hold, reference })])
    }
}

/// Set points aside.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/holds", tag = "holds", operation_id = "place_hold",
    params(OfAccount, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = PlaceHold,
    responses(
        (status = 201, description = "Set aside", body = ReceiptView),
        (status = 409, description = "Not enough points, or the hold exists with other content",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn place(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfAccount>,
    Json(body): Json<PlaceHold>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Spend what a hold set aside.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/holds/{hold}/capture", tag = "holds",
    operation_id = "capture_hold",
    params(OfHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = Option<CaptureHold>,
    responses(
        (status = 200, description = "Spent; the rest is released", body = ReceiptView),
        (status = 404, description = "There is no such hold",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The hold has ended, or has fewer points",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn capture(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfHold>,
    JsonOrEmpty(body): JsonOrEmpty<CaptureHold>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Give back what a hold set aside.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/holds/{hold}/release", tag = "holds",
    operation_id = "release_hold",
    params(OfHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = Option<ReleaseHold>,
    responses(
        (status = 200, description = "Given back", body = ReceiptView),
        (status = 404, description = "There is no such hold",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The hold was captured",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn release(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfHold>,
    JsonOrEmpty(body): JsonOrEmpty<ReleaseHold>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
