//! Old events: the upcaster chain sits in the one decoder that everybody reads through.

use accrue_domain::account::Account;
use accrue_domain::account::event::Event as AccountEvent;
use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::id::ProgramId;
use accrue_domain::purchase;
use accrue_event_store::codec::{Codec, DecodeError, Raw, Upcast};
use accrue_event_store::executor::{RawEvent, RawStream};
use accrue_event_store::ledger::Config;
use accrue_event_store::record::Decoded;
use accrue_tests::database::Database;
use accrue_tests::ledger;
use serde_json::{Value, json};

/// Golden files: events as a build before the first release wrote them.
const GRANTED_V1: &str = include_str!("golden/PointsGranted.v1.json");
const GRANTED_V2: &str = include_str!("golden/PointsGranted.v2.json");

/// Version 1 had one number for a plain and a bonus part; version 2 has a list of them.
fn split(raw: Raw) -> Result<Vec<Raw>, String> {
    let number = |name: &str| raw.data[name].as_i64().ok_or(format!("expected the number {name}"));
    let parts = json!([number("plain")?, number("bonus")?]);
    Ok(vec![Raw { version: 2, data: json!({"lot": raw.data["lot"], "parts": parts}), ..raw }])
}

/// Of version 2 each part became an event of its own.
fn issue_each(raw: Raw) -> Result<Vec<Raw>, String> {
    let parts = raw.data["parts"].as_array().ok_or("expected the list parts")?;
    let lot = raw.data["lot"].as_str().ok_or("expected the text lot")?;
    let issued = |(at, points): (usize, &Value)| Raw {
        event_type: "PointsIssued".to_owned(),
        version: 1,
        data: json!({"lot": format!("{lot}.{at}"), "points": points, "source": {"kind": "issue"}}),
    };
    Ok(parts.iter().enumerate().map(issued).collect())
}

fn codec() -> Codec {
    Codec::new([
        (Kind::Account, "PointsGranted", 1, split as Upcast),
        (Kind::Account, "PointsGranted", 2, issue_each as Upcast),
    ])
}

fn issued(decoded: &Decoded) -> Vec<(String, i64)> {
    let lot = |event: &Event| match event {
        Event::Account(AccountEvent::PointsIssued { lot, points, .. }) => {
            (lot.to_string(), points.get())
        }
        other => panic!("an issue was expected, got {other:?}"),
    };
    decoded.events().iter().map(lot).collect()
}

#[test]
fn golden_events_of_every_version_come_out_as_todays() {
    for (version, golden) in [("1", GRANTED_V1), ("2", GRANTED_V2)] {
        let decoded = codec().decode("account", "PointsGranted", version, golden);
        let decoded = decoded.expect("an old event is understood");
        assert_eq!(issued(&decoded), [("g.0".to_owned(), 70), ("g.1".to_owned(), 30)]);
    }
}

/// Orders as they were written before there were discounts.
#[test]
fn orders_without_discounts_are_orders_with_none() {
    let goldens = [
        ("PurchasePlaced", include_str!("golden/PurchasePlaced.v1.json")),
        ("PurchaseCompleted", include_str!("golden/PurchaseCompleted.v1.json")),
    ];
    for (event_type, golden) in goldens {
        let decoded = Codec::default().decode("purchase", event_type, "1", golden);
        let decoded = decoded.expect("an old event is understood");
        let (lines, discounts) = match &decoded.events()[0] {
            Event::Purchase(
                purchase::event::Event::PurchasePlaced { lines, discounts, .. }
                | purchase::event::Event::PurchaseCompleted { lines, discounts, .. },
            ) => (lines, discounts),
            other => panic!("an order was expected, got {other:?}"),
        };
        assert_eq!((lines[0].discount(), discounts.len()), (0, 0));
    }
}

#[test]
fn what_a_newer_build_wrote_is_unknown_and_what_is_damaged_is_malformed() {
    let unknown = codec().decode("account", "PointsGranted", "3", GRANTED_V2);
    assert!(matches!(unknown, Err(DecodeError::Unknown { .. })), "{unknown:?}");
    let unknown = Codec::default().decode("account", "PointsIssued", "2", "{}");
    assert!(matches!(unknown, Err(DecodeError::Unknown { .. })), "{unknown:?}");
    let damaged = codec().decode("account", "PointsGranted", "1", r#"{"PointsGranted":{}}"#);
    assert!(matches!(damaged, Err(DecodeError::Malformed { .. })), "{damaged:?}");
    let damaged = Codec::default().decode("account", "PointsIssued", "1", r#"{"PointsIssued":1}"#);
    assert!(matches!(damaged, Err(DecodeError::Malformed { .. })), "{damaged:?}");
}

#[test]
fn upcasters_that_go_in_a_circle_are_found_out() {
    let back = |raw: Raw| Ok(vec![Raw { version: 1, ..raw }]);
    let codec = Codec::new([(Kind::Account, "PointsGranted", 1, back as Upcast)]);
    let circle = codec.decode("account", "PointsGranted", "1", GRANTED_V1);
    assert!(matches!(circle, Err(DecodeError::Malformed { .. })), "{circle:?}");
}

#[tokio::test]
async fn aggregates_and_followers_read_old_events_through_the_same_chain() {
    let database = Database::create().await;
    let config = Config { codec: codec(), ..ledger::config(&database) };
    let ledger = ledger::open_with(config).await;
    let stream = RawStream { aggregate_type: "account".into(), aggregate_id: "default/a".into() };
    let old = |version: &str, payload: &str| RawEvent {
        event_type: "PointsGranted".into(),
        event_version: version.into(),
        payload: payload.to_owned(),
        metadata: "{}".to_owned(),
    };
    let opened = RawEvent {
        event_type: "AccountOpened".into(),
        event_version: "1".into(),
        payload: r#"{"AccountOpened":{}}"#.to_owned(),
        metadata: "{}".to_owned(),
    };
    let events = vec![opened, old("1", GRANTED_V1)];
    ledger.executor().append(stream, 0, events).await.expect("appended");
    let (account, version) =
        ledger.load::<Account>(&ProgramId::default(), "a").await.expect("readable").expect("there");
    assert_eq!((account.balance(), version), (100, 2));
    let seen = ledger.tail().read(1, 10).await.expect("readable");
    assert_eq!(issued(seen[0].decoded.as_ref().expect("decodes")).len(), 2);
    // The stored bytes are what they were.
    assert_eq!(seen[0].row.payload.trim(), GRANTED_V1.trim());
}
