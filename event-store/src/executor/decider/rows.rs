//! Decided events as rows of the log.

use std::sync::Arc;

use accrue_domain::envelope::Envelope;
use accrue_domain::event::Event;
use chrono::{DateTime, Utc};

use super::super::request::{RawEvent, RawStream, Request, Work};
use super::Decisions;
use crate::log::Names;
use crate::receipt::Receipt;
use crate::record::{Metadata, Recorded, Row};
use crate::stream::StreamKey;

pub(super) fn metadata(
    envelope: &Envelope,
    traceparent: Option<Arc<str>>,
    now: DateTime<Utc>,
) -> String {
    let metadata = Metadata {
        command_id: Arc::clone(envelope.id.as_shared()),
        occurred_at: envelope.occurred_at.map_or(now, |at| at.min(now)),
        correlation_id: envelope.correlation_id.clone(),
        causation_id: envelope.causation_id.clone(),
        actor: envelope.actor.clone(),
        traceparent,
    };
    serde_json::to_string(&metadata).unwrap_or_else(|_| "{}".to_owned())
}

pub(super) fn raw_row(stream: &RawStream, event: &RawEvent, now: DateTime<Utc>) -> Row {
    let program = stream.aggregate_id.split_once('/').map_or("default", |(program, _)| program);
    Row {
        program: program.into(),
        aggregate_type: Arc::clone(&stream.aggregate_type),
        aggregate_id: Arc::clone(&stream.aggregate_id),
        event_type: Arc::clone(&event.event_type),
        event_version: Arc::clone(&event.event_version),
        payload: event.payload.clone(),
        metadata: event.metadata.clone(),
        recorded_at: now,
    }
}

pub(super) fn row(
    names: &mut Names,
    stream: &StreamKey,
    event: &Event,
    metadata: String,
    now: DateTime<Utc>,
) -> Row {
    let (name, version) = event.name();
    Row {
        program: names.get(stream.program()),
        aggregate_type: names.get(stream.kind().as_str()),
        aggregate_id: Arc::clone(stream.aggregate_id()),
        event_type: names.get(name),
        event_version: names.get(&version.to_string()),
        // An event is plain data: texts, numbers and lists of them always serialise.
        payload: serde_json::to_string(event).expect("events serialise"),
        metadata,
        recorded_at: now,
    }
}

pub(super) fn answer_dry(
    names: &mut Names,
    request: Request,
    decisions: &Decisions,
    metadata: &str,
    now: DateTime<Utc>,
) {
    let Work::Command(envelope) = &request.work else { return };
    let mut events = Vec::new();
    for (stream, decided) in decisions {
        for event in decided {
            events.push(Arc::new(Recorded {
                position: 0,
                stream: Some(stream.clone()),
                sequence: 0,
                row: Arc::new(row(names, stream, event, metadata.to_owned(), now)),
                decoded: Ok(crate::record::Decoded::One(event.clone())),
            }));
        }
    }
    let receipt = Receipt {
        command_id: envelope.id.clone(),
        position: 0,
        version: 0,
        events,
        replayed: false,
    };
    request.answer(Ok(receipt));
}
