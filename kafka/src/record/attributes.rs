//! The attributes of an event, by the names of their headers.
//!
//! Positions and sequences are texts, since a CloudEvents integer has 32 bits only.

use std::borrow::Cow;

use accrue_event_store::record::{Recorded, Row};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

pub(super) const ACTOR: &str = "ce_actor";
pub(super) const AGGREGATE_ID: &str = "ce_aggregateid";
pub(super) const AGGREGATE_TYPE: &str = "ce_aggregatetype";
pub(super) const CAUSATION: &str = "ce_causationid";
pub(super) const COMMAND: &str = "ce_commandid";
pub(super) const CORRELATION: &str = "ce_correlationid";
pub(super) const EVENT_VERSION: &str = "ce_eventversion";
pub(super) const METADATA: &str = "ce_metadata";
pub(super) const POSITION: &str = "ce_position";
pub(super) const RECORDED_TIME: &str = "ce_recordedtime";
pub(super) const SEQUENCE: &str = "ce_sequence";
pub(super) const SOURCE: &str = "ce_source";
pub(super) const SPEC_VERSION: &str = "ce_specversion";
pub(super) const SUBJECT: &str = "ce_subject";
pub(super) const TIME: &str = "ce_time";
pub(super) const TRACE_PARENT: &str = "ce_traceparent";
pub(super) const TRACE_STATE: &str = "ce_tracestate";
pub(super) const TYPE: &str = "ce_type";

/// Before the program in `source`.
pub(super) const PROGRAMS: &str = "/programs/";

/// An attribute's name without what makes a header of it.
pub(super) fn bare(header: &str) -> &str {
    header.strip_prefix("ce_").unwrap_or(header)
}

/// An instant as all of our JSON has it.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// What is known of an event's metadata, in the order in which it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) command_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) occurred_at: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) correlation_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) causation_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tracestate: Option<Cow<'a, str>>,
}

impl Metadata<'_> {
    /// As it is stored.
    pub(super) fn text(&self) -> String {
        // A map of texts always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Every attribute of an event; `subject` is that of its row.
pub(super) fn of<'a>(event: &'a Recorded, subject: &str) -> Vec<(&'static str, Cow<'a, str>)> {
    let row: &Row = &event.row;
    let position = event.position.to_string();
    let mut all: Vec<(&'static str, Cow<'a, str>)> = Vec::with_capacity(18);
    all.extend([
        // In front, for those who look for nothing else.
        (POSITION, position.clone().into()),
        (SPEC_VERSION, "1.0".into()),
        ("ce_id", position.into()),
        (SOURCE, format!("{PROGRAMS}{}", row.program).into()),
        (TYPE, (&*row.event_type).into()),
        (SUBJECT, subject.to_owned().into()),
        ("ce_dataschema", schema_id(&row.event_type, &row.event_version).into()),
        (SEQUENCE, event.sequence.to_string().into()),
        (EVENT_VERSION, (&*row.event_version).into()),
        (RECORDED_TIME, instant(row.recorded_at).into()),
    ]);
    if !is_told_by(subject, row) {
        all.push((AGGREGATE_TYPE, (&*row.aggregate_type).into()));
        all.push((AGGREGATE_ID, (&*row.aggregate_id).into()));
    }
    metadata(row, &mut all);
    all
}

/// The name of an event's schema, which is that of its file in `schemas/events/`.
fn schema_id(event_type: &str, version: &str) -> String {
    format!("urn:accrue:schema:{event_type}.v{version}")
}

/// Do program and subject tell the stream's columns? Those of our own streams do.
fn is_told_by(subject: &str, row: &Row) -> bool {
    let id = row.aggregate_id.split_once('/').filter(|(program, _)| *program == &*row.program);
    let told = subject.split_once('/');
    id.is_some() && told == id.map(|(_, id)| (&*row.aggregate_type, id))
}

/// Metadata as attributes; as it is, where these would not give it back.
fn metadata<'a>(row: &'a Row, all: &mut Vec<(&'static str, Cow<'a, str>)>) {
    let Ok(it) = serde_json::from_str::<Metadata<'a>>(&row.metadata) else {
        all.push((TIME, instant(row.recorded_at).into()));
        all.push((METADATA, row.metadata.as_str().into()));
        return;
    };
    if it.text() != row.metadata || it.correlation_id.as_ref() == Some(&it.command_id) {
        all.push((METADATA, row.metadata.as_str().into()));
    }
    // Who reads only these finds every event of a conversation.
    let correlation = it.correlation_id.unwrap_or_else(|| it.command_id.clone());
    all.extend([(TIME, it.occurred_at), (COMMAND, it.command_id), (CORRELATION, correlation)]);
    let rest = [
        (CAUSATION, it.causation_id),
        (ACTOR, it.actor),
        (TRACE_PARENT, it.traceparent),
        (TRACE_STATE, it.tracestate),
    ];
    all.extend(rest.into_iter().filter_map(|(name, value)| Some((name, value?))));
}
