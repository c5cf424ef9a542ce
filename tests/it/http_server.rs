//! The server around the API: health, figures, its contract and page, and who may reach it.

use std::collections::BTreeSet;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::program;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn health_is_told_check_by_check_and_figures_grow() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.get("/livez").await.expect(200);
    let ready = eventually("every follower has begun", async || {
        let answer = client.get("/readyz").await;
        (answer.status == 200).then(|| answer.json())
    });
    let ready = ready.await;
    let checks = ready["checks"].as_array().expect("checks");
    let names: Vec<_> = checks.iter().filter_map(|it| it["name"].as_str()).collect();
    let models =
        ["balances", "statement", "campaigns", "stock", "wallets", "orders", "sagas", "takings"];
    assert_eq!(names, [&["database", "log"][..], &models, &["awards"]].concat());
    assert!(checks.iter().all(|it| it["ok"] == true), "{ready}");

    let issue = client.post("/v1/accounts/a/points/issue", json!({"points": 1})).await;
    client.balance("a", issue.position()).await;
    let metrics = client.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    let value = |name: &str| {
        let line = metrics.text.lines().find(|it| it.starts_with(name)).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("{name} in\n{}", metrics.text));
        line.rsplit(' ').next().and_then(|it| it.parse::<f64>().ok()).expect("a number")
    };
    assert_snapshot!(value("accrue_events_total"), @"2");
    assert_snapshot!(value("accrue_follower_lag_events{follower=\"balances\"}"), @"0");
    assert_snapshot!(value("accrue_follower_lag_seconds{follower=\"balances\"}"), @"0");
    assert_snapshot!(value("accrue_skipped_total"), @"0");
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_contract_lists_every_route_and_the_server_serves_every_path_of_it() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let contract = client.get("/v1/openapi.json").await.expect(200).json();
    assert!(contract["openapi"].as_str().is_some_and(|it| it.starts_with("3.1.")));
    let mut routes = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in contract["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            routes.insert(format!("{path} {}", method.to_uppercase()));
            let id = operation["operationId"].as_str().expect("an operation has an id");
            assert!(ids.insert(id), "{id} twice");
            assert!(operation["responses"].as_object().is_some_and(|it| !it.is_empty()), "{id}");
        }
    }
    let routes: Vec<_> = routes.into_iter().collect();
    assert_snapshot!(routes.join("\n"), @r"
    /livez GET
    /metrics GET
    /readyz GET
    /v1/accounts GET
    /v1/accounts/{account} GET
    /v1/accounts/{account}/holds POST
    /v1/accounts/{account}/holds/{hold}/capture POST
    /v1/accounts/{account}/holds/{hold}/release POST
    /v1/accounts/{account}/lots GET
    /v1/accounts/{account}/points/adjust POST
    /v1/accounts/{account}/points/issue POST
    /v1/accounts/{account}/points/redeem POST
    /v1/accounts/{account}/points/reverse POST
    /v1/accounts/{account}/statement GET
    /v1/campaigns GET
    /v1/campaigns POST
    /v1/campaigns/evaluate POST
    /v1/campaigns/{campaign} GET
    /v1/campaigns/{campaign}/activate POST
    /v1/campaigns/{campaign}/pause POST
    /v1/campaigns/{campaign}/retire POST
    /v1/campaigns/{campaign}/rules PUT
    /v1/commands POST
    /v1/events GET
    /v1/products GET
    /v1/products POST
    /v1/products/{product} GET
    /v1/products/{product} PATCH
    /v1/products/{product}/holds POST
    /v1/products/{product}/holds/{hold}/capture POST
    /v1/products/{product}/holds/{hold}/release POST
    /v1/products/{product}/retire POST
    /v1/products/{product}/stock GET
    /v1/products/{product}/stock POST
    /v1/program GET
    /v1/program PUT
    /v1/purchases GET
    /v1/purchases POST
    /v1/purchases/{purchase} GET
    /v1/purchases/{purchase}/cancel POST
    /v1/purchases/{purchase}/refund POST
    /v1/sagas GET
    /v1/sagas/{saga} GET
    /v1/sagas/{saga}/abandon POST
    /v1/sagas/{saga}/retry POST
    /v1/sales POST
    /v1/sales/{sale} GET
    /v1/sales/{sale}/returns POST
    /v1/takings GET
    /v1/wallets GET
    /v1/wallets/{wallet} GET
    /v1/wallets/{wallet}/holds POST
    /v1/wallets/{wallet}/holds/{hold}/capture POST
    /v1/wallets/{wallet}/holds/{hold}/release POST
    /v1/wallets/{wallet}/refunds POST
    /v1/wallets/{wallet}/top-ups POST
    /v1/webhooks/payments POST
    ");
    for route in &routes {
        let (path, method) = route.split_once(' ').expect("a path and a method");
        let path = path.replace(['{', '}'], "");
        let method: Method = method.parse().expect("a method");
        let answer = client.send(method, &path, None::<String>).await;
        assert!(answer.status < 500 || answer.status == 503, "{route}: {}", answer.text);
        assert!(!answer.text.contains("/problems/unknown-path"), "{route}: {}", answer.text);
        assert_ne!(answer.status, 405, "{route}");
    }
    // What it refers to is there.
    let references = references(&contract);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(contract.pointer(pointer).is_some(), "{reference}");
    }
}

fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            fields.values().flat_map(references).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

#[tokio::test]
async fn the_page_of_the_contract_loads_nothing_from_elsewhere() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let page = client.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let mut scripts = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for (at, _) in page.text.match_indices(attribute) {
            let target = page.text[at + attribute.len()..].split('"').next().expect("a target");
            assert!(!target.contains("//"), "{target}");
            scripts.push(target.to_owned());
        }
    }
    assert!(scripts.len() >= 3, "{scripts:?}");
    for target in scripts {
        let path = format!("/docs/{}", target.trim_start_matches("./"));
        let file = client.get(&path).await.expect(200);
        assert!(!file.text.is_empty(), "{path}");
        if path.ends_with("initializer.js") {
            assert!(file.text.contains("/v1/openapi.json"), "{}", file.text);
            assert!(!file.text.contains("://"), "{}", file.text);
        }
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let database = Database::create().await;
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let arguments =
            ["serve", "--listen", address, "--port", "0", "--database-url", &database.url];
        let said = program::run(arguments).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
        assert!(said.err.contains("listen on 127.0.0.1"), "{}", said.err);
    }
    let v6 = Server::start_with(&["--listen", "::1", "--database-url", &database.url]).await;
    v6.client().get("/livez").await.expect(200);
}

#[tokio::test]
async fn in_a_network_it_is_asked_for_by_word_and_says_what_that_means() {
    let database = Database::create().await;
    let flags = ["--listen", "0.0.0.0", "--allow-network", "--database-url", &database.url];
    let server = Server::start_with(&flags).await;
    assert!(
        server.log().contains("whoever reaches the port may do everything"),
        "{}",
        server.log()
    );
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    client.with("host", "api:8080").get("/v1/accounts").await.expect(200);
    // A page of another origin is no member of any network.
    let page = client.with("host", "api:8080").with("origin", "http://evil.example");
    assert_snapshot!(page.get("/v1/accounts").await.problem(), @"403 not-this-machine Origin");
    let alone = Server::start(&database).await;
    let named = alone.client().with("host", "api:8080").get("/v1/accounts").await;
    assert_snapshot!(named.problem(), @"403 not-this-machine Host");
}
