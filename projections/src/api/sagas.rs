//! Sagas that are not at their end: what runs, what waits, and what people are to look at.

use accrue_http::extract::{Path, Program, Query};
use accrue_http::page::{Page, key, limit};
use accrue_http::problem::Problem;
use accrue_http::saga_name::SagaName;
use axum::extract::State;
use axum::response::Response;
use axum::{Json, Router, routing};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{AsOf, reading, versioned};
use crate::live::Views;
use crate::models::sagas::{self, Cursor, SagaView};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/sagas", routing::get(list))
        .route("/v1/sagas/{saga}", routing::get(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// `running`, `waiting` or `stuck`; all where absent.
    #[param(inline)]
    state: Option<sagas::State>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// Sagas that are not at their end, the oldest first. One that has come to its end is no longer
/// here: read what came of it.
#[utoipa::path(get, path = "/v1/sagas", tag = "sagas", operation_id = "list_sagas",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<SagaView>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<SagaView>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(place).transpose()?;
    let mut conn = reading::model(&views, &views.sagas, query.min_position).await?;
    let now = views.ledger.clock().now();
    let (program, state) = (program.as_str(), query.state);
    let items = sagas::page(&mut conn, program, state, after.as_ref(), limit + 1, now).await?;
    Ok(Json(Page::of(items, limit, |last| Cursor::behind(last).text())))
}

fn place(cursor: &str) -> Result<Cursor, Problem> {
    Cursor::parse(&key(cursor)?)
        .ok_or_else(|| Problem::invalid("cursor", "expected the `next` of an earlier page"))
}

/// One saga, while it is not at its end: 404 behind that.
#[utoipa::path(get, path = "/v1/sagas/{saga}", tag = "sagas", operation_id = "get_saga",
    params(("saga" = String, Path, description = "Its name, such as `purchase:order-17`"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = SagaView, headers(("ETag" = String, description = "The saga's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(name): Path<SagaName>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::model(&views, &views.sagas, query.min_position).await?;
    let now = views.ledger.clock().now();
    let found = sagas::by_name(&mut conn, program.as_str(), name.as_str(), now).await?;
    let saga = found.ok_or_else(|| Problem::not_found("saga", name.as_str()))?;
    Ok(versioned(saga.version, &saga))
}
