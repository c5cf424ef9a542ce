//! Sales: purchases made elsewhere, and what came back of them.

use accrue_domain::account;
use accrue_domain::action::Action;
use accrue_domain::id::{AccountId, ReturnId, SaleId};
use accrue_domain::money::Minor;
use accrue_domain::sale::{self, Line, LineKind, Portion, ReturnedLine};
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, Path};
use accrue_http::object;
use accrue_http::problem::Problem;
use accrue_http::receipt::ReceiptView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::call::{Call, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field::{self, MoneyBody};
use crate::prefer::ReturnHeader;
use crate::target::{Nothing, OfSale};

/// A sale to record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "536365", "account": "17850", "total": {"amount": 13912, "currency": "GBP"},
    "lines": [{"product": "85123A", "quantity": 6, "amount": 13912}],
    "occurred_at": "2010-12-01T08:26:00Z", "reference": "till 4"
}))]
pub(crate) struct RecordSale {
    /// The sale's id; the same again is no other sale. In an envelope: `sale`.
    #[schema(value_type = String, max_length = 100)]
    id: SaleId,
    /// Whose; absent for an anonymous sale, which earns nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    account: Option<AccountId>,
    /// What was paid in all, in the program's currency.
    #[serde(deserialize_with = "object::object")]
    total: MoneyBody,
    /// What was bought. The lines' amounts need not sum to the total.
    #[serde(
        default,
        deserialize_with = "object::optional_list",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_items = 1000)]
    lines: Option<Vec<SaleLine>>,
    /// When it took place; now where absent.
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

/// One line of a sale.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleLine {
    /// What was sold: the shop's own code.
    #[serde(deserialize_with = "field::line")]
    #[schema(max_length = 200)]
    product: String,
    /// How many.
    #[serde(deserialize_with = "field::count")]
    #[schema(minimum = 1)]
    quantity: u32,
    /// Minor units for the whole line.
    #[serde(deserialize_with = "field::minor")]
    #[schema(value_type = i64, minimum = 0)]
    amount: Minor,
    /// `charge`: money for what is not from the shelf, such as postage; goods where absent.
    #[serde(default, deserialize_with = "kind", skip_serializing_if = "LineKind::is_goods")]
    #[schema(value_type = Option<String>, pattern = "^(goods|charge)$")]
    kind: LineKind,
}

/// `null` is an absent field, as everywhere.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LineKind, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl From<SaleLine> for Line {
    fn from(SaleLine { product, quantity, amount, kind }: SaleLine) -> Self {
        Self { product, quantity, amount, kind }
    }
}

impl Command for RecordSale {
    const TYPE: &'static str = "record_sale";
    const HAS_VERSION: bool = false;
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("sale");
    type Target = Nothing;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, _: Nothing) -> Result<Vec<Action>, Problem> {
        let lines = self.lines.unwrap_or_default().into_iter();
        let command = sale::Command::Record {
            account: self.account.clone(),
            total: self.total.into(),
            lines: lines.map(Line::from).collect(),
            occurred_at: self.occurred_at,
            reference: self.reference,
        };
        let record = Action::Sale(self.id, command);
        // A buyer's account is there before the sale, so that whoever follows the log never
        // meets a sale of an unknown account.
        let open = |account| Action::Account(account, account::command::Command::Open);
        Ok(self.account.map(open).into_iter().chain([record]).collect())
    }
}

/// What comes back of a sale: all that is left, some lines, or a part of the total.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"line": 1, "quantity": 2}], "reference": "damaged"}))]
pub(crate) struct ReturnSale {
    /// The return's id; derived from the command's where absent. In an envelope: `return`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    id: Option<ReturnId>,
    /// `true`: all that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    /// Some of some lines.
    #[serde(
        default,
        deserialize_with = "object::optional_list",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(min_items = 1, max_items = 1000)]
    lines: Option<Vec<ReturnLine>>,
    /// A part of the total.
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
    amount: Option<MoneyBody>,
    /// When it took place; now where absent.
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

/// How many of which line come back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReturnLine {
    /// The line's number, from 1.
    #[serde(deserialize_with = "field::count")]
    #[schema(minimum = 1)]
    line: u32,
    /// How many.
    #[serde(deserialize_with = "field::count")]
    #[schema(minimum = 1)]
    quantity: u32,
}

impl Command for ReturnSale {
    const TYPE: &'static str = "return_sale";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("return");
    type Target = OfSale;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfSale { sale }: OfSale) -> Result<Vec<Action>, Problem> {
        let portion = portion(self.all, self.lines, self.amount)?;
        let command = sale::Command::Return { id: self.id, portion, reference: self.reference };
        Ok(vec![Action::Sale(sale, command)])
    }
}

fn portion(
    all: Option<bool>,
    lines: Option<Vec<ReturnLine>>,
    amount: Option<MoneyBody>,
) -> Result<Portion, Problem> {
    match (all, lines, amount) {
        (Some(true), None, None) => Ok(Portion::All),
        (None, Some(lines), None) => {
            let lines = lines.into_iter();
            let line = |ReturnLine { line, quantity }| ReturnedLine { line, quantity };
            Ok(Portion::Lines(lines.map(line).collect()))
        }
        (None, None, Some(amount)) => Ok(Portion::Amount(amount.into())),
        (Some(false), ..) => Err(Problem::invalid("/all", "expected true, or no such field")),
        (None, None, None) => {
            let detail = "missing field `all`: expected one of `all`, `lines` and `amount`";
            Err(Problem::invalid("/all", detail))
        }
        (all, ..) => {
            let pointer = if all.is_some() { "/all" } else { "/lines" };
            let detail = "expected one of `all`, `lines` and `amount`, got several";
            Err(Problem::invalid(pointer, detail))
        }
    }
}

/// Record a sale.
///
/// Its account opens if it is new. Active campaigns judge the sale as soon as it is recorded.
#[utoipa::path(
    post, path = "/v1/sales", tag = "sales", operation_id = "record_sale",
    params(Options, WriteHeaders, ReturnHeader), request_body = RecordSale,
    responses(
        (status = 201, description = "Recorded", body = ReceiptView),
        (status = 409, description = "The id names another sale",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn record(
    State(ledger): State<Ledger>,
    call: Call,
    Json(body): Json<RecordSale>,
) -> Result<Response, Problem> {
    call.execute(&ledger, Nothing, body).await
}

/// Record a return.
///
/// It takes back its share of the points that the sale earned. However a sale is returned piece
/// by piece, all of it together is exactly one whole return.
#[utoipa::path(
    post, path = "/v1/sales/{sale}/returns", tag = "sales", operation_id = "return_sale",
    params(OfSale, Options, WriteHeaders, ReturnHeader), request_body = ReturnSale,
    responses(
        (status = 201, description = "Recorded", body = ReceiptView),
        (status = 404, description = "There is no such sale",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than is left, or the id names another return",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn take_back(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfSale>,
    Json(body): Json<ReturnSale>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
