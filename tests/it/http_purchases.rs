//! Purchases from outside: what is sold, refused and given back, and what is where afterwards.

use accrue_tests::client::{Answer, Client};
use accrue_tests::history;
use accrue_tests::server::Server;
use accrue_tests::shop::{
    Holdings, POINTS, PRICE, STOCK, Shop, UNTOUCHED, by_wallet, mixed, order, usd,
};
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The trail in words: what happened at which step.
fn trail(purchase: &Value) -> String {
    let steps = purchase["steps"].as_array().expect("steps");
    let words = steps.iter().map(|it| {
        let what = it["what"].as_str().expect("what happened");
        match it["step"].as_str() {
            Some(step) => format!("{step} {what}"),
            None => what.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn state(answer: &Answer) -> String {
    let purchase = answer.json();
    let reason = purchase["reason"].as_str().unwrap_or("-");
    format!("{} {} {reason}", answer.status, purchase["state"].as_str().expect("a state"))
}

/// A unicorn for 1,700.00, 4 of them, 3,300.00 in the wallet, a tenth of more than 100 in points.
async fn first_shop(client: &Client) {
    history::campaign(client).await;
    let unicorn = json!({"id": "1", "name": "Unicorn", "kind": "goods", "price": usd(PRICE)});
    client.post("/v1/products", unicorn).await.expect(201);
    let delivery = json!({"delta": 4, "reason": "delivery"});
    client.post("/v1/products/1/stock", delivery).await.expect(200);
    let top_up = json!({"money": usd(330_000), "reference": "gift card"});
    client.post("/v1/wallets/derick/top-ups", top_up).await.expect(201);
}

async fn bought(client: &Client, id: &str, quantity: i64) -> Answer {
    client.post("/v1/purchases", order(id, quantity, by_wallet())).await
}

/// Stock, wallet and, once the awards have come that far, points.
async fn first_holdings(client: &Client, points: i64) -> (Value, Value) {
    let product = client.get("/v1/products/1").await.expect(200).json();
    let wallet = client.get("/v1/wallets/derick").await.expect(200).json();
    if points > 0 {
        accrue_tests::eventually::eventually("the points are there", async || {
            let account = client.get("/v1/accounts/derick").await;
            (account.status == 200 && account.json()["available"] == points).then_some(())
        })
        .await;
    }
    let balance = &wallet["balances"][0];
    (product["stock"].clone(), json!([balance["available"].clone(), balance["held"].clone()]))
}

fn shelf(on_hand: i64) -> Value {
    json!({"on_hand": on_hand, "available": on_hand, "held": 0})
}

#[tokio::test]
async fn one_is_bought_and_the_next_is_refused_for_money() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let first = bought(&client, "p-1", 1).await;
    assert_eq!(state(&first), "201 completed -");
    assert_eq!(first_holdings(&client, 170).await, (shelf(3), json!([160_000, 0])));

    let second = bought(&client, "p-2", 1).await;
    assert_eq!(state(&second), "201 rejected insufficient_funds");
    assert_eq!(first_holdings(&client, 170).await, (shelf(3), json!([160_000, 0])));
    let purchase = client.get("/v1/purchases/p-2").await.expect(200).json();
    assert_snapshot!(trail(&purchase), @"placed, hold_stock done, hold_tenders refused, hold_stock undone, rejected");
    let purchase = client.get("/v1/purchases/p-1").await.expect(200).json();
    assert_snapshot!(trail(&purchase), @"placed, hold_stock done, hold_tenders done, completed");
}

#[tokio::test]
async fn what_is_refused_leaves_everything_as_it_was() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    assert_eq!(state(&bought(&client, "p-1", 2).await), "201 rejected insufficient_funds");
    assert_eq!(state(&bought(&client, "p-2", 5).await), "201 rejected insufficient_stock");
    let purchase = client.get("/v1/purchases/p-2").await.expect(200).json();
    assert_snapshot!(trail(&purchase), @"placed, hold_stock refused, rejected");
    assert_eq!(first_holdings(&client, 0).await, (shelf(4), json!([330_000, 0])));
}

#[tokio::test]
async fn what_no_order_can_be_names_its_field_and_is_kept_nowhere() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let before = client.events_count().await;
    let mut answers = Vec::new();
    for quantity in
        [json!(-1), json!(0), json!(1.5), json!("2"), Value::Null, json!(1_000_000_000_000_i64)]
    {
        let mut body = order("p-1", 1, by_wallet());
        body["lines"][0]["quantity"] = quantity;
        answers.push(client.post("/v1/purchases", body).await.problem());
    }
    let mut missing = order("p-1", 1, by_wallet());
    missing["lines"] = json!([{"product": "1"}]);
    answers.push(client.post("/v1/purchases", missing).await.problem());
    let with = |field: &str, value: Value| {
        let mut body = order("p-1", 1, by_wallet());
        body[field] = value;
        body
    };
    let card = |token: &str| json!([{"kind": "card", "payment_method": token}]);
    for body in [
        with("id", json!("")),
        with("id", json!("x".repeat(81))),
        with("lines", json!([])),
        with("lines", json!([{"product": "none", "quantity": 1}])),
        with("lines", json!([{"product": "1", "quantity": 1, "price": usd(1)}])),
        with("tenders", json!([])),
        with("tenders", json!([{"kind": "cash"}])),
        with("tenders", json!([{"kind": "wallet"}])),
        with("tenders", json!([{"kind": "wallet", "wallet": "derick", "points": 5}])),
        with("tenders", json!([{"kind": "wallet", "wallet": "derick", "money": usd(1)}])),
        with("tenders", json!([{"kind": "points"}])),
        with("tenders", card("4242 4242 4242 4242")),
        with("tenders", card("not a token")),
        with("reference", json!("4242424242424242")),
        with("until", json!("2001-01-01T00:00:00Z")),
        with("colour", json!("red")),
    ] {
        answers.push(client.post("/v1/purchases", body).await.problem());
    }
    assert_snapshot!(answers.join("\n"));
    assert_eq!(client.events_count().await, before);
    // Half of it is found in many an instant of a log.
    let log = server.log();
    for number in ["4242 4242", "42424242"] {
        assert!(!log.contains(number), "a card's number is in the log: {log}");
    }
    let soon = client.with("prefer", "wait=soon");
    let soon = soon.post("/v1/purchases", order("p-1", 1, by_wallet())).await;
    assert_snapshot!(soon.problem(), @"422 invalid-request Prefer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_one_sale_also_across_a_restart() {
    let (_database, mut server) = Server::create().await;
    first_shop(&server.client()).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(bought(&server.client().keyed("k"), "p-1", 1).await.expect(201));
    }
    server.kill9();
    server.restart().await;
    answers.push(bought(&server.client().keyed("k"), "p-1", 1).await.expect(201));
    assert_eq!(answers[1].header("idempotency-hit"), "true");
    let told = |answer: &Answer| {
        let purchase = answer.json();
        (purchase["state"].clone(), purchase["version"].clone(), purchase["total"].clone())
    };
    assert!(answers.iter().all(|it| told(it) == told(&answers[0])), "{answers:?}");
    // Without the key the id alone tells that it is the same.
    assert_eq!(state(&bought(&server.client(), "p-1", 1).await), "201 completed -");
    let other = bought(&server.client(), "p-1", 2).await;
    assert_snapshot!(other.problem(), @"409 purchase-exists /id");
    assert_eq!(first_holdings(&server.client(), 170).await, (shelf(3), json!([160_000, 0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_with_money_for_one_there_is_one_sale() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let mut tasks = JoinSet::new();
    for id in ["p-1", "p-2"] {
        let client = client.clone();
        tasks.spawn(async move { state(&bought(&client, id, 1).await) });
    }
    let mut states = tasks.join_all().await;
    states.sort();
    assert_eq!(states, ["201 completed -", "201 rejected insufficient_funds"]);
    assert_eq!(first_holdings(&client, 170).await, (shelf(3), json!([160_000, 0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_buyers_of_four_units_get_four_sales() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let much = json!({"money": usd(100 * PRICE)});
    client.post("/v1/wallets/derick/top-ups", much).await.expect(201);
    let mut tasks = JoinSet::new();
    for buyer in 0..100 {
        let client = client.clone();
        tasks.spawn(async move { state(&bought(&client, &format!("p-{buyer}"), 1).await) });
    }
    let states = tasks.join_all().await;
    let count = |wanted: &str| states.iter().filter(|it| *it == wanted).count();
    let counts = (count("201 completed -"), count("201 rejected insufficient_stock"));
    assert_eq!(counts, (4, 96), "{states:?}");
    let (stock, _) = first_holdings(&client, 680).await;
    assert_eq!(stock, shelf(0));
}

#[tokio::test]
async fn lines_on_one_product_are_summed_before_the_check() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let mut body = order("p-1", 1, by_wallet());
    body["lines"] = json!([{"product": "1", "quantity": 2}, {"product": "1", "quantity": 3}]);
    let answer = client.post("/v1/purchases", body).await;
    assert_eq!(state(&answer), "201 rejected insufficient_stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn points_wallet_and_card_pay_together_and_are_paid_back_piece_by_piece() {
    let shop = Shop::open().await;
    let bought = shop.buy("p-1", 2, mixed("pm_card_visa")).await;
    assert_eq!(state(&bought), "201 completed -");
    let sold = Holdings {
        stock: (998, 0),
        wallet: (9_950_000, 0),
        points: (990_000, 0),
        card: (280_000, 0),
    };
    assert_eq!(shop.holdings().await, sold);
    let client = shop.client();
    let refund = "/v1/purchases/p-1/refund";
    let one = json!({"id": "r-1", "lines": [{"line": 1, "quantity": 1, "restock": true}]});
    let back = client.post(refund, one).await.expect(201).json();
    assert_eq!((&back["state"], &back["refunded"]), (&json!("completed"), &json!(170_000)));
    let half = Holdings {
        stock: (999, 0),
        wallet: (9_975_000, 0),
        points: (995_000, 0),
        card: (140_000, 0),
    };
    assert_eq!(shop.holdings().await, half);
    let amount = json!({"id": "r-2", "amount": usd(100_000)});
    client.post(refund, amount.clone()).await.expect(201);
    client.post(refund, amount).await.expect(201);
    let too_much = client.post(refund, json!({"amount": usd(70_001)})).await;
    assert_snapshot!(too_much.problem(), @"409 exceeds-paid /amount");
    let rest = client.post(refund, json!({"all": true, "restock": true})).await.expect(201);
    assert_eq!(state(&rest), "201 refunded -");
    assert_eq!(shop.holdings().await, UNTOUCHED);
    let nothing = client.post(refund, json!({"all": true})).await;
    assert_snapshot!(nothing.problem(), @"409 exceeds-paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_an_order_of_long_ago_go_back_to_their_lots() {
    let shop = Shop::open().await;
    let client = shop.client();
    let soon = json!({"points": 4_000, "lot": "soon", "expires": {"after": "P12M"}});
    let issued = client.post("/v1/accounts/derick/points/issue", soon).await.expect(201);
    let lots = async |position: i64| {
        let path = format!("/v1/accounts/derick?min_position={position}");
        let account = client.get(&path).await.expect(200).json();
        let lots = account["lots"].as_array().expect("lots").iter();
        let lots = lots.map(|it| (it["remaining"].clone(), it["expires_at"].clone()));
        lots.collect::<Vec<_>>()
    };
    let before = lots(issued.position()).await;
    let bought = shop.buy("p-1", 1, mixed("pm_card_visa")).await;
    assert_eq!(state(&bought), "201 completed -");
    assert_ne!(lots(bought.json()["position"].as_i64().expect("a position")).await, before);
    // More holds than an account remembers have ended since.
    let line = |n: usize, kind: &str, points: &str| {
        format!(
            r#"{{"id":"{kind}-{n}","type":"{kind}","account":"derick","hold":"h-{n}"{points}}}"#
        )
    };
    let later = |n| [line(n, "place_hold", r#","points":1"#), line(n, "release_hold", "")];
    let later = (0..1_001).flat_map(later).collect::<Vec<_>>().join("\n");
    for answer in client.post_lines("/v1/commands", later).await.expect(200).lines() {
        assert!(answer["status"].as_i64() < Some(300), "{answer}");
    }
    let refund = "/v1/purchases/p-1/refund";
    let half = json!({"lines": [{"line": 1, "quantity": 1, "restock": true}]});
    let back = client.post(refund, json!({"amount": usd(85_000)})).await.expect(201);
    assert_eq!(back.json()["refunds"][0]["tenders"][0]["points"], 5_000);
    let half = client.post(refund, half).await;
    assert_snapshot!(half.problem(), @"409 exceeds-paid /lines");
    let back = client.post(refund, json!({"all": true, "restock": true})).await.expect(201);
    assert_eq!(state(&back), "201 refunded -");
    assert_eq!(lots(back.json()["position"].as_i64().expect("a position")).await, before);
    assert_eq!(shop.holdings().await.stock, UNTOUCHED.stock);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_in_points_earns_nothing_and_what_is_not_restocked_stays_away() {
    let shop = Shop::open().await;
    let client = shop.client();
    history::campaign(&client).await;
    let has_points = async |points: i64| {
        accrue_tests::eventually::eventually(&format!("there are {points} points"), async || {
            // Not there at all before the read model has come so far.
            let account = client.get("/v1/accounts/derick").await.json();
            (account["available"] == points).then_some(())
        })
        .await;
    };
    // 1,700.00 each, of which 100.00 are points: a tenth of the rest is earned.
    let bought = shop.buy("p-1", 2, mixed("pm_card_visa")).await;
    assert_eq!(state(&bought), "201 completed -");
    has_points(POINTS - 10_000 + 330).await;
    let refund = "/v1/purchases/p-1/refund";
    let kept = json!({"lines": [{"line": 1, "quantity": 1, "restock": false}]});
    client.post(refund, kept).await.expect(201);
    has_points(POINTS - 5_000 + 165).await;
    assert_eq!(shop.holdings().await.stock, (STOCK - 2, 0));
    let again = json!({"lines": [{"line": 1, "quantity": 2, "restock": true}]});
    let again = client.post(refund, again).await;
    assert_snapshot!(again.problem(), @"409 exceeds-paid /lines/0/quantity");
    let rest = client.post(refund, json!({"all": true})).await.expect(201);
    assert_eq!(state(&rest), "201 refunded -");
    has_points(POINTS).await;
    let without_goods = Holdings { stock: (STOCK - 2, 0), ..UNTOUCHED };
    assert_eq!(shop.holdings().await, without_goods);
}

#[tokio::test(flavor = "multi_thread")]
async fn earned_points_go_back_in_proportion() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    assert_eq!(state(&bought(&client, "p-1", 1).await), "201 completed -");
    first_holdings(&client, 170).await;
    let refund = "/v1/purchases/p-1/refund";
    client.post(refund, json!({"amount": usd(17_000)})).await.expect(201);
    first_holdings(&client, 153).await;
    let rest = json!({"all": true, "restock": true});
    client.post(refund, rest).await.expect(201);
    accrue_tests::eventually::eventually("all points are taken back", async || {
        let account = client.get("/v1/accounts/derick").await.json();
        (account["available"] == 0 && account["debt"] == 0).then_some(())
    })
    .await;
    assert_eq!(first_holdings(&client, 0).await, (shelf(4), json!([330_000, 0])));
}

#[tokio::test]
async fn what_is_over_cannot_be_cancelled_and_what_is_not_there_cannot_be_anything() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    bought(&client, "p-1", 1).await.expect(201);
    let cancel = client.post("/v1/purchases/p-1/cancel", json!({"reason": "late"})).await;
    assert_snapshot!(cancel.problem(), @"409 purchase-over");
    let cancel = client.post("/v1/purchases/none/cancel", json!({})).await;
    assert_snapshot!(cancel.problem(), @"404 unknown-purchase");
    let refund = client.post("/v1/purchases/none/refund", json!({"all": true})).await;
    assert_snapshot!(refund.problem(), @"404 unknown-purchase");
    assert_snapshot!(client.get("/v1/purchases/none").await.problem(), @"404 unknown-purchase");
    let verb = json!({"reason": "try", "actor": "desk"});
    let retry = client.post("/v1/sagas/purchase:p-1/retry", verb.clone()).await;
    assert_snapshot!(retry.problem(), @"409 not-stuck");
    let stray = client.post("/v1/sagas/p-1/retry", verb).await;
    assert_snapshot!(stray.problem(), @"422 invalid-request saga");
}

#[tokio::test]
async fn the_sagas_own_holds_and_sales_are_not_for_clients() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let hold = json!({"id": "purchase:p-1", "quantity": 1});
    let held = client.post("/v1/products/1/holds", hold).await;
    assert_snapshot!(held.problem(), @"422 invalid-request /id");
    let release = client.post("/v1/products/1/holds/purchase:p-1/release", json!({})).await;
    assert_snapshot!(release.problem(), @"422 invalid-request hold");
    let sale = json!({"id": "purchase:p-1", "total": usd(5)});
    assert_snapshot!(client.post("/v1/sales", sale).await.problem(), @"422 invalid-request /id");
}

#[tokio::test]
async fn orders_go_over_commands_too_and_a_dry_run_keeps_nothing() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    first_shop(&client).await;
    let dry = client.post("/v1/purchases?dry_run=true", order("p-0", 1, by_wallet())).await;
    assert_eq!(dry.expect(200).data("PurchasePlaced").len(), 1);
    let mut line = order("x", 1, by_wallet());
    line["type"] = json!("place_purchase");
    line["purchase"] = json!("p-1");
    line["id"] = json!("key-1");
    let answers = client.post_lines("/v1/commands", format!("{line}\n")).await.expect(200).lines();
    assert_eq!(answers[0]["status"], 202, "{answers:?}");
    accrue_tests::eventually::eventually("it is completed", async || {
        let purchase = client.get("/v1/purchases/p-1").await.expect(200).json();
        (purchase["state"] == "completed").then_some(())
    })
    .await;
    assert_snapshot!(client.get("/v1/purchases/p-0").await.problem(), @"404 unknown-purchase");
    // Whoever does not wait is told where to look.
    let client = client.with("prefer", "respond-async");
    let later = client.post("/v1/purchases", order("p-2", 1, by_wallet())).await.taken();
    assert_eq!(later.header("location"), "/v1/purchases/p-2");
}

/// Its answer tells how the purchase stands then, which is read behind it.
#[tokio::test]
async fn a_command_that_is_done_is_not_said_to_be_not_done_when_its_answer_cannot_be_read() {
    let shop = Shop::open().await;
    shop.buy("p-1", 1, by_wallet()).await.expect(201);
    // The command's commit is held up until a lock on the log stands in line behind it: then what
    // it wrote is there, and nobody can read it.
    let held_up = shop.database.hold_up_commits().await;
    let mut lock = shop.database.connect().await;
    let path = "/v1/purchases/p-1/refund";
    let client = shop.client().keyed("one").with("prefer", "wait=1");
    let refund = json!({"all": true, "restock": true});
    let (unread, ()) = tokio::join!(client.post(path, refund.clone()), async {
        shop.database.until_sessions("wait_event = 'advisory'", 1).await;
        let stand_in_line = async {
            sqlx::raw_sql("BEGIN; LOCK events").execute(&mut lock).await.expect("locked");
        };
        let let_go = async {
            shop.database.until_sessions("wait_event = 'relation'", 1).await;
            held_up.let_go().await;
        };
        tokio::join!(stand_in_line, let_go);
    });
    assert_snapshot!(unread.problem(), @"503 outcome-unknown");
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.expect("unlocked");
    let asked = "SELECT count(*) FROM events WHERE event_type = 'PurchaseRefundRequested'";
    assert_eq!(shop.database.number(asked).await, 1);
    client.post(path, refund).await.taken();
    assert_eq!(shop.ended("p-1").await["state"], "refunded");
    assert_eq!(shop.database.number(asked).await, 1);
}
