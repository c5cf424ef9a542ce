//! Accounts: balances, now or as they were.

use accrue_domain::aggregate::Kind;
use accrue_domain::id::AccountId;
use accrue_event_store::stream::StreamKey;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::instant;
use accrue_http::page::{self, Page, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::routing;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{reading, versioned};
use crate::live::Views;
use crate::models::balances::{self, Balance, LotKey, LotView, Summary};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/accounts", routing::get(list))
        .route("/v1/accounts/{account}", routing::get(get))
        .route("/v1/accounts/{account}/lots", routing::get(lots))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// Accounts with what they have now, in the order of their ids.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<Summary>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Summary>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(page::key).transpose()?.unwrap_or_default();
    let mut conn = reading::model(&views, &views.balances, query.min_position).await?;
    let now = views.ledger.clock().now();
    let items = balances::page(&mut conn, program.as_str(), &after, limit + 1, now).await?;
    Ok(Json(Page::of(items, limit, |last| last.account.clone())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
    /// As it was then; now where absent.
    #[serde(default, deserialize_with = "instant::optional")]
    at: Option<DateTime<Utc>>,
}

/// What an account has. A lot that has lapsed, and a hold that is overdue, do not count, whether
/// that is recorded yet or not.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts",
    params(("account" = String, Path, description = "The account"), GetQuery,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Balance, headers(("ETag" = String, description = "The account's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<AccountId>,
    Query(query): Query<GetQuery>,
) -> Result<Response, Problem> {
    let mut conn = reading::model(&views, &views.balances, query.min_position).await?;
    let now = views.ledger.clock().now();
    let balance = match passed(query.at, now)? {
        None => balances::by_account(&mut conn, program.as_str(), id.as_str(), now).await?,
        Some(at) => {
            let stream = StreamKey::new(Kind::Account, &program, id.as_str());
            balances::at(&mut conn, views.ledger.codec(), &stream, at).await?
        }
    };
    let balance = balance.ok_or_else(|| Problem::not_found("account", id.as_str()))?;
    Ok(versioned(balance.version, &balance))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LotsQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
    /// As it was then; now where absent.
    #[serde(default, deserialize_with = "instant::optional")]
    at: Option<DateTime<Utc>>,
}

/// An account's lots with points, soonest to expire first.
///
/// A lot that has lapsed is among them while an open hold pins something of it. Pages of what was at
/// an instant are asked for with the same `at`, and each reads the account's events up to then.
#[utoipa::path(get, path = "/v1/accounts/{account}/lots", tag = "accounts",
    operation_id = "list_lots",
    params(("account" = String, Path, description = "The account"), LotsQuery,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<LotView>),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn lots(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<AccountId>,
    Query(query): Query<LotsQuery>,
) -> Result<Json<Page<LotView>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(lot_key).transpose()?;
    let mut conn = reading::model(&views, &views.balances, query.min_position).await?;
    let now = views.ledger.clock().now();
    let found = match passed(query.at, now)? {
        None => {
            let account = (program.as_str(), id.as_str());
            balances::lots(&mut conn, account, after, limit + 1, now).await?
        }
        Some(at) => {
            let stream = StreamKey::new(Kind::Account, &program, id.as_str());
            let codec = views.ledger.codec();
            balances::lots_at(&mut conn, codec, &stream, after, limit + 1, at).await?
        }
    };
    let items = found.ok_or_else(|| Problem::not_found("account", id.as_str()))?;
    Ok(Json(Page::of(items, limit, |last| last.key().text())))
}

fn lot_key(cursor: &str) -> Result<LotKey, Problem> {
    LotKey::parse(&page::key(cursor)?)
        .ok_or_else(|| Problem::invalid("cursor", "expected the `next` of an earlier page"))
}

fn passed(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Problem> {
    if at.is_some_and(|at| at > now) {
        return Err(Problem::invalid("at", "expected an instant that has passed"));
    }
    Ok(at)
}
