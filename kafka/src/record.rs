//! An event as a Kafka record: CloudEvents 1.0, Kafka binding, both ways.
//!
//! Invariants
//! - Nothing is lost: a record gives back the row that it was made of, to the byte. The value (or
//!   `data`, where the whole event is the value) is the stored payload as it is, which is what the
//!   schemas in `schemas/events/` describe and what the hash chain covers.
//! - The key is the stream, so that a stream is in one partition and in order.

mod attributes;
mod decode;

use std::borrow::Cow;
use std::str::FromStr;

use accrue_event_store::record::Recorded;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

pub use decode::{Incoming, Malformed, decode, kind, position};

/// How a CloudEvent is laid out in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Attributes are headers, the value is the payload.
    Binary,
    /// The value is the whole event as JSON.
    Structured,
}

impl FromStr for Form {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "binary" => Ok(Self::Binary),
            "structured" => Ok(Self::Structured),
            _ => Err(()),
        }
    }
}

/// The header that tells the forms apart.
pub const CONTENT_TYPE: &str = "content-type";

const JSON: &str = "application/json";
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// What a record is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The stream: `account/17850`.
    pub key: String,
    /// Names and values, in order.
    pub headers: Vec<(&'static str, Cow<'a, str>)>,
    /// The body.
    pub value: Cow<'a, str>,
    /// When it was recorded, in Unix milliseconds.
    pub timestamp: i64,
}

/// An event as a record.
#[must_use]
pub fn encode(event: &Recorded, form: Form) -> Record<'_> {
    let row = &event.row;
    let key = row.subject();
    let attributes = attributes::of(event, &key);
    let timestamp = row.recorded_at.timestamp_millis();
    match form {
        Form::Binary => {
            let mut headers = attributes;
            headers.push((CONTENT_TYPE, JSON.into()));
            Record { headers, value: row.payload.as_str().into(), key, timestamp }
        }
        Form::Structured => {
            let value = structured(&attributes, &row.payload).into();
            Record { headers: vec![(CONTENT_TYPE, STRUCTURED.into())], value, key, timestamp }
        }
    }
}

/// The whole event as JSON; the payload is copied and not parsed.
fn structured(attributes: &[(&'static str, Cow<'_, str>)], payload: &str) -> String {
    let mut out = Vec::with_capacity(payload.len() + 600);
    let mut json = serde_json::Serializer::new(&mut out);
    let written = json.serialize_map(None).and_then(|mut map| {
        for (name, value) in attributes {
            map.serialize_entry(attributes::bare(name), value)?;
        }
        map.serialize_entry("datacontenttype", JSON)?;
        // The column's type is `json`, so what it holds is JSON.
        map.serialize_entry("data", &serde_json::from_str::<&RawValue>(payload)?)?;
        map.end()
    });
    debug_assert!(written.is_ok(), "a row's payload is JSON");
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests;
