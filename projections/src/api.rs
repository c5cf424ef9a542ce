//! The reading half of the API: routes, their OpenAPI, and what several of them share.

use std::sync::Arc;

use accrue_event_store::record::Position;
use accrue_http::page::key;
use accrue_http::problem::Problem;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi};

use crate::live::Views;

mod accounts;
mod campaigns;
mod events;
mod products;
mod program;
mod purchases;
mod reading;
mod sagas;
mod sales;
mod statement;
mod stock;
mod takings;
mod wallets;

/// The routes.
pub fn router(views: Views) -> Router {
    Router::new()
        .merge(accounts::routes())
        .merge(statement::routes())
        .merge(sales::routes())
        .merge(campaigns::routes())
        .merge(products::routes())
        .merge(stock::routes())
        .merge(wallets::routes())
        .merge(program::routes())
        .merge(purchases::routes())
        .merge(sagas::routes())
        .merge(takings::routes())
        .merge(events::routes())
        .with_state(views)
}

/// What the routes look like from outside.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        paths(
            accounts::list,
            accounts::get,
            accounts::lots,
            statement::get,
            sales::get,
            campaigns::list,
            campaigns::get,
            products::list,
            products::get,
            stock::get,
            wallets::list,
            wallets::get,
            program::get,
            purchases::list::list,
            purchases::get,
            sagas::list,
            sagas::get,
            takings::list,
            events::list,
        ),
        components(schemas(Problem))
    )]
    struct Reading;
    Reading::openapi()
}

/// What is read, at least as of then.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AsOf {
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// An answer with the version of what it shows, as `If-Match` takes it.
fn versioned(version: i64, body: &impl Serialize) -> Response {
    let mut response = axum::Json(body).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The position in a cursor.
fn position_key(cursor: &str) -> Result<Position, Problem> {
    let position = key(cursor)?.parse().ok().filter(|position| *position > 0);
    position.ok_or_else(|| Problem::invalid("cursor", "expected the `next` of an earlier page"))
}

/// A program's id in the form that events carry it.
fn shared(program: &accrue_domain::id::ProgramId) -> Arc<str> {
    program.as_str().into()
}
