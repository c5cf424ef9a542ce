//! Wallets: what is there of each currency.

use accrue_domain::id::WalletId;
use accrue_domain::wallet::Wallet;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::page::{Page, key, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{AsOf, reading, versioned};
use crate::live::Views;
use crate::models::wallets::{self, Balance, Summary};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/wallets", routing::get(list))
        .route("/v1/wallets/{wallet}", routing::get(get))
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

/// Wallets in the order of their ids. A hold that is overdue sets nothing aside, whether that is
/// recorded yet or not.
#[utoipa::path(get, path = "/v1/wallets", tag = "wallets", operation_id = "list_wallets",
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
    let after = query.cursor.as_deref().map(key).transpose()?.unwrap_or_default();
    let mut conn = reading::model(&views, &views.wallets, query.min_position).await?;
    let now = views.ledger.clock().now();
    let items = wallets::page(&mut conn, program.as_str(), &after, limit + 1, now).await?;
    Ok(Json(Page::of(items, limit, |last| last.wallet.clone())))
}

/// A wallet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Wallet)]
pub(super) struct WalletView {
    /// The wallet.
    wallet: String,
    /// What it has, by currency.
    balances: Vec<Balance>,
    /// Events of the wallet so far; also its `ETag`.
    version: i64,
    /// Position of the log that the answer contains at least.
    position: i64,
}

/// A wallet, as the log has it. A hold that is overdue sets nothing aside, whether that is recorded
/// yet or not.
#[utoipa::path(get, path = "/v1/wallets/{wallet}", tag = "wallets", operation_id = "get_wallet",
    params(("wallet" = String, Path, description = "The wallet"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = WalletView, headers(("ETag" = String, description = "The wallet's version"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<WalletId>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::log(&views, query.min_position).await?;
    // Before the wallet is read: what the log has by now, the answer has, too.
    let position = reading::head(&views, &mut conn).await?;
    let found = views.load::<Wallet>(&mut conn, &program, id.as_str()).await?;
    let found = found.filter(|(wallet, _)| wallet.is_open());
    let (wallet, version) = found.ok_or_else(|| Problem::not_found("wallet", id.as_str()))?;
    let balances = wallet.balances_at(views.ledger.clock().now()).into_iter();
    let balances = balances.map(|(currency, balance)| Balance {
        currency: currency.code().to_owned(),
        available: balance.available.get(),
        held: balance.held.get(),
    });
    let wallet = id.as_str().to_owned();
    let view = WalletView { wallet, balances: balances.collect(), version, position };
    Ok(versioned(version, &view))
}
