//! A record as an event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use accrue_event_store::codec::Codec;
use accrue_event_store::log::Names;
use accrue_event_store::record::{Decoded, Position, Recorded, Row};
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};
use rdkafka::message::{Headers, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::CONTENT_TYPE;
use super::attributes::{self, Metadata, PROGRAMS, bare};

/// A record as it came, however it came.
#[derive(Debug, Clone, Default)]
pub struct Incoming<'a> {
    /// Names and values, in order.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The body.
    pub value: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// What a consumer has received.
    pub fn of<M: Message>(message: &'a M) -> Self {
        let all = message.headers();
        let mut headers = Vec::with_capacity(all.map_or(0, Headers::count));
        let all = all.into_iter().flat_map(Headers::iter);
        headers.extend(all.filter_map(|it| Some((it.key, it.value?))));
        Self { headers, value: message.payload().unwrap_or_default() }
    }

    /// The first header of that name: there are some twenty, so looking through them is the
    /// cheapest way of finding one.
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok()
    }
}

/// How the kind of a record's stream begins: a stream's key begins with its kind, and no kind of ours
/// has a slash in it. Looking at a key costs nothing, which cannot be said of headers.
pub fn kind<M: Message>(message: &M) -> Option<&str> {
    let (kind, _) = std::str::from_utf8(message.key()?).ok()?.split_once('/')?;
    Some(kind)
}

/// The position of a record's event, without a look at the rest; none where only decoding it tells.
pub fn position<M: Message>(message: &M) -> Option<Position> {
    let position = message.headers()?.iter().find(|it| it.key == attributes::POSITION)?;
    std::str::from_utf8(position.value?).ok()?.parse().ok()
}

/// Why a record is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An attribute is not there, or is not what it must be.
    #[error("the attribute {0} is missing or malformed")]
    Attribute(&'static str),
    /// The value is not the JSON that it must be.
    #[error("the value is malformed: {0}")]
    Value(String),
}

/// The whole event as JSON.
#[derive(Debug, Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(flatten)]
    attributes: HashMap<String, serde_json::Value>,
}

/// The event that a record was made of; `names` shares the texts that records repeat. That it makes no sense to this build is said by
/// [`Recorded::decoded`], as it is of one that was read from the log.
///
/// # Errors
/// [`Malformed`].
pub fn decode(
    codec: &Codec,
    names: &mut Names,
    record: &Incoming<'_>,
) -> Result<Recorded, Malformed> {
    let value = std::str::from_utf8(record.value);
    let value = value.map_err(|error| Malformed::Value(error.to_string()))?;
    let kind = record.header(CONTENT_TYPE).unwrap_or_default();
    if !kind.starts_with(b"application/cloudevents") {
        return event(codec, names, value, |name| record.text(name).map(Cow::Borrowed));
    }
    let parsed: Structured<'_> =
        serde_json::from_str(value).map_err(|error| Malformed::Value(error.to_string()))?;
    let member = |name: &str| {
        let text = parsed.attributes.get(bare(name))?.as_str()?;
        Some(Cow::Owned(text.to_owned()))
    };
    event(codec, names, parsed.data.get(), member)
}

fn event<'a>(
    codec: &Codec,
    names: &mut Names,
    payload: &str,
    attribute: impl Fn(&str) -> Option<Cow<'a, str>>,
) -> Result<Recorded, Malformed> {
    let wanted = |name: &'static str| attribute(name).ok_or(Malformed::Attribute(name));
    let number = |name: &'static str| {
        wanted(name)?.parse::<Position>().map_err(|_| Malformed::Attribute(name))
    };
    if wanted(attributes::SPEC_VERSION)? != "1.0" {
        return Err(Malformed::Attribute(attributes::SPEC_VERSION));
    }
    let source = wanted(attributes::SOURCE)?;
    let program = source.strip_prefix(PROGRAMS);
    let program = program.ok_or(Malformed::Attribute(attributes::SOURCE))?;
    let (aggregate_type, aggregate_id): (_, Arc<str>) = match attribute(attributes::AGGREGATE_TYPE)
    {
        Some(kind) => (names.get(&kind), wanted(attributes::AGGREGATE_ID)?.into()),
        None => {
            let subject = wanted(attributes::SUBJECT)?;
            let parts = subject.split_once('/');
            let (kind, id) = parts.ok_or(Malformed::Attribute(attributes::SUBJECT))?;
            (names.get(kind), format!("{program}/{id}").into())
        }
    };
    let recorded_at: DateTime<Utc> = wanted(attributes::RECORDED_TIME)?
        .parse()
        .map_err(|_| Malformed::Attribute(attributes::RECORDED_TIME))?;
    let (event_type, event_version) =
        (wanted(attributes::TYPE)?, wanted(attributes::EVENT_VERSION)?);
    let stream = StreamKey::from_columns(&aggregate_type, &aggregate_id);
    let decoded = match &stream {
        Some(_) => codec.decode(&aggregate_type, &event_type, &event_version, payload),
        None => Ok(Decoded::Foreign),
    };
    Ok(Recorded {
        position: number(attributes::POSITION)?,
        sequence: number(attributes::SEQUENCE)?,
        stream,
        decoded,
        row: Arc::new(Row {
            program: names.get(program),
            aggregate_type,
            aggregate_id,
            event_type: names.get(&event_type),
            event_version: names.get(&event_version),
            payload: payload.to_owned(),
            metadata: metadata(&attribute)?,
            recorded_at,
        }),
    })
}

fn metadata<'a>(attribute: &impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<String, Malformed> {
    if let Some(text) = attribute(attributes::METADATA) {
        return Ok(text.into_owned());
    }
    let wanted = |name: &'static str| attribute(name).ok_or(Malformed::Attribute(name));
    let command_id = wanted(attributes::COMMAND)?;
    let metadata = Metadata {
        occurred_at: wanted(attributes::TIME)?,
        // Without one of its own a command is its own conversation, which is not stored.
        correlation_id: attribute(attributes::CORRELATION).filter(|it| *it != command_id),
        causation_id: attribute(attributes::CAUSATION),
        actor: attribute(attributes::ACTOR),
        traceparent: attribute(attributes::TRACE_PARENT),
        tracestate: attribute(attributes::TRACE_STATE),
        command_id,
    };
    Ok(metadata.text())
}
