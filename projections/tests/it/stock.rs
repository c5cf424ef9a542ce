//! `stock` says what the products themselves would say, at any time.

use accrue_domain::holds::Stage;
use accrue_domain::id::{HoldId, ProgramId};
use accrue_domain::product::command::{Changes, Command};
use accrue_domain::product::{Offering, Product};
use accrue_event_store::clock::Clock as _;
use accrue_projections::models::stock::{self, Filter, HOLDS_MAX, ProductView, StockOf};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::harness::{World, adjust, caught_up, hour, offer, product, set_aside};

/// What the fold of a product's own events says of it at an instant, as the routes show it.
struct Folded {
    view: Value,
    /// Null for a service.
    stock: Value,
    /// Units of holds that are open in the log and overdue.
    overdue: i64,
}

async fn folded(world: &World, id: &str, at: DateTime<Utc>) -> Option<Folded> {
    let program = ProgramId::default();
    let (product, version) = world.ledger.load::<Product>(&program, id).await.unwrap()?;
    let listing = product.listing()?;
    let details = &listing.details;
    let status = if listing.retired { "retired" } else { "active" };
    let mut view = json!({"product": id, "name": details.name, "kind": listing.kind.as_str(),
                          "price": details.price, "status": status, "version": version});
    for (field, text) in [("description", &details.description), ("image", &details.image)] {
        if let Some(text) = text {
            view[field] = json!(text);
        }
    }
    if listing.kind == Offering::Service {
        return Some(Folded { view, stock: Value::Null, overdue: 0 });
    }
    let open = product.holds().iter().filter(|(_, hold)| matches!(hold.stage, Stage::Open(())));
    let open = open.filter(|(_, hold)| hold.until.is_none_or(|until| until > at));
    let mut open: Vec<_> =
        open.map(|(id, hold)| (hold.until.is_none(), hold.until, id, hold.amount)).collect();
    open.sort();
    let held: i64 = open.iter().map(|(.., quantity)| quantity.get()).sum();
    let on_hand = product.available().get() + product.held().get();
    let counts = json!({"on_hand": on_hand, "available": on_hand - held, "held": held});
    view["stock"] = counts.clone();
    let holds = open.iter().map(|(_, until, id, quantity)| match until {
        Some(until) => json!({"id": id, "quantity": quantity, "until": until}),
        None => json!({"id": id, "quantity": quantity}),
    });
    let mut stock = counts;
    stock["product"] = json!(id);
    stock["holds"] = holds.collect();
    Some(Folded { view, stock, overdue: product.held().get() - held })
}

async fn ids(conn: &mut PgConnection, filter: Filter<'_>) -> String {
    let items = stock::page(conn, "default", filter, 100, hour(0)).await.unwrap();
    items.into_iter().map(|it| it.product).collect::<Vec<_>>().join(" ")
}

async fn found(conn: &mut PgConnection, search: &str) -> String {
    ids(conn, Filter { search: Some(search), ..Filter::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_read_at_any_time_equal_the_product_settled_then() {
    for seed in 1..=3 {
        let mut world = World::new().await;
        let started = world.follow().await;
        let mut conn = world.connect().await;
        let mut overdue = 0;
        for round in 0..10 {
            world.trade(seed * 100 + round, 20).await;
            caught_up(&world, &started.views).await;
            let now = world.clock.now();
            for hours in [0, 1, 4, 13] {
                let about = format!("seed {seed}, round {round}, {hours} h on");
                overdue += compare(&world, &mut conn, now + TimeDelta::hours(hours), &about).await;
            }
        }
        assert!(overdue > 5, "seed {seed}: {overdue}");
    }
}

/// How many units were found to be held no longer although nobody has recorded that.
async fn compare(world: &World, conn: &mut PgConnection, at: DateTime<Utc>, about: &str) -> i64 {
    let page = stock::page(conn, "default", Filter::default(), 10, at).await.unwrap();
    let mut overdue = 0;
    for number in 0..4 {
        let id = format!("product-{number}");
        let Some(folded) = folded(world, &id, at).await else { continue };
        let line = page.iter().find(|it: &&ProductView| it.product == id).unwrap();
        assert_eq!(serde_json::to_value(line).unwrap(), folded.view, "{id}, {about}");
        let read = stock::by_product(conn, "default", &id, at).await.unwrap();
        let StockOf::Goods(read) = read.unwrap() else {
            assert_eq!(folded.stock, Value::Null, "{id}, {about}");
            continue;
        };
        let mut shown = serde_json::to_value(&read).unwrap();
        let position = shown.as_object_mut().unwrap().remove("position");
        assert!(position.is_some_and(|it| it.as_i64() > Some(0)), "{id}, {about}");
        assert_eq!(shown, folded.stock, "{id}, {about}");
        overdue += folded.overdue;
    }
    overdue
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_hold_is_not_held_although_nobody_has_released_it() {
    let mut world = World::new().await;
    let web = world.web().await;
    let hold = set_aside("h", 3, Some(hour(2)));
    let mut position = 0;
    for command in [offer("Pen", Offering::Goods, 90), adjust(4), hold, set_aside("i", 1, None)] {
        position = world.act(vec![product("pen", command)]).await.unwrap().position;
    }
    let path = format!("/v1/products/pen/stock?min_position={position}");
    world.clock.set(hour(2) - TimeDelta::microseconds(1));
    let (_, before) = web.json(&path).await;
    assert_eq!(
        before,
        json!({"product": "pen", "on_hand": 4, "available": 0, "held": 4, "position": 4, "holds": [
            {"id": "h", "quantity": 3, "until": "2026-03-01T02:00:00Z"},
            {"id": "i", "quantity": 1},
        ]})
    );
    world.clock.set(hour(2));
    let (_, after) = web.json(&path).await;
    assert_eq!(
        after,
        json!({"product": "pen", "on_hand": 4, "available": 3, "held": 1, "position": 4,
               "holds": [{"id": "i", "quantity": 1}]})
    );
    let (_, page) = web.json("/v1/products").await;
    let one = web.json("/v1/products/pen").await.1;
    assert_eq!(page["items"], json!([one]));
    assert_eq!(one["stock"], json!({"on_hand": 4, "available": 3, "held": 1}));
    let response = web.send("/v1/products/pen/stock", false).await;
    assert_eq!(response.headers()["etag"], "\"4\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holds_that_end_first_are_shown_and_all_are_counted() {
    let mut world = World::new().await;
    let web = world.web().await;
    let most = HOLDS_MAX + 20;
    for command in [offer("Pen", Offering::Goods, 90), adjust(2 * most)] {
        world.act(vec![product("pen", command)]).await.unwrap();
    }
    let mut position = 0;
    for number in 0..most {
        let until = (number % 10 != 0).then(|| hour(1 + (number * 7) % 20));
        let hold = set_aside(&format!("hold-{number}"), 2, until);
        position = world.act(vec![product("pen", hold)]).await.unwrap().position;
    }
    let (_, shown) = web.json(&format!("/v1/products/pen/stock?min_position={position}")).await;
    assert_eq!((&shown["held"], &shown["available"]), (&json!(2 * most), &json!(0)));
    let holds = shown["holds"].as_array().unwrap();
    assert_eq!(i64::try_from(holds.len()).ok(), Some(HOLDS_MAX));
    let deadlines: Vec<_> = holds.iter().map(|it| it["until"].as_str()).collect();
    assert!(deadlines.iter().all(Option::is_some), "the others have none");
    assert!(deadlines.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_no_stock_and_an_unknown_product_is_not_there() {
    let mut world = World::new().await;
    let web = world.web().await;
    world.act(vec![product("fit", offer("Fitting", Offering::Service, 90))]).await.unwrap();
    let held = world.act(vec![product("fit", set_aside("h", 900, None))]).await.unwrap();
    let path = format!("/v1/products?min_position={}", held.position);
    let (_, page) = web.json(&path).await;
    assert_eq!(
        (&page["items"][0]["kind"], page["items"][0].get("stock")),
        (&json!("service"), None)
    );
    let (status, problem) = web.json("/v1/products/fit/stock").await;
    assert_eq!((status, &problem["type"]), (StatusCode::NOT_FOUND, &json!("/problems/no-stock")));
    let (status, problem) = web.json("/v1/products/pen/stock").await;
    let unknown = json!("/problems/unknown-product");
    assert_eq!((status, &problem["type"]), (StatusCode::NOT_FOUND, &unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_found_by_the_beginnings_of_its_words() {
    let mut world = World::new().await;
    let started = world.follow().await;
    for (id, name, description) in [
        ("SKU-42", "Crème Brûlée set", "Four dishes, a torch"),
        ("sku-43", "T-Shirt (blue)", "100% cotton; size O'Neill"),
        ("x_9", "Straße, a print", "茶 and a 🦄"),
    ] {
        world.act(vec![product(id, offer(name, Offering::Goods, 90))]).await.unwrap();
        let description = Some(description.to_owned());
        let told = Command::Change(Changes { description, ..Changes::default() });
        world.act(vec![product(id, told)]).await.unwrap();
    }
    // The same words in another program.
    let other = product("SKU-42", offer("Crème", Offering::Goods, 90));
    world.act_in("other", vec![other]).await.unwrap();
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    for (search, ids) in [
        ("CRÈME", "SKU-42"),
        ("brû torch", "SKU-42"),
        ("torch cotton", ""),
        ("sku", "SKU-42 sku-43"),
        ("sku-43", "sku-43"),
        ("shirt", "sku-43"),
        ("hirt", ""),
        ("100%", "sku-43"),
        ("o'neill", "sku-43"),
        ("strasse", "x_9"),
        ("茶", "x_9"),
        ("a", "SKU-42 x_9"),
        ("other", ""),
        ("default", ""),
        ("🦄", ""),
        ("%", ""),
        ("_", ""),
        ("' OR 1=1 --", ""),
        ("'", ""),
        ("\\", ""),
        ("torch & !dishes", "SKU-42"),
        ("t:*", "SKU-42 sku-43"),
        ("(torch", "SKU-42"),
        ("\u{202e}torch\u{0}", "SKU-42"),
    ] {
        assert_eq!(found(&mut conn, search).await, ids, "{search:?}");
    }
    // What it was called before, it is not found by.
    let name = Some("Ramekins".to_owned());
    let change = Command::Change(Changes { name, ..Changes::default() });
    world.act(vec![product("SKU-42", change)]).await.unwrap();
    caught_up(&world, &started.views).await;
    assert_eq!(
        (&*found(&mut conn, "crème").await, &*found(&mut conn, "rame").await),
        ("", "SKU-42")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_pages_go_together() {
    let mut world = World::new().await;
    let started = world.follow().await;
    for number in 0..9 {
        let kind = if number % 3 == 0 { Offering::Service } else { Offering::Goods };
        let id = format!("p{number}");
        world
            .act(vec![product(&id, offer(&format!("Pen {}", number % 2), kind, 9))])
            .await
            .unwrap();
        if number % 2 == 0 {
            world.act(vec![product(&id, Command::Retire)]).await.unwrap();
        }
    }
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    let all = Filter::default();
    assert_eq!(ids(&mut conn, all).await, "p0 p1 p2 p3 p4 p5 p6 p7 p8");
    let retired = Filter { status: Some(stock::Status::Retired), ..all };
    assert_eq!(ids(&mut conn, retired).await, "p0 p2 p4 p6 p8");
    let active = Filter { status: Some(stock::Status::Active), kind: Some(Offering::Goods), ..all };
    assert_eq!(ids(&mut conn, active).await, "p1 p5 p7");
    assert_eq!(ids(&mut conn, Filter { after: "p1", ..active }).await, "p5 p7");
    let searched = Filter { search: Some("pen 0"), kind: Some(Offering::Goods), ..all };
    assert_eq!(ids(&mut conn, searched).await, "p2 p4 p8");
    let page = Filter { after: "p2", ..searched };
    let page = stock::page(&mut conn, "default", page, 1, hour(0)).await.unwrap();
    assert_eq!(page.iter().map(|it| &*it.product).collect::<Vec<_>>(), ["p4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_came_and_went_leaves_no_row() {
    let mut world = World::new().await;
    let started = world.follow().await;
    for command in [offer("Pen", Offering::Goods, 90), adjust(5), set_aside("h", 4, None)] {
        world.act(vec![product("pen", command)]).await.unwrap();
    }
    caught_up(&world, &started.views).await;
    let hold = HoldId::new("h").unwrap();
    let one = accrue_domain::quantity::Quantity::new(1).ok();
    let capture = Command::CaptureStock { hold, quantity: one, reference: None };
    world.act(vec![product("pen", capture)]).await.unwrap();
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    let rows = "SELECT (SELECT count(*) FROM stock_holds), on_hand, available, held, name
                  FROM stock_products";
    let row: (i64, i64, i64, i64, String) =
        sqlx::query_as(rows).fetch_one(&mut conn).await.unwrap();
    assert_eq!(row, (0, 4, 4, 0, "Pen".to_owned()));
}
