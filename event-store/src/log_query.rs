//! Reading parts of the log: some kinds up to a position, one program's events by filter, a stream
//! from somewhere. Every page is bounded in what it returns and in what it looks at.

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use sqlx::PgConnection;

use crate::codec::Codec;
use crate::log::{COLUMNS, Names, recorded};
use crate::record::{Position, Recorded};
use crate::stream::StreamKey;

/// Most positions that one filtered page looks at: a rare type cannot hog the database.
pub const SCAN_POSITIONS_MAX: i64 = 20_000;

/// The events at `after < position <= until` of these kinds, in order, at most `limit` of them.
///
/// # Errors
/// As Postgres gives them.
pub async fn read_kinds(
    conn: &mut PgConnection,
    codec: &Codec,
    (after, until): (Position, Position),
    limit: i64,
    kinds: &[Kind],
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    // In the statement's own words: a plan that fits any list would not know that a partial index
    // holds all of the few events of these kinds.
    let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
    let kinds = kinds.join(", ");
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE position > $1 AND position <= $2 \
         AND aggregate_type IN ({kinds}) ORDER BY position LIMIT $3"
    );
    let mut rows = sqlx::query(&sql).bind(after).bind(until).bind(limit).fetch(conn);
    let (mut names, mut events) = (Names::default(), Vec::new());
    // Row by row, so that Postgres makes the next ones while these are decoded.
    while let Some(row) = rows.try_next().await? {
        events.push(Arc::new(recorded(codec, &mut names, &row)?));
    }
    Ok(events)
}

/// Which events of a program.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The tenant.
    pub program: Arc<str>,
    /// Only events of this name.
    pub event_type: Option<String>,
    /// Only events of this stream.
    pub stream: Option<StreamKey>,
}

impl Filter {
    /// Does it let this event through?
    #[must_use]
    pub fn matches(&self, event: &Recorded) -> bool {
        event.row.program == self.program
            && self.event_type.as_deref().is_none_or(|name| *name == *event.row.event_type)
            && self.stream.as_ref().is_none_or(|stream| event.stream.as_ref() == Some(stream))
    }
}

/// A page of a program's events.
#[derive(Debug)]
pub struct Page {
    /// What matched, in order.
    pub events: Vec<Arc<Recorded>>,
    /// Everything up to here was looked at; the head of the log when the page is the last one.
    pub until: Position,
    /// Is there more behind it?
    pub more: bool,
}

/// The next events behind `after` that pass the filter. A page may be empty and still have more
/// behind it.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    codec: &Codec,
    filter: &Filter,
    after: Position,
    limit: i64,
) -> sqlx::Result<Page> {
    let head = crate::log::head(&mut *conn).await?;
    if after >= head {
        return Ok(Page { events: Vec::new(), until: after, more: false });
    }
    let whole = match &filter.stream {
        Some(_) => head,
        None => head.min(after.saturating_add(SCAN_POSITIONS_MAX)),
    };
    let events = match &filter.stream {
        Some(stream) => of_stream(conn, codec, filter, stream, (after, head), limit).await?,
        None => of_program(conn, codec, filter, (after, whole), limit).await?,
    };
    let full = i64::try_from(events.len()).unwrap_or(i64::MAX) >= limit;
    let until = events.last().filter(|_| full).map_or(whole, |last| last.position);
    Ok(Page { events, until, more: until < head })
}

async fn of_program(
    conn: &mut PgConnection,
    codec: &Codec,
    filter: &Filter,
    (after, until): (Position, Position),
    limit: i64,
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE position > $1 AND position <= $2 AND program = $3 \
         AND ($4::text IS NULL OR event_type = $4) ORDER BY position LIMIT $5"
    );
    let rows = sqlx::query(&sql)
        .bind(after)
        .bind(until)
        .bind(&*filter.program)
        .bind(&filter.event_type)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    let mut names = Names::default();
    rows.iter().map(|row| recorded(codec, &mut names, row).map(Arc::new)).collect()
}

async fn of_stream(
    conn: &mut PgConnection,
    codec: &Codec,
    filter: &Filter,
    stream: &StreamKey,
    (after, until): (Position, Position),
    limit: i64,
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let sequence = sequence_at(&mut *conn, stream, after).await?;
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 \
         AND sequence > $3 AND position <= $4 AND ($5::text IS NULL OR event_type = $5) \
         ORDER BY sequence LIMIT $6"
    );
    let rows = sqlx::query(&sql)
        .bind(stream.kind().as_str())
        .bind(&**stream.aggregate_id())
        .bind(sequence)
        .bind(until)
        .bind(&filter.event_type)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    let mut names = Names::default();
    rows.iter().map(|row| recorded(codec, &mut names, row).map(Arc::new)).collect()
}

/// Sequence of a stream's last event at or before a position. Bisects, as positions and sequences
/// of a stream grow together: no index has both.
async fn sequence_at(
    conn: &mut PgConnection,
    stream: &StreamKey,
    position: Position,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "WITH RECURSIVE search(low, high) AS (
             SELECT 0::bigint, coalesce(max(sequence), 0)
               FROM events WHERE aggregate_type = $1 AND aggregate_id = $2
          UNION ALL
             SELECT CASE WHEN e.position <= $3 THEN e.sequence ELSE s.low END,
                    CASE WHEN e.position <= $3 THEN s.high ELSE e.sequence - 1 END
               FROM search s JOIN events e
                 ON e.aggregate_type = $1 AND e.aggregate_id = $2
                AND e.sequence = (s.low + s.high + 1) / 2
              WHERE s.low < s.high
         )
         SELECT low FROM search WHERE low = high",
    )
    .bind(stream.kind().as_str())
    .bind(&**stream.aggregate_id())
    .bind(position)
    .fetch_one(conn)
    .await
}

/// The events of one stream behind `sequence` that were recorded by `at`, in order, at most
/// `limit` of them.
///
/// # Errors
/// As Postgres gives them.
pub async fn read_stream_until(
    conn: &mut PgConnection,
    codec: &Codec,
    stream: &StreamKey,
    sequence: i64,
    at: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 \
         AND sequence > $3 AND recorded_at <= $4 ORDER BY sequence LIMIT $5"
    );
    let rows = sqlx::query(&sql)
        .bind(stream.kind().as_str())
        .bind(&**stream.aggregate_id())
        .bind(sequence)
        .bind(at)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    let mut names = Names::default();
    rows.iter().map(|row| recorded(codec, &mut names, row).map(Arc::new)).collect()
}
