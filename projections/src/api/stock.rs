//! Stock: how much of a product there is, and what has set it aside.

use accrue_domain::id::ProductId;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Router, routing};

use super::{AsOf, reading, versioned};
use crate::live::Views;
use crate::models::stock::{StockOf, StockView, by_product};

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/products/{product}/stock", routing::get(get))
}

/// How much of a product there is. An overdue hold sets nothing aside, whether its release is
/// recorded yet or not. A service has no stock: 404, as for what was never created.
#[utoipa::path(get, path = "/v1/products/{product}/stock", tag = "products",
    operation_id = "get_stock",
    params(("product" = String, Path, description = "The product"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = StockView, headers(("ETag" = String, description = "The product's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<ProductId>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::model(&views, &views.stock, query.min_position).await?;
    let now = views.ledger.clock().now();
    match by_product(&mut conn, program.as_str(), id.as_str(), now).await? {
        Some(StockOf::Goods(stock)) => Ok(versioned(stock.version, &stock)),
        Some(StockOf::Service) => Err(no_stock()),
        None => Err(Problem::not_found("product", id.as_str())),
    }
}

fn no_stock() -> Problem {
    let title = "There is no such thing";
    Problem::new(StatusCode::NOT_FOUND, "no-stock", title, "a service has no stock")
}
