//! Checkpoints and parked streams in SQL.

use sqlx::{Connection, PgConnection};

use super::FollowError;
use crate::record::Position;
use crate::tail::Tail;

/// By what a follower is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The log itself.
    Log,
    /// The log as Kafka has it.
    Kafka,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Kafka => "kafka",
        }
    }
}

/// A stream that a follower has set aside.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Parked {
    /// Kind of stream.
    pub aggregate_type: String,
    /// `program/id`.
    pub aggregate_id: String,
    /// The event that could not be digested; everything behind it waits.
    pub position: Position,
    /// Why.
    pub reason: String,
}

/// A follower's position; none when it has never run.
///
/// # Errors
/// As Postgres gives them.
pub async fn position(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Option<Position>> {
    sqlx::query_scalar("SELECT position FROM checkpoints WHERE follower = $1")
        .bind(follower)
        .fetch_optional(conn)
        .await
}

/// The positions of these followers, in one look; those that have never run are left out.
///
/// # Errors
/// As Postgres gives them.
pub async fn positions(
    conn: &mut PgConnection,
    followers: &[&str],
) -> sqlx::Result<Vec<(String, Position)>> {
    sqlx::query_as("SELECT follower, position FROM checkpoints WHERE follower = ANY ($1)")
        .bind(followers)
        .fetch_all(conn)
        .await
}

/// The follower's position, which is 0 from now on if it has never run.
///
/// # Errors
/// As Postgres gives them.
pub async fn begin(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Position> {
    sqlx::query(
        "INSERT INTO checkpoints (follower, position) VALUES ($1, 0) ON CONFLICT DO NOTHING",
    )
    .bind(follower)
    .execute(&mut *conn)
    .await?;
    Ok(position(conn, follower).await?.unwrap_or_default())
}

/// What a feed remembers of having claimed its follower: it takes it once, and then gives way to
/// whoever takes it later.
#[derive(Debug, Default)]
pub struct Claim {
    /// The history of the log that it was said in. A standby that was promoted may lack it.
    said_in: Option<u64>,
}

impl Claim {
    /// The follower's position, which is 0 from now on if it has never run; it is this feed's.
    ///
    /// # Errors
    /// [`FollowError::NotReady`] where another process has taken it since.
    pub async fn make(
        &mut self,
        conn: &mut PgConnection,
        tail: &Tail,
        follower: &str,
        by: By,
    ) -> Result<Position, FollowError> {
        let history = *tail.moves().borrow();
        let position = claim(conn, follower, by, self.said_in != Some(history)).await?;
        self.said_in = Some(history);
        Ok(position)
    }
}

/// The follower's position, which is 0 from now on if it has never run. It is fed so from here on,
/// where `take` says so: whatever a worker of the other feed still holds does not count any more.
/// So of processes that are configured differently the one that began last has it.
///
/// # Errors
/// [`FollowError::NotReady`] where another process feeds it otherwise, and it is not to be taken.
async fn claim(
    conn: &mut PgConnection,
    follower: &str,
    by: By,
    take: bool,
) -> Result<Position, FollowError> {
    sqlx::query(
        "INSERT INTO checkpoints (follower, position, feed) VALUES ($1, 0, $2)
             ON CONFLICT DO NOTHING",
    )
    .bind(follower)
    .bind(by.as_str())
    .execute(&mut *conn)
    .await?;
    let (position, feed) = feed_of(conn, follower, "").await?;
    if feed == by.as_str() {
        return Ok(position);
    }
    if !take {
        return Err(FollowError::NotReady(format!(
            "another process feeds it by {feed}, this one is to feed it by {}",
            by.as_str()
        )));
    }
    let mut tx = conn.begin().await?;
    // This process remembers that it has claimed the follower; a crash of the database must not make
    // it wrong.
    sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
    // Behind the lock no batch of the log's feed is under way, and no partition is begun.
    let (position, _) = feed_of(&mut tx, follower, "FOR UPDATE").await?;
    sqlx::query("UPDATE checkpoints SET feed = $2 WHERE follower = $1")
        .bind(follower)
        .bind(by.as_str())
        .execute(&mut *tx)
        .await?;
    // Waits for batches that are under way, and changes every row, so that those behind fail.
    sqlx::query(
        "UPDATE feed_checkpoints
            SET closed = $2, position = CASE WHEN $2 THEN position ELSE greatest(position, $3) END
          WHERE follower = $1",
    )
    .bind(follower)
    .bind(by == By::Log)
    .bind(position)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    tracing::info!(follower, feed = by.as_str(), position, "the follower's feed is another");
    Ok(position)
}

async fn feed_of(
    conn: &mut PgConnection,
    follower: &str,
    lock: &str,
) -> sqlx::Result<(Position, String)> {
    let sql = format!("SELECT position, feed FROM checkpoints WHERE follower = $1 {lock}");
    sqlx::query_as(&sql).bind(follower).fetch_one(conn).await
}

/// Moves the checkpoint of one that the log feeds, unless somebody else has moved it: two workers
/// of one name, or a rebuild that switched the tables.
///
/// # Errors
/// As Postgres gives them.
pub async fn advance(
    conn: &mut PgConnection,
    follower: &str,
    from: Position,
    to: Position,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE checkpoints SET position = $3
          WHERE follower = $1 AND position = $2 AND feed = 'log'",
    )
    .bind(follower)
    .bind(from)
    .bind(to)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets how far a follower has come: it has no checkpoint any more, until it begins anew.
///
/// # Errors
/// As Postgres gives them.
pub async fn retire(conn: &mut PgConnection, follower: &str) -> sqlx::Result<()> {
    for table in ["feed_checkpoints", "checkpoints"] {
        let sql = format!("DELETE FROM {table} WHERE follower = $1");
        sqlx::query(&sql).bind(follower).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Streams that a follower has parked.
///
/// # Errors
/// As Postgres gives them.
pub async fn parked(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Vec<Parked>> {
    sqlx::query_as(
        "SELECT aggregate_type, aggregate_id, position, reason FROM parked
          WHERE follower = $1 ORDER BY position",
    )
    .bind(follower)
    .fetch_all(conn)
    .await
}

/// Sets a stream aside from an event on; the first such event counts.
///
/// # Errors
/// As Postgres gives them.
pub async fn park(conn: &mut PgConnection, follower: &str, stream: &Parked) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO parked (follower, aggregate_type, aggregate_id, position, reason)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(follower)
    .bind(&stream.aggregate_type)
    .bind(&stream.aggregate_id)
    .bind(stream.position)
    .bind(&stream.reason)
    .execute(conn)
    .await?;
    Ok(())
}
