//! Deadlines of streams: when time itself will next change one. The rows are written by the
//! append, with the events that moved the deadline; here they are only read.

use accrue_domain::aggregate::Kind;
use accrue_domain::id::CommandId;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::stream::StreamKey;

/// A deadline that has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub stream: StreamKey,
    /// When it passed.
    pub due_at: DateTime<Utc>,
}

impl Due {
    /// The id of the command that this deadline leads to: the same however often it fires.
    ///
    /// # Panics
    /// Never: program, kind, id and time make a visible ASCII text of bounded length.
    #[must_use]
    pub fn command_id(&self) -> CommandId {
        let at = self.due_at.timestamp_micros();
        let text = format!("timer/{}/{at}", self.stream);
        CommandId::new(&text).expect("a subject and a number are visible ASCII, and short")
    }
}

/// Whose deadlines are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// Those of streams of these kinds.
    Only(&'static [Kind]),
    /// Those of all other streams.
    AllBut(&'static [Kind]),
}

/// The deadlines that have passed at `now`, oldest first, at most `limit` of them.
///
/// # Errors
/// As Postgres gives them.
pub async fn due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    of: Of,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    let (kinds, among) = match of {
        Of::Only(kinds) => (kinds, true),
        Of::AllBut(kinds) => (kinds, false),
    };
    let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT aggregate_type, aggregate_id, due_at FROM timers
          WHERE due_at <= $1 AND (aggregate_type = ANY($3)) = $4 ORDER BY due_at LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .bind(kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>())
    .bind(among)
    .fetch_all(conn)
    .await?;
    let due = |(kind, id, due_at): (String, String, _)| {
        Some(Due { stream: StreamKey::from_columns(&kind, &id)?, due_at })
    };
    Ok(rows.into_iter().filter_map(due).collect())
}
