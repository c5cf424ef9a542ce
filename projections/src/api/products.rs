//! Products: what they are called and cost, and what is there of them.

use accrue_domain::id::ProductId;
use accrue_domain::money::Money;
use accrue_domain::product::{Offering, Product};
use accrue_http::extract::{Path, Program, Query};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Router, routing};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{for_log, versioned};
use crate::live::Views;

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/products/{product}", routing::get(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// A product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub(super) struct ProductView {
    /// The product.
    product: String,
    /// For people.
    name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Where its picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// `goods` or `service`.
    kind: &'static str,
    /// Of one unit, in minor units: `{"amount": 170000, "currency": "USD"}`.
    #[schema(value_type = Object)]
    price: Money,
    /// `active` or `retired`.
    status: &'static str,
    /// What is there; absent for a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<StockView>,
    /// Events of the product so far; also its `ETag`.
    version: i64,
}

/// Units of a product: `on_hand` is the sum of the others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stock)]
pub(super) struct StockView {
    /// In the house.
    on_hand: i64,
    /// Promised to nobody.
    available: i64,
    /// Set aside by holds that are open now.
    held: i64,
}

impl StockView {
    fn of(product: &Product, now: chrono::DateTime<chrono::Utc>) -> Self {
        let on_hand = product.available().get().saturating_add(product.held().get());
        let held = product.held_at(now);
        Self { on_hand, available: on_hand.saturating_sub(held), held }
    }
}

/// A product, as the log has it.
#[utoipa::path(get, path = "/v1/products/{product}", tag = "products", operation_id = "get_product",
    params(("product" = String, Path, description = "The product"), GetQuery,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = ProductView, headers(("ETag" = String, description = "The product's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<ProductId>,
    Query(query): Query<GetQuery>,
) -> Result<Response, Problem> {
    for_log(&views, query.min_position).await?;
    let unknown = || Problem::not_found("product", id.as_str());
    let found = views.ledger.load::<Product>(&program, id.as_str()).await?;
    let (product, version) = found.ok_or_else(unknown)?;
    let listing = product.listing().ok_or_else(unknown)?;
    let goods = listing.kind == Offering::Goods;
    let view = ProductView {
        product: id.as_str().to_owned(),
        name: listing.details.name.clone(),
        description: listing.details.description.clone(),
        image: listing.details.image.clone(),
        kind: listing.kind.as_str(),
        price: listing.details.price,
        status: if listing.retired { "retired" } else { "active" },
        stock: goods.then(|| StockView::of(&product, views.ledger.clock().now())),
        version,
    };
    Ok(versioned(version, &view))
}
