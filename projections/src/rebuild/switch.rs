//! The tables around a rebuild: made, put into place, known by their version.

use std::time::Duration;

use accrue_event_store::follow::parked;
use accrue_event_store::log;
use sqlx::{Connection, PgConnection};

use super::{Loader, Rebuilt};
use crate::error::Error;
use crate::model::{Model, script};

/// How often the switch is tried, and how long it waits for readers each time: while it waits,
/// new readers wait behind it.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Are the live tables there, and of this build's version? Those of a newer build are left alone,
/// since it runs beside this one.
pub(super) async fn is_current(conn: &mut PgConnection, model: &Model) -> sqlx::Result<bool> {
    script(
        &mut *conn,
        "CREATE SCHEMA IF NOT EXISTS read;
         CREATE TABLE IF NOT EXISTS read.models (name text PRIMARY KEY, version integer NOT NULL)",
    )
    .await?;
    let tables: Vec<_> = model.tables.iter().map(|table| format!("read.{table}")).collect();
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM read.models WHERE name = $1 AND version >= $2)
            AND NOT EXISTS (SELECT FROM unnest($3::text[]) AS t(name)
                             WHERE to_regclass(t.name) IS NULL)",
    )
    .bind(model.name)
    .bind(model.version)
    .bind(tables)
    .fetch_one(conn)
    .await
}

/// Empty tables in a schema of their own; what a rebuild that crashed has left goes away.
pub(super) async fn begin(
    conn: &mut PgConnection,
    model: &Model,
    schema: &str,
) -> sqlx::Result<()> {
    let sql = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    script(&mut *conn, &sql).await?;
    is_current(conn, model).await?;
    model.create(conn).await
}

/// Catches up and puts the tables where the live ones were, in one transaction.
pub(super) async fn into_place(
    conn: &mut PgConnection,
    model: &'static Model,
    schema: &str,
    loader: &mut Loader,
) -> Result<Rebuilt, Error> {
    for _ in 0..TRIES_MAX {
        // Outside the transaction, so that a try which fails leaves nothing half written.
        let head = log::head(conn).await?;
        loader.catch_up(conn, head).await?;
        match swap(conn, model, schema, loader).await {
            Err(Error::Follow(error)) if is_lock_timeout(&error) => {
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
    Err(Error::InUse(model.name))
}

async fn swap(
    conn: &mut PgConnection,
    model: &'static Model,
    schema: &str,
    loader: &mut Loader,
) -> Result<Rebuilt, Error> {
    let mut tx = conn.begin().await?;
    sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut *tx).await?;
    // Here a crash may not undo what was said to be done: a server that runs on would look for
    // tables that are gone. This commit also flushes everything before it.
    sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
    // The checkpoint first, as the live follower does: it waits here, holding nothing.
    sqlx::query(
        "INSERT INTO checkpoints (follower, position) VALUES ($1, 0)
             ON CONFLICT (follower) DO UPDATE SET position = checkpoints.position",
    )
    .bind(model.name)
    .execute(&mut *tx)
    .await?;
    // Then those of partitions, which workers take that Kafka feeds.
    sqlx::query(
        "SELECT FROM feed_checkpoints WHERE follower = $1 ORDER BY topic, partition FOR UPDATE",
    )
    .bind(model.name)
    .execute(&mut *tx)
    .await?;
    for table in model.tables {
        script(&mut tx, &format!("DROP TABLE IF EXISTS read.{table}")).await?;
    }
    // Every lock is taken before the loader goes on: a try that fails must leave it as it was.
    script(&mut tx, &format!("LOCK TABLE {}", model.tables.join(", "))).await?;
    let head = log::head(&mut tx).await?;
    loader.catch_up(&mut tx, head).await?;
    for table in model.tables {
        let sql = format!("ALTER TABLE {schema}.{table} SET SCHEMA read");
        script(&mut tx, &sql).await?;
    }
    sqlx::query(
        "INSERT INTO read.models (name, version) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version",
    )
    .bind(model.name)
    .bind(model.version)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE checkpoints SET position = $2 WHERE follower = $1")
        .bind(model.name)
        .bind(head)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE feed_checkpoints SET position = greatest(position, $2) WHERE follower = $1",
    )
    .bind(model.name)
    .bind(head)
    .execute(&mut *tx)
    .await?;
    let was_parked = !parked(&mut tx, model.name).await?.is_empty();
    replace_parked(&mut tx, model, loader).await?;
    script(&mut tx, &format!("DROP SCHEMA {schema} CASCADE")).await?;
    if was_parked {
        forget_parked(&mut tx, model).await?;
    }
    tx.commit().await?;
    Ok(Rebuilt { position: head, parked: loader.parked().len() })
}

/// What the live follower could not digest is digested now, or parked anew.
async fn replace_parked(
    conn: &mut PgConnection,
    model: &Model,
    loader: &Loader,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM parked WHERE follower = $1")
        .bind(model.name)
        .execute(&mut *conn)
        .await?;
    for stream in loader.parked() {
        sqlx::query(
            "INSERT INTO parked (follower, aggregate_type, aggregate_id, position, reason)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(model.name)
        .bind(&stream.aggregate_type)
        .bind(&stream.aggregate_id)
        .bind(stream.position)
        .bind(&stream.reason)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A follower that stands at the very position of the switch, or has a partition that does, does
/// not see that its checkpoint was written, and would go on leaving out streams that are not parked
/// any more. Ending its session makes it read them again.
async fn forget_parked(conn: &mut PgConnection, model: &Model) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND application_name = $1",
    )
    .bind(format!("accrue {}", model.name))
    .execute(conn)
    .await?;
    Ok(())
}

/// Did others hold what is needed, so that another try may succeed?
fn is_lock_timeout(error: &accrue_event_store::follow::FollowError) -> bool {
    use accrue_event_store::follow::FollowError::Database;
    // lock_not_available, deadlock_detected
    matches!(error, Database(sqlx::Error::Database(error))
        if matches!(error.code().as_deref(), Some("55P03" | "40P01")))
}
