//! The routes: what they show, wait for and refuse.

use accrue_domain::account::command::Command;
use accrue_domain::action::Action;
use accrue_domain::id::SaleId;
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::product::Offering;
use accrue_domain::purchase::step::Step;
use accrue_domain::sale;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{World, account, activate, award, hour, issue, offer, product};
use crate::shop::{card, done, order, purchase, there};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_shows_what_it_has_and_what_it_had() {
    let mut world = World::new().await;
    let web = world.web().await;
    let first = Command::Issue(accrue_domain::account::command::Issue {
        expires: Some(accrue_domain::expiry::Policy::At(hour(10))),
        source: award("tenth", "sale-1"),
        ..issue("one", 30)
    });
    world.to("a", first).await;
    world.clock.set(hour(5));
    let receipt = world.to("a", Command::Issue(issue("two", 12))).await;
    let path = format!("/v1/accounts/a?min_position={}", receipt.position);
    let (status, now) = web.json(&path).await;
    assert_eq!(status, StatusCode::OK);
    let two = json!({"lot": "two", "issued": 12, "remaining": 12, "held": 0, "source": {"kind": "issue"}, "position": 3});
    let source = json!({"kind": "campaign", "campaign": "tenth", "version": 1, "event": 1, "sale": "sale-1"});
    let one = json!({"lot": "one", "issued": 30, "remaining": 30, "held": 0,
                     "expires_at": "2026-03-01T10:00:00Z", "source": source, "position": 2});
    let both = json!({
        "account": "a", "available": 42, "pending": 0, "held": 0, "debt": 0, "lots": [one, two],
        "lots_more": false, "expiring": [{"at": "2026-03-01T10:00:00Z", "points": 30}],
        "expiring_more": false, "version": 3, "position": 3,
    });
    assert_eq!(now, both);
    world.clock.set(hour(10));
    let (_, later) = web.json("/v1/accounts/a").await;
    assert_eq!((&later["available"], &later["lots"]), (&json!(12), &json!([two])), "it has lapsed");
    let (_, before) = web.json("/v1/accounts/a?at=2026-03-01T04:59:59Z").await;
    assert_eq!((&before["available"], &before["version"]), (&json!(30), &json!(2)));
    let (_, then) = web.json("/v1/accounts/a?at=2026-03-01T05:00:00Z").await;
    assert_eq!(then, both);
    let (status, _) = web.json("/v1/accounts/a?at=2026-02-01T00:00:00Z").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, body) = web.json("/v1/accounts/a?at=2026-03-01T10:00:01Z").await;
    assert_eq!(
        (status, &body["errors"][0]["pointer"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("at"))
    );
    let response = web.send("/v1/accounts/a", false).await;
    assert_eq!(response.headers()["etag"], "\"3\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lots_of_an_account_come_page_by_page() {
    let mut world = World::new().await;
    let web = world.web().await;
    let mut position = 0;
    for (lot, expires) in [("third", None), ("second", Some(20)), ("first", Some(10))] {
        let expires = expires.map(|hours| accrue_domain::expiry::Policy::At(hour(hours)));
        let lot = accrue_domain::account::command::Issue { expires, ..issue(lot, 5) };
        position = world.to("a", Command::Issue(lot)).await.position;
    }
    let lots = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|it| it["lot"].as_str().unwrap().to_owned()).collect()
    };
    let (status, one) =
        web.json(&format!("/v1/accounts/a/lots?limit=2&min_position={position}")).await;
    assert_eq!((status, lots(&one)), (StatusCode::OK, vec!["first".into(), "second".into()]));
    let next = one["next"].as_str().unwrap();
    let (_, two) = web.json(&format!("/v1/accounts/a/lots?limit=2&cursor={next}")).await;
    assert_eq!((lots(&two), &two["next"]), (vec!["third".into()], &Value::Null));
    world.clock.set(hour(10));
    let (_, later) = web.json("/v1/accounts/a/lots").await;
    assert_eq!(lots(&later), ["second", "third"]);
    let (_, then) = web.json("/v1/accounts/a/lots?at=2026-03-01T09:00:00Z&limit=2").await;
    assert_eq!(lots(&then), ["first", "second"]);
    let next = then["next"].as_str().unwrap();
    let rest = format!("/v1/accounts/a/lots?at=2026-03-01T09:00:00Z&limit=2&cursor={next}");
    assert_eq!(lots(&web.json(&rest).await.1), ["third"]);

    let (status, _) = web.json("/v1/accounts/b/lots").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let never = "2e".to_owned() + "31".repeat(20).as_str();
    for (query, field) in [
        ("cursor=zz", "cursor"),
        ("cursor=612e31", "cursor"),
        ("cursor=393232333337323033363835343737353830372e31", "cursor"),
        (&format!("cursor={never}"), "cursor"),
        ("limit=0", "limit"),
        ("at=2026-03-01T10:00:01Z", "at"),
        ("at=-9999-01-01T00:00:00Z", "expected an RFC 3339 instant"),
        ("at=0000-01-01T00:00:00Z", "in the years 1 to 9999"),
        ("at=yesterday", "expected an RFC 3339 instant"),
        ("color=red", "color"),
    ] {
        let (status, body) = web.json(&format!("/v1/accounts/a/lots?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        assert!(body.to_string().contains(field), "{query}: {body}");
    }
}

fn ten_pounds() -> Money {
    Money { amount: Minor::new(1_000).unwrap(), currency: Currency::GBP }
}

/// A sale of nothing in particular to nobody.
fn sold(id: &str, total: Money) -> Action {
    let (account, lines, occurred_at, reference) = (None, vec![], None, None);
    let record = sale::Command::Record { account, total, lines, occurred_at, reference };
    Action::Sale(SaleId::new(id).unwrap(), record)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_program_is_shown() {
    let mut world = World::new().await;
    let web = world.web().await;
    let pen = product("p", offer("Pen", Offering::Goods, 90));
    let actions = vec![
        account("a", Command::Issue(issue("one", 5))),
        sold("s", ten_pounds()),
        activate("c"),
        pen,
    ];
    world.act_in("other", actions).await.unwrap();
    world.open_shop("other").await;
    world.act_in("other", purchase("on-its-way", order(None, 1, vec![card()]))).await.unwrap();
    world.act_in("other", purchase("over", order(None, 1, vec![card()]))).await.unwrap();
    let mut position = 0;
    for step in [Step::HoldStock, Step::AuthoriseCard, Step::CaptureCard, Step::Settle] {
        let receipt = world.act_in("other", purchase("over", done(there(step)))).await.unwrap();
        position = receipt.position;
    }
    for path in [
        "accounts/a",
        "accounts/a/lots",
        "accounts/a/statement",
        "sales/s",
        "campaigns/c",
        "products/p",
        "products/p/stock",
        "purchases/over",
        "sagas/purchase:on-its-way",
    ] {
        let (status, body) = web.json(&format!("/v1/{path}?min_position={position}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
        let (status, body) = web.of("other").json(&format!("/v1/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    for path in [
        "accounts",
        "campaigns",
        "events",
        "products",
        "products?q=pen",
        "purchases",
        "purchases?state=completed",
        "sagas",
        "takings",
    ] {
        let (_, body) = web.json(&format!("/v1/{path}")).await;
        assert_eq!(body["items"], json!([]), "{path}");
        let (_, body) = web.of("other").json(&format!("/v1/{path}")).await;
        assert_ne!(body["items"], json!([]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_the_page_before_ended() {
    let mut world = World::new().await;
    let web = world.web().await;
    for id in ["c", "a", "e", "b", "d"] {
        world.to(id, Command::Issue(issue("one", 5))).await;
    }
    let (mut path, mut seen) = ("/v1/accounts?limit=2&min_position=10".to_owned(), String::new());
    loop {
        let (_, page) = web.json(&path).await;
        for item in page["items"].as_array().unwrap() {
            seen.push_str(item["account"].as_str().unwrap());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/accounts?limit=2&cursor={next}");
    }
    assert_eq!(seen, "abcde");
    let (_, page) = web.json("/v1/accounts/a/statement?limit=1").await;
    assert_eq!(page["items"][0]["kind"], "issued");
    let next = page["next"].as_str().unwrap();
    let (_, page) = web.json(&format!("/v1/accounts/a/statement?limit=1&cursor={next}")).await;
    assert_eq!((&page["items"][0]["kind"], &page["next"]), (&json!("opened"), &Value::Null));
    let (_, page) = web.json("/v1/accounts/a/statement?order=oldest").await;
    assert_eq!(page["items"][0]["kind"], "opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_shows_what_came_back() {
    let mut world = World::new().await;
    let web = world.web().await;
    let total = ten_pounds();
    let id = SaleId::new("s").unwrap();
    world.act(vec![sold("s", total)]).await.unwrap();
    let portion = sale::Portion::Amount(Money { amount: Minor::new(250).unwrap(), ..total });
    let back = sale::Command::Return { id: None, portion, reference: None };
    world.act(vec![Action::Sale(id, back)]).await.unwrap();
    let (_, shown) = web.json("/v1/sales/s").await;
    assert_eq!(shown["returned"], json!({"amount": 250, "currency": "GBP"}));
    assert_eq!(shown["points"], json!({"earned": 0, "reversed": 0}));
    assert_eq!(shown["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_settings_before_anybody_has_set_them() {
    let world = World::new().await;
    let web = world.web().await;
    let (_, shown) = web.json("/v1/program").await;
    assert_eq!(
        shown,
        json!({"program": "default", "currency": "GBP", "zone": "UTC", "expiry": "never", "version": 0})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameters_are_refused_everywhere() {
    let world = World::new().await;
    let web = world.web().await;
    for path in [
        "accounts",
        "accounts/a",
        "accounts/a/lots",
        "accounts/a/statement",
        "sales/s",
        "campaigns",
        "campaigns/c",
        "products",
        "products/p",
        "products/p/stock",
        "wallets",
        "wallets/w",
        "program",
        "purchases",
        "purchases/o",
        "sagas",
        "sagas/purchase:o",
        "takings",
        "events",
    ] {
        let (status, body) = web.json(&format!("/v1/{path}?min_postion=1")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        let (status, body) = web.json(&format!("/v1/{path}?min_position=-1")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        assert_eq!(body["errors"][0]["pointer"], "min_position", "{path}: {body}");
    }
}

#[test]
fn the_description_names_every_route() {
    let described = accrue_projections::api::openapi();
    let paths: Vec<_> = described.paths.paths.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/v1/accounts",
            "/v1/accounts/{account}",
            "/v1/accounts/{account}/lots",
            "/v1/accounts/{account}/statement",
            "/v1/campaigns",
            "/v1/campaigns/{campaign}",
            "/v1/events",
            "/v1/products",
            "/v1/products/{product}",
            "/v1/products/{product}/stock",
            "/v1/program",
            "/v1/purchases",
            "/v1/purchases/{purchase}",
            "/v1/sagas",
            "/v1/sagas/{saga}",
            "/v1/sales/{sale}",
            "/v1/takings",
            "/v1/wallets",
            "/v1/wallets/{wallet}",
        ]
    );
}
