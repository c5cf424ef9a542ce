//! Products: what they are called and cost, and what is there of them.

use accrue_domain::id::ProductId;
use accrue_domain::product::{Offering, Product};
use accrue_http::extract::{Path, Program, Query};
use accrue_http::page::{Page, key, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Json, Router, routing};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{AsOf, reading, versioned};
use crate::live::Views;
use crate::models::stock::{self, Counts, Filter, ProductView, Status};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/products", routing::get(list))
        .route("/v1/products/{product}", routing::get(get))
}

/// Longest text to search for, in characters.
const SEARCH_CHARS_MAX: usize = 200;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// `active` or `retired`; both where absent.
    #[param(inline)]
    status: Option<Status>,
    /// `goods` or `service`; both where absent.
    #[param(value_type = Option<String>, pattern = "^(goods|service)$")]
    kind: Option<Offering>,
    /// Words, in any case: each of them begins a word of the product's name, description or id.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// Products with what is there of them, in the order of their ids. An overdue hold sets nothing
/// aside, whether its release is recorded yet or not.
#[utoipa::path(get, path = "/v1/products", tag = "products", operation_id = "list_products",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<ProductView>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ProductView>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(key).transpose()?.unwrap_or_default();
    let search = search(query.q.as_deref())?;
    let filter = Filter { after: &after, status: query.status, kind: query.kind, search };
    let mut conn = reading::model(&views, &views.stock, query.min_position).await?;
    let now = views.ledger.clock().now();
    let items = stock::page(&mut conn, program.as_str(), filter, limit + 1, now).await?;
    Ok(Json(Page::of(items, limit, |last| last.product.clone())))
}

/// What to look for; nothing in particular where only blanks were typed.
fn search(q: Option<&str>) -> Result<Option<&str>, Problem> {
    let Some(q) = q.map(str::trim).filter(|q| !q.is_empty()) else { return Ok(None) };
    let count = q.chars().count();
    if count > SEARCH_CHARS_MAX {
        let detail = format!("expected at most {SEARCH_CHARS_MAX} characters, got {count}");
        return Err(Problem::invalid("q", detail));
    }
    Ok(Some(q))
}

/// A product, as the log has it.
#[utoipa::path(get, path = "/v1/products/{product}", tag = "products", operation_id = "get_product",
    params(("product" = String, Path, description = "The product"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = ProductView, headers(("ETag" = String, description = "The product's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<ProductId>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::log(&views, query.min_position).await?;
    let unknown = || Problem::not_found("product", id.as_str());
    let found = views.load::<Product>(&mut conn, &program, id.as_str()).await?;
    let (product, version) = found.ok_or_else(unknown)?;
    let listing = product.listing().ok_or_else(unknown)?;
    let goods = listing.kind == Offering::Goods;
    let status = if listing.retired { Status::Retired } else { Status::Active };
    let view = ProductView {
        product: id.as_str().to_owned(),
        name: listing.details.name.clone(),
        description: listing.details.description.clone(),
        image: listing.details.image.clone(),
        kind: listing.kind.as_str().to_owned(),
        price: listing.details.price,
        status: status.as_str().to_owned(),
        stock: goods.then(|| counts(&product, views.ledger.clock().now())),
        version,
    };
    Ok(versioned(version, &view))
}

fn counts(product: &Product, now: DateTime<Utc>) -> Counts {
    let on_hand = product.available().get().saturating_add(product.held().get());
    let held = product.held_at(now);
    Counts { on_hand, available: on_hand.saturating_sub(held), held }
}
