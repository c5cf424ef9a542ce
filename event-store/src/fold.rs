//! The present state of streams: a short stream comes whole in one row, a longer one event by event
//! from its snapshot on.

use accrue_domain::aggregate::Kind;
use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use crate::codec::{Codec, DecodeError};
use crate::snapshots;
use crate::state::State;
use crate::stream::StreamKey;

/// A state folded from a stream.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    /// The state.
    pub(crate) state: State,
    /// Sequence of the last event folded in.
    pub(crate) sequence: i64,
    /// Sequence of the snapshot it began with, or of one that is being taken; 0 for none.
    pub(crate) snapshot: i64,
}

impl Folded {
    pub(crate) fn empty(kind: Kind) -> Self {
        Self { state: State::empty(kind), sequence: 0, snapshot: 0 }
    }
}

/// What a stream came to, or its first event that this build does not understand.
pub(crate) type Fold = Result<Folded, DecodeError>;

/// The present state of each of these streams, in their order: the empty state for one without
/// events, an error for one that holds an event which this build does not understand.
///
/// # Errors
/// As Postgres gives them.
pub(crate) async fn load(
    conn: &mut PgConnection,
    codec: &Codec,
    streams: &[StreamKey],
) -> sqlx::Result<Vec<Fold>> {
    load_beside(conn, codec, streams, &[]).await.map(|(folded, _)| folded)
}

/// Most events of a stream that come in one row. Nearly all streams are shorter; of one that is
/// longer these were read in vain, and are not sent.
const SHORT_EVENTS_MAX: i64 = 64;

/// Between the parts of a column. No JSON holds it but escaped.
const SEPARATOR: char = '\u{1e}';

/// One row a stream: a row costs what some events cost. Then, with negative ordinals, the last
/// sequences of streams that are only compared. One lateral probe a stream: a join would read and
/// sort whole streams. The inner `ORDER BY` is what the order of events rests on, nothing checks it
/// here; the index makes it free. Postgres puts no more than 1 GB together, which is 16 MB an event.
const LOAD: &str = "
SELECT k.ordinal, found.last, found.types, found.versions, found.bodies
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(t, id, ordinal)
 CROSS JOIN LATERAL (
       SELECT max(sequence) AS last,
              CASE WHEN max(sequence) < $6 THEN string_agg(event_type, $5) END AS types,
              CASE WHEN max(sequence) < $6 THEN string_agg(event_version, $5) END AS versions,
              CASE WHEN max(sequence) < $6 THEN string_agg(body, $5) END AS bodies
         FROM (SELECT sequence, event_type, event_version, payload::text AS body FROM events
                WHERE aggregate_type = k.t AND aggregate_id = k.id
                ORDER BY sequence LIMIT $6) AS first) AS found
 WHERE found.last IS NOT NULL
 UNION ALL
SELECT -v.ordinal,
       coalesce((SELECT max(sequence) FROM events
                  WHERE aggregate_type = v.t AND aggregate_id = v.id), 0),
       NULL, NULL, NULL
  FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS v(t, id, ordinal)";

/// As [`load`], and beside it the sequences of the last events of `compared`, in their order; 0
/// for a stream without events. Each is as new as the call at least, and not all of one moment: long
/// streams are read by a second statement.
///
/// # Errors
/// As Postgres gives them.
pub(crate) async fn load_beside(
    conn: &mut PgConnection,
    codec: &Codec,
    streams: &[StreamKey],
    compared: &[StreamKey],
) -> sqlx::Result<(Vec<Fold>, Vec<i64>)> {
    let mut folded = Vec::with_capacity(streams.len());
    folded.extend(streams.iter().map(|key| Ok(Folded::empty(key.kind()))));
    let mut versions = vec![0; compared.len()];
    let mut long = Vec::new();
    let mut rows = sqlx::query(LOAD)
        .bind(kinds(streams))
        .bind(ids(streams))
        .bind(kinds(compared))
        .bind(ids(compared))
        .bind(SEPARATOR.to_string())
        .bind(SHORT_EVENTS_MAX + 1)
        .fetch(&mut *conn);
    // Row by row, of 64 events at most: all together may be more than memory should hold.
    while let Some(row) = rows.try_next().await? {
        let (ordinal, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if ordinal < 0 {
            if let Some(version) = index(-ordinal).and_then(|at| versions.get_mut(at)) {
                *version = last;
            }
            continue;
        }
        let Some(at) = index(ordinal).filter(|at| *at < streams.len()) else { continue };
        match short(codec, &streams[at], last, &row)? {
            Some(fold) => folded[at] = fold,
            None => long.push(at),
        }
    }
    drop(rows);
    if !long.is_empty() {
        let keys: Vec<_> = long.iter().map(|at| streams[*at].clone()).collect();
        for (at, fold) in long.into_iter().zip(snapshots::load(conn, codec, &keys).await?) {
            folded[at] = fold;
        }
    }
    Ok((folded, versions))
}

/// A row's stream; none where it goes on behind the row, or is not what we wrote: a gap in it, or a
/// name with a separator.
fn short(codec: &Codec, stream: &StreamKey, last: i64, row: &PgRow) -> sqlx::Result<Option<Fold>> {
    if last > SHORT_EVENTS_MAX {
        return Ok(None);
    }
    let parts = |column: usize| row.try_get(column).map(|it: &str| it.split(SEPARATOR));
    let (mut types, mut versions) = (parts(2)?, parts(3)?);
    let mut fold = Ok(Folded::empty(stream.kind()));
    let mut count = 0;
    for body in parts(4)? {
        let (Some(name), Some(version)) = (types.next(), versions.next()) else { return Ok(None) };
        count += 1;
        take_event(codec, stream, &mut fold, (count, name, version, body));
    }
    let whole = count == last && types.next().is_none() && versions.next().is_none();
    Ok(whole.then_some(fold))
}

/// Folds an event in: its sequence, name, version and body.
pub(crate) fn take_event(
    codec: &Codec,
    stream: &StreamKey,
    fold: &mut Fold,
    (sequence, name, version, body): (i64, &str, &str, &str),
) {
    let Ok(folded) = fold else { return };
    match codec.decode(stream.kind().as_str(), name, version, body) {
        Ok(decoded) => {
            decoded.events().iter().for_each(|event| folded.state.evolve(event));
            folded.sequence = sequence;
        }
        Err(error) => *fold = Err(error),
    }
}

pub(crate) fn kinds(streams: &[StreamKey]) -> Vec<&'static str> {
    streams.iter().map(|key| key.kind().as_str()).collect()
}

pub(crate) fn ids(streams: &[StreamKey]) -> Vec<&str> {
    streams.iter().map(|key| &**key.aggregate_id()).collect()
}

/// An ordinal, which counts from 1, as an index.
pub(crate) fn index(ordinal: i64) -> Option<usize> {
    usize::try_from(ordinal - 1).ok()
}
