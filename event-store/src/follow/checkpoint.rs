//! Checkpoints and parked streams in SQL.

use sqlx::PgConnection;

use crate::record::Position;

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

/// Moves the checkpoint, unless somebody else has moved it: two workers of one name, or a rebuild
/// that switched the tables.
///
/// # Errors
/// As Postgres gives them.
pub async fn advance(
    conn: &mut PgConnection,
    follower: &str,
    from: Position,
    to: Position,
) -> sqlx::Result<bool> {
    let done =
        sqlx::query("UPDATE checkpoints SET position = $3 WHERE follower = $1 AND position = $2")
            .bind(follower)
            .bind(from)
            .bind(to)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
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
