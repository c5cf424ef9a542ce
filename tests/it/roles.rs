//! The roles of the one binary, each in a process of its own, and several of a kind.

use std::time::Duration;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::{eventually, within};
use accrue_tests::load::{Fate, Load, Manner};
use accrue_tests::program;
use accrue_tests::server::Server;
use accrue_tests::shop::{by_wallet, order, usd};
use chrono::{TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::crash::account_for;

async fn with_roles(database: &Database, roles: &str) -> Server {
    Server::start_with(&["--database-url", &database.url, "--roles", roles]).await
}

async fn checks(server: &Server) -> Vec<String> {
    let ready = eventually("the process is ready", async || {
        let answer = server.client().get("/readyz").await;
        (answer.status == 200).then(|| answer.json())
    });
    let ready: Value = ready.await;
    let checks = ready["checks"].as_array().expect("checks");
    let followers = checks.iter().filter(|it| it["lag"]["events"].is_number());
    followers.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
}

/// Sells something, on credit of a wallet, with points for it, and sets a deadline.
pub(crate) async fn business(client: &Client) {
    let settings = json!({"currency": "USD", "zone": "UTC", "expiry": "never"});
    client.put("/v1/program", settings).await.expect(200);
    let campaign = json!({"id": "tenth", "name": "A tenth", "activate": true, "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"}
    }]});
    client.post("/v1/campaigns", campaign).await.expect(201);
    let sale = json!({"id": "s", "account": "ann", "total": usd(20_000)});
    client.post("/v1/sales", sale).await.expect(201);
    let unicorn = json!({"id": "1", "name": "Unicorn", "kind": "goods", "price": usd(700)});
    client.post("/v1/products", unicorn).await.expect(201);
    let delivery = json!({"delta": 5, "reason": "delivery"});
    client.post("/v1/products/1/stock", delivery).await.expect(200);
    client.post("/v1/wallets/derick/top-ups", json!({"money": usd(9_999)})).await.expect(201);
    client.post("/v1/accounts/bob/points/issue", json!({"points": 9})).await.expect(201);
    let until = Utc::now() + TimeDelta::milliseconds(300);
    let hold = json!({"id": "h", "points": 4, "until": until});
    client.post("/v1/accounts/bob/holds", hold).await.expect(201);
    client.post("/v1/purchases", order("p", 1, by_wallet())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_works_in_a_process_of_its_own() {
    let database = Database::create().await;
    let api = with_roles(&database, "api").await;
    let client = api.client();
    business(&client).await;
    let counts = async |event_type: &str| {
        let sql = format!("SELECT count(*) FROM events WHERE event_type = '{event_type}'");
        database.number(&sql).await
    };
    assert_snapshot!(client.get("/v1/accounts/bob?min_position=1").await.problem(), @"503 not-there-yet");
    for event_type in ["PurchaseCompleted", "PointsIssued", "HoldReleased"] {
        // Bob's points, which were asked for by word.
        assert_eq!(counts(event_type).await, i64::from(event_type == "PointsIssued"));
    }

    let campaigns = with_roles(&database, "campaigns").await;
    eventually("ann's award", async || (counts("PointsIssued").await == 2).then_some(())).await;
    let timers = with_roles(&database, "timers").await;
    eventually("bob's hold is over", async || (counts("HoldReleased").await == 1).then_some(()))
        .await;
    assert_eq!(counts("PurchaseCompleted").await, 0);
    let saga = with_roles(&database, "saga").await;
    eventually("derick's purchase", async || {
        (counts("PurchaseCompleted").await == 1).then_some(())
    })
    .await;
    let projections = with_roles(&database, "projections").await;
    let head = database.number("SELECT position FROM log_head").await;
    let balance = client.balance("ann", head).await;
    assert!(balance.starts_with("available 20;"), "{balance}");

    // Each tells of what it runs, and answers nothing else.
    assert_eq!(checks(&campaigns).await, ["awards"]);
    assert_eq!(checks(&projections).await.len(), 8);
    assert_eq!(checks(&timers).await, [""; 0]);
    assert_eq!(checks(&api).await, [""; 0]);
    for process in [&campaigns, &timers, &saga, &projections] {
        let client = process.client();
        client.get("/livez").await.expect(200);
        let metrics = client.get("/metrics").await.expect(200).text;
        assert!(metrics.contains("accrue_log_head"), "{metrics}");
        assert_eq!(client.get("/v1/accounts").await.problem(), "404 unknown-path");
    }
    let hook = |server: &Server| {
        let client = server.client();
        async move { client.post("/v1/webhooks/payments", json!({})).await.problem() }
    };
    assert_snapshot!(hook(&saga).await, @"404 webhooks-not-configured");
    assert_snapshot!(hook(&timers).await, @"404 unknown-path");
}

#[tokio::test]
async fn roles_that_are_none_are_refused_by_name() {
    for roles in ["", "api,", "sagas", "api projections", "all"] {
        let flag = format!("--roles={roles}");
        let said = program::run(["serve", "--port", "0", &flag]).await;
        assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
        assert!(said.err.contains("roles: expected roles with commas between: api,"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_every_role_do_nothing_twice() {
    let database = Database::create().await;
    let first = Server::start(&database).await;
    let second = Server::start(&database).await;
    let (one, other) = (first.client(), second.client());
    business(&one).await;
    for at in 0..40 {
        let client = if at % 2 == 0 { &one } else { &other };
        let sale = json!({"id": format!("s{at}"), "account": "ann", "total": usd(20_000)});
        client.post("/v1/sales", sale).await.expect(201);
        let until = Utc::now() + TimeDelta::milliseconds(200 + at);
        let hold = json!({"id": format!("h{at}"), "points": 1, "until": until});
        let account = format!("bob{at}");
        let issue = format!("/v1/accounts/{account}/points/issue");
        client.post(&issue, json!({"points": 9})).await.expect(201);
        client.post(&format!("/v1/accounts/{account}/holds"), hold).await.expect(201);
    }
    let counted = "SELECT string_agg(event_type || ' ' || count, ', ' ORDER BY event_type) FROM
        (SELECT event_type, count(*) FROM events WHERE event_type IN
         ('PointsIssued', 'HoldReleased', 'PurchaseCompleted') GROUP BY 1) counts";
    // 41 awards and 41 that were asked for by word.
    let expected = "HoldReleased 41, PointsIssued 82, PurchaseCompleted 1";
    eventually(expected, async || (database.text(counted).await == expected).then_some(())).await;
    accrue_tests::history::settled(&database).await;
    assert_eq!(database.text(counted).await, expected);
    accrue_tests::history::verify(&database).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hot_account_at_two_processes_shows_no_client_a_conflict() {
    let database = Database::create().await;
    let servers = [with_roles(&database, "api").await, with_roles(&database, "api").await];
    let _projections = with_roles(&database, "projections").await;
    let clients = servers.each_ref().map(Server::client);
    let load = Load::on_one_account(&clients, 16, Manner::LetsGo);
    eventually("a thousand go through", async || (load.accepted() >= 1_000).then_some(())).await;
    assert_eq!(load.refused(), 0);
    let sent = load.stop().await;
    assert!(sent.iter().all(|it| it.fate == Fate::Accepted));
    account_for(&database, &sent).await;
    for server in &servers {
        let metrics = server.client().get("/metrics").await.expect(200).text;
        assert!(!metrics.contains("outcome=\"conflict\""), "{metrics}");
    }
}

/// Which of the servers has the lease of the timers.
async fn holder(database: &Database, servers: &[Server]) -> usize {
    let sql = "SELECT split_part(holder, '/', 2)::bigint FROM leases
                WHERE name = 'timers' AND until > clock_timestamp()
            UNION ALL SELECT 0 LIMIT 1";
    eventually("somebody has the lease", async || {
        let pid = database.number(sql).await;
        servers.iter().position(|it| i64::from(it.pid()) == pid)
    })
    .await
}

/// Longest time until another process has taken over, and settled what was due meanwhile.
const TAKE_OVER_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_taken_over_from_a_holder_that_dies_or_stands_still_and_fire_once() {
    let database = Database::create().await;
    let api = with_roles(&database, "api").await;
    let client = api.client();
    client.post("/v1/accounts/a/points/issue", json!({"points": 99})).await.expect(201);
    let mut servers =
        vec![with_roles(&database, "timers").await, with_roles(&database, "timers").await];
    let released = "SELECT count(*) FROM events WHERE event_type = 'HoldReleased'";
    for round in 0..4_i64 {
        let at = holder(&database, &servers).await;
        let frozen = round % 2 == 1;
        if frozen {
            servers[at].freeze();
        } else {
            servers[at].kill9();
        }
        let until = Utc::now() + TimeDelta::milliseconds(500);
        let hold = json!({"id": format!("h{round}"), "points": 1, "until": until});
        client.post("/v1/accounts/a/holds", hold).await.expect(201);
        within(TAKE_OVER_MAX, "another settles the deadline", async || {
            (database.number(released).await == round + 1).then_some(())
        })
        .await;
        if frozen {
            servers[at].thaw();
            // It believes to hold still, and finds out.
            eventually("it gives up", async || {
                servers[at].log().contains("lease given up").then_some(())
            })
            .await;
        } else {
            servers.remove(at);
            servers.push(with_roles(&database, "timers").await);
        }
    }
    assert_eq!(database.number(released).await, 4);
    assert_eq!(database.number("SELECT epoch FROM leases WHERE name = 'timers'").await, 5);
}
