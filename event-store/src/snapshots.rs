//! Snapshots: a state that saves reading a long stream from its start. Discardable, and read only
//! by a build whose state has the same shape.

use accrue_domain::aggregate::Kind;
use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::chain::Hash;
use crate::codec::{Codec, DecodeError};
use crate::state::State;
use crate::stream::StreamKey;

/// A stream shorter than this has no snapshot.
pub const SNAPSHOT_EVENTS_MIN: i64 = 1_000;

/// A state folded from a stream.
#[derive(Debug, Clone)]
pub struct Folded {
    /// The state.
    pub state: State,
    /// Sequence of the last event folded in.
    pub sequence: i64,
    /// Sequence of the snapshot it began with; 0 for none.
    pub snapshot: i64,
}

impl Folded {
    fn empty(kind: Kind) -> Self {
        Self { state: State::empty(kind), sequence: 0, snapshot: 0 }
    }
}

/// Has a stream grown enough since its snapshot? The distance grows with the stream, so that all
/// snapshots of a stream together cost a constant factor of its length.
#[must_use]
pub fn is_due(sequence: i64, snapshot: i64) -> bool {
    sequence - snapshot >= SNAPSHOT_EVENTS_MIN.max(snapshot / 4)
}

/// The present state of each of these streams, in their order: the empty state for one without
/// events, an error for one that holds an event which this build does not understand.
///
/// # Errors
/// As Postgres gives them.
pub async fn load(
    conn: &mut PgConnection,
    codec: &Codec,
    streams: &[StreamKey],
) -> sqlx::Result<Vec<Result<Folded, DecodeError>>> {
    let mut folded = Vec::with_capacity(streams.len());
    folded.extend(streams.iter().map(|key| Ok(Folded::empty(key.kind()))));
    read_snapshots(conn, streams, &mut folded).await?;
    read_events(conn, codec, streams, &mut folded).await?;
    Ok(folded)
}

async fn read_snapshots(
    conn: &mut PgConnection,
    streams: &[StreamKey],
    folded: &mut [Result<Folded, DecodeError>],
) -> sqlx::Result<()> {
    let rows = sqlx::query(
        "SELECT k.ordinal, s.sequence, s.shape, s.state::text
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(t, id, ordinal)
           JOIN snapshots s ON s.aggregate_type = k.t AND s.aggregate_id = k.id",
    )
    .bind(kinds(streams))
    .bind(ids(streams))
    .fetch_all(conn)
    .await?;
    for row in &rows {
        let Some(at) = index(row, streams)? else { continue };
        let kind = streams[at].kind();
        let shape: Vec<u8> = row.try_get(2)?;
        if shape != shape_of(kind) {
            continue;
        }
        // A snapshot that does not parse is as good as none.
        let Ok(state) = State::from_json(kind, row.try_get(3)?) else { continue };
        let sequence = row.try_get(1)?;
        folded[at] = Ok(Folded { state, sequence, snapshot: sequence });
    }
    Ok(())
}

async fn read_events(
    conn: &mut PgConnection,
    codec: &Codec,
    streams: &[StreamKey],
    folded: &mut [Result<Folded, DecodeError>],
) -> sqlx::Result<()> {
    let behind: Vec<i64> =
        folded.iter().map(|it| it.as_ref().map_or(0, |folded| folded.sequence)).collect();
    // One lateral probe a stream: a single join would read and sort whole streams.
    let (kinds, ids) = (kinds(streams), ids(streams));
    let mut rows = sqlx::query(
        "SELECT k.ordinal, e.sequence, e.event_type, e.event_version, e.payload::text
           FROM unnest($1::text[], $2::text[], $3::bigint[])
                WITH ORDINALITY AS k(t, id, behind, ordinal)
           JOIN LATERAL (SELECT sequence, event_type, event_version, payload FROM events
                          WHERE aggregate_type = k.t AND aggregate_id = k.id
                            AND sequence > k.behind
                          ORDER BY sequence) e ON true
          ORDER BY k.ordinal, e.sequence",
    )
    .bind(kinds)
    .bind(ids)
    .bind(behind)
    .fetch(conn);
    // Row by row: many long streams together are more than memory should hold.
    while let Some(row) = rows.try_next().await? {
        let Some(at) = index(&row, streams)? else { continue };
        let Ok(entry) = &mut folded[at] else { continue };
        let (name, version, payload) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        match codec.decode(streams[at].kind().as_str(), name, version, payload) {
            Ok(decoded) => decoded.events().iter().for_each(|event| entry.state.evolve(event)),
            Err(error) => {
                folded[at] = Err(error);
                continue;
            }
        }
        entry.sequence = row.try_get(1)?;
    }
    Ok(())
}

fn kinds(streams: &[StreamKey]) -> Vec<&'static str> {
    streams.iter().map(|key| key.kind().as_str()).collect()
}

fn ids(streams: &[StreamKey]) -> Vec<&str> {
    streams.iter().map(|key| &**key.aggregate_id()).collect()
}

/// The row's ordinal, which counts from 1, as an index.
fn index(row: &PgRow, streams: &[StreamKey]) -> sqlx::Result<Option<usize>> {
    let ordinal: i64 = row.try_get(0)?;
    Ok(usize::try_from(ordinal - 1).ok().filter(|at| *at < streams.len()))
}

/// Takes a snapshot of a stream from what is committed.
///
/// # Errors
/// As [`load`].
pub async fn take(pool: &PgPool, codec: &Codec, stream: &StreamKey) -> sqlx::Result<()> {
    let mut conn = pool.acquire().await?;
    for folded in load(&mut conn, codec, std::slice::from_ref(stream)).await? {
        let folded = folded.map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        let json = folded.state.to_json().map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
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
        .execute(&mut *conn)
        .await?;
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
