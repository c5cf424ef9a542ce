//! Purchases in lists, sagas that are on their way, and what a day has brought in.

use std::collections::BTreeSet;

use accrue_tests::client::{Answer, Client};
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::program;
use accrue_tests::server::Server;
use chrono::Utc;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn usd(cents: i64) -> Value {
    json!({"amount": cents, "currency": "USD"})
}

/// So many pens at 9 dollars, and money in a wallet.
async fn shop(client: &Client, pens: i64, cents: i64) {
    let pen = json!({"id": "pen", "name": "Pen", "kind": "goods", "price": usd(900)});
    client.post("/v1/products", pen).await.expect(201);
    let delivery = json!({"delta": pens, "reason": "delivery"});
    client.post("/v1/products/pen/stock", delivery).await.expect(200);
    client.post("/v1/wallets/ada/top-ups", json!({"money": usd(cents)})).await.expect(201);
}

fn order(id: &str, account: Option<&str>, units: i64) -> Value {
    let mut order = json!({"id": id, "lines": [{"product": "pen", "quantity": units}],
                           "tenders": [{"kind": "wallet", "wallet": "ada"}]});
    if let Some(account) = account {
        order["account"] = account.into();
    }
    order
}

/// Buys pens; the answer when that has come to its end.
async fn buy(client: &Client, id: &str, account: Option<&str>, units: i64) -> Answer {
    client.post("/v1/purchases", order(id, account, units)).await.expect(201)
}

/// One field of every item of a page, in order.
fn all(page: &Value, field: &str) -> String {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|it| it[field].as_str().expect("a text")).collect::<Vec<_>>().join(" ")
}

/// The ids on every page, which are to have at most two items.
async fn paged(client: &Client, path: &str, position: i64) -> String {
    let mut seen = Vec::new();
    let mut next = format!("{path}limit=2&min_position={position}");
    loop {
        let page = client.get(&next).await.expect(200).json();
        assert!(page["items"].as_array().is_some_and(|it| it.len() <= 2), "{page}");
        seen.push(all(&page, "id"));
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("{path}limit=2&cursor={cursor}");
    }
    seen.join(" ")
}

#[tokio::test]
async fn the_list_has_what_was_just_bought_and_says_what_each_purchase_says() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    shop(&client, 5, 3_000).await;
    buy(&client, "one", Some("ada"), 2).await;
    buy(&client, "too-many", Some("ada"), 4).await;
    let last = buy(&client, "too-dear", None, 2).await;
    let path = format!("/v1/purchases?min_position={}", last.position());
    let page = client.get(&path).await.expect(200).json();
    assert_eq!(all(&page, "id"), "too-dear too-many one");
    assert_eq!(all(&page, "state"), "rejected rejected completed");
    assert_eq!(page["items"][0]["reason"], "insufficient_funds");
    assert_eq!(page["items"][1]["reason"], "insufficient_stock");

    let half = json!({"id": "r", "amount": usd(700)});
    client.post("/v1/purchases/one/refund", half).await.expect(201);
    let rest = client.post("/v1/purchases/one/refund", json!({"all": true})).await.expect(201);
    let path = format!("/v1/purchases?min_position={}", rest.position());
    let page = client.get(&path).await.expect(200).json();
    for item in page["items"].as_array().expect("items") {
        let path = format!("/v1/purchases/{}", item["id"].as_str().expect("an id"));
        let one = client.get(&path).await.expect(200).json();
        for (field, value) in item.as_object().expect("an object") {
            assert_eq!(value, &one[field], "{path} {field}");
        }
        assert_eq!(item.get("account").is_none(), one.get("account").is_none(), "{path}");
        assert_eq!(item.get("reason").is_none(), one.get("reason").is_none(), "{path}");
    }
    let one = &page["items"][2];
    assert_eq!((&one["state"], &one["refunded"]), (&json!("refunded"), &json!(1_800)));
    assert_eq!(one["total"], usd(1_800));
    assert!(page["items"][0].get("account").is_none(), "a guest's");
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_ended_whatever_is_filtered() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    shop(&client, 100, 9_000).await;
    let mut position = 0;
    for number in 0..9 {
        let account = ["ada", "bob"][number % 2];
        // More than there is in the wallet.
        let units = if number % 3 == 0 { 90 } else { 1 };
        position = buy(&client, &format!("p{number}"), Some(account), units).await.position();
    }
    position = position.max(buy(&client, "guest", None, 1).await.position());
    for (filter, ids) in [
        ("", "guest p8 p7 p6 p5 p4 p3 p2 p1 p0"),
        ("account=ada&", "p8 p6 p4 p2 p0"),
        ("state=completed&", "guest p8 p7 p5 p4 p2 p1"),
        ("account=bob&state=rejected&", "p3"),
        ("account=ada&state=rejected&", "p6 p0"),
        ("account=nobody&", ""),
        ("state=stuck&", ""),
    ] {
        assert_eq!(paged(&client, &format!("/v1/purchases?{filter}"), position).await, ids);
    }
}

#[tokio::test]
async fn sagas_are_listed_while_they_are_on_their_way() {
    let database = Database::create().await;
    let flags = ["--database-url", &database.url, "--roles", "api,projections"];
    let alone = Server::start_with(&flags).await;
    let client = alone.client();
    shop(&client, 5, 9_000).await;
    let at_once = client.with("prefer", "respond-async");
    let mut position = 0;
    for id in ["b", "a", "c"] {
        let placed = at_once.post("/v1/purchases", order(id, None, 1)).await.expect(202);
        position = placed.json()["position"].as_i64().expect("a position");
    }
    assert_eq!(paged(&client, "/v1/sagas?", position).await, "b a c");
    assert_eq!(paged(&client, "/v1/sagas?state=running&", position).await, "b a c");
    assert_eq!(paged(&client, "/v1/sagas?state=stuck&", position).await, "");
    let saga = client.get("/v1/sagas/purchase:b").await.expect(200);
    assert_eq!(saga.header("etag"), "\"1\"");
    let saga = saga.json();
    let at = [&saga["state"], &saga["step"], &saga["way"], &saga["kind"], &saga["id"]];
    assert_eq!(at, ["running", "hold_stock", "do", "purchase", "b"]);
    assert!(saga["age_seconds"].as_i64().is_some_and(|age| age >= 0), "{saga}");
    assert_snapshot!(client.of_program("two").get("/v1/sagas/purchase:b").await.problem(), @"404 unknown-saga");
    let gauge = |count: i64| format!("accrue_sagas{{state=\"running\"}} {count}\n");
    eventually("the sagas are counted", async || {
        let metrics = client.get("/metrics").await.expect(200).text;
        metrics.contains(&gauge(3)).then_some(())
    })
    .await;

    // Somebody who sees to them.
    let server = Server::start(&database).await;
    let client = server.client();
    eventually("every saga is at its end", async || {
        let page = client.get("/v1/sagas").await.expect(200).json();
        (page["items"] == json!([])).then_some(())
    })
    .await;
    // Each read model comes to it in its own time.
    let position = database.number("SELECT position FROM log_head").await;
    assert_eq!(paged(&client, "/v1/purchases?state=completed&", position).await, "c a b");
    assert_snapshot!(client.get("/v1/sagas/purchase:b").await.problem(), @"404 unknown-saga");
    eventually("none is counted", async || {
        let metrics = client.get("/metrics").await.expect(200).text;
        metrics.contains(&gauge(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_day_has_what_was_sold_and_what_was_given_back() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    shop(&client, 10, 9_000).await;
    let mut sold = order("old", None, 3);
    sold["occurred_at"] = "2026-03-01T23:59:59Z".into();
    client.post("/v1/purchases", sold).await.expect(201);
    let mut sold = order("new", None, 1);
    sold["occurred_at"] = "2026-03-02T00:00:00Z".into();
    client.post("/v1/purchases", sold).await.expect(201);
    buy(&client, "too-many", None, 99).await;
    let lines = json!({"lines": [{"line": 1, "quantity": 2, "restock": true}]});
    let before = Utc::now().date_naive();
    let refund = client.post("/v1/purchases/old/refund", lines).await.expect(201);
    let after = Utc::now().date_naive();

    let path = format!("/v1/takings?limit=2&min_position={}", refund.position());
    let page = client.get(&path).await.expect(200).json();
    let line = |day: &str, [sales, taken]: [i64; 2]| {
        json!({"day": day, "currency": "USD", "tender": "wallet", "sales": sales, "taken": taken,
               "returned": 0, "points_taken": 0, "points_returned": 0})
    };
    let (first, second) = (line("2026-03-01", [1, 2_700]), line("2026-03-02", [1, 900]));
    assert_eq!(page["items"], json!([first, second]));
    let next = page["next"].as_str().expect("another page");
    let rest = client.get(&format!("/v1/takings?limit=2&cursor={next}")).await.expect(200).json();
    let today = &rest["items"][0];
    assert_eq!((&today["sales"], &today["returned"]), (&json!(0), &json!(1_800)), "{rest}");
    let days = [json!(before), json!(after)];
    assert!(days.contains(&today["day"]), "{today}");
    assert_eq!((rest["items"].as_array().map(Vec::len), rest.get("next")), (Some(1), None));

    for (query, days) in [
        ("from=2026-03-02&to=2026-03-02", "2026-03-02"),
        ("from=2026-03-01&to=2026-03-02", "2026-03-01 2026-03-02"),
        ("to=2026-02-28", ""),
        ("to=2026-03-01", "2026-03-01"),
    ] {
        let page = client.get(&format!("/v1/takings?{query}")).await.expect(200).json();
        assert_eq!(all(&page, "day"), days, "{query}");
    }
}

#[tokio::test]
async fn two_programs_see_their_own() {
    let (_database, server) = Server::create().await;
    let (one, two) = (server.client(), server.client().of_program("two"));
    shop(&one, 9, 9_000).await;
    shop(&two, 9, 9_000).await;
    buy(&one, "same", Some("ada"), 1).await;
    buy(&two, "same", Some("ada"), 2).await;
    let position = buy(&two, "other", Some("ada"), 3).await.position();
    for (client, ids, taken) in [(&one, "same", 900), (&two, "other same", 4_500)] {
        assert_eq!(paged(client, "/v1/purchases?account=ada&", position).await, ids);
        let path = format!("/v1/takings?min_position={position}");
        let takings = client.get(&path).await.expect(200).json();
        assert_eq!(takings["items"][0]["taken"], taken);
        assert_eq!(takings["items"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn wrong_questions_name_the_parameter() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut said = Vec::new();
    for path in [
        "purchases?limit=0",
        "purchases?limit=501",
        "purchases?state=gone",
        "purchases?state=",
        "purchases?account=a%2Fb",
        "purchases?account=%00",
        "purchases?account=",
        "purchases?cursor=zz",
        "purchases?cursor=00",
        // -1, 0, and more than any position.
        "purchases?cursor=2d31",
        "purchases?cursor=30",
        "purchases?cursor=39393939393939393939393939393939393939",
        "purchases?min_position=x",
        "purchases?until=1",
        "sagas?state=completed",
        "sagas?limit=x",
        "sagas?cursor=ff",
        // `1`, and `-99999999999999999999/purchase:a`, and `-9223372036854775808/a`.
        "sagas?cursor=31",
        "sagas?cursor=2d39393939393939393939393939393939393939392f70",
        "sagas?cursor=2d393232333337323033363835343737353830382f61",
        "sagas?account=a",
        "sagas/b",
        "sagas/booking:b",
        "sagas/purchase:",
        "sagas/purchase:a%2Fb",
        "sagas/purchase:%00",
        "sagas/purchase:a?limit=1",
        "sagas/purchase:a?min_position=-1",
        "takings?from=yesterday",
        "takings?from=2026-02-30",
        "takings?to=2026-3-1T00:00:00Z",
        "takings?from=-9999-01-01",
        "takings?to=%2B99999-01-01",
        "takings?from=2026-03-02&to=2026-03-01",
        "takings?cursor=31",
        "takings?limit=501",
        "takings?day=2026-03-01",
    ] {
        let answer = client.get(&format!("/v1/{path}")).await;
        let said_of = if answer.status == 200 { "200".to_owned() } else { answer.problem() };
        said.push(format!("{path}: {said_of}"));
    }
    assert_snapshot!(said.join("\n"), @r"
    purchases?limit=0: 422 invalid-request limit
    purchases?limit=501: 422 invalid-request limit
    purchases?state=gone: 422 invalid-request state
    purchases?state=: 422 invalid-request state
    purchases?account=a%2Fb: 422 invalid-request account
    purchases?account=%00: 422 invalid-request account
    purchases?account=: 422 invalid-request account
    purchases?cursor=zz: 422 invalid-request cursor
    purchases?cursor=00: 422 invalid-request cursor
    purchases?cursor=2d31: 422 invalid-request cursor
    purchases?cursor=30: 422 invalid-request cursor
    purchases?cursor=39393939393939393939393939393939393939: 422 invalid-request cursor
    purchases?min_position=x: 422 invalid-request min_position
    purchases?until=1: 422 invalid-request until
    sagas?state=completed: 422 invalid-request state
    sagas?limit=x: 422 invalid-request limit
    sagas?cursor=ff: 422 invalid-request cursor
    sagas?cursor=31: 422 invalid-request cursor
    sagas?cursor=2d39393939393939393939393939393939393939392f70: 422 invalid-request cursor
    sagas?cursor=2d393232333337323033363835343737353830382f61: 422 invalid-request cursor
    sagas?account=a: 422 invalid-request account
    sagas/b: 422 invalid-request saga
    sagas/booking:b: 422 invalid-request saga
    sagas/purchase:: 422 invalid-request saga
    sagas/purchase:a%2Fb: 422 invalid-request saga
    sagas/purchase:%00: 422 invalid-request saga
    sagas/purchase:a?limit=1: 422 invalid-request limit
    sagas/purchase:a?min_position=-1: 422 invalid-request min_position
    takings?from=yesterday: 422 invalid-request from
    takings?from=2026-02-30: 422 invalid-request from
    takings?to=2026-3-1T00:00:00Z: 422 invalid-request to
    takings?from=-9999-01-01: 422 invalid-request from
    takings?to=%2B99999-01-01: 422 invalid-request to
    takings?from=2026-03-02&to=2026-03-01: 422 invalid-request to
    takings?cursor=31: 422 invalid-request cursor
    takings?limit=501: 422 invalid-request limit
    takings?day=2026-03-01: 422 invalid-request day
    ");
}

#[tokio::test]
async fn they_are_rebuilt_while_they_serve_and_are_the_same() {
    let (database, server) = Server::create().await;
    let client = server.client();
    shop(&client, 30, 9_000).await;
    let mut position = 0;
    for number in 0..12 {
        let units = 1 + number % 3 * 10;
        position = buy(&client, &format!("p{number}"), Some("ada"), units).await.position();
    }
    let refund = json!({"amount": usd(100)});
    let refund = client.post("/v1/purchases/p0/refund", refund).await.expect(201);
    position = position.max(refund.position());
    let lists = ["purchases?account=ada", "takings?to=2100-01-01", "sagas?state=stuck"];
    let mut before = Vec::new();
    for list in lists {
        let path = format!("/v1/{list}&min_position={position}");
        before.push(client.get(&path).await.expect(200).json());
    }
    let reader = client.clone();
    let reading = tokio::spawn(async move {
        let mut sizes = BTreeSet::new();
        for _ in 0..100 {
            let page = reader.get("/v1/purchases").await.expect(200).json();
            sizes.insert(page["items"].as_array().map(Vec::len));
        }
        sizes
    });
    for name in ["orders", "sagas", "takings"] {
        let arguments = ["projections", "rebuild", name, "--database-url", &database.url];
        program::run(arguments).await.expect_success();
    }
    assert_eq!(reading.await.expect("no read fails"), BTreeSet::from([Some(12)]));
    for (list, before) in lists.iter().zip(&before) {
        assert_eq!(&client.get(&format!("/v1/{list}")).await.expect(200).json(), before);
    }
    program::run(["verify", "--database-url", &database.url]).await.expect_success();
    let listed = program::run(["projections", "list", "--database-url", &database.url]).await;
    let listed = listed.expect_success();
    let metrics = client.get("/metrics").await.expect(200).text;
    for name in ["orders", "sagas", "takings"] {
        assert!(listed.contains(name), "{listed}");
        let lag = format!("accrue_follower_lag_events{{follower=\"{name}\"}} 0");
        assert!(metrics.contains(&lag), "{metrics}");
    }
}
