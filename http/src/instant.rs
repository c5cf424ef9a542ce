//! Instants in requests, each refused with a sentence that says what was expected.

use std::borrow::Cow;
use std::fmt::Display;

use accrue_domain::expiry;
use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error};

use crate::problem::SHOWN_CHARS_MAX;

/// An instant as the ledger keeps it, or nothing: for serde's `deserialize_with`.
///
/// # Errors
/// When it is no RFC 3339 instant in the years 1 to 9999.
pub fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| parse(&text)).transpose().map_err(Error::custom)
}

fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong = |why: &dyn Display| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("expected an RFC 3339 instant such as 2026-05-01T12:00:00Z, got {shown:?}: {why}")
    };
    let at = DateTime::parse_from_rfc3339(text).map_err(|error| wrong(&error))?;
    // Micros count a leap second into the next minute, as the log's database would.
    let at = DateTime::from_timestamp_micros(at.timestamp_micros());
    let at = at.ok_or_else(|| wrong(&expiry::Error::OutOfRange))?;
    expiry::instant(at).map_err(|error| wrong(&error))
}
