//! Products in lists and searches, and what is there of each.

use std::collections::BTreeSet;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::program;
use accrue_tests::server::Server;
use chrono::{TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Offers something; the position of that.
async fn offer(client: &Client, id: &str, name: &str, kind: &str) -> i64 {
    let price = json!({"amount": 900, "currency": "USD"});
    let body = json!({"id": id, "name": name, "kind": kind, "price": price});
    client.post("/v1/products", body).await.expect(201).position()
}

async fn deliver(client: &Client, id: &str, units: i64) -> i64 {
    let delivery = json!({"delta": units, "reason": "delivery"});
    client.post(&format!("/v1/products/{id}/stock"), delivery).await.expect(200).position()
}

/// The ids in a page, in order.
fn ids(page: &Value) -> String {
    let items = page["items"].as_array().expect("items").iter();
    let ids = items.map(|it| it["product"].as_str().expect("an id"));
    ids.collect::<Vec<_>>().join(" ")
}

/// The ids that a search finds, whatever is in it.
async fn found(client: &Client, q: &str) -> String {
    let path = reqwest::Url::parse_with_params("http://server/v1/products", [("q", q)]);
    let query = path.expect("a URL").query().expect("a query").to_owned();
    ids(&client.get(&format!("/v1/products?{query}")).await.expect(200).json())
}

#[tokio::test]
async fn a_list_has_what_was_just_written_and_looks_like_the_product() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    offer(&client, "pen", "Pen", "goods").await;
    offer(&client, "fit", "Fitting", "service").await;
    deliver(&client, "pen", 7).await;
    let hold = json!({"id": "h", "quantity": 2});
    let position = client.post("/v1/products/pen/holds", hold).await.expect(201).position();
    let page = client.get(&format!("/v1/products?min_position={position}")).await.expect(200);
    let mut one = Vec::new();
    for id in ["fit", "pen"] {
        one.push(client.get(&format!("/v1/products/{id}")).await.expect(200).json());
    }
    assert_eq!(page.json(), json!({"items": one}));
    assert_eq!(one[1]["stock"], json!({"on_hand": 7, "available": 5, "held": 2}));

    let stock = client.get(&format!("/v1/products/pen/stock?min_position={position}")).await;
    assert_eq!(stock.header("etag"), "\"3\"");
    let holds = json!([{"id": "h", "quantity": 2}]);
    assert_eq!(
        stock.expect(200).json(),
        json!({"product": "pen", "on_hand": 7, "available": 5, "held": 2, "holds": holds,
               "position": position})
    );
    let captured = client.post("/v1/products/pen/holds/h/capture", json!({"quantity": 1})).await;
    let path = format!("/v1/products/pen/stock?min_position={}", captured.position());
    let stock = client.get(&path).await.expect(200).json();
    assert_eq!(
        (&stock["on_hand"], &stock["available"], &stock["holds"]),
        (&json!(6), &json!(6), &json!([]))
    );
    assert_snapshot!(client.get("/v1/products/fit/stock").await.problem(), @"404 no-stock");
    assert_snapshot!(client.get("/v1/products/cup/stock").await.problem(), @"404 unknown-product");
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_ended_whatever_is_filtered() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut position = 0;
    for number in 0..12 {
        let id = format!("p-{number:02}");
        let kind = if number % 3 == 0 { "service" } else { "goods" };
        position =
            offer(&client, &id, if number % 2 == 0 { "Even thing" } else { "Odd thing" }, kind)
                .await;
        if number % 4 == 1 {
            let retired = client.post(&format!("/v1/products/{id}/retire"), json!({})).await;
            position = retired.position();
        }
    }
    for (filter, expected) in [
        ("", "p-00 p-01 p-02 p-03 p-04 p-05 p-06 p-07 p-08 p-09 p-10 p-11"),
        ("&kind=goods", "p-01 p-02 p-04 p-05 p-07 p-08 p-10 p-11"),
        ("&status=retired", "p-01 p-05 p-09"),
        ("&status=active&kind=service", "p-00 p-03 p-06"),
        ("&q=thing+odd", "p-01 p-03 p-05 p-07 p-09 p-11"),
        ("&q=ODD+th&kind=goods&status=active", "p-07 p-11"),
    ] {
        let mut path = format!("/v1/products?limit=2{filter}&min_position={position}");
        let mut seen = Vec::new();
        loop {
            let page = client.get(&path).await.expect(200).json();
            seen.push(ids(&page));
            assert!(page["items"].as_array().is_some_and(|it| (1..=2).contains(&it.len())));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/products?limit=2{filter}&cursor={next}");
        }
        assert_eq!(seen.join(" "), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_search_takes_any_text_and_finds_every_word_of_it() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    offer(&client, "SKU-1", "Crème Brûlée set", "goods").await;
    offer(&client, "sku-2", "100% cotton T-shirt, size O'Neill", "goods").await;
    let position = offer(&client, "x_3", "Straße \"at night\" \\ 茶 🦄", "goods").await;
    let told = json!({"description": "A print on heavy paper"});
    client.patch("/v1/products/x_3", told).await.expect(200);
    client.get(&format!("/v1/products?min_position={}", position + 1)).await.expect(200);
    let mut said = Vec::new();
    for q in [
        "crème",
        "CRÈME SET",
        "crème cotton",
        "sku",
        "sku 2",
        "hirt",
        "shirt",
        "100%",
        "o'neill",
        "\"at night\"",
        "STRASSE",
        "茶",
        "heavy",
        "🦄",
        "%",
        "_",
        "'",
        "''",
        "\\",
        "a' OR 'a'='a",
        "'; DROP TABLE stock_products; --",
        "paper & !print",
        "pap:*",
        "<-> (",
        "\u{0}",
        "\u{202e}sku",
        "\u{fffd}",
        "\u{10ffff}",
        "e\u{301}",
        " ",
        "",
    ] {
        said.push(format!("{q:?}: {}", found(&client, q).await));
    }
    assert_snapshot!(said.join("\n"), @r#"
    "crème": SKU-1
    "CRÈME SET": SKU-1
    "crème cotton": 
    "sku": SKU-1 sku-2
    "sku 2": sku-2
    "hirt": 
    "shirt": sku-2
    "100%": sku-2
    "o'neill": sku-2
    "\"at night\"": x_3
    "STRASSE": x_3
    "茶": x_3
    "heavy": x_3
    "🦄": 
    "%": 
    "_": 
    "'": 
    "''": 
    "\\": 
    "a' OR 'a'='a": 
    "'; DROP TABLE stock_products; --": 
    "paper & !print": x_3
    "pap:*": x_3
    "<-> (": 
    "\0": 
    "\u{202e}sku": SKU-1 sku-2
    "�": 
    "\u{10ffff}": 
    "e\u{301}": 
    " ": SKU-1 sku-2 x_3
    "": SKU-1 sku-2 x_3
    "#);
    assert_eq!(found(&client, &"é".repeat(200)).await, "");
}

#[tokio::test]
async fn wrong_questions_name_the_parameter() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let long = format!("q={}", "x".repeat(201));
    let mut said = Vec::new();
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "status=gone",
        "status=",
        "kind=idea",
        "cursor=zz",
        "cursor=%C3%A9",
        "cursor=ff",
        "cursor=00",
        "min_position=-1",
        "min_position=x",
        "q=a&q=b",
        "name=x",
        &long,
        "q=%FF",
    ] {
        let answer = client.get(&format!("/v1/products?{query}")).await;
        let short: String = query.chars().take(20).collect();
        let said_of = if answer.status == 200 { "200".to_owned() } else { answer.problem() };
        said.push(format!("{short}: {said_of}"));
    }
    for path in ["a%2Fb/stock", "p/stock?min_position=-1", "p/stock?limit=1"] {
        said.push(format!(
            "{path}: {}",
            client.get(&format!("/v1/products/{path}")).await.problem()
        ));
    }
    assert_snapshot!(said.join("\n"), @r"
    limit=0: 422 invalid-request limit
    limit=501: 422 invalid-request limit
    limit=x: 422 invalid-request limit
    status=gone: 422 invalid-request status
    status=: 422 invalid-request status
    kind=idea: 422 invalid-request kind
    cursor=zz: 422 invalid-request cursor
    cursor=%C3%A9: 422 invalid-request cursor
    cursor=ff: 422 invalid-request cursor
    cursor=00: 422 invalid-request cursor
    min_position=-1: 422 invalid-request min_position
    min_position=x: 422 invalid-request min_position
    q=a&q=b: 422 invalid-request query
    name=x: 422 invalid-request name
    q=xxxxxxxxxxxxxxxxxx: 422 invalid-request q
    q=%FF: 200
    a%2Fb/stock: 422 invalid-request product
    p/stock?min_position=-1: 422 invalid-request min_position
    p/stock?limit=1: 422 invalid-request limit
    ");
}

#[tokio::test]
async fn two_programs_see_their_own() {
    let (_database, server) = Server::create().await;
    let (one, two) = (server.client(), server.client().of_program("two"));
    offer(&one, "pen", "Pen", "goods").await;
    offer(&two, "pen", "Pen of two", "goods").await;
    offer(&two, "pencil", "Pencil", "goods").await;
    let position = deliver(&two, "pen", 3).await;
    for (client, listed, on_hand) in [(&one, "pen", 0), (&two, "pen pencil", 3)] {
        let page = client.get(&format!("/v1/products?min_position={position}")).await.expect(200);
        assert_eq!(ids(&page.json()), listed);
        assert_eq!(found(client, "pen").await, listed);
        let stock = client.get("/v1/products/pen/stock").await.expect(200).json();
        assert_eq!(stock["on_hand"], on_hand);
    }
    assert_eq!(found(&one, "two").await, "");
    assert_snapshot!(one.get("/v1/products/pencil/stock").await.problem(), @"404 unknown-product");
}

#[tokio::test]
async fn an_overdue_hold_is_not_shown_where_nobody_records_deadlines() {
    let database = Database::create().await;
    let server =
        Server::start_with(&["--database-url", &database.url, "--roles", "api,projections"]).await;
    let client = server.client();
    offer(&client, "pen", "Pen", "goods").await;
    deliver(&client, "pen", 4).await;
    let until = Utc::now() + TimeDelta::milliseconds(1_500);
    let hold = json!({"id": "h", "quantity": 3, "until": until});
    let position = client.post("/v1/products/pen/holds", hold).await.expect(201).position();
    let path = format!("/v1/products/pen/stock?min_position={position}");
    let over = eventually("the hold is over", async || {
        let stock = client.get(&path).await.expect(200).json();
        let is_open = stock["holds"] != json!([]);
        assert_eq!(stock["held"], if is_open { 3 } else { 0 });
        assert!(is_open || Utc::now() >= until, "not before its time");
        (!is_open).then_some(stock)
    });
    let over = over.await;
    assert_eq!((&over["available"], &over["on_hand"]), (&json!(4), &json!(4)));
    let page = client.get("/v1/products").await.expect(200).json();
    assert_eq!(page["items"][0]["stock"], json!({"on_hand": 4, "available": 4, "held": 0}));
    let released = client.get("/v1/events?type=StockReleased").await.expect(200).json();
    assert_eq!(released["items"], json!([]), "that is nowhere in the log");
}

#[tokio::test]
async fn it_is_rebuilt_while_it_serves_and_is_the_same() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let mut position = 0;
    for number in 0..20 {
        let id = format!("p{number:02}");
        offer(&client, &id, &format!("Thing {number}"), "goods").await;
        position = deliver(&client, &id, 5).await;
        let hold = json!({"id": "h", "quantity": 1 + number % 5});
        let holds = format!("/v1/products/{id}/holds");
        position = position.max(client.post(&holds, hold).await.expect(201).position());
    }
    let path = format!("/v1/products?q=thing&min_position={position}");
    let before = client.get(&path).await.expect(200).json();
    let rows = "SELECT (SELECT string_agg(p::text, '' ORDER BY p) FROM read.stock_products p)
                    || (SELECT string_agg(h::text, '' ORDER BY h) FROM read.stock_holds h)";
    let live = database.text(rows).await;

    let reader = client.clone();
    let reading = tokio::spawn(async move {
        let mut sizes = BTreeSet::new();
        for _ in 0..200 {
            let page = reader.get("/v1/products?q=thing").await.expect(200).json();
            sizes.insert(page["items"].as_array().map(Vec::len));
        }
        sizes
    });
    for _ in 0..2 {
        let arguments = ["projections", "rebuild", "stock", "--database-url", &database.url];
        program::run(arguments).await.expect_success();
    }
    assert_eq!(reading.await.expect("no read fails"), BTreeSet::from([Some(20)]));
    assert_eq!(client.get(&path).await.expect(200).json(), before);
    assert_eq!(database.text(rows).await, live);
    let list = ["projections", "list", "--database-url", &database.url];
    assert!(program::run(list).await.expect_success().contains("stock"));
    let verify = ["verify", "--database-url", &database.url];
    program::run(verify).await.expect_success();
    let metrics = client.get("/metrics").await.expect(200).text;
    assert!(metrics.contains("accrue_follower_lag_events{follower=\"stock\"} 0"), "{metrics}");
}
