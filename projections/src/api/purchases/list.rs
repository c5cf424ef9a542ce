//! Purchases in a list.

use accrue_domain::id::AccountId;
use accrue_domain::purchase::Status;
use accrue_http::extract::{Program, Query};
use accrue_http::page::{Page, limit};
use accrue_http::problem::Problem;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::{position_key, reading};
use crate::live::Views;
use crate::models::orders::{self, Filter, OrderView};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ListQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Those of one account; all, and those of guests, where absent.
    #[param(value_type = Option<String>)]
    account: Option<AccountId>,
    /// `running`, `waiting`, `stuck`, `completed`, `rejected` or `refunded`; all where absent.
    #[param(value_type = Option<String>, pattern = "^(running|waiting|stuck|completed|rejected|refunded)$")]
    state: Option<Status>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// Purchases, the last placed first. One that moves to another state while pages are read keeps
/// its place: nothing is shown twice.
#[utoipa::path(get, path = "/v1/purchases", tag = "purchases", operation_id = "list_purchases",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<OrderView>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<OrderView>>, Problem> {
    let limit = limit(query.limit)?;
    let before = query.cursor.as_deref().map(position_key).transpose()?;
    let account = query.account.as_ref().map(AccountId::as_str);
    let filter = Filter { before, account, state: query.state };
    let mut conn = reading::model(&views, &views.orders, query.min_position).await?;
    let items = orders::page(&mut conn, program.as_str(), filter, limit + 1).await?;
    Ok(Json(Page::of(items, limit, |last| last.placed_position.to_string())))
}
