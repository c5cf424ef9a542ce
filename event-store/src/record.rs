//! One event as the log holds it, with its place, and decoded.

use std::sync::Arc;

use accrue_domain::event::Event;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;
use crate::stream::StreamKey;

/// A place in the log: dense from 1, in commit order; 0 is before the first event.
pub type Position = i64;

/// Who, when and why of an event. A flat map of texts in the database, as cqrs-es demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The command that made it.
    pub command_id: Arc<str>,
    /// Business time.
    pub occurred_at: DateTime<Utc>,
    /// The conversation; the command's own id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Arc<str>>,
    /// What caused the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Arc<str>>,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
    /// The trace that it belongs to, as W3C writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
}

/// An event of one of our aggregates, or of a program that uses the log as a cqrs-es store.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the log.
    pub position: Position,
    /// Its stream; none for a stream that is not ours.
    pub stream: Option<StreamKey>,
    /// Its place in its stream, from 1.
    pub sequence: i64,
    /// The row as stored: what hashes and receipts are made of.
    pub row: Arc<Row>,
    /// What it means to this build.
    pub decoded: Result<Decoded, DecodeError>,
}

/// The stored texts of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The tenant.
    pub program: Arc<str>,
    /// Kind of stream.
    pub aggregate_type: Arc<str>,
    /// `program/id`.
    pub aggregate_id: Arc<str>,
    /// The event's name.
    pub event_type: Arc<str>,
    /// Its version.
    pub event_version: Arc<str>,
    /// `{"Name": {…}}`.
    pub payload: String,
    /// Flat JSON object of texts.
    pub metadata: String,
    /// The executor's clock when it was decided.
    pub recorded_at: DateTime<Utc>,
}

impl Row {
    /// The inner object of the payload: `{…}` of `{"Name": {…}}`.
    #[must_use]
    pub fn data(&self) -> &str {
        inner(&self.payload, &self.event_type)
    }

    /// `account/17850`.
    #[must_use]
    pub fn subject(&self) -> String {
        let id = self.aggregate_id.split_once('/').map_or(&*self.aggregate_id, |(_, id)| id);
        format!("{}/{id}", self.aggregate_type)
    }
}

/// The inner object of a payload: `{…}` of `{"Name": {…}}`.
#[must_use]
pub fn inner<'a>(payload: &'a str, name: &str) -> &'a str {
    let text = payload.trim();
    let inner = text
        .strip_prefix("{\"")
        .and_then(|rest| rest.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix("\":"))
        .and_then(|rest| rest.strip_suffix('}'));
    inner.map_or(text, str::trim)
}

/// What an event means to this build.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// One event, as nearly always.
    One(Event),
    /// What an upcaster made of an older one.
    Many(Vec<Event>),
    /// Not ours.
    Foreign,
}

impl Decoded {
    /// The events in order; empty for a foreign one.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
            Self::Foreign => &[],
        }
    }
}

impl Recorded {
    /// The events in order; empty for a foreign one, or one that did not decode (the runner of
    /// followers deals with those before anybody sees them).
    #[must_use]
    pub fn events(&self) -> &[Event] {
        self.decoded.as_ref().map_or(&[], Decoded::events)
    }

    /// The metadata, parsed.
    ///
    /// # Errors
    /// When the text is no such object, as with a foreign event.
    pub fn metadata(&self) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(&self.row.metadata)
    }
}
