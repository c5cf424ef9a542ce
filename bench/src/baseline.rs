//! What Accrue is measured against: the same issue command on stock cqrs-es and postgres-es in
//! event-store mode, over the same HTTP library, and the plainest read of one row by key.
//!
//! Set up as those crates document it: their table, their pool of connections, no snapshots (an
//! account of the load has few events). It keeps no idempotency keys and no hash chain, and has no
//! read model to feed: it does less for each command than Accrue does.

pub(crate) mod account;

use account::{Account, Command};
use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateError, CqrsFramework};
use postgres_es::{PostgresCqrs, PostgresEventRepository};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::{FromRow, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The table of postgres-es as its documentation gives it, and the row of the plain read.
pub(crate) const DDL: &str = include_str!("baseline/tables.sql");

#[derive(Clone)]
struct Shop {
    cqrs: Arc<PostgresCqrs<Account>>,
    pool: PgPool,
}

/// Serves until the process ends.
pub(crate) async fn serve(database_url: &str, port: u16, pool_size: u32) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(pool_size)
        .min_connections(pool_size)
        .connect(database_url)
        .await
        .context("connecting to the database")?;
    let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone()));
    let shop = Shop { cqrs: Arc::new(CqrsFramework::new(store, vec![], ())), pool };
    let router = Router::new()
        .route("/v1/accounts/{id}/points/issue", post(issue))
        .route("/row/{id}", get(row))
        .route("/readyz", get(|| async { "ready" }))
        .with_state(shop);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("binding the port")?;
    axum::serve(listener, router).await.context("serving")
}

#[derive(Deserialize)]
struct Issue {
    points: i64,
    reference: Option<String>,
}

#[derive(Serialize)]
struct Issued {
    command_id: String,
    account: String,
    points: i64,
}

async fn issue(
    State(shop): State<Shop>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Json(Issue { points, reference }): Json<Issue>,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let command_id = key.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let metadata = HashMap::from([
        ("command_id".to_owned(), command_id.clone()),
        ("occurred_at".to_owned(), chrono::Utc::now().to_rfc3339()),
    ]);
    let command = Command::Issue { lot: command_id.clone(), points, reference };
    match shop.cqrs.execute_with_metadata(&account, command, metadata).await {
        Ok(()) => {
            let issued = Issued { command_id, account, points };
            (StatusCode::CREATED, Json(issued)).into_response()
        }
        Err(refusal) => status_of(&refusal).into_response(),
    }
}

fn status_of(refusal: &AggregateError<account::Error>) -> StatusCode {
    match refusal {
        AggregateError::AggregateConflict => StatusCode::CONFLICT,
        AggregateError::UserError(_) => StatusCode::UNPROCESSABLE_ENTITY,
        AggregateError::DatabaseConnectionError(_)
        | AggregateError::DeserializationError(_)
        | AggregateError::UnexpectedError(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[derive(Serialize, FromRow)]
struct Row {
    account: String,
    available: i64,
    pending: i64,
    held: i64,
    debt: i64,
    position: i64,
}

async fn row(State(shop): State<Shop>, Path(id): Path<String>) -> Response {
    let found = sqlx::query_as::<_, Row>(
        "SELECT account, available, pending, held, debt, position
           FROM balance_rows
          WHERE account = $1",
    )
    .bind(id)
    .fetch_optional(&shop.pool)
    .await;
    match found {
        Ok(Some(row)) => Json(row).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
