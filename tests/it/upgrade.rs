//! Two builds side by side: what the older does not know stops what is made of it, visibly, and
//! nothing is ever skipped.

use accrue_domain::aggregate::Kind;
use accrue_event_store::codec::{Codec, Raw, Upcast};
use accrue_event_store::executor::{RawEvent, RawStream};
use accrue_event_store::follow::Feeds;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_kafka::feed;
use accrue_kafka::record::Form;
use accrue_kafka::settings::Settings;
use accrue_projections::live;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::kafka::{broker, prefix, reached};
use accrue_tests::ledger;
use accrue_tests::load::{Load, Manner};
use accrue_tests::program::{self, Said};
use accrue_tests::server::Server;
use insta::assert_snapshot;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use sqlx::migrate::Migrate;
use tokio_util::sync::CancellationToken;

use crate::feed_world::{fed, partitions, takes};

/// In the newer build points are issued in two parts.
fn whole(raw: Raw) -> Result<Vec<Raw>, String> {
    let part = |name: &str| raw.data[name].as_i64().ok_or(format!("expected the number {name}"));
    let points = part("plain")? + part("bonus")?;
    let data = json!({"lot": raw.data["lot"], "points": points, "source": raw.data["source"]});
    Ok(vec![Raw { version: 1, data, ..raw }])
}

/// A process of the newer build.
async fn newer(database: &Database) -> Ledger {
    let codec = Codec::new([(Kind::Account, "PointsIssued", 2, whole as Upcast)]);
    ledger::open_with(Config { codec, ..ledger::config(database) }).await
}

/// Lets the newer build issue 7 points to `n`; where that is.
async fn issue(newer: &Ledger) -> i64 {
    let stream = RawStream { aggregate_type: "account".into(), aggregate_id: "default/n".into() };
    let event = |event_type: &str, version: &str, payload: &str| RawEvent {
        event_type: event_type.into(),
        event_version: version.into(),
        payload: payload.to_owned(),
        metadata: r#"{"command_id":"newer","occurred_at":"2026-01-01T00:00:00Z"}"#.to_owned(),
    };
    let issued = r#"{"PointsIssued":{"lot":"n","plain":5,"bonus":2,"source":{"kind":"issue"}}}"#;
    let events = vec![
        event("AccountOpened", "1", r#"{"AccountOpened":{}}"#),
        event("PointsIssued", "2", issued),
    ];
    newer.executor().append(stream, 0, events).await.expect("appended").position
}

/// Who is not well, and why.
async fn unwell(client: &Client) -> Vec<(String, String)> {
    let ready = client.get("/readyz").await.json();
    let checks = ready["checks"].as_array().expect("checks");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let unwell = checks.iter().filter(|it| it["ok"] == false);
    unwell.map(|it| (text(&it["name"]), text(&it["reason"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_build_does_not_know_stops_what_is_made_of_it_and_nothing_else() {
    let (database, older) = Server::create().await;
    let client = older.client();
    let newer = newer(&database).await;
    let at = issue(&newer).await;
    // Read models of accounts (what a campaign has given is one), and the awards, since a rule
    // may ask for any event.
    let stopped = ["balances", "statement", "campaigns", "awards"];
    let found = eventually("they stop", async || {
        let unwell = unwell(&client).await;
        (unwell.len() == stopped.len()).then_some(unwell)
    });
    for ((name, reason), expected) in found.await.into_iter().zip(stopped) {
        assert_eq!(name, expected);
        assert!(reason.contains("PointsIssued version 2 of account is unknown"), "{reason}");
    }
    let metrics = client.get("/metrics").await.expect(200).text;
    for (name, value) in [("balances", 1), ("awards", 1), ("wallets", 0)] {
        let line = format!("accrue_follower_stopped{{follower=\"{name}\"}} {value}");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    // The others go on, and commands, too.
    let money = json!({"money": {"amount": 5, "currency": "GBP"}});
    let there = client.post("/v1/wallets/w/top-ups", money).await.position();
    client.get(&format!("/v1/wallets?min_position={there}")).await.expect(200);
    let one = json!({"points": 1});
    client.post("/v1/accounts/a/points/issue", one.clone()).await.expect(201);
    // Nobody guesses: the account is for the newer build to decide about.
    let unknown = client.post("/v1/accounts/n/points/issue", one).await;
    assert_snapshot!(unknown.problem(), @"503 log-unavailable");
    for name in stopped {
        let sql = format!("SELECT position FROM checkpoints WHERE follower = '{name}'");
        assert_eq!(database.number(&sql).await, at - 1, "{name}");
    }

    // A newer build goes on from there, and the older one behind it.
    let stop = CancellationToken::new();
    let mut started =
        live::start(&newer, &Feeds::by_log(), stop.clone()).await.expect("the read models start");
    let head = database.number("SELECT position FROM log_head").await;
    for status in started.views.statuses() {
        status.reached(head).await;
    }
    stop.cancel();
    while started.runners.join_next().await.is_some() {}
    assert!(client.balance("n", head).await.starts_with("available 7;"));
    eventually("only the awards wait", async || {
        let unwell = unwell(&client).await;
        (unwell.len() == 1 && unwell[0].0 == "awards").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_kafka_a_newer_build_takes_what_an_older_one_leaves_and_both_go_on() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let older = fed(&database, broker, &prefix, "projections").await;
    let load = Load::start(&[api.client()], 4, Manner::Insists);
    takes(&older, "balances", 12).await;
    let newer = newer(&database).await;
    let at = issue(&newer).await;
    eventually("the older says what it does not know", async || {
        let unwell = unwell(&older.client()).await;
        unwell
            .iter()
            .any(|(name, why)| {
                name == "balances" && why.contains("PointsIssued version 2 of account is unknown")
            })
            .then_some(())
    })
    .await;
    let come = "SELECT position FROM checkpoints WHERE follower = 'balances'";
    assert!(database.number(come).await < at);

    let settings = Settings {
        bootstrap: broker.bootstrap(),
        prefix: prefix.clone(),
        partitions: 12,
        replication: -1,
        form: Form::Binary,
        record_bytes_max: 1_000_000,
        properties: Vec::new(),
    };
    let (feeds, stop) = (feed::feeds(settings, &mut Registry::default()), CancellationToken::new());
    let mut started =
        live::start(&newer, &feeds, stop.clone()).await.expect("the read models start");
    // The newer goes on from there.
    reached(&database, "balances", at).await;
    // What is behind it both can take.
    eventually("the older is well again", async || {
        let unwell = unwell(&older.client()).await;
        (unwell.is_empty() && partitions(&older, "balances").await > 0).then_some(())
    })
    .await;
    stop.cancel();
    while started.runners.join_next().await.is_some() {}
    takes(&older, "balances", 12).await;
    let sent = load.stop().await.len();
    let head = database.number("SELECT position FROM log_head").await;
    reached(&database, "balances", head).await;
    let client = api.client();
    assert!(client.balance("n", head).await.starts_with("available 7;"));
    let points = "SELECT sum(free)::bigint FROM read.balance_accounts";
    assert_eq!(database.number(points).await, i64::try_from(sent).expect("a count") + 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_build_starts_behind_the_migration_of_a_newer_one_that_suits_it() {
    let (database, mut older) = Server::create().await;
    let one = json!({"points": 1});
    older.client().post("/v1/accounts/a/points/issue", one.clone()).await.expect(201);
    database.migrated_by_a_newer_build().await;
    older.kill9();
    older.restart().await;
    let there = older.client().post("/v1/accounts/a/points/issue", one).await.position();
    assert!(older.client().balance("a", there).await.starts_with("available 2;"));
    // One that would break it says so at the start.
    database.run(BREAKS).await;
    refuses(&program::run(["serve", "--port", "0", "--database-url", &database.url]).await);
}

/// From here on the schema suits the newer build alone.
const BREAKS: &str = "UPDATE schema_support SET oldest = 9999";

fn refuses(said: &Said) {
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
    assert!(said.err.contains("made by a newer version of accrue"), "{said:?}");
}

/// Sessions that wait for a lock of applications, which migrations are made behind.
const WAITING: &str = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";

#[tokio::test]
async fn a_build_that_waited_for_the_migrations_of_a_newer_one_judges_what_has_come_of_them() {
    let database = Database::create().await;
    let migrate = ["migrate", "--database-url", &database.url];
    program::run(migrate).await.expect_success();
    let mut newer = database.connect().await;
    newer.lock().await.expect("the newer build has its turn");
    let meanwhile = async {
        eventually("the older one waits, and has found nothing wrong", async || {
            (database.number(WAITING).await == 1).then_some(())
        })
        .await;
        database.migrated_by_a_newer_build().await;
        database.run(BREAKS).await;
        newer.unlock().await.expect("its turn is over");
    };
    let (said, ()) = tokio::join!(program::run(migrate), meanwhile);
    refuses(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_build_are_left_alone_by_an_older_one() {
    let (database, mut older) = Server::create().await;
    let raise =
        |by: i64| format!("UPDATE read.models SET version = version + {by} WHERE name = 'wallets'");
    database.run(&raise(1)).await;
    let version = "SELECT version::bigint FROM read.models WHERE name = 'wallets'";
    let newer = database.number(version).await;
    let money = json!({"money": {"amount": 5, "currency": "GBP"}});
    let there = older.client().post("/v1/wallets/w/top-ups", money).await.position();
    for _ in 0..2 {
        let client = older.client();
        let why = format!("the tables are of version {newer}, this build keeps version");
        eventually("it stops", async || {
            let unwell = unwell(&client).await;
            let [(name, reason)] = &unwell[..] else { return None };
            (name == "wallets" && reason.starts_with(&why)).then_some(())
        })
        .await;
        older.kill9();
        older.restart().await;
    }
    assert_eq!(database.number(version).await, newer, "the older build has built its own");
    let rows = "SELECT count(*) FROM read.wallets";
    assert_eq!(database.number(rows).await, 0);
    database.run(&raise(-1)).await;
    older.client().get(&format!("/v1/wallets?min_position={there}")).await.expect(200);
    assert_eq!(database.number(rows).await, 1);
}
