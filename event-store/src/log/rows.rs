//! Rows of an append in Postgres's binary format: composite values of the types that the migration
//! `append_rows` makes.
//!
//! Written out by hand, since sqlx takes JSON for `jsonb`, and this is on the way of every event.

use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

use super::Answer;
use crate::record::Row;

/// Ids of Postgres's own types, which are the same in every database.
mod oid {
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const JSON: u32 = 114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const UUID: u32 = 2950;
}

/// Postgres counts microseconds from the first instant of 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// An `appended_event`.
#[derive(Debug)]
pub(super) struct AppendedEvent<'a>(pub(super) i64, pub(super) &'a Row);

/// An `appended_answer`.
#[derive(Debug)]
pub(super) struct AppendedAnswer<'a>(pub(super) &'a Answer);

impl Type<Postgres> for AppendedEvent<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("appended_event")
    }
}

impl PgHasArrayType for AppendedEvent<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_appended_event")
    }
}

impl Encode<'_, Postgres> for AppendedEvent<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self(sequence, row) = self;
        buffer.extend_from_slice(&9_u32.to_be_bytes());
        column(buffer, oid::TEXT, row.program.as_bytes())?;
        column(buffer, oid::TEXT, row.aggregate_type.as_bytes())?;
        column(buffer, oid::TEXT, row.aggregate_id.as_bytes())?;
        column(buffer, oid::INT8, &sequence.to_be_bytes())?;
        column(buffer, oid::TEXT, row.event_type.as_bytes())?;
        column(buffer, oid::TEXT, row.event_version.as_bytes())?;
        column(buffer, oid::JSON, row.payload.as_bytes())?;
        column(buffer, oid::JSON, row.metadata.as_bytes())?;
        column(buffer, oid::TIMESTAMPTZ, &micros(row.recorded_at)?.to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl Type<Postgres> for AppendedAnswer<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("appended_answer")
    }
}

impl PgHasArrayType for AppendedAnswer<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_appended_answer")
    }
}

impl Encode<'_, Postgres> for AppendedAnswer<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self(answer) = self;
        buffer.extend_from_slice(&7_u32.to_be_bytes());
        column(buffer, oid::TEXT, answer.program.as_str().as_bytes())?;
        column(buffer, oid::UUID, answer.command.as_bytes())?;
        column(buffer, oid::BYTEA, &answer.fingerprint)?;
        column(buffer, oid::INT8, &answer.last.to_be_bytes())?;
        column(buffer, oid::INT4, &answer.events.to_be_bytes())?;
        column(buffer, oid::INT8, &answer.version.to_be_bytes())?;
        match &answer.refusal {
            Some(refusal) => column(buffer, oid::JSON, refusal.as_bytes())?,
            None => {
                buffer.extend_from_slice(&oid::JSON.to_be_bytes());
                buffer.extend_from_slice(&(-1_i32).to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }
}

/// A value with its type and length before it.
fn column(buffer: &mut PgArgumentBuffer, oid: u32, value: &[u8]) -> Result<(), BoxDynError> {
    buffer.extend_from_slice(&oid.to_be_bytes());
    buffer.extend_from_slice(&i32::try_from(value.len())?.to_be_bytes());
    buffer.extend_from_slice(value);
    Ok(())
}

fn micros(at: DateTime<Utc>) -> Result<i64, BoxDynError> {
    at.timestamp_micros().checked_sub(EPOCH_MICROS).ok_or_else(|| "an instant out of range".into())
}
