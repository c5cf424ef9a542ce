//! The log's tables in SQL: the append, and reading in order. No other module writes `events`,
//! `log_head`, `commits`, `idempotency` or a stream's row in `timers`.

mod rows;

use std::sync::Arc;

use accrue_domain::id::ProgramId;
use chrono::{DateTime, Utc};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::chain::Hash;
use crate::codec::Codec;
use crate::record::{Decoded, Position, Recorded, Row};
use crate::stream::StreamKey;

use rows::{AppendedAnswer, AppendedEvent};

/// Most events in one page of a read.
pub const PAGE_EVENTS_MAX: i64 = 5_000;

/// About what a row takes among the arguments of an append, beside its payload and metadata.
const ROW_BYTES: usize = 256;

/// One statement: moves the head under its row lock, and inserts everything that commits with it.
/// The lock is held until commit, so positions are dense and in commit order. A version check in
/// here would read the snapshot from before the lock wait; the unique indexes decide conflicts.
macro_rules! append {
    ($more:literal) => {
        concat!(
            "
WITH head AS (
    UPDATE log_head
       SET position = position + $1,
           hash = CASE WHEN $1 > 0 THEN sha256(hash || $3) ELSE hash END
    RETURNING position, position - $1 AS base, hash
), appended AS (
    INSERT INTO events (position, program, aggregate_type, aggregate_id, sequence, event_type,
                        event_version, payload, metadata, recorded_at)
    SELECT head.base + e.ordinal, e.program, e.aggregate_type, e.aggregate_id, e.sequence,
           e.event_type, e.event_version, e.payload, e.metadata, e.recorded_at
      FROM head, unnest($5::appended_event[]) WITH ORDINALITY
           AS e(program, aggregate_type, aggregate_id, sequence, event_type, event_version,
                payload, metadata, recorded_at, ordinal)
), chained AS (
    INSERT INTO commits (last_position, first_position, batch_id, root, hash, recorded_at, marks)
    SELECT position, base + 1, $2, $3, hash, $4, $7 FROM head WHERE $1 > 0
), answered AS (
    INSERT INTO idempotency (program, command, fingerprint, position, events, version, refusal,
                             recorded_at)
    SELECT k.program, k.command, k.fingerprint, head.base + k.last, k.events, k.version,
           k.refusal, $4
      FROM head, unnest($6::appended_answer[])
           AS k(program, command, fingerprint, last, events, version, refusal)
)",
            $more,
            "
SELECT base FROM head"
        )
    };
}

/// For a batch that moves no deadline, as most do: every table that a statement names costs it
/// something, rows or none.
const APPEND: &str = append!("");

const APPEND_WITH_TIMERS: &str = append!(
    ", timed AS (
    INSERT INTO timers (aggregate_type, aggregate_id, due_at)
    SELECT t, id, due FROM unnest($8::text[], $9::text[], $10::timestamptz[]) AS d(t, id, due)
     WHERE due IS NOT NULL
        ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET due_at = EXCLUDED.due_at
), untimed AS (
    DELETE FROM timers
     USING unnest($8::text[], $9::text[], $10::timestamptz[]) AS d(t, id, due)
     WHERE due IS NULL AND aggregate_type = t AND aggregate_id = id
), corrected AS (
    -- Without an event no unique index tells that another process has set a new deadline
    -- meanwhile; a passed one is all that may be changed then.
    UPDATE timers SET due_at = due
      FROM unnest($11::text[], $12::text[], $13::timestamptz[]) AS d(t, id, due)
     WHERE due IS NOT NULL AND aggregate_type = t AND aggregate_id = id AND due_at <= $4
), cleared AS (
    DELETE FROM timers
     USING unnest($11::text[], $12::text[], $13::timestamptz[]) AS d(t, id, due)
     WHERE due IS NULL AND aggregate_type = t AND aggregate_id = id AND due_at <= $4
)"
);

/// What one append writes, column by column.
#[derive(Debug)]
pub struct Batch {
    /// Names the batch in `commits`, where its outcome is looked up when the answer was lost.
    pub id: Uuid,
    /// Root of its events' leaves.
    pub root: Hash,
    /// The leaves' marks.
    pub marks: Vec<u8>,
    /// The executor's clock when the batch was closed.
    pub recorded_at: DateTime<Utc>,
    /// Its events, without positions yet.
    pub events: Vec<(i64, Arc<Row>)>,
    /// Its answers.
    pub answers: Vec<Answer>,
    /// Streams whose deadline moved, and where to (none: no deadline any more).
    pub timers: Vec<(StreamKey, Option<DateTime<Utc>>)>,
    /// Streams that were found settled though their timer had passed, and their true deadline.
    pub corrections: Vec<(StreamKey, Option<DateTime<Utc>>)>,
}

/// A keyed command's row.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The tenant.
    pub program: ProgramId,
    /// [`crate::idempotency::digest`] of the command's id.
    pub command: Uuid,
    /// Digest of the request.
    pub fingerprint: [u8; 32],
    /// Index of its last event in the batch, from 1; events before it in the batch, if it has
    /// none.
    pub last: i64,
    /// Number of its events.
    pub events: i32,
    /// Version of its stream.
    pub version: i64,
    /// The refusal as JSON.
    pub refusal: Option<String>,
}

/// Takes the lock that every append takes, until the end of the transaction: until then nobody
/// else writes, and whatever is read elsewhere from now on is the newest there is.
///
/// # Errors
/// As Postgres gives them.
pub async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE").execute(conn).await.map(|_| ())
}

/// Appends a batch. Returns the position before its first event.
///
/// # Errors
/// As Postgres gives them; the batch is then in the log as a whole or not at all.
pub async fn append(conn: &mut PgConnection, batch: &Batch) -> sqlx::Result<Position> {
    let (timers, corrections) = (&batch.timers, &batch.corrections);
    let timed = !(timers.is_empty() && corrections.is_empty());
    let arguments = arguments(batch).map_err(sqlx::Error::Encode)?;
    let mut query = sqlx::query_with(if timed { APPEND_WITH_TIMERS } else { APPEND }, arguments);
    if timed {
        for due in [timers, corrections] {
            query = query
                .bind(due.iter().map(|(key, _)| key.kind().as_str()).collect::<Vec<_>>())
                .bind(due.iter().map(|(key, _)| &**key.aggregate_id()).collect::<Vec<_>>())
                .bind(due.iter().map(|(_, due)| *due).collect::<Vec<_>>());
        }
    }
    let row = query.fetch_one(conn).await?;
    row.try_get("base")
}

/// What every append has, in a buffer of about the right size from the beginning: one that grows is
/// copied again and again, into memory that is fresh each time.
fn arguments(batch: &Batch) -> Result<PgArguments, BoxDynError> {
    let events: Vec<_> =
        batch.events.iter().map(|(sequence, row)| AppendedEvent(*sequence, row)).collect();
    let answers: Vec<_> = batch.answers.iter().map(AppendedAnswer).collect();
    let texts = batch.events.iter().map(|(_, row)| row.payload.len() + row.metadata.len());
    let rows = events.len() + answers.len();
    let mut arguments = PgArguments::default();
    arguments.reserve(7, texts.sum::<usize>() + (rows + 1) * ROW_BYTES);
    arguments.add(i64::try_from(batch.events.len()).unwrap_or(i64::MAX))?;
    arguments.add(batch.id)?;
    arguments.add(&batch.root[..])?;
    arguments.add(batch.recorded_at)?;
    arguments.add(events)?;
    arguments.add(answers)?;
    arguments.add(&batch.marks[..])?;
    Ok(arguments)
}

/// The position before the first event of a batch, if the batch is in the log.
///
/// # Errors
/// As Postgres gives them.
pub async fn base_of_batch(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Position>> {
    sqlx::query_scalar("SELECT first_position - 1 FROM commits WHERE batch_id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
}

/// What others' decisions read without writing it, changed at `after + 1 ..= until`: programs'
/// settings, and what products are and cost.
///
/// # Errors
/// As Postgres gives them.
pub async fn configured(
    conn: &mut PgConnection,
    after: Position,
    until: Position,
) -> sqlx::Result<Vec<StreamKey>> {
    // Each half by the partial index that is made of its own words.
    let streams: Vec<(String, String)> = sqlx::query_as(
        "SELECT aggregate_type, aggregate_id FROM events
          WHERE aggregate_type IN ('campaign', 'program') AND aggregate_type = 'program'
            AND position > $1 AND position <= $2
          UNION
         SELECT aggregate_type, aggregate_id FROM events
          WHERE event_type IN ('ProductCreated', 'ProductChanged', 'ProductRetired')
            AND position > $1 AND position <= $2",
    )
    .bind(after)
    .bind(until)
    .fetch_all(conn)
    .await?;
    Ok(streams.iter().filter_map(|(kind, id)| StreamKey::from_columns(kind, id)).collect())
}

/// The sequence of a stream's last event; 0 for one without events.
///
/// # Errors
/// As Postgres gives them.
pub async fn version(
    conn: &mut PgConnection,
    aggregate_type: &str,
    aggregate_id: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT coalesce(max(sequence), 0) FROM events
          WHERE aggregate_type = $1 AND aggregate_id = $2",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .fetch_one(conn)
    .await
}

/// The last position in the log; 0 when it is empty.
///
/// # Errors
/// As Postgres gives them.
pub async fn head(conn: &mut PgConnection) -> sqlx::Result<Position> {
    sqlx::query_scalar("SELECT position FROM log_head").fetch_one(conn).await
}

/// Which history this server writes: a standby that was promoted begins another. Fails on a
/// standby, which writes none.
///
/// # Errors
/// As Postgres gives them.
pub async fn timeline(conn: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
        .fetch_one(conn)
        .await
}

/// The last position in the log, and the server's timeline, at once.
///
/// # Errors
/// As Postgres gives them.
pub async fn head_and_timeline(conn: &mut PgConnection) -> sqlx::Result<(Position, String)> {
    sqlx::query_as("SELECT position, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM log_head")
        .fetch_one(conn)
        .await
}

/// Columns in the order that [`recorded`] reads them.
pub const COLUMNS: &str = "position, program, aggregate_type, aggregate_id, sequence, event_type, \
                           event_version, payload::text, metadata::text, recorded_at";

/// The events behind `after`, in order, at most `limit` of them.
///
/// # Errors
/// As Postgres gives them.
pub async fn read_after(
    conn: &mut PgConnection,
    codec: &Codec,
    after: Position,
    limit: i64,
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let sql =
        format!("SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2");
    let rows = sqlx::query(&sql).bind(after).bind(limit).fetch_all(conn).await?;
    let mut names = Names::default();
    rows.iter().map(|row| recorded(codec, &mut names, row).map(Arc::new)).collect()
}

/// The events at `first ..= last`.
///
/// # Errors
/// As Postgres gives them.
pub async fn read_range(
    conn: &mut PgConnection,
    codec: &Codec,
    first: Position,
    last: Position,
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let sql =
        format!("SELECT {COLUMNS} FROM events WHERE position BETWEEN $1 AND $2 ORDER BY position");
    let rows = sqlx::query(&sql).bind(first).bind(last).fetch_all(conn).await?;
    let mut names = Names::default();
    rows.iter().map(|row| recorded(codec, &mut names, row).map(Arc::new)).collect()
}

/// Texts that nearly every row repeats are kept once.
#[derive(Debug, Default)]
pub struct Names(Vec<Arc<str>>);

impl Names {
    /// The text, shared.
    pub fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| &***known == name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        if self.0.len() < 32 {
            self.0.push(Arc::clone(&name));
        }
        name
    }
}

/// A row of [`COLUMNS`] as an event.
///
/// # Errors
/// When a column has another type than the migration gave it.
pub fn recorded(codec: &Codec, names: &mut Names, row: &PgRow) -> sqlx::Result<Recorded> {
    let aggregate_type: &str = row.try_get(2)?;
    let aggregate_id: &str = row.try_get(3)?;
    let event_type: &str = row.try_get(5)?;
    let event_version: &str = row.try_get(6)?;
    let payload: String = row.try_get(7)?;
    let stream = StreamKey::from_columns(aggregate_type, aggregate_id);
    let decoded = match &stream {
        Some(_) => codec.decode(aggregate_type, event_type, event_version, &payload),
        None => Ok(Decoded::Foreign),
    };
    Ok(Recorded {
        position: row.try_get(0)?,
        stream,
        sequence: row.try_get(4)?,
        decoded,
        row: Arc::new(Row {
            program: names.get(row.try_get(1)?),
            aggregate_type: names.get(aggregate_type),
            aggregate_id: aggregate_id.into(),
            event_type: names.get(event_type),
            event_version: names.get(event_version),
            payload,
            metadata: row.try_get(8)?,
            recorded_at: row.try_get(9)?,
        }),
    })
}
