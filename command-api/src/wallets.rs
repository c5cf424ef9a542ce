//! Wallets: stored value, money that customers have put in.

use accrue_domain::action::Action;
use accrue_domain::id::HoldId;
use accrue_domain::wallet::command::Command as OnWallet;
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
use crate::field::{self, SomeMoney};
use crate::prefer::ReturnHeader;
use crate::target::{OfMoneyHold, OfWallet};

/// Money that comes in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "money": {"amount": 330000, "currency": "USD"}, "reference": "gift card"
}))]
pub(crate) struct TopUpWallet {
    /// How much.
    money: SomeMoney,
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

impl Command for TopUpWallet {
    const TYPE: &'static str = "top_up_wallet";
    const STATUS: StatusCode = StatusCode::CREATED;
    type Target = OfWallet;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfWallet { wallet }: OfWallet) -> Result<Vec<Action>, Problem> {
        let Self { money, reference, occurred_at: _ } = self;
        let command = OnWallet::TopUp { money: money.into(), reference };
        Ok(vec![Action::Wallet(wallet, command)])
    }
}

/// Money to set aside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "basket-5", "money": {"amount": 170000, "currency": "USD"},
    "until": "2027-01-01T00:00:00Z"
}))]
pub(crate) struct HoldMoney {
    /// The hold's id: names one hold until 1,000 later ones of this wallet have ended. In an
    /// envelope: `hold`.
    #[schema(value_type = String, max_length = 100)]
    id: HoldId,
    /// How much.
    money: SomeMoney,
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

impl Command for HoldMoney {
    const TYPE: &'static str = "hold_money";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("hold");
    type Target = OfWallet;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfWallet { wallet }: OfWallet) -> Result<Vec<Action>, Problem> {
        let Self { id: hold, money, until, reference, occurred_at: _ } = self;
        let command = OnWallet::Hold { hold, money: money.into(), until, reference };
        Ok(vec![Action::Wallet(wallet, command)])
    }
}

/// How much of a hold to spend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"money": {"amount": 160000, "currency": "USD"}}))]
pub(crate) struct CaptureMoney {
    /// How much, in the hold's currency; all where absent. What is not captured is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    money: Option<SomeMoney>,
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

impl Command for CaptureMoney {
    const TYPE: &'static str = "capture_money";
    type Target = OfMoneyHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfMoneyHold { wallet, hold }: OfMoneyHold) -> Result<Vec<Action>, Problem> {
        let Self { money, reference, occurred_at: _ } = self;
        let command = OnWallet::Capture { hold, money: money.map(Into::into), reference };
        Ok(vec![Action::Wallet(wallet, command)])
    }
}

/// A hold to give back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reference": "cancelled"}))]
pub(crate) struct ReleaseMoney {
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

impl Command for ReleaseMoney {
    const TYPE: &'static str = "release_money";
    type Target = OfMoneyHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfMoneyHold { wallet, hold }: OfMoneyHold) -> Result<Vec<Action>, Problem> {
        let Self { reference, occurred_at: _ } = self;
        Ok(vec![Action::Wallet(wallet, OnWallet::Release { hold, reference })])
    }
}

/// Money that was spent and comes back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"money": {"amount": 160000, "currency": "USD"}}))]
pub(crate) struct RefundWallet {
    /// How much.
    money: SomeMoney,
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

impl Command for RefundWallet {
    const TYPE: &'static str = "refund_wallet";
    const STATUS: StatusCode = StatusCode::CREATED;
    type Target = OfWallet;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfWallet { wallet }: OfWallet) -> Result<Vec<Action>, Problem> {
        let Self { money, reference, occurred_at: _ } = self;
        let command = OnWallet::Refund { money: money.into(), reference };
        Ok(vec![Action::Wallet(wallet, command)])
    }
}

/// Put money into a wallet; the first opens it.
#[utoipa::path(
    post, path = "/v1/wallets/{wallet}/top-ups", tag = "wallets", operation_id = "top_up_wallet",
    params(OfWallet, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = TopUpWallet,
    responses(
        (status = 201, description = "Put in", body = ReceiptView),
        (status = 409, description = "The balance would be beyond what is counted",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn top_up(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfWallet>,
    Json(body): Json<TopUpWallet>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Set money aside.
#[utoipa::path(
    post, path = "/v1/wallets/{wallet}/holds", tag = "wallets", operation_id = "hold_money",
    params(OfWallet, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = HoldMoney,
    responses(
        (status = 201, description = "Set aside", body = ReceiptView),
        (status = 404, description = "There is no such wallet",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Not enough money, or the hold exists with other content",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn hold(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfWallet>,
    Json(body): Json<HoldMoney>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Spend what a hold set aside.
#[utoipa::path(
    post, path = "/v1/wallets/{wallet}/holds/{hold}/capture", tag = "wallets", operation_id = "capture_money",
    params(OfMoneyHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = Option<CaptureMoney>,
    responses(
        (status = 200, description = "Spent; the rest is released", body = ReceiptView),
        (status = 404, description = "There is no such wallet or hold",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The hold has ended, has less, or is in another currency",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn capture(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfMoneyHold>,
    JsonOrEmpty(body): JsonOrEmpty<CaptureMoney>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Give back what a hold set aside.
#[utoipa::path(
    post, path = "/v1/wallets/{wallet}/holds/{hold}/release", tag = "wallets", operation_id = "release_money",
    params(OfMoneyHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = Option<ReleaseMoney>,
    responses(
        (status = 200, description = "Given back", body = ReceiptView),
        (status = 404, description = "There is no such wallet or hold",
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
    Path(path): Path<OfMoneyHold>,
    JsonOrEmpty(body): JsonOrEmpty<ReleaseMoney>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Give money back that was spent; opens a wallet, too.
#[utoipa::path(
    post, path = "/v1/wallets/{wallet}/refunds", tag = "wallets", operation_id = "refund_wallet",
    params(OfWallet, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = RefundWallet,
    responses(
        (status = 201, description = "Given back", body = ReceiptView),
        (status = 409, description = "The balance would be beyond what is counted",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn refund(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfWallet>,
    Json(body): Json<RefundWallet>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
