//! Points: issued, redeemed, adjusted by hand, and issues taken back.

use accrue_domain::account::command::{Change, Command as OnAccount, Issue, Source};
use accrue_domain::action::Action;
use accrue_domain::expiry::Policy;
use accrue_domain::id::LotId;
use accrue_domain::points::Amount;
use accrue_event_store::ledger::Ledger;
use accrue_http::expiry::ExpiryPolicy;
use accrue_http::extract::{Json, Path};
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
use crate::target::OfAccount;

/// Points to issue: a new lot.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "points": 100, "reference": "welcome", "expires": {"after": "P12M", "round": "month_end"}
}))]
pub(crate) struct IssuePoints {
    /// How many.
    #[serde(deserialize_with = "field::points")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_i64)]
    points: Amount,
    /// The lot's id; derived from the command's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    lot: Option<LotId>,
    /// Pending until then; spendable at once where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    available_from: Option<DateTime<Utc>>,
    /// When it lapses; the program's policy where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ExpiryPolicy>)]
    expires: Option<Policy>,
    /// Business time: what a period counts from; now where absent.
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

impl Command for IssuePoints {
    const TYPE: &'static str = "issue_points";
    const STATUS: StatusCode = StatusCode::CREATED;
    type Target = OfAccount;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfAccount { account }: OfAccount) -> Result<Vec<Action>, Problem> {
        let Self { points, lot, available_from, expires, reference, occurred_at: _ } = self;
        let source = Source::Issue;
        let issue = Issue { lot, points, available_from, expires, source, reference };
        Ok(vec![Action::Account(account, OnAccount::Issue(issue))])
    }
}

/// Points to spend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"points": 20, "reference": "order 17"}))]
pub(crate) struct RedeemPoints {
    /// How many.
    #[serde(deserialize_with = "field::points")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_i64)]
    points: Amount,
    /// Business time; now where absent. What can be spent is judged by the server's clock.
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

impl Command for RedeemPoints {
    const TYPE: &'static str = "redeem_points";
    type Target = OfAccount;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfAccount { account }: OfAccount) -> Result<Vec<Action>, Problem> {
        let Self { points, reference, occurred_at: _ } = self;
        Ok(vec![Action::Account(account, OnAccount::Redeem { points, reference })])
    }
}

/// A correction by hand.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"points": -3, "reason": "credited twice", "actor": "desk-7"}))]
pub(crate) struct AdjustPoints {
    /// How many to credit, or, below 0, to debit.
    #[serde(deserialize_with = "field::change")]
    #[schema(minimum = -1_000_000_000_000_i64, maximum = 1_000_000_000_000_i64)]
    points: i64,
    /// Why.
    #[serde(deserialize_with = "field::line")]
    #[schema(max_length = 200)]
    reason: String,
    /// Who.
    #[serde(deserialize_with = "field::line")]
    #[schema(max_length = 200)]
    actor: String,
    /// The credited lot's id; derived from the command's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    lot: Option<LotId>,
    /// When the credited lot lapses; the program's policy where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ExpiryPolicy>)]
    expires: Option<Policy>,
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

impl Command for AdjustPoints {
    const TYPE: &'static str = "adjust_points";
    const HAS_ACTOR: bool = true;
    type Target = OfAccount;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actor(&self) -> Option<&str> {
        Some(&self.actor)
    }

    fn actions(self, OfAccount { account }: OfAccount) -> Result<Vec<Action>, Problem> {
        let Self { points, reason, actor, lot, expires, reference, occurred_at: _ } = self;
        let change = change(points, lot, expires)?;
        let command = OnAccount::Adjust { change, reason, actor, reference };
        Ok(vec![Action::Account(account, command)])
    }
}

fn change(points: i64, lot: Option<LotId>, expires: Option<Policy>) -> Result<Change, Problem> {
    let amount = points.checked_abs().and_then(|points| Amount::new(points).ok());
    let amount = amount.ok_or_else(|| Problem::invalid("/points", "expected points other than 0"));
    if points > 0 {
        return Ok(Change::Credit { points: amount?, lot, expires });
    }
    let credit_only = "expected no such field: a debit makes no lot";
    if lot.is_some() {
        return Err(Problem::invalid("/lot", credit_only));
    }
    if expires.is_some() {
        return Err(Problem::invalid("/expires", credit_only));
    }
    Ok(Change::Debit { points: amount? })
}

/// An issue to take back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lot": "award-1", "reference": "fraud"}))]
pub(crate) struct ReversePoints {
    /// The lot that was issued.
    #[schema(value_type = String, max_length = 100)]
    lot: LotId,
    /// How many of it; all that is not yet reversed where absent.
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

impl Command for ReversePoints {
    const TYPE: &'static str = "reverse_points";
    type Target = OfAccount;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfAccount { account }: OfAccount) -> Result<Vec<Action>, Problem> {
        let Self { lot, points, reference, occurred_at: _ } = self;
        Ok(vec![Action::Account(account, OnAccount::Reverse { lot, points, reference })])
    }
}

/// Issue points.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/points/issue", tag = "points",
    operation_id = "issue_points",
    params(OfAccount, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = IssuePoints,
    responses(
        (status = 201, description = "Issued: a new lot", body = ReceiptView),
        (status = 409, description = "The lot exists with other content",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn issue(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfAccount>,
    Json(body): Json<IssuePoints>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Spend points, soonest to expire first.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/points/redeem", tag = "points",
    operation_id = "redeem_points",
    params(OfAccount, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = RedeemPoints,
    responses(
        (status = 200, description = "Spent; the event names the lots", body = ReceiptView),
        (status = 409, description = "Not enough points",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn redeem(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfAccount>,
    Json(body): Json<RedeemPoints>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Credit or debit by hand.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/points/adjust", tag = "points",
    operation_id = "adjust_points",
    params(OfAccount, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = AdjustPoints,
    responses(
        (status = 200, description = "Credited or debited", body = ReceiptView),
        (status = 409, description = "Not enough points, or the lot exists",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn adjust(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfAccount>,
    Json(body): Json<AdjustPoints>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Take back an issue.
///
/// The lot first, then other lots; what is missing becomes a debt that later issues repay.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/points/reverse", tag = "points",
    operation_id = "reverse_points",
    params(OfAccount, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = ReversePoints,
    responses(
        (status = 200, description = "Taken back", body = ReceiptView),
        (status = 404, description = "There is no such lot",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than is left of the lot",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn reverse(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfAccount>,
    Json(body): Json<ReversePoints>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
