//! Sales: what was sold, what came back of it, and the points that it brought.

use accrue_domain::id::SaleId;
use accrue_domain::money::Money;
use accrue_domain::sale::{Line, Sale};
use accrue_http::extract::{Path, Program, Query};
use accrue_http::money::MoneySchema;
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Router, routing};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{reading, versioned};
use crate::live::Views;
use crate::models::statement::{OfSale, of_sale};

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/sales/{sale}", routing::get(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// Wait until the points in the answer contain this position of the log.
    min_position: Option<i64>,
}

/// A sale.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sale)]
pub(super) struct SaleView {
    /// The sale.
    sale: String,
    /// Whose; absent for an anonymous sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// What was paid in all, in minor units: `{"amount": 13912, "currency": "GBP"}`.
    #[schema(value_type = MoneySchema)]
    total: Money,
    /// What came back of it.
    #[schema(value_type = MoneySchema)]
    returned: Money,
    /// What was bought.
    #[schema(value_type = Vec<SoldLine>)]
    lines: Vec<Line>,
    /// Business time.
    occurred_at: DateTime<Utc>,
    /// The client's own note.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// What it brought its member.
    points: OfSale,
    /// Events of the sale so far; also its `ETag`.
    version: i64,
}

/// One line of a sale.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the domain's type for OpenAPI")]
pub(super) struct SoldLine {
    /// What was sold: the shop's own code.
    product: String,
    /// How many.
    quantity: u32,
    /// Minor units for the whole line.
    amount: i64,
    /// `charge`: money for what is not from the shelf, such as postage; goods where absent.
    #[schema(pattern = "^charge$")]
    kind: Option<String>,
}

/// A sale, as the log has it, with the points that campaigns gave for it.
#[utoipa::path(get, path = "/v1/sales/{sale}", tag = "sales", operation_id = "get_sale",
    params(("sale" = String, Path, description = "The sale"), GetQuery,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = SaleView, headers(("ETag" = String, description = "The sale's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<SaleId>,
    Query(query): Query<GetQuery>,
) -> Result<Response, Problem> {
    let mut conn = reading::model(&views, &views.statement, query.min_position).await?;
    let unknown = || Problem::not_found("sale", id.as_str());
    let found = views.load::<Sale>(&mut conn, &program, id.as_str()).await?;
    let (sale, version) = found.ok_or_else(unknown)?;
    let recorded = sale.recorded().ok_or_else(unknown)?;
    let points = of_sale(&mut conn, program.as_str(), id.as_str()).await?;
    let view = SaleView {
        sale: id.as_str().to_owned(),
        account: recorded.account.as_ref().map(|account| account.as_str().to_owned()),
        total: recorded.total,
        returned: Money { amount: sale.returned(), currency: recorded.total.currency },
        lines: recorded.lines.clone(),
        occurred_at: recorded.occurred_at,
        reference: recorded.reference.clone(),
        points,
        version,
    };
    Ok(versioned(version, &view))
}
