//! Sales over HTTP, what came back of them, and the points that follow.

use accrue_tests::client::Client;
use accrue_tests::eventually::eventually;
use accrue_tests::program;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn tenth(id: &str) -> Value {
    json!({"id": id, "name": "A tenth of big baskets", "activate": true, "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"}
    }]})
}

fn sale(id: &str, account: &str, pence: i64) -> Value {
    json!({"id": id, "account": account, "total": {"amount": pence, "currency": "GBP"}})
}

async fn until(client: &Client, account: &str, expected: &str) {
    let ask = async || (client.balance(account, 0).await == expected).then_some(());
    eventually(&format!("{account} has {expected}"), ask).await;
}

#[tokio::test]
async fn a_sale_over_the_bound_earns_a_tenth_and_names_its_cause() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/campaigns", tenth("tenth")).await.expect(201);
    let recorded = client.post("/v1/sales", sale("s1", "ann", 13_912)).await.expect(201);
    assert_eq!(recorded.data("AccountOpened").len(), 1);
    // Exactly the bound earns nothing; a penny more earns ten.
    client.post("/v1/sales", sale("s2", "bob", 10_000)).await.expect(201);
    let last = client.post("/v1/sales", sale("s3", "cy", 10_001)).await.expect(201).position();
    eventually("cy has ten", async || {
        client.balance("cy", last).await.starts_with("available 10;").then_some(())
    })
    .await;
    assert_eq!(client.balance("bob", last).await, "available 0");
    let award = format!("available 13; award:tenth.{} 13", recorded.position());
    until(&client, "ann", &award).await;

    let entry = client.get("/v1/accounts/ann").await.json()["lots"][0]["source"].clone();
    assert_eq!(entry["campaign"], "tenth");
    assert_eq!((&entry["version"], &entry["sale"]), (&json!(1), &json!("s1")));
    assert_eq!(entry["event"], recorded.position());

    let known = client.get("/v1/sales/s1").await.expect(200).json();
    assert_eq!(known["total"], json!({"amount": 13_912, "currency": "GBP"}));
    assert_eq!(known["account"], "ann");
}

#[tokio::test]
async fn entries_of_an_award_and_of_what_comes_back_of_it_name_campaign_version_and_sale() {
    let (database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/campaigns", tenth("tenth")).await.expect(201);
    client.post("/v1/sales", sale("s1", "ann", 13_912)).await.expect(201);
    let caused = async |kind: &str| {
        let statement = client.get("/v1/accounts/ann/statement").await;
        let statement = if statement.status == 200 { statement.json() } else { Value::Null };
        let entries = statement["items"].as_array().cloned().unwrap_or_default();
        let found = entries.into_iter().find(|it| it["kind"] == kind)?;
        Some(json!([found["cause"]["campaign"], found["cause"]["version"], found["sale"]]))
    };
    let award = json!(["tenth", 1, "s1"]);
    assert_eq!(eventually("an award", async || caused("issued").await).await, award);
    client.post("/v1/sales/s1/returns", json!({"all": true})).await.expect(201);
    assert_eq!(eventually("a reversal", async || caused("reversed").await).await, award);
    // Also where both are written at once.
    let rebuild = ["projections", "rebuild", "statement", "--database-url", &database.url];
    program::run(rebuild).await.expect_success();
    assert_eq!(caused("reversed").await, Some(award));
}

#[tokio::test]
async fn partial_returns_take_back_as_much_as_one_whole_return() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/campaigns", tenth("tenth")).await.expect(201);
    let whole = client.post("/v1/sales", sale("whole", "ann", 99_999)).await.expect(201);
    let split = client.post("/v1/sales", sale("split", "bob", 99_999)).await.expect(201);
    client.balance("bob", split.position()).await;
    until(&client, "ann", &format!("available 99; award:tenth.{} 99", whole.position())).await;
    until(&client, "bob", &format!("available 99; award:tenth.{} 99", split.position())).await;

    client.post("/v1/sales/whole/returns", json!({"all": true})).await.expect(201);
    until(&client, "ann", "available 0").await;
    let mut returned = 0;
    for (at, pence) in [1, 33_333, 14, 33_333, 20_000, 13_318].into_iter().enumerate() {
        let part = json!({"id": format!("r{at}"), "amount": {"amount": pence, "currency": "GBP"}});
        client.post("/v1/sales/split/returns", part).await.expect(201);
        returned += pence;
        // Never more than the share of what came back.
        let left = 99 - 99 * returned / 99_999;
        let expected = match left {
            0 => "available 0".to_owned(),
            left => format!("available {left}; award:tenth.{} {left}", split.position()),
        };
        until(&client, "bob", &expected).await;
    }
    let more = json!({"amount": {"amount": 1, "currency": "GBP"}});
    let more = client.post("/v1/sales/split/returns", more).await;
    assert_snapshot!(more.problem(), @"409 exceeds-sale /amount");
}

#[tokio::test]
async fn a_sale_that_cost_nothing_comes_back_whole_with_what_it_earned() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let present = json!({"id": "present", "name": "A present", "activate": true, "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_equals", "value": 0},
        "action": {"command": "issue", "formula": "5"}
    }]});
    client.post("/v1/campaigns", present).await.expect(201);
    let free = client.post("/v1/sales", sale("free", "ann", 0)).await.expect(201);
    client.balance("ann", free.position()).await;
    until(&client, "ann", &format!("available 5; award:present.{} 5", free.position())).await;
    client.post("/v1/sales/free/returns", json!({"all": true})).await.expect(201);
    until(&client, "ann", "available 0").await;
    let again = client.post("/v1/sales/free/returns", json!({"all": true})).await;
    assert_snapshot!(again.problem(), @"409 nothing-left");
}

#[tokio::test]
async fn no_client_takes_the_lot_that_an_award_is_to_have() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/campaigns", tenth("tenth")).await.expect(201);
    let issue = "/v1/accounts/ann/points/issue";
    // A lot that is named after its command's key, and that key says what the award's lot is called.
    let before = client.post(issue, json!({"points": 1})).await.expect(201).position();
    let award = format!("award:tenth.{}", before + 2);
    let named = client.keyed(&award).post(issue, json!({"points": 1})).await.expect(201);
    assert_ne!(named.data("PointsIssued")[0]["lot"], award);
    for (verb, more) in [("issue", json!({})), ("adjust", json!({"reason": "r", "actor": "a"}))] {
        let mut body = more;
        body["points"] = json!(1);
        body["lot"] = json!("award:tenth.90");
        let taken = client.post(&format!("/v1/accounts/ann/points/{verb}"), body).await;
        assert_eq!(taken.problem(), "422 invalid-request /lot", "{verb}");
    }
    let sold = client.post("/v1/sales", sale("s", "ann", 13_912)).await.expect(201);
    assert_eq!(sold.position(), before + 2);
    let (ask, there) = (async || client.balance("ann", before).await, format!("{award} 13"));
    eventually("the award", async || ask().await.contains(&there).then_some(())).await;
    let reverse = json!({"lot": award});
    client.post("/v1/accounts/ann/points/reverse", reverse).await.expect(200);
}

#[tokio::test]
async fn lines_come_back_one_by_one_and_sum_to_the_total() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let lines = json!([
        {"product": "mug", "quantity": 3, "amount": 1_000},
        {"product": "tray", "quantity": 1, "amount": 501},
    ]);
    let mut body = sale("s", "ann", 1_501);
    body["lines"] = lines;
    client.post("/v1/sales", body).await.expect(201);
    let mut sum = 0;
    for (line, quantity) in [(1, 1), (2, 1), (1, 2)] {
        let part = json!({"lines": [{"line": line, "quantity": quantity}]});
        let returned = client.post("/v1/sales/s/returns", part).await.expect(201);
        sum += returned.data("SaleReturned")[0]["amount"]["amount"].as_i64().expect("pence");
    }
    assert_eq!(sum, 1_501);
    let over = client.post("/v1/sales/s/returns", json!({"lines": [{"line": 1, "quantity": 1}]}));
    assert_snapshot!(over.await.problem(), @"409 exceeds-line /lines");
}

#[tokio::test]
async fn a_sale_that_makes_no_sense_is_refused_and_leaves_nothing() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/sales", sale("s", "ann", 100)).await.expect(201);
    let before = client.events_count().await;
    let with = |pointer: &str, value: Value| {
        let mut body = sale("t", "bob", 100);
        *body.pointer_mut(pointer).expect("the field is there") = value;
        body
    };
    for (body, expected) in [
        (sale("s", "ann", 101), "409 sale-exists"),
        (with("/total/amount", json!(-1)), "422 invalid-request /total/amount"),
        (with("/total/amount", json!(1.5)), "422 invalid-request /total/amount"),
        (with("/total/amount", json!("100")), "422 invalid-request /total/amount"),
        (with("/total/currency", json!("XYZ")), "422 invalid-request /total/currency"),
        (with("/total/currency", json!("EUR")), "422 invalid-currency /total/currency"),
        (with("/id", json!("")), "422 invalid-request /id"),
        (with("/account", json!("a/b")), "422 invalid-request /account"),
        (with("/total", json!([1, "GBP"])), "422 invalid-request /total"),
        (json!({"id": "t"}), "422 invalid-request /total"),
    ] {
        assert_eq!(client.post("/v1/sales", body.clone()).await.problem(), expected, "{body}");
    }
    for (id, body, expected) in [
        ("none", json!({"all": true}), "404 unknown-sale"),
        ("s", json!({"all": false}), "422 invalid-request /all"),
        ("s", json!({}), "422 invalid-request /all"),
        ("s", json!({"lines": [{"line": 1, "quantity": 1}]}), "422 unknown-line /lines"),
        ("s", json!({"amount": {"amount": 101, "currency": "GBP"}}), "409 exceeds-sale /amount"),
        (
            "s",
            json!({"amount": {"amount": 1, "currency": "EUR"}}),
            "422 invalid-currency /amount/currency",
        ),
        ("s", json!({"amount": {"amount": 0, "currency": "GBP"}}), "422 invalid-amount /amount"),
    ] {
        let answer = client.post(&format!("/v1/sales/{id}/returns"), body.clone()).await;
        assert_eq!(answer.problem(), expected, "{id} {body}");
    }
    assert_snapshot!(client.get("/v1/sales/none").await.problem(), @"404 unknown-sale");
    assert_eq!(client.events_count().await, before, "nothing was appended");
    // The same sale again is no other sale, whatever its key.
    let again = client.keyed("another").post("/v1/sales", sale("s", "ann", 100)).await;
    assert!(matches!(again.status, 200 | 201 | 409), "{}", again.text);
    assert_eq!(client.events_count().await, before);
}
