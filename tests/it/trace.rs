//! One trace from a client's request to what followers do because of it.

use std::io::ErrorKind;
use std::net::TcpListener;

use accrue_tests::client::Client;
use accrue_tests::collector::Collector;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::kafka::{broker, expect_same, prefix, published};
use accrue_tests::program;
use accrue_tests::server::Server;
use accrue_tests::shop::{by_wallet, order, usd};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::feed_world::fed;
use crate::kafka_commands::{self, write};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(client: &Client) -> Client {
    client.with("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01"))
}

/// The traces of the events of one type.
async fn traces(database: &Database, event_type: &str) -> Vec<String> {
    let sql = format!(
        "SELECT coalesce(split_part(metadata->>'traceparent', '-', 2), 'none') FROM events
          WHERE event_type = '{event_type}' ORDER BY position"
    );
    database.texts(&sql).await
}

/// A program in dollars with one campaign.
async fn campaign(client: &Client) {
    let settings = json!({"currency": "USD", "zone": "UTC", "expiry": "never"});
    client.put("/v1/program", settings).await.expect(200);
    let campaign = json!({"id": "tenth", "name": "A tenth", "activate": true, "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"}
    }]});
    client.post("/v1/campaigns", campaign).await.expect(201);
}

#[tokio::test]
async fn the_context_of_a_request_is_that_of_everything_that_follows_from_it() {
    let (database, server) = Server::create().await;
    let client = server.client();
    campaign(&client).await;
    let sale = |id: &str| json!({"id": id, "account": "ann", "total": usd(20_000)});
    traced(&client).post("/v1/sales", sale("s1")).await.expect(201);
    client.post("/v1/sales", sale("s2")).await.expect(201);
    let broken = client.with("traceparent", "00-not-a-trace-01");
    broken.post("/v1/sales", sale("s3")).await.expect(201);
    let awarded = eventually("the awards", async || {
        let awarded = traces(&database, "PointsIssued").await;
        (awarded.len() == 3).then_some(awarded)
    });
    assert_eq!(awarded.await, [TRACE, "none", "none"]);
    assert_eq!(traces(&database, "SaleRecorded").await, [TRACE, "none", "none"]);

    // In bulk, too, and through a purchase that takes several steps.
    let line = r#"{"id":"b","type":"issue_points","account":"b","points":1}"#;
    traced(&client).post_lines("/v1/commands", format!("{line}\n")).await.expect(200);
    assert_eq!(traces(&database, "PointsIssued").await.last().map(String::as_str), Some(TRACE));
    let unicorn = json!({"id": "1", "name": "Unicorn", "kind": "goods", "price": usd(700)});
    client.post("/v1/products", unicorn).await.expect(201);
    let delivery = json!({"delta": 5, "reason": "delivery"});
    client.post("/v1/products/1/stock", delivery).await.expect(200);
    client.post("/v1/wallets/derick/top-ups", json!({"money": usd(9_999)})).await.expect(201);
    traced(&client).post("/v1/purchases", order("p", 1, by_wallet())).await.expect(201);
    for event_type in ["StockHeld", "WalletMoneyCaptured", "PurchaseCompleted"] {
        assert_eq!(traces(&database, event_type).await, [TRACE], "{event_type}");
    }
    assert_eq!(traces(&database, "WalletToppedUp").await, ["none"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_context_of_a_record_goes_through_kafka_to_what_follows_from_it() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let _worker = fed(&database, broker, &prefix, "campaigns").await;
    campaign(&api.client()).await;
    let sale = |id: &str| {
        let total = usd(20_000);
        json!({"id": id, "type": "record_sale", "sale": id, "account": "ann", "total": total})
            .to_string()
    };
    let topic = format!("{prefix}.commands.default");
    write(broker, &topic, &[(Some("ann"), &sale("s1"))]).await;
    let awards = async |count: usize| {
        eventually("the awards", async || {
            let awarded = traces(&database, "PointsIssued").await;
            (awarded.len() == count).then_some(awarded)
        })
        .await
    };
    assert_eq!(awards(1).await, ["none"]);
    let producer: FutureProducer = kafka_commands::client(broker).create().expect("a producer");
    let context = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let header = Header { key: "traceparent", value: Some(&context) };
    let body = sale("s2");
    let record = FutureRecord::<str, str>::to(&topic).key("ann").payload(&body);
    let record = record.headers(OwnedHeaders::new().insert(header));
    let sent = producer.send(record, kafka_commands::PATIENCE).await;
    sent.map_err(|(error, _)| error).expect("delivered");
    assert_eq!(awards(2).await, ["none", TRACE]);
    assert_eq!(traces(&database, "SaleRecorded").await, ["none", TRACE]);
    // In the records of the events, too.
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test]
async fn a_retry_in_another_trace_is_the_same_command() {
    let (_database, server) = Server::create().await;
    let client = server.client().keyed("k");
    let path = "/v1/accounts/a/points/issue";
    let first = traced(&client).post(path, json!({"points": 1})).await.expect(201);
    let again = client.post(path, json!({"points": 1})).await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(again.header("idempotency-hit"), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_told_of_one_trace_from_the_request_to_what_followers_do() {
    let collector = Collector::start().await;
    let database = Database::create().await;
    let flags = ["--database-url", &database.url, "--otlp-endpoint", &collector.url];
    let mut server = Server::start_with(&flags).await;
    let client = server.client();
    campaign(&client).await;
    let sale = json!({"id": "s", "account": "ann", "total": usd(20_000)});
    traced(&client).post("/v1/sales", sale).await.expect(201);
    let awarded = eventually("the award", async || {
        let sql = "SELECT coalesce(string_agg(metadata->>'traceparent', ''), '') FROM events
                    WHERE event_type = 'PointsIssued'";
        Some(database.text(sql).await).filter(|it| !it.is_empty())
    });
    let awarded = awarded.await;
    // What is left is sent at the end.
    server.sigterm();
    assert_eq!(server.exit().await.code(), Some(0), "{}", server.log());
    let spans = collector.spans();
    let find = |name: &str| {
        let of_trace = spans.iter().filter(|it| it.trace == TRACE);
        let found: Vec<_> = of_trace.filter(|it| it.name == name).collect();
        let [span] = found[..] else { panic!("one {name} in {spans:?}") };
        span.clone()
    };
    let (request, award) = (find("POST"), find("award points"));
    assert_eq!(request.parent, "00f067aa0ba902b7", "the client's own span");
    assert_eq!(award.parent, request.id, "the event was made by the request");
    assert_eq!(awarded, format!("00-{TRACE}-{}-01", award.id));
    assert!(spans.iter().any(|it| it.trace != TRACE), "requests without a context have their own");
}

/// Variables that exporters of traces are told their collector by.
const CONVENTIONAL: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

#[tokio::test]
async fn nobody_is_told_of_a_trace_unless_the_setting_names_a_collector() {
    let shown = program::run(["config", "show"]).await.expect_success();
    let settings = shown.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    let setting: Vec<String> = settings.filter(|it| it.starts_with("otlp_endpoint ")).collect();
    assert_eq!(setting, ["otlp_endpoint - (default)"]);

    let collector = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", collector.local_addr().expect("a bound port has an address"));
    let environment = CONVENTIONAL.map(|name| (name, &*url));
    let database = Database::create().await;
    let flags = ["--database-url", &database.url];
    let mut server = Server::start_in(&flags, &environment).await;
    let client = traced(&server.client());
    client.post("/v1/accounts/a/points/issue", json!({"points": 1})).await.expect(201);
    // What there were to tell would be told at the end, at the latest.
    server.sigterm();
    assert_eq!(server.exit().await.code(), Some(0), "{}", server.log());
    collector.set_nonblocking(true).expect("a listener of ours");
    // Whoever had called would stand in line.
    let called = collector.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(called, Err(ErrorKind::WouldBlock));
}
