//! Products over HTTP: a price, a stock, and units set aside.

use accrue_tests::client::{Answer, Client};
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use chrono::{TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn unicorn() -> Value {
    let price = json!({"amount": 170_000, "currency": "USD"});
    json!({"id": "1", "name": "Unicorn", "kind": "goods", "price": price})
}

/// A unicorn of which there are so many.
async fn stocked(client: &Client, units: i64) {
    client.post("/v1/products", unicorn()).await.expect(201);
    let delivery = json!({"delta": units, "reason": "delivery"});
    client.post("/v1/products/1/stock", delivery).await.expect(200);
}

#[tokio::test]
async fn a_product_is_created_changed_and_retired() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let created = client.post("/v1/products", unicorn()).await.expect(201);
    assert_eq!(created.data("ProductCreated")[0]["price"]["amount"], 170_000);
    let again = client.post("/v1/products", unicorn()).await.expect(201);
    assert_eq!(again.json()["events"], json!([]));
    let mut other = unicorn();
    other["kind"] = "service".into();
    let clash = client.post("/v1/products", other).await;
    assert_snapshot!(clash.problem(), @"409 product-exists");

    let price = json!({"price": {"amount": 165_000, "currency": "USD"}});
    let changed = client.patch("/v1/products/1", price).await.expect(200);
    let data = &changed.data("ProductChanged")[0];
    assert_eq!((&data["name"], &data["price"]["amount"]), (&json!("Unicorn"), &json!(165_000)));
    assert_snapshot!(client.patch("/v1/products/2", json!({"name": "x"})).await.problem(), @"404 unknown-product");

    let retire = "/v1/products/1/retire";
    let retired = client.post(retire, json!({})).await.expect(200);
    assert_eq!(retired.data("ProductRetired"), [json!({})]);
    let again = client.post(retire, json!({})).await.expect(200);
    assert_eq!(again.json()["events"], json!([]));
    let refused = client.patch("/v1/products/1", json!({"name": "x"})).await;
    assert_snapshot!(refused.problem(), @"409 product-retired");
    let refused = client.post("/v1/products/1/holds", json!({"id": "h", "quantity": 1})).await;
    assert_snapshot!(refused.problem(), @"409 product-retired");
}

#[tokio::test]
async fn stock_is_held_captured_in_part_and_the_rest_comes_back() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    stocked(&client, 4).await;
    client.post("/v1/products/1/holds", json!({"id": "h", "quantity": 3})).await.expect(201);
    let refused = client.post("/v1/products/1/holds", json!({"id": "i", "quantity": 2})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-stock /quantity");
    let lost = json!({"delta": -2, "reason": "lost"});
    assert_snapshot!(client.post("/v1/products/1/stock", lost).await.problem(), @"409 insufficient-stock /delta");

    let capture = "/v1/products/1/holds/h/capture";
    let refused = client.post(capture, json!({"quantity": 4})).await;
    assert_snapshot!(refused.problem(), @"409 exceeds-hold /quantity");
    let captured = client.post(capture, json!({"quantity": 2})).await.expect(200);
    let data = &captured.data("StockCaptured")[0];
    assert_eq!((&data["quantity"], &data["released"]), (&json!(2), &json!(1)));
    let ended = client.post("/v1/products/1/holds/h/release", json!({})).await;
    assert_snapshot!(ended.problem(), @"409 hold-ended hold");
    let unknown = client.post("/v1/products/1/holds/z/release", json!({})).await;
    assert_snapshot!(unknown.problem(), @"404 unknown-hold hold");
    let reused = client.post("/v1/products/1/holds", json!({"id": "h", "quantity": 1})).await;
    assert_snapshot!(reused.problem(), @"409 hold-exists /id");
    // Two of four have left, so two are there and no third.
    client.post("/v1/products/1/holds", json!({"id": "j", "quantity": 2})).await.expect(201);
    let refused = client.post("/v1/products/1/holds", json!({"id": "k", "quantity": 1})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-stock /quantity");
}

#[tokio::test]
async fn a_hundred_buyers_at_once_of_four_units_get_four() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    stocked(&client, 4).await;
    let mut buyers = JoinSet::new();
    for n in 0..100 {
        let client = client.clone();
        let hold = json!({"id": format!("buyer-{n}"), "quantity": 1});
        buyers.spawn(async move { client.post("/v1/products/1/holds", hold).await });
    }
    let answers = buyers.join_all().await;
    assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 4);
    let refused = answers.iter().filter(|it| it.status != 201);
    let refused: Vec<_> = refused.map(Answer::problem).collect();
    assert_eq!(refused.len(), 96);
    assert!(refused.iter().all(|it| it == "409 insufficient-stock /quantity"), "{refused:?}");
}

#[tokio::test]
async fn a_deadline_releases_stock_and_is_recorded() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    stocked(&client, 4).await;
    let until = Utc::now() + TimeDelta::milliseconds(1_000);
    let hold = json!({"id": "h", "quantity": 4, "until": until});
    client.post("/v1/products/1/holds", hold).await.expect(201);
    let reason = eventually("the deadline releases the hold", async || {
        let page = client.get("/v1/events?type=StockReleased").await.json();
        page["items"].as_array()?.first().map(|event| event["data"]["reason"].clone())
    });
    assert_eq!(reason.await, "deadline");
    assert!(Utc::now() >= until, "not before its time");
    client.post("/v1/products/1/holds", json!({"id": "i", "quantity": 4})).await.expect(201);
    let past = json!({"id": "j", "quantity": 1, "until": "2001-01-01T00:00:00Z"});
    assert_snapshot!(client.post("/v1/products/1/holds", past).await.problem(), @"422 invalid-until /until");
}

#[tokio::test]
async fn a_service_has_no_stock_and_is_held_without_limit() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut fitting = unicorn();
    fitting["kind"] = "service".into();
    client.post("/v1/products", fitting).await.expect(201);
    let delivery = json!({"delta": 4, "reason": "delivery"});
    assert_snapshot!(client.post("/v1/products/1/stock", delivery).await.problem(), @"409 no-stock");
    client.post("/v1/products/1/holds", json!({"id": "h", "quantity": 1_000})).await.expect(201);
    client.post("/v1/products/1/holds/h/capture", json!({})).await.expect(200);
}

#[tokio::test]
async fn wrong_inputs_name_the_field() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    stocked(&client, 4).await;
    let mut said = Vec::new();
    for wrong in ["0", "-1", "1.5", "\"1\"", "1000000001", "1e400", "null", "[1]"] {
        let body = format!(r#"{{"id": "h", "quantity": {wrong}}}"#);
        let answer = client.post_text("/v1/products/1/holds", body).await;
        said.push(format!("quantity {wrong}: {}", answer.problem()));
        let body = format!(r#"{{"delta": {wrong}, "reason": "r"}}"#);
        let answer = client.post_text("/v1/products/1/stock", body).await;
        // One fewer is a change that can be.
        if wrong != "-1" {
            said.push(format!("delta {wrong}: {}", answer.problem()));
        }
    }
    let with = |field: &str, value: Value| {
        let mut product = unicorn();
        product["id"] = "2".into();
        product[field] = value;
        product
    };
    for (field, value) in [
        ("id", json!("a/b")),
        ("name", json!("")),
        ("kind", json!("idea")),
        ("price", json!(170_000)),
        ("price", json!({"amount": -1, "currency": "USD"})),
        ("price", json!({"amount": 1, "currency": "usd"})),
        ("image", json!("javascript:alert(1)")),
        ("description", json!("d".repeat(2_001))),
        ("stock", json!(4)),
    ] {
        let shown = value.to_string().chars().take(40).collect::<String>();
        let answer = client.post("/v1/products", with(field, value)).await;
        said.push(format!("{field} {shown}: {}", answer.problem()));
    }
    let unsaid = client.post("/v1/products/1/stock", json!({"delta": 1, "reason": ""})).await;
    said.push(format!("reason: {}", unsaid.problem()));
    assert_snapshot!(said.join("\n"), @r#"
    quantity 0: 422 invalid-request /quantity
    delta 0: 422 invalid-request /delta
    quantity -1: 422 invalid-request /quantity
    quantity 1.5: 422 invalid-request /quantity
    delta 1.5: 422 invalid-request /delta
    quantity "1": 422 invalid-request /quantity
    delta "1": 422 invalid-request /delta
    quantity 1000000001: 422 invalid-request /quantity
    delta 1000000001: 422 invalid-request /delta
    quantity 1e400: 422 invalid-request /quantity
    delta 1e400: 422 invalid-request /delta
    quantity null: 422 invalid-request /quantity
    delta null: 422 invalid-request /delta
    quantity [1]: 422 invalid-request /quantity
    delta [1]: 422 invalid-request /delta
    id "a/b": 422 invalid-request /id
    name "": 422 invalid-request /name
    kind "idea": 422 invalid-request /kind
    price 170000: 422 invalid-request /price
    price {"amount":-1,"currency":"USD"}: 422 invalid-request /price/amount
    price {"amount":1,"currency":"usd"}: 422 invalid-request /price/currency
    image "javascript:alert(1)": 422 invalid-image /image
    description "ddddddddddddddddddddddddddddddddddddddd: 422 invalid-text /description
    stock 4: 422 invalid-request /stock
    reason: 422 invalid-request /reason
    "#);
}

#[tokio::test]
async fn the_same_commands_come_as_lines() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let price = json!({"amount": 500, "currency": "USD"});
    let lines = [
        json!({"id": "1", "type": "create_product", "product": "p", "name": "Pen",
               "kind": "goods", "price": price}),
        json!({"id": "2", "type": "adjust_stock", "product": "p", "delta": 5, "reason": "delivery"}),
        json!({"id": "3", "type": "change_product", "product": "p", "name": "Pencil"}),
        json!({"id": "4", "type": "hold_stock", "product": "p", "hold": "h", "quantity": 3}),
        json!({"id": "5", "type": "capture_stock", "product": "p", "hold": "h", "quantity": 1}),
        json!({"id": "6", "type": "hold_stock", "product": "p", "hold": "i", "quantity": 4}),
        json!({"id": "7", "type": "release_stock", "product": "p", "hold": "i"}),
        json!({"id": "8", "type": "retire_product", "product": "p"}),
        json!({"id": "9", "type": "hold_stock", "product": "p", "hold": "j", "quantity": 1}),
        json!({"id": "10", "type": "hold_stock", "product": "p", "hold": "k"}),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    let answer = client.post_lines("/v1/commands", text.clone()).await;
    let statuses = |answer: &Answer| {
        let lines = answer.lines();
        lines.iter().map(|line| line["status"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_snapshot!(statuses(&answer), @"201 200 200 201 200 201 200 200 409 422");
    let count = client.events_count().await;
    let again = client.post_lines("/v1/commands", text).await;
    assert_eq!(statuses(&again), statuses(&answer));
    assert_eq!(client.events_count().await, count, "a repetition changes nothing");
}

#[tokio::test]
async fn a_product_is_read_with_what_is_there_of_it() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    stocked(&client, 4).await;
    client.post("/v1/products/1/holds", json!({"id": "h", "quantity": 3})).await.expect(201);
    let read = client.get("/v1/products/1").await.expect(200).json();
    assert_eq!(read["stock"], json!({"on_hand": 4, "available": 1, "held": 3}));
    assert_eq!((&read["status"], &read["price"]["amount"]), (&json!("active"), &json!(170_000)));
    client.post("/v1/products/1/retire", json!({})).await.expect(200);
    assert_eq!(client.get("/v1/products/1").await.expect(200).json()["status"], "retired");

    let service = json!({"id": "2", "name": "Engraving", "kind": "service",
                         "price": {"amount": 900, "currency": "USD"}});
    client.post("/v1/products", service).await.expect(201);
    let read = client.get("/v1/products/2").await.expect(200).json();
    assert_eq!((&read["kind"], read.get("stock")), (&json!("service"), None));
    assert_snapshot!(client.get("/v1/products/3").await.problem(), @"404 unknown-product");
}
