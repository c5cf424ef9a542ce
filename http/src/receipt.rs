//! Receipts: what an accepted write is answered, and an event as every API shows it.

use accrue_event_store::receipt::Receipt;
use accrue_event_store::record::{Decoded, Recorded, Row, inner};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::problem::IDEMPOTENCY_HIT;

/// Says which of the client's preferences an answer follows (RFC 7240).
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How much of a receipt an answer shows (`Prefer: return=…`, RFC 7240).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// All of it.
    #[default]
    Whole,
    /// Not the events.
    Minimal,
}

impl Shown {
    /// Says in an answer's headers that it is not whole.
    pub fn tell(self, headers: &mut HeaderMap) {
        if self == Self::Minimal {
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("return=minimal"));
        }
    }
}

/// An event in an answer.
#[derive(Debug, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Place in the log, dense from 1; 0 in a dry run.
    pub position: i64,
    /// Name. Readers of the log get an event of an earlier version as what it is called today:
    /// perhaps as several, which have the position in common.
    #[schema(example = "PointsIssued")]
    pub r#type: String,
    /// Version of the body.
    pub version: u32,
    /// The tenant.
    pub program: String,
    /// Kind and id of the stream.
    #[schema(example = "account/17850")]
    pub subject: String,
    /// Business time.
    pub occurred_at: chrono::DateTime<chrono::Utc>,
    /// The server's clock.
    pub recorded_at: chrono::DateTime<chrono::Utc>,
    /// What happened.
    pub data: serde_json::Value,
    /// Command, correlation, causation, actor.
    pub metadata: serde_json::Value,
}

/// The answer to an accepted write.
#[derive(Debug, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView {
    /// The command's id: the `Idempotency-Key`, or one made here.
    pub command_id: String,
    /// Position of its last event: what reads take as `min_position`.
    pub position: i64,
    /// Version of the (last) stream it changed; what `If-Match` takes.
    pub version: i64,
    /// What happened; empty when nothing had to. Left out with `Prefer: return=minimal`.
    #[schema(required = false)]
    pub events: Vec<EventView>,
}

/// Writes an event of a receipt as JSON, as it was written: a repeated answer is the same, whatever
/// the build. Stored texts are copied, not parsed: this is on the way of every answer.
fn write_event(out: &mut String, event: &Recorded) {
    let row: &Row = &event.row;
    // A foreign event's version may be any text.
    let version = match row.event_version.parse::<u32>() {
        Ok(version) => version.to_string(),
        Err(_) => serde_json::Value::from(&*row.event_version).to_string(),
    };
    write(out, event, &row.event_type, &version, row.data());
}

/// Writes an event for readers of the log, and `end` behind it. One that an upcaster had to make
/// anew is written as what it is called today: as several, each with `end` behind it and all at the
/// one position, or as none at all.
pub fn write_read(out: &mut String, event: &Recorded, end: char) {
    let Ok(Decoded::Many(today)) = &event.decoded else {
        write_event(out, event);
        out.push(end);
        return;
    };
    for it in today {
        let (name, version) = it.name();
        // Events always serialise.
        let payload = serde_json::to_string(it).unwrap_or_default();
        write(out, event, name, &version.to_string(), inner(&payload, name));
        out.push(end);
    }
}

fn write(out: &mut String, event: &Recorded, name: &str, version: &str, data: &str) {
    let row: &Row = &event.row;
    let at = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    out.push_str("{\"position\":");
    out.push_str(&event.position.to_string());
    text(out, ",\"type\":", name);
    out.push_str(",\"version\":");
    out.push_str(version);
    text(out, ",\"program\":", &row.program);
    text(out, ",\"subject\":", &row.subject());
    let recorded_at = at(row.recorded_at);
    match occurred_at(&row.metadata) {
        Some(occurred_at) => text(out, ",\"occurred_at\":", occurred_at),
        None => text(out, ",\"occurred_at\":", &recorded_at),
    }
    text(out, ",\"recorded_at\":", &recorded_at);
    out.push_str(",\"data\":");
    out.push_str(data);
    out.push_str(",\"metadata\":");
    out.push_str(&row.metadata);
    out.push('}');
}

/// The metadata's business time, without parsing the rest. Our own metadata always holds it as
/// an RFC 3339 text, which needs no unescaping.
fn occurred_at(metadata: &str) -> Option<&str> {
    let (_, rest) = metadata.split_once("\"occurred_at\":\"")?;
    rest.split('"').next()
}

fn text(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    // Names, ids and times have nothing to escape, and this is on the way of every answer.
    if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(value);
        out.push('"');
        return;
    }
    // A text always serialises.
    out.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned()));
}

/// A receipt as JSON.
#[must_use]
pub fn body(receipt: &Receipt, shown: Shown) -> String {
    let events = if shown == Shown::Whole { receipt.events.len() } else { 0 };
    let mut out = String::with_capacity(160 + events * 400);
    text(&mut out, "{\"command_id\":", receipt.command_id.as_str());
    out.push_str(",\"position\":");
    out.push_str(&receipt.position.to_string());
    out.push_str(",\"version\":");
    out.push_str(&receipt.version.to_string());
    if shown == Shown::Minimal {
        out.push('}');
        return out;
    }
    out.push_str(",\"events\":[");
    for (at, event) in receipt.events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_event(&mut out, event);
    }
    out.push_str("]}");
    out
}

/// A receipt as raw JSON, to be put into another answer.
///
/// # Errors
/// Never for our own rows; a foreign row's text could be no JSON.
pub fn raw(receipt: &Receipt) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(body(receipt, Shown::Whole))
}

/// A receipt as a response; the version of its (last) stream is the `ETag`.
#[must_use]
pub fn response(status: StatusCode, receipt: &Receipt, shown: Shown) -> Response {
    let mut response = (status, body(receipt, shown)).into_response();
    let headers = response.headers_mut();
    shown.tell(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if receipt.replayed {
        headers.insert(IDEMPOTENCY_HIT, HeaderValue::from_static("true"));
    }
    // No version: a dry run, which says nothing about what is there.
    if receipt.version > 0
        && let Ok(version) = HeaderValue::try_from(format!("\"{}\"", receipt.version))
    {
        headers.insert(header::ETAG, version);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use accrue_domain::aggregate::Kind;
    use accrue_event_store::codec::{Codec, Raw};

    use super::*;

    /// Before there were accounts of their own, an issue opened one.
    fn in_two(raw: Raw) -> Result<Vec<Raw>, String> {
        let opened = Raw { event_type: "AccountOpened".to_owned(), version: 1, ..raw.clone() };
        let opened = Raw { data: serde_json::json!({}), ..opened };
        let data = serde_json::json!({"lot": "a", "points": raw.data["points"], "source": {"kind": "issue"}});
        let issued = Raw { event_type: "PointsIssued".to_owned(), version: 1, data };
        Ok(vec![opened, issued])
    }

    fn recorded(codec: &Codec) -> Recorded {
        let row = Row {
            program: "default".into(),
            aggregate_type: "account".into(),
            aggregate_id: "default/ada".into(),
            event_type: "PointsGranted".into(),
            event_version: "1".into(),
            payload: r#"{"PointsGranted":{"points":7}}"#.to_owned(),
            metadata: r#"{"command_id":"c","occurred_at":"2026-01-02T03:04:05Z"}"#.to_owned(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        };
        let decoded = codec.decode("account", &row.event_type, &row.event_version, &row.payload);
        Recorded { position: 5, stream: None, sequence: 1, row: Arc::new(row), decoded }
    }

    fn types(text: &str) -> Vec<(i64, String, serde_json::Value)> {
        let lines =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let parts = |it: serde_json::Value| {
            (
                it["position"].as_i64().unwrap(),
                it["type"].as_str().unwrap().to_owned(),
                it["data"].clone(),
            )
        };
        lines.map(parts).collect()
    }

    #[test]
    fn readers_get_an_earlier_event_as_what_it_is_today_and_receipts_as_it_was_written() {
        let codec = Codec::new([(Kind::Account, "PointsGranted", 1, in_two as _)]);
        let event = recorded(&codec);
        let mut read = String::new();
        write_read(&mut read, &event, '\n');
        let read = types(&read);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].0, &*read[0].1), (5, "AccountOpened"));
        assert_eq!((read[1].0, &*read[1].1), (5, "PointsIssued"));
        assert_eq!(read[1].2["points"], 7);
        let mut written = String::new();
        write_event(&mut written, &event);
        let granted = serde_json::json!({"points": 7});
        assert_eq!(types(&written), [(5, "PointsGranted".to_owned(), granted)]);
    }

    #[test]
    fn an_event_that_an_upcaster_drops_is_not_read() {
        let codec = Codec::new([(Kind::Account, "PointsGranted", 1, (|_| Ok(Vec::new())) as _)]);
        let mut read = String::new();
        write_read(&mut read, &recorded(&codec), ',');
        assert_eq!(read, "");
    }

    #[test]
    fn what_this_build_does_not_know_is_read_as_it_was_written() {
        let mut read = String::new();
        write_read(&mut read, &recorded(&Codec::default()), '\n');
        assert_eq!(types(&read)[0].1, "PointsGranted");
    }
}
