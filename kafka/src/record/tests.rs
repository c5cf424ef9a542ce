use std::sync::Arc;

use accrue_domain::samples;
use accrue_event_store::codec::Codec;
use accrue_event_store::log::Names;
use accrue_event_store::record::{Decoded, Recorded, Row};
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;

fn row(program: &str, kind: &str, id: &str, payload: &str, metadata: &str) -> Row {
    Row {
        program: program.into(),
        aggregate_type: kind.into(),
        aggregate_id: id.into(),
        event_type: "PointsIssued".into(),
        event_version: "1".into(),
        payload: payload.to_owned(),
        metadata: metadata.to_owned(),
        recorded_at: "2026-01-02T03:04:05.000678Z".parse().expect("an instant"),
    }
}

fn recorded(position: i64, sequence: i64, row: Row) -> Recorded {
    Recorded { position, sequence, stream: None, decoded: Ok(Decoded::Foreign), row: Arc::new(row) }
}

fn back(event: &Recorded, form: Form) -> Recorded {
    let record = encode(event, form);
    let headers = record.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let incoming = Incoming { headers, value: record.value.as_bytes() };
    read(&incoming).expect("our own record is read")
}

fn read(incoming: &Incoming<'_>) -> Result<Recorded, Malformed> {
    decode(&Codec::default(), &mut Names::default(), incoming)
}

const OURS: &str = r#"{"command_id":"c-1","occurred_at":"2026-01-02T03:04:05Z"}"#;

#[test]
fn an_event_in_binary_form_has_its_attributes_as_headers_and_its_payload_as_value() {
    let metadata = r#"{"command_id":"c","occurred_at":"2026-01-02T03:04:05Z","causation_id":"x","actor":"till","traceparent":"00-a-b-01"}"#;
    let event =
        recorded(7, 3, row("shop", "account", "shop/17850", "{\"PointsIssued\":{}}", metadata));
    let record = encode(&event, Form::Binary);
    let headers: Vec<_> = record.headers.iter().map(|(name, it)| format!("{name}: {it}")).collect();
    let expected = "\
ce_position: 7
ce_specversion: 1.0
ce_id: 7
ce_source: /programs/shop
ce_type: PointsIssued
ce_subject: account/17850
ce_dataschema: urn:accrue:schema:PointsIssued.v1
ce_sequence: 3
ce_eventversion: 1
ce_recordedtime: 2026-01-02T03:04:05.000678Z
ce_time: 2026-01-02T03:04:05Z
ce_commandid: c
ce_correlationid: c
ce_causationid: x
ce_actor: till
ce_traceparent: 00-a-b-01
content-type: application/json";
    assert_eq!(headers.join("\n"), expected);
    assert_eq!((record.key.as_str(), &*record.value), ("account/17850", "{\"PointsIssued\":{}}"));
    assert_eq!(record.timestamp, 1_767_323_045_000);
}

#[test]
fn an_event_in_structured_form_is_one_json_object() {
    let event = recorded(7, 3, row("shop", "account", "shop/1", "{\"PointsIssued\":{ }}", OURS));
    let record = encode(&event, Form::Structured);
    assert_eq!(record.headers, [(CONTENT_TYPE, STRUCTURED.into())]);
    let value: serde_json::Value = serde_json::from_str(&record.value).expect("JSON");
    assert_eq!(value["specversion"], "1.0");
    assert_eq!(value["position"], "7");
    assert_eq!(value["datacontenttype"], "application/json");
    assert!(record.value.ends_with(r#""data":{"PointsIssued":{ }}}"#), "{}", record.value);
}

#[test]
fn every_event_of_ours_is_the_same_behind_kafka() {
    for form in [Form::Binary, Form::Structured] {
        for (at, event) in samples::events().into_iter().enumerate() {
            let (name, version) = event.name();
            let kind = event.kind();
            let payload = serde_json::to_string(&event).expect("events serialise");
            let mut row = row("shop", kind.as_str(), "shop/x", &payload, OURS);
            row.event_type = name.into();
            row.event_version = version.to_string().into();
            let sent = recorded(i64::try_from(at).expect("few"), 1, row);
            let got = back(&sent, form);
            assert_eq!(got.row, sent.row);
            assert_eq!(got.events(), [event]);
            assert_eq!(got.stream.map(|it| it.kind()), Some(kind));
        }
    }
}

#[test]
fn what_is_no_event_of_ours_is_refused_by_the_name_of_what_is_missing() {
    let event = recorded(7, 3, row("shop", "account", "shop/1", "{}", OURS));
    let record = encode(&event, Form::Binary);
    let refusal = |leave_out: &str, change: Option<(&str, &'static str)>| {
        let name = |n| record.headers.iter().find(|(it, _)| *it == n).map_or("", |(it, _)| *it);
        let changed = change.map(|(n, value)| (name(n), value.as_bytes()));
        let kept = record.headers.iter().filter(|(name, _)| *name != leave_out);
        let kept = kept.map(|(name, value)| (*name, value.as_bytes()));
        let headers: Vec<(&str, &[u8])> = changed.into_iter().chain(kept).collect();
        read(&Incoming { headers, value: b"{}" }).map(|_| ())
    };
    assert_eq!(refusal("", None), Ok(()));
    for name in ["ce_specversion", "ce_source", "ce_type", "ce_subject", "ce_position", "ce_time"] {
        let refused = refusal(name, None).expect_err("refused").to_string();
        assert!(refused.contains(name), "{refused}");
    }
    assert!(refusal("", Some(("ce_position", "seven"))).is_err());
    assert!(refusal("", Some(("ce_specversion", "0.3"))).is_err());
    let not_utf8 = Incoming { value: &[0xff], ..Incoming::default() };
    assert!(matches!(read(&not_utf8), Err(Malformed::Value(_))));
}

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (0..4_000_000_000_000_000_i64)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).expect("within range"))
}

fn metadata() -> impl Strategy<Value = String> {
    let text = || "[ -~äß\"\\\\\u{0}-\u{1f}]{0,12}";
    let some = || proptest::option::of(text());
    let ours = (text(), instants(), some(), some(), some(), some()).prop_map(
        |(command, at, correlation, causation, actor, trace)| {
            attributes::Metadata {
                correlation_id: correlation.map(Into::into),
                causation_id: causation.map(Into::into),
                actor: actor.map(Into::into),
                traceparent: trace.map(Into::into),
                tracestate: None,
                occurred_at: attributes::instant(at).into(),
                command_id: command.into(),
            }
            .text()
        },
    );
    let foreign = proptest::collection::hash_map("[a-z_]{1,8}", text(), 0..4)
        .prop_map(|map| serde_json::to_string(&map).expect("a map of texts"));
    prop_oneof![4 => ours, 1 => foreign, 1 => Just("{ }".to_owned())]
}

fn rows() -> impl Strategy<Value = Row> {
    let stream = prop_oneof![
        ("[a-z0-9_-]{1,8}", "[a-z]{1,8}", "[A-Za-z0-9.:@+~_-]{1,12}")
            .prop_map(|(program, kind, id)| (program.clone(), kind, format!("{program}/{id}"))),
        // What other users of the log may write.
        ("[a-z]{1,4}", "[a-z/]{1,6}", "[a-z/]{0,6}"),
    ];
    let payload = prop_oneof![
        Just("{\"PointsIssued\":{\"lot\":\"ü\"}}".to_owned()),
        Just("{ \"a\" : [1, 2.50, null] }".to_owned()),
        Just("7".to_owned()),
    ];
    (stream, payload, metadata(), instants(), "[A-Za-z.]{1,10}", "[0-9.]{1,4}").prop_map(
        |((program, kind, id), payload, metadata, recorded_at, event_type, version)| Row {
            event_type: event_type.into(),
            event_version: version.into(),
            recorded_at,
            ..row(&program, &kind, &id, &payload, &metadata)
        },
    )
}

proptest! {
    #[test]
    fn a_record_gives_back_the_row_that_it_was_made_of(
        row in rows(), position in 1..i64::MAX, sequence in 1..i64::MAX, structured in any::<bool>()
    ) {
        let form = if structured { Form::Structured } else { Form::Binary };
        let sent = recorded(position, sequence, row);
        let got = back(&sent, form);
        prop_assert_eq!((got.position, got.sequence), (position, sequence));
        prop_assert_eq!(&got.row, &sent.row);
    }

    #[test]
    fn no_record_makes_a_reader_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        let headers = [(CONTENT_TYPE, &b"application/cloudevents+json"[..])].into();
        let _refused = read(&Incoming { headers, value: &value });
    }
}
