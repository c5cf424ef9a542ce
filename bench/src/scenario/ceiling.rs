//! The ceiling of a durable log on this Postgres: one connection that inserts the rows of an
//! existing log into the same tables, 500 events and what commits with them a statement.
//!
//! Only the statements are timed: nothing is decided, hashed, serialised or answered.

use crate::postgres::Database;
use accrue_event_store::chain::MARK_BYTES;
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::migrate::Migrator;
use sqlx::{FromRow, PgConnection};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

const EVENTS_PER_STATEMENT: usize = 500;
/// Events held in memory at a time.
const PAGE_EVENTS: i64 = 50_000;

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/migrations");

const INSERT: &str = "
WITH appended AS (
    INSERT INTO events (position, program, aggregate_type, aggregate_id, sequence, event_type,
                        event_version, payload, metadata, recorded_at)
    SELECT p, program, type, id, sequence, name, version, payload::json, metadata::json, at
      FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::timestamptz[])
           AS e(p, program, type, id, sequence, name, version, payload, metadata, at)
), chained AS (
    INSERT INTO commits (last_position, first_position, batch_id, root, hash, recorded_at, marks)
    VALUES ($11, $12, $13, $14, $14, $15, $23)
)
INSERT INTO idempotency (program, command, fingerprint, position, events, version, recorded_at)
SELECT * FROM unnest($16::text[], $17::uuid[], $18::bytea[], $19::bigint[], $20::int[],
                     $21::bigint[], $22::timestamptz[])";

#[derive(Debug, FromRow)]
struct Event {
    position: i64,
    program: String,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
    recorded_at: DateTime<Utc>,
}

#[derive(Debug, FromRow)]
struct Key {
    program: String,
    command: Uuid,
    fingerprint: Vec<u8>,
    position: i64,
    events: i32,
    version: i64,
    recorded_at: DateTime<Utc>,
}

/// Copies the log; the time that the inserts took.
pub(crate) async fn measure(source: &Database, target: &Database) -> anyhow::Result<Duration> {
    let (mut source, mut target) = (source.connect().await?, target.connect().await?);
    migrate(&mut target).await?;
    let keys: Vec<Key> = sqlx::query_as(
        "SELECT program, command, fingerprint, position, events, version, recorded_at
           FROM idempotency
          ORDER BY position",
    )
    .fetch_all(&mut source)
    .await?;
    let (mut keys, mut after, mut spent) = (&keys[..], 0, Duration::ZERO);
    loop {
        let page = page(&mut source, after).await?;
        let Some(last) = page.last() else { return Ok(spent) };
        after = last.position;
        for events in page.chunks(EVENTS_PER_STATEMENT) {
            let end = events.last().map_or(0, |event| event.position);
            let (these, rest) = keys.split_at(keys.partition_point(|key| key.position <= end));
            keys = rest;
            let started = Instant::now();
            insert(&mut target, events, these).await?;
            spent += started.elapsed();
        }
    }
}

async fn migrate(conn: &mut PgConnection) -> anyhow::Result<()> {
    let migrator = Migrator::new(Path::new(MIGRATIONS)).await.context("reading the migrations")?;
    migrator.run_direct(conn).await.context("making the log's tables")
}

async fn page(conn: &mut PgConnection, after: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as(
        "SELECT position, program, aggregate_type, aggregate_id, sequence, event_type,
                event_version, payload::text, metadata::text, recorded_at
           FROM events
          WHERE position > $1
          ORDER BY position
          LIMIT $2",
    )
    .bind(after)
    .bind(PAGE_EVENTS)
    .fetch_all(conn)
    .await
}

async fn insert(conn: &mut PgConnection, events: &[Event], keys: &[Key]) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
    let texts = |of: fn(&Event) -> &str| events.iter().map(of).collect::<Vec<_>>();
    sqlx::query(INSERT)
        .bind(events.iter().map(|it| it.position).collect::<Vec<_>>())
        .bind(texts(|it| &it.program))
        .bind(texts(|it| &it.aggregate_type))
        .bind(texts(|it| &it.aggregate_id))
        .bind(events.iter().map(|it| it.sequence).collect::<Vec<_>>())
        .bind(texts(|it| &it.event_type))
        .bind(texts(|it| &it.event_version))
        .bind(texts(|it| &it.payload))
        .bind(texts(|it| &it.metadata))
        .bind(events.iter().map(|it| it.recorded_at).collect::<Vec<_>>())
        .bind(last.position)
        .bind(first.position)
        .bind(Uuid::new_v4())
        .bind(&[0_u8; 32][..])
        .bind(last.recorded_at)
        .bind(keys.iter().map(|it| &*it.program).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| it.command).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| &*it.fingerprint).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| it.position).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| it.events).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| it.version).collect::<Vec<_>>())
        .bind(keys.iter().map(|it| it.recorded_at).collect::<Vec<_>>())
        .bind(vec![0_u8; events.len() * MARK_BYTES])
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{measure, migrate};
    use crate::postgres::{Database, Postgres};
    use std::time::Duration;

    /// 1,250 events (two statements and a half) of 625 commands, the last of which wrote none.
    const LOG: &str = "
        INSERT INTO events
        SELECT n, 'default', 'account', 'default/a' || n, 1, 'PointsIssued', '1',
               '{\"PointsIssued\":{}}', '{}', now()
          FROM generate_series(1, 1250) AS n;
        INSERT INTO idempotency
        SELECT md5('k' || n)::uuid, least(n * 2, 1250), 1, now(), 2, 'default', sha256('x'), NULL
          FROM generate_series(1, 626) AS n";

    async fn digest(database: &Database) -> (i64, i64, String) {
        let mut conn = database.connect().await.unwrap();
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM idempotency),
                    (SELECT md5(string_agg(e::text, '|' ORDER BY position)) FROM events AS e) ||
                    (SELECT md5(string_agg(i::text, '|' ORDER BY command)) FROM idempotency AS i)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn the_ceiling_inserts_the_very_rows_of_the_log() {
        let postgres = Postgres::start(None, 256).await.unwrap();
        let source = postgres.fresh("source").await.unwrap();
        let target = postgres.fresh("target").await.unwrap();
        migrate(&mut source.connect().await.unwrap()).await.unwrap();
        for statement in LOG.split(';') {
            source.execute(statement).await.unwrap();
        }
        assert!(measure(&source, &target).await.unwrap() > Duration::ZERO);
        let copied = digest(&target).await;
        assert_eq!((copied.0, copied.1), (1250, 626));
        assert_eq!(copied, digest(&source).await);
        let mut conn = target.connect().await.unwrap();
        let commits: i64 =
            sqlx::query_scalar("SELECT count(*) FROM commits").fetch_one(&mut conn).await.unwrap();
        assert_eq!(commits, 3);
    }
}
