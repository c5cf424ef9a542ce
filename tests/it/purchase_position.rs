//! What the answer of a purchase's command tells can be read at the position that it names.

use accrue_tests::client::Client;
use accrue_tests::server::Server;
use serde_json::json;
use tokio::task::JoinSet;

const PURCHASES: usize = 100;

/// Buys and gives back; what the answer of the refund says, and what is read at its position.
async fn bought_and_refunded(client: Client, number: usize) -> [(String, i64, i64); 2] {
    let (purchase, product) = (format!("p-{number}"), format!("mug-{number}"));
    let cent = json!({"amount": 1, "currency": "GBP"});
    let mug = json!({"id": product, "name": "Mug", "kind": "goods", "price": cent});
    client.post("/v1/products", mug).await.expect(201);
    let stock = format!("/v1/products/{product}/stock");
    client.post(&stock, json!({"delta": 1, "reason": "delivery"})).await.expect(200);
    let order = json!({
        "id": purchase,
        "lines": [{"product": product, "quantity": 1}],
        "tenders": [{"kind": "wallet", "wallet": "ada"}],
    });
    client.post("/v1/purchases", order).await.expect(201);
    let all = json!({"all": true, "restock": true});
    let path = format!("/v1/purchases/{purchase}");
    let answer = client.post(&format!("{path}/refund"), all).await.expect(201).json();
    let position = answer["position"].as_i64().expect("a position");
    let stock = client.get(&format!("{stock}?min_position={position}")).await.expect(200).json();
    let read = client.get(&path).await.expect(200).json();
    let told = |it: &serde_json::Value, on_hand: i64| {
        let position = it["position"].as_i64().expect("a position");
        (it["state"].as_str().expect("a state").to_owned(), position, on_hand)
    };
    [told(&answer, stock["on_hand"].as_i64().expect("units")), told(&read, 1)]
}

#[tokio::test]
async fn an_answer_names_the_position_of_the_last_event_that_it_tells_of() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let money = json!({"money": {"amount": 1_000, "currency": "GBP"}});
    client.post("/v1/wallets/ada/top-ups", money).await.expect(201);
    let mut all = JoinSet::new();
    for number in 0..PURCHASES {
        all.spawn(bought_and_refunded(client.clone(), number));
    }
    for [answered, read] in all.join_all().await {
        assert_eq!(answered, read);
    }
}
