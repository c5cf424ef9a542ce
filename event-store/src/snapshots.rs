//! Snapshots: a state that saves reading a long stream from its start. Discardable, and read only
//! by a build whose state has the same shape.

use std::collections::BTreeSet;

use accrue_domain::aggregate::Kind;
use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::chain::Hash;
use crate::codec::Codec;
use crate::fold::{self, Fold, Folded};
use crate::state::State;
use crate::stream::StreamKey;

/// A stream shorter than this has no snapshot.
pub const SNAPSHOT_EVENTS_MIN: i64 = 1_000;

/// Has a stream grown enough since its snapshot? The distance grows with the stream, so that all
/// snapshots of a stream together cost a constant factor of its length.
#[must_use]
pub fn is_due(sequence: i64, snapshot: i64) -> bool {
    sequence - snapshot >= SNAPSHOT_EVENTS_MIN.max(snapshot / 4)
}

/// One round trip. Per stream its snapshot, if that has our shape, and the events behind it.
/// Without an `ORDER BY`, which cost a third of the query: the probes give each stream's rows in
/// order, and where they ever do not, the reader sees it by their sequences.
const LOAD: &str = "
SELECT k.ordinal, found.sequence, found.event_type, found.event_version, found.body
  FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k(t, id, shape, ordinal)
  LEFT JOIN snapshots s
    ON s.aggregate_type = k.t AND s.aggregate_id = k.id AND s.shape = k.shape
 CROSS JOIN LATERAL (
       SELECT s.sequence, NULL AS event_type, NULL AS event_version, s.state::text AS body
        WHERE s.sequence IS NOT NULL
        UNION ALL
       SELECT sequence, event_type, event_version, payload::text FROM events
        WHERE aggregate_type = k.t AND aggregate_id = k.id
          AND sequence > coalesce(s.sequence, 0)) AS found";

/// The present state of streams that may be long, in their order.
pub(crate) async fn load(
    conn: &mut PgConnection,
    codec: &Codec,
    streams: &[StreamKey],
) -> sqlx::Result<Vec<Fold>> {
    let mut folded = Vec::with_capacity(streams.len());
    folded.extend(streams.iter().map(|key| Ok(Folded::empty(key.kind()))));
    // Streams that are read once more: their snapshot does not parse, or a row is out of order.
    let mut again = BTreeSet::new();
    let mut rows = sqlx::query(LOAD)
        .bind(fold::kinds(streams))
        .bind(fold::ids(streams))
        .bind(streams.iter().map(|key| shape_of(key.kind())).collect::<Vec<_>>())
        .fetch(&mut *conn);
    // Row by row: a long stream is more than memory should hold.
    while let Some(row) = rows.try_next().await? {
        let at = fold::index(row.try_get(0)?).filter(|at| *at < streams.len());
        let Some(at) = at else { continue };
        let sequence: i64 = row.try_get(1)?;
        let is_event = row.try_get::<Option<&str>, _>(2)?.is_some();
        let before = folded[at].as_ref().map_or(sequence - 1, |it| it.sequence);
        if before != if is_event { sequence - 1 } else { 0 } {
            again.insert(at);
        } else if is_event {
            take_event(codec, &streams[at], &mut folded[at], &row)?;
        } else if let Ok(state) = State::from_json(streams[at].kind(), row.try_get(4)?) {
            folded[at] = Ok(Folded { state, sequence, snapshot: sequence });
        } else {
            again.insert(at);
        }
    }
    drop(rows);
    for at in again {
        folded[at] = whole(conn, codec, &streams[at]).await?;
    }
    Ok(folded)
}

/// A stream from its start: a snapshot that does not parse is as good as none.
async fn whole(conn: &mut PgConnection, codec: &Codec, stream: &StreamKey) -> sqlx::Result<Fold> {
    let mut rows = sqlx::query(
        "SELECT 1::bigint, sequence, event_type, event_version, payload::text FROM events
          WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence",
    )
    .bind(stream.kind().as_str())
    .bind(&**stream.aggregate_id())
    .fetch(conn);
    let mut folded = Ok(Folded::empty(stream.kind()));
    while let Some(row) = rows.try_next().await? {
        take_event(codec, stream, &mut folded, &row)?;
    }
    Ok(folded)
}

/// Folds a row's event in.
fn take_event(
    codec: &Codec,
    stream: &StreamKey,
    folded: &mut Fold,
    row: &PgRow,
) -> sqlx::Result<()> {
    let event = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    fold::take_event(codec, stream, folded, event);
    Ok(())
}

/// Takes a snapshot of a stream from what is committed.
///
/// # Errors
/// As Postgres gives them.
pub async fn take(conn: &mut PgConnection, codec: &Codec, stream: &StreamKey) -> sqlx::Result<()> {
    for folded in load(conn, codec, std::slice::from_ref(stream)).await? {
        let folded = folded.map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        let json = folded.state.to_json().map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
        let mut tx = conn.begin().await?;
        // It can be taken again: a standby that is away is not to keep a connection that others
        // read with.
        sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO snapshots (aggregate_type, aggregate_id, sequence, shape, state)
             VALUES ($1, $2, $3, $4, $5::json)
             ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
                SET sequence = EXCLUDED.sequence, shape = EXCLUDED.shape, state = EXCLUDED.state
              WHERE snapshots.sequence < EXCLUDED.sequence
                 OR snapshots.shape <> EXCLUDED.shape",
        )
        .bind(stream.kind().as_str())
        .bind(&**stream.aggregate_id())
        .bind(folded.sequence)
        .bind(shape_of(stream.kind()))
        .bind(json)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Computed once: a schema is not cheap to make.
fn shape_of(kind: Kind) -> &'static [u8] {
    static SHAPES: std::sync::LazyLock<[Hash; Kind::ALL.len()]> =
        std::sync::LazyLock::new(|| Kind::ALL.map(State::shape));
    let at = Kind::ALL.iter().position(|it| *it == kind).unwrap_or_default();
    &SHAPES[at]
}
