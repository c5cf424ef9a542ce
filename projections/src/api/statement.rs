//! Statements: what happened to an account, line by line.

use accrue_domain::id::AccountId;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::page::{self, Page, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::{Json, Router, routing};
use serde::Deserialize;
use utoipa::IntoParams;

use super::reading;
use crate::live::Views;
use crate::models::statement::{Entry, Key, Order, of_account};

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/accounts/{account}/statement", routing::get(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Which end comes first.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// What happened to an account, the last entry first unless asked otherwise.
#[utoipa::path(get, path = "/v1/accounts/{account}/statement", tag = "accounts",
    operation_id = "get_statement",
    params(("account" = String, Path, description = "The account"), GetQuery,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<Entry>),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<AccountId>,
    Query(query): Query<GetQuery>,
) -> Result<Json<Page<Entry>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(key).transpose()?;
    let mut conn = reading::model(&views, &views.statement, query.min_position).await?;
    let account = (program.as_str(), id.as_str());
    let items = of_account(&mut conn, account, query.order, after, limit + 1).await?;
    if items.is_empty() && after.is_none() {
        return Err(Problem::not_found("account", id.as_str()));
    }
    Ok(Json(Page::of(items, limit, |last| last.key().text())))
}

fn key(cursor: &str) -> Result<Key, Problem> {
    Key::parse(&page::key(cursor)?)
        .ok_or_else(|| Problem::invalid("cursor", "expected the `next` of an earlier page"))
}
