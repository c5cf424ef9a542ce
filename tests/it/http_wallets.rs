//! Wallets over HTTP: money put in, set aside, spent and given back.

use accrue_tests::client::{Answer, Client};
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use chrono::{TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const TOP_UPS: &str = "/v1/wallets/ada/top-ups";
const HOLDS: &str = "/v1/wallets/ada/holds";

fn usd(cents: i64) -> Value {
    json!({"amount": cents, "currency": "USD"})
}

/// A wallet with so many cents.
async fn filled(client: &Client, cents: i64) {
    client.post(TOP_UPS, json!({"money": usd(cents)})).await.expect(201);
}

async fn balances(client: &Client) -> Value {
    client.get("/v1/wallets/ada").await.expect(200).json()["balances"].take()
}

fn of_usd(available: i64, held: i64) -> Value {
    json!([{"currency": "USD", "available": available, "held": held}])
}

#[tokio::test]
async fn money_is_put_in_held_spent_in_part_and_given_back() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    assert_snapshot!(client.get("/v1/wallets/ada").await.problem(), @"404 unknown-wallet");
    let hold = |id: &str, cents| json!({"id": id, "money": usd(cents)});
    assert_snapshot!(client.post(HOLDS, hold("h", 1)).await.problem(), @"404 unknown-wallet");
    let top_up = json!({"money": usd(330_000), "reference": "gift card"});
    let put_in = client.post(TOP_UPS, top_up).await.expect(201);
    assert_eq!(put_in.data("WalletToppedUp")[0]["money"], usd(330_000));

    client.post(HOLDS, hold("h", 170_000)).await.expect(201);
    assert_eq!(balances(&client).await, of_usd(160_000, 170_000));
    assert_snapshot!(client.post(HOLDS, hold("i", 160_001)).await.problem(), @"409 insufficient-funds /money/amount");
    let capture = "/v1/wallets/ada/holds/h/capture";
    let more = client.post(capture, json!({"money": usd(170_001)})).await;
    assert_snapshot!(more.problem(), @"409 exceeds-hold /money/amount");
    let yen = json!({"money": {"amount": 1, "currency": "JPY"}});
    assert_snapshot!(client.post(capture, yen).await.problem(), @"409 currency-mismatch /money/currency");
    let captured = client.post(capture, json!({"money": usd(150_000)})).await.expect(200);
    let data = &captured.data("WalletMoneyCaptured")[0];
    assert_eq!((&data["money"], &data["released"]), (&usd(150_000), &json!(20_000)));
    assert_eq!(balances(&client).await, of_usd(180_000, 0));
    let ended = client.post("/v1/wallets/ada/holds/h/release", json!({})).await;
    assert_snapshot!(ended.problem(), @"409 hold-ended hold");
    let unknown = client.post("/v1/wallets/ada/holds/z/release", json!({})).await;
    assert_snapshot!(unknown.problem(), @"404 unknown-hold hold");
    assert_snapshot!(client.post(HOLDS, hold("h", 1)).await.problem(), @"409 hold-exists /id");

    client.post(HOLDS, hold("j", 180_000)).await.expect(201);
    client.post("/v1/wallets/ada/holds/j/release", json!({})).await.expect(200);
    let refund = json!({"money": usd(150_000), "reference": "undone"});
    let refunded = client.post("/v1/wallets/ada/refunds", refund).await.expect(201);
    assert_eq!(refunded.data("WalletRefunded")[0]["money"], usd(150_000));
    assert_eq!(balances(&client).await, of_usd(330_000, 0));
    let position = refunded.json()["position"].to_string();
    let list = client.get(&format!("/v1/wallets?min_position={position}")).await.expect(200);
    let item = &list.json()["items"][0];
    assert_eq!((&item["wallet"], &item["balances"]), (&json!("ada"), &of_usd(330_000, 0)));
}

#[tokio::test]
async fn the_same_key_thrice_counts_once() {
    let (_database, server) = Server::create().await;
    let client = server.client().keyed("top-up-1");
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.post(TOP_UPS, json!({"money": usd(500)})).await.expect(201).json());
    }
    assert!(answers.iter().all(|it| it["position"] == answers[0]["position"]), "{answers:?}");
    assert_eq!(balances(&client).await, of_usd(500, 0));
    let other = client.post(TOP_UPS, json!({"money": usd(501)})).await;
    assert_eq!(other.status, 422, "{}", other.text);
}

#[tokio::test]
async fn two_programs_have_wallets_of_their_own() {
    let (_database, server) = Server::create().await;
    let (one, two) = (server.client().of_program("one"), server.client().of_program("two"));
    filled(&one, 500).await;
    assert_snapshot!(two.get("/v1/wallets/ada").await.problem(), @"404 unknown-wallet");
    filled(&two, 7).await;
    let hold = json!({"id": "h", "money": usd(8)});
    assert_snapshot!(two.post(HOLDS, hold.clone()).await.problem(), @"409 insufficient-funds /money/amount");
    one.post(HOLDS, hold).await.expect(201);
    assert_eq!(balances(&one).await, of_usd(492, 8));
    assert_eq!(balances(&two).await, of_usd(7, 0));
}

#[tokio::test]
async fn twenty_holds_at_once_of_money_for_one_give_one() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    filled(&client, 199).await;
    let mut buyers = JoinSet::new();
    for n in 0..20 {
        let client = client.clone();
        let hold = json!({"id": format!("buyer-{n}"), "money": usd(100)});
        buyers.spawn(async move { client.post(HOLDS, hold).await });
    }
    let answers = buyers.join_all().await;
    assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1);
    let refused: Vec<_> = answers.iter().filter(|it| it.status != 201).collect();
    let refused: Vec<_> = refused.into_iter().map(Answer::problem).collect();
    assert!(refused.iter().all(|it| it == "409 insufficient-funds /money/amount"), "{refused:?}");
    assert_eq!(balances(&client).await, of_usd(99, 100));
}

#[tokio::test]
async fn a_deadline_releases_money_and_is_recorded() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    filled(&client, 400).await;
    let until = Utc::now() + TimeDelta::milliseconds(1_000);
    let hold = json!({"id": "h", "money": usd(400), "until": until});
    client.post(HOLDS, hold).await.expect(201);
    let reason = eventually("the deadline releases the hold", async || {
        let page = client.get("/v1/events?type=WalletMoneyReleased").await.json();
        page["items"].as_array()?.first().map(|event| event["data"]["reason"].clone())
    });
    assert_eq!(reason.await, "deadline");
    assert!(Utc::now() >= until, "not before its time");
    client.post(HOLDS, json!({"id": "i", "money": usd(400)})).await.expect(201);
    let past = json!({"id": "j", "money": usd(1), "until": "2001-01-01T00:00:00Z"});
    assert_snapshot!(client.post(HOLDS, past).await.problem(), @"422 invalid-until /until");
}

#[tokio::test]
async fn wrong_inputs_name_the_field() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    filled(&client, 4).await;
    client.post(HOLDS, json!({"id": "open", "money": usd(1)})).await.expect(201);
    let mut said = Vec::new();
    let amounts = ["-1", "0", "1.5", "\"2\"", "10000000000000000", "1e400", "null"];
    for wrong in amounts {
        let money = format!(r#""money": {{"amount": {wrong}, "currency": "USD"}}"#);
        let mut of_each = Vec::new();
        for (path, body) in [
            (TOP_UPS, format!("{{{money}}}")),
            ("/v1/wallets/ada/refunds", format!("{{{money}}}")),
            (HOLDS, format!(r#"{{"id": "h", {money}}}"#)),
            ("/v1/wallets/ada/holds/open/capture", format!("{{{money}}}")),
        ] {
            of_each.push(client.post_text(path, body).await.problem());
        }
        of_each.dedup();
        said.push(format!("amount {wrong}: {}", of_each.join(", ")));
    }
    for wrong in [
        json!({}),
        json!({"money": 5}),
        json!({"money": {"amount": 5}}),
        json!({"money": {"currency": "USD"}}),
        json!({"money": {"amount": 5, "currency": "XYZ"}}),
        json!({"money": {"amount": 5, "currency": "usd"}}),
        json!({"money": {"amount": 5, "currency": 7}}),
        json!({"money": usd(5), "points": 5}),
        json!({"money": usd(5), "reference": "a\nb"}),
    ] {
        let answer = client.post(TOP_UPS, wrong.clone()).await;
        said.push(format!("{wrong}: {}", answer.problem()));
    }
    let nameless = client.post(HOLDS, json!({"money": usd(1)})).await;
    said.push(format!("no id: {}", nameless.problem()));
    let path = client.post("/v1/wallets/a%20b/top-ups", json!({"money": usd(1)})).await;
    said.push(format!("a b: {}", path.problem()));
    let full = client.post(TOP_UPS, json!({"money": usd(1_000_000_000_000_000)})).await;
    said.push(format!("beyond the limit: {}", full.problem()));
    assert_eq!(balances(&client).await, of_usd(3, 1), "nothing of it was taken");
    assert_snapshot!(said.join("\n"), @r#"
    amount -1: 422 invalid-request /money/amount
    amount 0: 422 invalid-request /money/amount
    amount 1.5: 422 invalid-request /money/amount
    amount "2": 422 invalid-request /money/amount
    amount 10000000000000000: 422 invalid-request /money/amount
    amount 1e400: 422 invalid-request /money/amount
    amount null: 422 invalid-request /money/amount
    {}: 422 invalid-request /money
    {"money":5}: 422 invalid-request /money
    {"money":{"amount":5}}: 422 invalid-request /money/currency
    {"money":{"currency":"USD"}}: 422 invalid-request /money/amount
    {"money":{"amount":5,"currency":"XYZ"}}: 422 invalid-request /money/currency
    {"money":{"amount":5,"currency":"usd"}}: 422 invalid-request /money/currency
    {"money":{"amount":5,"currency":7}}: 422 invalid-request /money/currency
    {"money":{"amount":5,"currency":"USD"},"points":5}: 422 invalid-request /points
    {"money":{"amount":5,"currency":"USD"},"reference":"a\nb"}: 422 invalid-request /reference
    no id: 422 invalid-request /id
    a b: 422 invalid-request wallet
    beyond the limit: 409 limit-exceeded /money/amount
    "#);
}

#[tokio::test]
async fn the_same_commands_come_as_lines() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let lines = [
        json!({"id": "1", "type": "hold_money", "wallet": "ada", "hold": "h", "money": usd(3)}),
        json!({"id": "2", "type": "top_up_wallet", "wallet": "ada", "money": usd(5)}),
        json!({"id": "3", "type": "hold_money", "wallet": "ada", "hold": "h", "money": usd(3)}),
        json!({"id": "4", "type": "capture_money", "wallet": "ada", "hold": "h", "money": usd(1)}),
        json!({"id": "5", "type": "hold_money", "wallet": "ada", "hold": "i", "money": usd(4)}),
        json!({"id": "6", "type": "release_money", "wallet": "ada", "hold": "i"}),
        json!({"id": "7", "type": "refund_wallet", "wallet": "ada", "money": usd(1)}),
        json!({"id": "8", "type": "hold_money", "wallet": "ada", "hold": "j", "money": usd(6)}),
        json!({"id": "9", "type": "top_up_wallet", "money": usd(5)}),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    let answer = client.post_lines("/v1/commands", text.clone()).await;
    let statuses = |answer: &Answer| {
        let lines = answer.lines();
        lines.iter().map(|line| line["status"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_snapshot!(statuses(&answer), @"404 201 201 200 201 200 201 409 422");
    let count = client.events_count().await;
    let again = client.post_lines("/v1/commands", text).await;
    assert_eq!(statuses(&again), statuses(&answer));
    assert_eq!(client.events_count().await, count, "a repetition changes nothing");
    assert_eq!(balances(&client).await, of_usd(5, 0));
}
