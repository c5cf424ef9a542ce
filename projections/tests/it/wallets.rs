//! What each wallet has: one from the log, all from the read model.

use accrue_domain::id::HoldId;
use accrue_domain::wallet::command::Command;
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{World, hour, money, wallet};

fn top_up(amount: i64, currency: &str) -> Command {
    Command::TopUp { money: money(amount, currency), reference: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_hold_counts_as_released_before_that_is_recorded() {
    let mut world = World::new().await;
    let web = world.web().await;
    let hold = Command::Hold {
        hold: HoldId::new("h").unwrap(),
        money: money(300, "USD"),
        until: Some(hour(5)),
        reference: None,
    };
    let actions = [top_up(500, "USD"), top_up(70, "JPY"), hold].map(|it| wallet("ada", it));
    let receipt = world.act(actions.into()).await.unwrap();
    let path = format!("/v1/wallets/ada?min_position={}", receipt.position);
    let (status, shown) = web.json(&path).await;
    let balances = |usd: Value| json!([{"currency": "JPY", "available": 70, "held": 0}, usd]);
    let held = json!({"currency": "USD", "available": 200, "held": 300});
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        shown,
        json!({"wallet": "ada", "balances": balances(held.clone()), "version": 3, "position": 3})
    );
    assert_eq!(web.send("/v1/wallets/ada", false).await.headers()["etag"], "\"3\"");
    world.clock.set(hour(5));
    let (_, overdue) = web.json("/v1/wallets/ada").await;
    let free = json!({"currency": "USD", "available": 500, "held": 0});
    assert_eq!((&overdue["balances"], &overdue["version"]), (&balances(free.clone()), &json!(3)));
    let (_, list) = web.json("/v1/wallets?min_position=3").await;
    assert_eq!(list["items"][0]["balances"], balances(free.clone()), "the list says so, too");
    world.clock.set(hour(5) - TimeDelta::seconds(1));
    let (_, list) = web.json("/v1/wallets").await;
    assert_eq!(list["items"][0]["balances"], balances(held));
    world.clock.set(hour(5));
    let settled = world.act(vec![wallet("ada", Command::Settle)]).await.unwrap();
    let (_, list) = web.json(&format!("/v1/wallets?min_position={}", settled.position)).await;
    assert_eq!(
        list["items"],
        json!([{"wallet": "ada", "balances": balances(free), "position": 4}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_what_each_wallet_itself_says() {
    let mut world = World::new().await;
    let web = world.web().await;
    world.live(51, 600).await;
    // A part of a hold, which chance rarely captures.
    let (part, reference) = (HoldId::new("part").unwrap(), None);
    let hold = Command::Hold {
        hold: part.clone(),
        money: money(60, "USD"),
        until: None,
        reference: reference.clone(),
    };
    let capture = Command::Capture { hold: part, money: Some(money(20, "USD")), reference };
    let partly = [top_up(100, "USD"), hold, capture].map(|it| wallet("member-0", it));
    world.act(partly.into()).await.unwrap();
    let ids = ["member-0", "member-1", "member-2", "member-3"];
    let settled = ids.map(|id| wallet(id, Command::Settle)).into();
    world.act(settled).await.unwrap();
    let head = *world.ledger.tail().head().borrow();
    let (_, list) = web.json(&format!("/v1/wallets?min_position={head}")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), ids.len());
    for item in list["items"].as_array().unwrap() {
        let id = item["wallet"].as_str().unwrap();
        let (_, one) = web.json(&format!("/v1/wallets/{id}")).await;
        assert_eq!(item["balances"], one["balances"], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_are_listed_page_by_page_and_by_program() {
    let mut world = World::new().await;
    let web = world.web().await;
    for id in ["c", "a", "b"] {
        let actions = vec![wallet(id, top_up(5, "USD")), wallet(id, top_up(7, "GBP"))];
        world.act(actions).await.unwrap();
    }
    let of_other = vec![wallet("a", top_up(9, "JPY")), wallet("d", top_up(9, "USD"))];
    let last = world.act_in("other", of_other).await.unwrap();
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|it| it["wallet"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (_, first) = web.json(&format!("/v1/wallets?limit=2&min_position={}", last.position)).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["items"][0]["balances"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let (_, second) = web.json(&format!("/v1/wallets?limit=2&cursor={next}")).await;
    assert_eq!((names(&second), second.get("next")), (vec!["c".to_owned()], None));
    let (_, other) = web.of("other").json("/v1/wallets").await;
    assert_eq!(names(&other), ["a", "d"]);
    assert_eq!(
        other["items"][0]["balances"],
        json!([{"currency": "JPY", "available": 9, "held": 0}])
    );
    for (client, id) in [(web.of("other"), "b"), (web.clone(), "d"), (web.clone(), "never")] {
        let (status, body) = client.json(&format!("/v1/wallets/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    }
}
