//! Answers kept under the ids of their commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use accrue_domain::envelope::Envelope;
use accrue_domain::id::{CommandId, ProgramId};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::codec::Codec;
use crate::log::{self, Names};
use crate::receipt::{ExecuteError, Receipt, Refusal};
use crate::record::{Position, Recorded};

/// What a command was answered. The events themselves stay in the log alone: an answer is built
/// from them again, so it is the same to the byte.
#[derive(Debug, Clone)]
pub struct Stored {
    fingerprint: Vec<u8>,
    position: Position,
    version: i64,
    refusal: Option<Refusal>,
    events: Vec<Arc<Recorded>>,
}

impl Stored {
    /// The answer for a request. The version that it expects is no part of what a request is known by,
    /// so that whoever lost an answer hears it with the version of today, too; but one that was refused
    /// for its version is another request with another one.
    ///
    /// # Errors
    /// [`ExecuteError::KeyReused`] for another request, the first one's refusal for the same.
    pub fn answer(self, envelope: &Envelope) -> Result<Receipt, ExecuteError> {
        if envelope.fingerprint.as_ref().map(|it| &it[..]) != Some(&self.fingerprint[..]) {
            return Err(ExecuteError::KeyReused);
        }
        if let Some(refusal) = self.refusal {
            if refusal.expected_version.is_some()
                && refusal.expected_version != envelope.expected_version
            {
                return Err(ExecuteError::KeyReused);
            }
            return Err(ExecuteError::Refused { refusal, replayed: true });
        }
        Ok(Receipt {
            command_id: envelope.id.clone(),
            position: self.position,
            version: self.version,
            events: self.events,
            replayed: true,
        })
    }
}

/// A command's id as the index holds it: the first 16 bytes of its SHA-256. Ids are up to 200
/// characters of the client's making; what every command looks up and adds to is kept small.
#[must_use]
pub fn digest(id: &CommandId) -> Uuid {
    let sum: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    let mut first = [0; 16];
    first.copy_from_slice(&sum[..16]);
    Uuid::from_bytes(first)
}

/// What is stored under each of these keys, in their order.
///
/// # Errors
/// As Postgres gives them.
pub async fn find(
    conn: &mut PgConnection,
    codec: &Codec,
    keys: &[(&ProgramId, Uuid)],
) -> sqlx::Result<Vec<Option<Stored>>> {
    let programs: Vec<_> = keys.iter().map(|(program, _)| program.as_str()).collect();
    let commands: Vec<_> = keys.iter().map(|(_, command)| *command).collect();
    let rows = sqlx::query(
        "SELECT k.ordinal, i.fingerprint, i.position, i.events, i.version, i.refusal::text
           FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k(program, command, ordinal)
           JOIN idempotency i ON i.program = k.program AND i.command = k.command",
    )
    .bind(programs)
    .bind(commands)
    .fetch_all(&mut *conn)
    .await?;
    let mut found: Vec<Option<Stored>> = vec![None; keys.len()];
    let mut ranges = Vec::new();
    for row in &rows {
        let ordinal: i64 = row.try_get(0)?;
        let Some(slot) = usize::try_from(ordinal - 1).ok().filter(|it| *it < found.len()) else {
            continue;
        };
        let refusal: Option<String> = row.try_get(5)?;
        let stored = Stored {
            fingerprint: row.try_get(1)?,
            position: row.try_get(2)?,
            version: row.try_get(4)?,
            // A refusal that does not parse must not turn into a yes.
            refusal: refusal
                .map(|json| serde_json::from_str(&json))
                .transpose()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            events: Vec::new(),
        };
        let count: i32 = row.try_get(3)?;
        if count > 0 {
            ranges.push((slot, stored.position - Position::from(count) + 1, stored.position));
        }
        found[slot] = Some(stored);
    }
    for (slot, event) in events_of(conn, codec, &ranges).await? {
        if let Some(stored) = &mut found[slot] {
            stored.events.push(event);
        }
    }
    Ok(found)
}

async fn events_of(
    conn: &mut PgConnection,
    codec: &Codec,
    ranges: &[(usize, Position, Position)],
) -> sqlx::Result<Vec<(usize, Arc<Recorded>)>> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT {} FROM events WHERE position = ANY($1) ORDER BY position", log::COLUMNS);
    // Each position by its name: a join on ranges is planned as if every range held a good part
    // of the log, and reads all of it.
    let positions: Vec<_> = ranges.iter().flat_map(|(_, first, last)| *first..=*last).collect();
    let rows = sqlx::query(&sql).bind(positions).fetch_all(conn).await?;
    // No two commands share an event, so its last position at or behind an event names the slot.
    let by_last: BTreeMap<Position, usize> =
        ranges.iter().map(|(slot, _, last)| (*last, *slot)).collect();
    let mut names = Names::default();
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let event = log::recorded(codec, &mut names, row)?;
        if let Some((_, slot)) = by_last.range(event.position..).next() {
            events.push((*slot, Arc::new(event)));
        }
    }
    Ok(events)
}

/// Forgets answers from before `cutoff`, a bounded number of them; returns how many.
///
/// # Errors
/// As Postgres gives them.
pub async fn forget(conn: &mut PgConnection, cutoff: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM idempotency WHERE recorded_at < $1 LIMIT 10000))",
    )
    .bind(cutoff)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
