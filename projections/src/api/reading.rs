//! What a route reads with: a connection that shows what it was asked for.

use std::time::Duration;

use accrue_event_store::follow::{self, Status};
use accrue_event_store::log;
use accrue_event_store::record::Position;
use accrue_http::problem::Problem;
use accrue_http::wait::{WAIT_MAX, for_position};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::time::{Instant, sleep};

use crate::live::Views;

/// Between two looks at a replica that is behind another.
const POLL: Duration = Duration::from_millis(25);

/// A connection that shows a read model as of `min_position` at least.
pub(super) async fn model(
    views: &Views,
    model: &Status,
    min_position: Option<Position>,
) -> Result<PoolConnection<Postgres>, Problem> {
    for_position(model, min_position).await?;
    let found = connection(views, Some(model.name()), min_position).await?;
    found.ok_or_else(|| not_there(model.name(), min_position))
}

/// A connection that shows the log as of `min_position` at least.
pub(super) async fn log(
    views: &Views,
    min_position: Option<Position>,
) -> Result<PoolConnection<Postgres>, Problem> {
    for_log(views, min_position).await?;
    let found = connection(views, None, min_position).await?;
    found.ok_or_else(|| not_there("the log", min_position))
}

/// Waits until the log has come to `min_position`.
pub(super) async fn for_log(views: &Views, min_position: Option<Position>) -> Result<(), Problem> {
    let Some(position) = min_position else { return Ok(()) };
    if position <= 0 {
        // Refuses a negative one.
        return for_position(&Status::new("log"), min_position.filter(|it| *it < 0)).await;
    }
    let mut head = views.head();
    let reached = tokio::time::timeout(WAIT_MAX, head.wait_for(|head| *head >= position)).await;
    match reached {
        Ok(Ok(_)) => Ok(()),
        _ => Err(not_there("the log", min_position)),
    }
}

/// The end of the log, as far as a connection shows it.
pub(super) async fn head(views: &Views, conn: &mut PgConnection) -> sqlx::Result<Position> {
    if views.replicas { log::head(conn).await } else { Ok(*views.head().borrow()) }
}

/// Behind one name there may be several replicas, and what one of them shows another may not: where
/// the routes read from replicas, the connection itself is asked. None where none gets there in time.
pub(super) async fn connection(
    views: &Views,
    follower: Option<&str>,
    min_position: Option<Position>,
) -> sqlx::Result<Option<PoolConnection<Postgres>>> {
    let limit = Instant::now() + WAIT_MAX;
    while Instant::now() < limit {
        let mut conn = views.acquire().await?;
        let Some(position) = min_position.filter(|_| views.replicas) else {
            return Ok(Some(conn));
        };
        let at = match follower {
            Some(follower) => follow::position(&mut conn, follower).await?.unwrap_or_default(),
            None => log::head(&mut conn).await?,
        };
        if at >= position {
            return Ok(Some(conn));
        }
        drop(conn);
        sleep(POLL).await;
    }
    Ok(None)
}

fn not_there(what: &str, position: Option<Position>) -> Problem {
    let position = position.unwrap_or_default();
    let detail = format!("{what} does not reach position {position} yet");
    Problem::unavailable("not-there-yet", &detail)
}
