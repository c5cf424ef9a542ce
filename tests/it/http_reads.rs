//! What is read: the log by page and stream, lists by cursor, never older than asked for.

use accrue_tests::client::Client;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::{Value, json};

async fn issue(client: &Client, account: &str, points: i64) -> i64 {
    let path = format!("/v1/accounts/{account}/points/issue");
    client.post(&path, json!({"points": points})).await.expect(201).position()
}

fn positions(items: &Value) -> Vec<i64> {
    let items = items.as_array().expect("items").iter();
    items.map(|it| it["position"].as_i64().expect("a position")).collect()
}

#[tokio::test]
async fn the_log_is_read_by_pages_by_filter_and_as_a_stream() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    for at in 0..6 {
        issue(&client, &format!("a{}", at % 3), 1 + at).await;
    }
    client.post("/v1/accounts/a1/points/redeem", json!({"points": 2})).await.expect(200);
    // Three openings, six issues, one redemption.
    let mut found = Vec::new();
    let mut path = "/v1/events?limit=4".to_owned();
    loop {
        let page = client.get(&path).await.expect(200).json();
        let items = positions(&page["items"]);
        assert!(items.len() <= 4);
        found.extend(items);
        let Some(next) = page["next"].as_i64() else { break };
        path = format!("/v1/events?limit=4&after={next}");
    }
    assert_eq!(found, (1..=10).collect::<Vec<_>>());

    let of_type = client.get("/v1/events?type=PointsIssued&after=5").await.expect(200).json();
    assert_eq!(positions(&of_type["items"]), [6, 7, 8, 9]);
    let of_account = client.get("/v1/events?account=a1").await.expect(200).json();
    assert_eq!(positions(&of_account["items"]), [3, 4, 8, 10]);
    let both = client.get("/v1/events?account=a1&type=PointsRedeemed").await.expect(200).json();
    assert_eq!(positions(&both["items"]), [10]);
    let nothing = client.get("/v1/events?account=nobody").await.expect(200).json();
    assert_eq!(nothing["items"], json!([]));
    assert_eq!(client.get("/v1/events?after=10").await.expect(200).json()["items"], json!([]));

    let ndjson = client.with("accept", "application/x-ndjson");
    let stream = ndjson.get("/v1/events?after=2").await.expect(200);
    assert!(stream.header("content-type").starts_with("application/x-ndjson"));
    assert_eq!(positions(&Value::from(stream.lines())), (3..=10).collect::<Vec<_>>());

    let mut event = both["items"][0].clone();
    let metadata = event["metadata"].take();
    assert_eq!(metadata["occurred_at"], event["occurred_at"]);
    assert_eq!(metadata["command_id"].as_str().map(str::len), Some(36));
    for stamp in ["occurred_at", "recorded_at"] {
        let at = event[stamp].take();
        let at = chrono::DateTime::parse_from_rfc3339(at.as_str().expect("a text"));
        assert!(at.is_ok_and(|at| at.offset().local_minus_utc() == 0), "{stamp}");
    }
    let lot = event["data"]["lots"][0]["lot"].take();
    assert!(lot.is_string());
    assert_snapshot!(event, @r#"{"data":{"lots":[{"lot":null,"points":2}],"points":2},"metadata":null,"occurred_at":null,"position":10,"program":"default","recorded_at":null,"subject":"account/a1","type":"PointsRedeemed","version":1}"#);
}

#[tokio::test]
async fn business_time_cause_and_actor_are_kept_beside_the_servers_clock() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let sender = client
        .keyed("k")
        .with("accrue-correlation-id", "talk-1")
        .with("accrue-causation-id", "mail-2")
        .with("accrue-actor", "desk-7");
    let body = json!({"points": 1, "occurred_at": "2020-02-29T12:00:00.5+01:00"});
    let issued = sender.post("/v1/accounts/a/points/issue", body).await.expect(201).json();
    let event = &issued["events"][1];
    assert_eq!(event["occurred_at"], "2020-02-29T11:00:00.500Z");
    assert!(event["recorded_at"].as_str().is_some_and(|it| it > "2026"), "{event}");
    let mut metadata = event["metadata"].clone();
    metadata["occurred_at"].take();
    assert_snapshot!(metadata, @r#"{"actor":"desk-7","causation_id":"mail-2","command_id":"k","correlation_id":"talk-1","occurred_at":null}"#);
}

#[tokio::test]
async fn lists_go_on_where_the_page_before_ended() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut last = 0;
    let mut expected: Vec<String> =
        ["a", "B", "b-1", "b.1", "z", "0", "~"].map(str::to_owned).into();
    for account in &expected {
        last = issue(&client, account, 1).await;
    }
    expected.sort();
    let mut found = Vec::new();
    let mut path = format!("/v1/accounts?limit=2&min_position={last}");
    loop {
        let page = client.get(&path).await.expect(200).json();
        let items = page["items"].as_array().expect("items");
        found.extend(items.iter().map(|it| it["account"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/accounts?limit=2&cursor={next}");
    }
    assert_eq!(found, expected);

    // A statement has every entry once, the opening included.
    for _ in 0..4 {
        last = issue(&client, "a", 2).await;
    }
    let mut entries = Vec::new();
    let mut path = format!("/v1/accounts/a/statement?limit=2&min_position={last}");
    loop {
        let page = client.get(&path).await.expect(200).json();
        entries.extend(positions(&page["items"]));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/accounts/a/statement?limit=2&cursor={next}");
    }
    let mut once = entries.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((once.len(), entries.len()), (6, 6), "{entries:?}");
}

#[tokio::test]
async fn a_read_is_never_older_than_the_write_it_names() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut sum = 0;
    for points in 1..=50 {
        let position = issue(&client, "ann", points).await;
        sum += points;
        let balance = client.balance("ann", position).await;
        assert!(balance.starts_with(&format!("available {sum};")), "{balance}");
    }
    let sale = json!({"id": "s", "account": "ann", "total": {"amount": 1, "currency": "GBP"}});
    let sold = client.post("/v1/sales", sale).await.expect(201).position();
    let sale = client.get(&format!("/v1/sales/s?min_position={sold}")).await.expect(200).json();
    assert_eq!(sale["account"], "ann");
    client.get(&format!("/v1/program?min_position={sold}")).await.expect(200);
    for path in [
        "/v1/accounts/ann",
        "/v1/accounts",
        "/v1/accounts/ann/statement",
        "/v1/campaigns",
        "/v1/sales/s",
        "/v1/program",
    ] {
        let early = client.get(&format!("{path}?min_position=1000000")).await;
        assert_eq!(early.problem(), "503 not-there-yet", "{path}");
        assert_eq!(early.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn the_version_of_an_account_is_its_etag_and_if_match_holds_it() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let path = "/v1/accounts/ann/points/issue";
    let first = client.post(path, json!({"points": 1})).await.expect(201);
    assert_eq!(first.header("etag"), "\"2\"");
    let read = client.get(&format!("/v1/accounts/ann?min_position={}", first.position())).await;
    assert_eq!(read.header("etag"), "\"2\"");
    let fits = client.with("if-match", "\"2\"").post(path, json!({"points": 1})).await.expect(201);
    assert_eq!(fits.header("etag"), "\"3\"");
    let stale = client.with("if-match", "\"2\"").post(path, json!({"points": 1})).await;
    assert_eq!(stale.status, 412, "{}", stale.problem());
    let any = client.with("if-match", "*").post(path, json!({"points": 1})).await;
    assert_eq!(any.expect(201).header("etag"), "\"4\"");
    let new = "/v1/accounts/new/points/issue";
    let absent = client.with("if-match", "\"0\"").post(new, json!({"points": 1})).await;
    assert_eq!(absent.expect(201).header("etag"), "\"2\"");
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_keeps_nothing() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let last = issue(&client, "ann", 100).await;
    let redeem = "/v1/accounts/ann/points/redeem?dry_run=true";
    let dry = client.keyed("k").post(redeem, json!({"points": 60})).await.expect(200);
    let data = &dry.data("PointsRedeemed")[0];
    assert_eq!(data["points"], 60);
    assert_eq!(dry.header("etag"), "");
    let refused = client.keyed("k").post(redeem, json!({"points": 101})).await;
    assert_eq!(refused.problem(), "409 insufficient-points /points");
    let malformed = client.post(redeem, json!({"points": 0})).await;
    assert_eq!(malformed.problem(), "422 invalid-request /points");
    for (path, body) in [
        (
            "/v1/sales",
            json!({"id": "s", "account": "bob", "total": {"amount": 1, "currency": "GBP"}}),
        ),
        ("/v1/accounts/ann/holds", json!({"id": "h", "points": 1})),
        (
            "/v1/campaigns",
            json!({"id": "c", "name": "n", "rules": [{
            "variable": "$.amount", "condition": {"rule": "numeric_greater_than", "value": 1},
            "action": {"command": "issue", "formula": "1"}}]}),
        ),
    ] {
        client.post(&format!("{path}?dry_run=true"), body).await.expect(200);
    }
    assert_eq!(database.number("SELECT position FROM log_head").await, last);
    assert_eq!(database.number("SELECT count(*) FROM idempotency").await, 0);
    assert!(client.balance("ann", last).await.starts_with("available 100;"));
    // The key is free: a dry run was no delivery.
    let path = "/v1/accounts/ann/points/redeem";
    client.keyed("k").post(path, json!({"points": 100})).await.expect(200);
}
