//! The read models at a glance.

use accrue_event_store::follow;
use accrue_event_store::log;
use accrue_event_store::record::Position;
use sqlx::PgConnection;

use crate::model::MODELS;

/// How a read model is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// The version of its tables; none before a server has made them.
    pub version: Option<i32>,
    /// Its checkpoint.
    pub position: Position,
    /// Events that it has before it.
    pub lag: i64,
    /// Streams that it could not digest.
    pub parked: usize,
}

/// Every read model, over a connection with any search path.
///
/// # Errors
/// As Postgres gives them.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Listed>> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('read.models') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    let head = log::head(conn).await?;
    let mut listed = Vec::with_capacity(MODELS.len());
    for model in MODELS {
        let version = if known {
            sqlx::query_scalar("SELECT version FROM read.models WHERE name = $1")
                .bind(model.name)
                .fetch_optional(&mut *conn)
                .await?
        } else {
            None
        };
        let position = follow::position(conn, model.name).await?.unwrap_or_default();
        let parked = follow::parked(conn, model.name).await?.len();
        let lag = (head - position).max(0);
        listed.push(Listed { name: model.name, version, position, lag, parked });
    }
    Ok(listed)
}
