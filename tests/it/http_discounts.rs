//! Discounts from outside: what they take off, what is paid, earned and given back, and what no
//! discount can be.

use accrue_tests::client::{Answer, Client};
use accrue_tests::eventually::eventually;
use accrue_tests::history;
use accrue_tests::server::Server;
use accrue_tests::shop::{by_wallet, usd};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Two lamps at 1,700.00 and three pens at 3.33, 10,000.00 in the wallet, and a tenth of more than
/// 100 in points.
async fn shop() -> (accrue_tests::database::Database, Server, Client) {
    let (database, server) = Server::create().await;
    let client = server.client();
    history::campaign(&client).await;
    for (id, price) in [("lamp", 170_000), ("pen", 333)] {
        let product = json!({"id": id, "name": id, "kind": "goods", "price": usd(price)});
        client.post("/v1/products", product).await.expect(201);
        let delivery = json!({"delta": 10, "reason": "delivery"});
        client.post(&format!("/v1/products/{id}/stock"), delivery).await.expect(200);
    }
    let top_up = json!({"money": usd(1_000_000)});
    client.post("/v1/wallets/derick/top-ups", top_up).await.expect(201);
    (database, server, client)
}

/// An order of 3,409.99 before anything is taken off.
fn order(id: &str, discounts: Value) -> Value {
    let lines = json!([{"product": "lamp", "quantity": 2}, {"product": "pen", "quantity": 3}]);
    json!({"id": id, "account": "derick", "lines": lines, "discounts": discounts,
           "tenders": by_wallet()})
}

/// A tenth off everything, and a dollar off the pens.
fn reduced(id: &str) -> Value {
    order(
        id,
        json!([
            {"id": "spring", "reason": "spring sale", "percent": "10"},
            {"reason": "damaged box", "amount": usd(100), "line": 2},
        ]),
    )
}

async fn wallet(client: &Client) -> i64 {
    let wallet = client.get("/v1/wallets/derick").await.expect(200).json();
    wallet["balances"][0]["available"].as_i64().expect("a number")
}

async fn on_hand(client: &Client, product: &str) -> i64 {
    let product = client.get(&format!("/v1/products/{product}")).await.expect(200).json();
    product["stock"]["on_hand"].as_i64().expect("a number")
}

async fn has_points(client: &Client, points: i64) {
    eventually(&format!("there are {points} points"), async || {
        let account = client.get("/v1/accounts/derick").await;
        (account.status == 200 && account.json()["available"] == points).then_some(())
    })
    .await;
}

/// Total, what was taken off it, and of each line the same.
fn costs(purchase: &Value) -> String {
    let lines = purchase["lines"].as_array().expect("lines").iter();
    let lines = lines.map(|it| format!("{} -{}", it["amount"], it["discount"]));
    let lines = lines.collect::<Vec<_>>().join(", ");
    format!("{} -{}: {lines}", purchase["total"]["amount"], purchase["discount"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_paid_and_earned_on_and_comes_back_unit_by_unit() {
    let (_database, _server, client) = shop().await;
    let by_discount = json!({
        "id": "by-discount", "name": "A point for each 10 saved", "activate": true,
        "rules": [{
            "variable": "$.discounts[?(@.id=='spring')].amount",
            "condition": {"rule": "numeric_greater_than", "value": 340},
            "action": {"command": "issue", "formula": "$.discount/10"}
        }],
    });
    client.post("/v1/campaigns", by_discount).await.expect(201);
    let bought = client.post("/v1/purchases", reduced("p-1")).await.expect(201).json();
    assert_eq!(bought["state"], "completed");
    assert_snapshot!(costs(&bought), @"306799 -34200: 306000 -34000, 799 -200");
    let discounts = json!([
        {"id": "spring", "reason": "spring sale", "percent": "10", "amount": 34_100},
        {"reason": "damaged box", "line": 2, "amount": 100},
    ]);
    assert_eq!(bought["discounts"], discounts);
    assert_eq!(bought["tenders"][0]["amount"], 306_799);
    assert_eq!(wallet(&client).await, 1_000_000 - 306_799);
    // A tenth of 3,067.99 that were paid, and of 342.00 that were not.
    has_points(&client, 306 + 34).await;

    let read = client.get("/v1/purchases/p-1").await.expect(200).json();
    for field in ["discount", "discounts", "lines", "total"] {
        assert_eq!(read[field], bought[field], "{field}");
    }
    let position = bought["position"].as_i64().expect("a position");
    let list = client.get(&format!("/v1/purchases?min_position={position}")).await.expect(200);
    let row = list.json()["items"][0].clone();
    assert_eq!((&row["total"], &row["discount"]), (&usd(306_799), &json!(34_200)));
    let takings = client.get(&format!("/v1/takings?min_position={position}")).await.expect(200);
    assert_eq!(takings.json()["items"][0]["taken"], 306_799);

    let refund = "/v1/purchases/p-1/refund";
    let mut left = 306_799;
    for (line, units, back) in [(2, 1, 266), (2, 1, 266), (1, 1, 153_000), (2, 1, 267)] {
        let lines = json!({"lines": [{"line": line, "quantity": units, "restock": true}]});
        let answer = client.post(refund, lines).await.expect(201).json();
        left -= back;
        assert_eq!(answer["refunded"], 306_799 - left, "{answer}");
    }
    let too_much = client.post(refund, json!({"amount": usd(153_001)})).await;
    assert_snapshot!(too_much.problem(), @"409 exceeds-paid /amount");
    let rest = client.post(refund, json!({"all": true, "restock": true})).await.expect(201);
    assert_eq!(rest.json()["state"], "refunded");
    assert_eq!(wallet(&client).await, 1_000_000);
    assert_eq!((on_hand(&client, "lamp").await, on_hand(&client, "pen").await), (10, 10));
    has_points(&client, 0).await;
}

#[tokio::test]
async fn what_discounts_leave_nothing_of_is_completed_without_a_tender() {
    let (_database, _server, client) = shop().await;
    let all = json!([{"reason": "a gift", "percent": 100}]);
    let with_tender = client.post("/v1/purchases", order("p-1", all.clone())).await;
    assert_snapshot!(with_tender.problem(), @"422 invalid-tenders /tenders/0");
    let mut gift = order("p-1", all);
    gift["tenders"] = json!([]);
    let completed = client.post("/v1/purchases", gift.clone()).await.expect(201).json();
    assert_eq!(completed["state"], "completed");
    assert_snapshot!(costs(&completed), @"0 -340999: 0 -340000, 0 -999");
    assert_eq!((wallet(&client).await, on_hand(&client, "pen").await), (1_000_000, 7));
    let position = completed["position"].as_i64().expect("a position");
    let takings = client.get(&format!("/v1/takings?min_position={position}")).await.expect(200);
    assert_eq!(takings.json()["items"], json!([]));
    let back = json!({"all": true, "restock": true});
    let back = client.post("/v1/purchases/p-1/refund", back).await.expect(201).json();
    assert_eq!((&back["state"], on_hand(&client, "pen").await), (&json!("refunded"), 10));

    // Also where only some of it was free, and what was paid is back already.
    let free_pens = json!([{"reason": "free pens", "percent": "100", "line": 2}]);
    client.post("/v1/purchases", order("p-0", free_pens)).await.expect(201);
    for (line, units) in [(1, 2), (2, 1), (2, 2)] {
        let lines = json!({"lines": [{"line": line, "quantity": units, "restock": true}]});
        let back = client.post("/v1/purchases/p-0/refund", lines).await.expect(201).json();
        let (state, open) = (&back["state"], &back["open"]);
        assert_eq!((state, open), (&json!("refunded"), &Value::Null), "{back}");
    }
    assert_eq!((wallet(&client).await, on_hand(&client, "pen").await), (1_000_000, 10));
    for nothing in [json!({"lines": []}), json!({"amount": usd(0)})] {
        let answer = client.post("/v1/purchases/p-0/refund", nothing).await;
        println!("{}", answer.problem());
        assert_eq!(answer.status, 422, "{}", answer.text);
    }

    gift["id"] = json!("p-2");
    gift["discounts"][0]["percent"] = json!("99.99999");
    let unpaid = client.post("/v1/purchases", gift).await;
    // 3 hundredths of a cent are nothing.
    assert_eq!(unpaid.expect(201).json()["total"], usd(0));
    let mut unpaid = order("p-3", json!([{"reason": "a gift", "amount": usd(340_998)}]));
    unpaid["tenders"] = json!([]);
    let unpaid = client.post("/v1/purchases", unpaid).await;
    assert_snapshot!(unpaid.problem(), @"422 invalid-tenders /tenders");
}

#[tokio::test]
async fn what_no_discount_can_be_names_its_field_and_is_kept_nowhere() {
    let (_database, _server, client) = shop().await;
    let before = client.events_count().await;
    let mut answers = Vec::new();
    let mut refused = async |what: Value| {
        let shown = what.to_string().chars().take(70).collect::<String>();
        let answer = client.post("/v1/purchases", order("p-1", what)).await;
        answers.push(format!("{shown} => {}", answer.problem()));
    };
    let percents = json!([
        "0",
        "0.0",
        "-10",
        "100.000001",
        "101",
        "1e1",
        "10%",
        "",
        "ten",
        0,
        -10,
        101,
        1e3,
        10.1234567,
        true,
        {},
        []
    ]);
    for percent in percents.as_array().expect("a list") {
        refused(json!([{"reason": "r", "percent": percent}])).await;
    }
    for amount in [json!(-1), json!(0), json!(1.5), json!("5"), json!(1_000_000_000_000_001_i64)] {
        refused(json!([{"reason": "r", "amount": {"amount": amount, "currency": "USD"}}])).await;
    }
    for wrong in [
        json!("10"),
        json!({"reason": "r", "percent": "10"}),
        json!([null]),
        json!([{"reason": "r"}]),
        json!([{"percent": "10"}]),
        json!([{"reason": "", "percent": "10"}]),
        json!([{"reason": "x".repeat(201), "percent": "10"}]),
        json!([{"reason": "4242 4242 4242 4242", "percent": "10"}]),
        json!([{"reason": "r", "percent": "10", "amount": usd(1)}]),
        json!([{"reason": "r", "percent": "10", "colour": "red"}]),
        json!([{"reason": "r", "percent": "10", "id": "a b"}]),
        json!([{"reason": "r", "percent": "10", "line": 0}]),
        json!([{"reason": "r", "percent": "10", "line": 3}]),
        json!([{"reason": "r", "percent": "10", "line": "1"}]),
        json!([{"reason": "r", "amount": {"amount": 1, "currency": "GBP"}}]),
        json!([{"reason": "r", "amount": {"amount": 1, "currency": "usd"}}]),
        json!([{"reason": "r", "amount": usd(1_000), "line": 2}]),
        json!([{"reason": "r", "percent": "10"}, {"reason": "r", "amount": usd(340_999)}]),
        json!(vec![json!({"reason": "r", "percent": "1"}); 501]),
    ] {
        refused(wrong).await;
    }
    assert_snapshot!(answers.join("\n"));
    // The price is what it is without discounts.
    let mut believed = reduced("p-1");
    believed["lines"][0]["price"] = usd(153_000);
    let believed = client.post("/v1/purchases", believed).await;
    assert_snapshot!(believed.problem(), @"409 price-differs /lines/0/price");
    assert_eq!(client.events_count().await, before);
    let mut known = reduced("p-1");
    known["lines"][0]["price"] = usd(170_000);
    client.post("/v1/purchases", known).await.expect(201);
}

#[tokio::test]
async fn discounts_go_over_commands_and_dry_runs_too_and_their_spelling_does_not_count() {
    let (_database, _server, client) = shop().await;
    let dry = client.post("/v1/purchases?dry_run=true", reduced("p-0")).await.expect(200);
    let placed = dry.data("PurchasePlaced");
    assert_eq!(
        (&placed[0]["total"], &placed[0]["discounts"][0]["amount"]),
        (&usd(306_799), &json!(34_100))
    );
    let mut line = reduced("p-1");
    line["type"] = json!("place_purchase");
    line["purchase"] = json!("p-1");
    line["id"] = json!("key-1");
    let mut wrong = line.clone();
    wrong["id"] = json!("key-2");
    wrong["purchase"] = json!("p-none");
    wrong["discounts"][1]["line"] = json!(3);
    let body = format!("{line}\n{wrong}\n");
    let answers = client.post_lines("/v1/commands", body).await.expect(200).lines();
    assert_eq!((&answers[0]["status"], &answers[1]["status"]), (&json!(202), &json!(422)));
    assert_eq!(answers[1]["problem"]["errors"][0]["pointer"], "/discounts/1/line", "{answers:?}");
    eventually("it is completed", async || {
        let purchase = client.get("/v1/purchases/p-1").await.expect(200).json();
        (purchase["state"] == "completed").then_some(())
    })
    .await;
    assert_eq!(wallet(&client).await, 1_000_000 - 306_799);

    let spelled = |percent: Value| async {
        let mut body = reduced("p-2");
        body["discounts"][0]["percent"] = percent;
        client.keyed("key-3").post("/v1/purchases", body).await
    };
    let hit = |answer: Answer| (answer.status, answer.header("idempotency-hit") == "true");
    assert_eq!(hit(spelled(json!("10")).await), (201, false));
    assert_eq!(hit(spelled(json!("10.00")).await), (201, true));
    assert_eq!(hit(spelled(json!(10.0)).await), (201, true));
    let other = spelled(json!("10.01")).await;
    assert_snapshot!(other.problem(), @"422 idempotency-key-reused Idempotency-Key");
}
