//! The batch that grows while the writer is busy.

use std::sync::Arc;

use accrue_domain::event::Event;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::hash::{HashMap, HashSet};
use super::request::{Key, RawStream, Request};
use crate::chain::{Root, leaf};
use crate::log::{Answer, Batch};
use crate::receipt::Refusal;
use crate::record::{Decoded, Row};
use crate::stream::StreamKey;

/// Most events in a batch.
pub(super) const BATCH_EVENTS_MAX: usize = 5_000;

/// Most commands in a batch.
pub(super) const BATCH_COMMANDS_MAX: usize = 5_000;

/// Most bytes of payload in a batch.
pub(super) const BATCH_BYTES_MAX: usize = 16 << 20;

/// An event without its position.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) stream: Option<StreamKey>,
    pub(super) sequence: i64,
    pub(super) row: Arc<Row>,
    pub(super) decoded: Decoded,
}

/// A command that was decided, with its part of the batch.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) request: Box<Request>,
    /// Its events are `events[first .. first + count]` of the batch.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) version: i64,
    pub(super) refusal: Option<Refusal>,
}

/// A stream that a batch changes, and how far.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) stream: StreamKey,
    /// Sequence of its last event in the batch.
    pub(super) sequence: i64,
    /// It has grown enough for another snapshot.
    pub(super) due: bool,
}

/// Decided, not written yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) decided: Vec<Decided>,
    pub(super) events: Vec<Fresh>,
    pub(super) timers: HashMap<StreamKey, Option<DateTime<Utc>>>,
    pub(super) corrections: HashMap<StreamKey, Option<DateTime<Utc>>>,
    /// Streams with events that were decided elsewhere.
    pub(super) raws: HashSet<RawStream>,
    pub(super) touched: Vec<Touched>,
    pub(super) keys: Vec<Key>,
    /// Of `events`, to which only `push_event` adds. Hashed as they come, since Postgres waits while
    /// a batch is closed.
    root: Root,
    bytes: usize,
}

impl Pending {
    /// An empty one, with room for as much as there is in this one: batches that follow each
    /// other are about as large, and vectors that grow are copied again and again.
    pub(super) fn like(&self) -> Self {
        Self {
            decided: Vec::with_capacity(self.decided.len()),
            events: Vec::with_capacity(self.events.len()),
            touched: Vec::with_capacity(self.touched.len()),
            keys: Vec::with_capacity(self.keys.len()),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.decided.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= BATCH_EVENTS_MAX
            || self.decided.len() >= BATCH_COMMANDS_MAX
            || self.bytes >= BATCH_BYTES_MAX
    }

    pub(super) fn push_event(
        &mut self,
        stream: Option<StreamKey>,
        sequence: i64,
        row: Row,
        event: Option<Event>,
    ) {
        self.bytes += row.payload.len() + row.metadata.len();
        self.root.push(&leaf(sequence, &row));
        let decoded = event.map_or(Decoded::Foreign, Decoded::One);
        self.events.push(Fresh { stream, sequence, row: Arc::new(row), decoded });
    }

    /// Ends a command whose events were pushed since `first`.
    pub(super) fn push(
        &mut self,
        request: Box<Request>,
        first: usize,
        version: i64,
        refusal: Option<Refusal>,
    ) {
        self.keys.extend(request.key.clone());
        let count = self.events.len() - first;
        self.decided.push(Decided { request, first, count, version, refusal });
    }

    /// What the log is to write.
    pub(super) fn to_log(&self, id: Uuid, now: DateTime<Utc>) -> Batch {
        let (root, marks) = self.root.clone().finish();
        Batch {
            id,
            root,
            marks,
            recorded_at: now,
            events: self.events.iter().map(|e| (e.sequence, Arc::clone(&e.row))).collect(),
            answers: self.decided.iter().filter_map(answer).collect(),
            timers: self.timers.iter().map(|(key, due)| (key.clone(), *due)).collect(),
            // A deadline that moved in this very batch is the newer truth.
            corrections: self
                .corrections
                .iter()
                .filter(|(key, _)| !self.timers.contains_key(*key))
                .map(|(key, due)| (key.clone(), *due))
                .collect(),
        }
    }

    /// Nothing of it needs the database, unless for its keys.
    pub(super) fn changes_nothing(&self) -> bool {
        self.events.is_empty() && self.timers.is_empty() && self.corrections.is_empty()
    }

    /// Some of its commands are told that they are done.
    pub(super) fn accepts(&self) -> bool {
        self.decided.iter().any(|it| it.refusal.is_none())
    }
}

fn answer(decided: &Decided) -> Option<Answer> {
    let key = decided.request.key.as_ref()?;
    let super::request::Work::Command(envelope) = &decided.request.work else { return None };
    Some(Answer {
        program: key.program.clone(),
        command: key.command,
        fingerprint: envelope.fingerprint?,
        last: i64::try_from(decided.first + decided.count).unwrap_or(i64::MAX),
        events: i32::try_from(decided.count).unwrap_or(i32::MAX),
        version: decided.version,
        refusal: decided.refusal.as_ref().and_then(|r| serde_json::to_string(r).ok()),
    })
}
