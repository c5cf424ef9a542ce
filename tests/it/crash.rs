//! Processes that end without warning: nothing acknowledged is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use accrue_private_postgres::cluster::{Cluster, Mode};
use accrue_private_postgres::options::Options;
use accrue_tests::chance::Chance;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::history::{self, FIGURES};
use accrue_tests::load::{Fate, Load, Manner, Sent};
use accrue_tests::program::Said;
use accrue_tests::server::Server;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

/// How often the server is killed in one import.
const KILLS: usize = 24;

/// Every accepted command is in the log once, every one that was surely not done is not.
pub(crate) async fn account_for(database: &Database, sent: &[Sent]) {
    let rows = database
        .texts("SELECT metadata->>'command_id' FROM events WHERE event_type = 'PointsIssued'")
        .await;
    let mut times = BTreeMap::<_, usize>::new();
    for key in rows {
        *times.entry(key).or_default() += 1;
    }
    for Sent { key, fate } in sent {
        let found = times.remove(key).unwrap_or(0);
        match fate {
            Fate::Accepted => assert_eq!(found, 1, "{key} was accepted"),
            Fate::NotDone => assert_eq!(found, 0, "{key} was refused"),
            Fate::Unknown => assert!(found <= 1, "{key} is there {found} times"),
        }
    }
    assert!(times.is_empty(), "nobody sent {times:?}");
    let gaps = "SELECT count(*) FROM (SELECT position - lag(position, 1, 0::bigint) \
                OVER (ORDER BY position) AS step FROM events) steps WHERE step <> 1";
    assert_eq!(database.number(gaps).await, 0, "positions are dense");
    history::settled(database).await;
    history::verify(database).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_through_many_kills_comes_to_the_same_figures() {
    let mut chance = Chance::new("kills of the import");
    let (database, mut server) = Server::create().await;
    let mut kills = 0;
    let mut programs = Vec::new();
    // A machine that is faster than the kills imports into more than one program.
    while kills < KILLS {
        let program = format!("shop-{}", programs.len());
        history::campaign(&server.client().of_program(&program)).await;
        let (url, into) = (server.url.clone(), program.clone());
        let import = tokio::spawn(async move { history::import(&url, &into).await });
        while strike(&mut chance, &database, &mut server, &import).await && kills < KILLS {
            kills += 1;
        }
        import.await.expect("the import ran").expect_success();
        programs.push(program);
    }
    history::settled(&database).await;
    for program in programs {
        assert_eq!(history::figures(&database, &program).await, FIGURES, "{program}");
    }
    history::verify(&database).await.expect_success();
    let twice = "SELECT count(*) FROM (SELECT program, payload->'PointsIssued'->>'lot' FROM events \
                 WHERE event_type = 'PointsIssued' GROUP BY 1, 2 HAVING count(*) > 1) twice";
    assert_eq!(database.number(twice).await, 0);
}

/// Kills the server somewhere in the work; `false` when the work was over first.
async fn strike(
    chance: &mut Chance,
    database: &Database,
    server: &mut Server,
    import: &JoinHandle<Said>,
) -> bool {
    // Every life moves on a little, or the import would never end.
    let head = "SELECT position FROM log_head";
    let to =
        database.number(head).await + i64::try_from(chance.below(600)).expect("a small number");
    eventually("the import moves on", async || {
        (import.is_finished() || database.number(head).await >= to).then_some(())
    })
    .await;
    if import.is_finished() {
        return false;
    }
    server.kill9();
    server.begin_restart();
    if chance.below(3) == 0 {
        // In the middle of the boot, too: the wait is the fault's own moment.
        tokio::time::sleep(chance.moment(Duration::from_millis(300))).await;
        server.kill9();
        server.begin_restart();
    }
    server.ready().await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stops_at_once_loses_nothing_and_is_waited_for() {
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let database = Database::create_in(&cluster).await;
    let server = Server::start(&database).await;
    let client = server.client();
    let load = Load::start(std::slice::from_ref(&client), 12, Manner::Insists);
    for _ in 0..3 {
        let before = load.accepted();
        eventually("commands go through", async || (load.accepted() > before + 200).then_some(()))
            .await;
        let refused = load.refused();
        cluster.stop(Mode::Immediate).await.expect("Postgres stops");
        eventually("it is told as unready", async || {
            let ready = client.get("/readyz").await;
            (ready.status == 503).then_some(())
        })
        .await;
        for path in
            ["/v1/accounts/load-1", "/v1/accounts", "/v1/events", "/v1/accounts/load-1/statement"]
        {
            let read = client.get(path).await;
            assert_eq!(read.status, 503, "{path}: {}", read.text);
            assert!(!read.problem().is_empty());
        }
        client.get("/livez").await.expect(200);
        eventually("writes are told to come back", async || {
            (load.refused() > refused).then_some(())
        })
        .await;
        cluster.ensure_running().await.expect("Postgres starts again");
        eventually("the server is ready again", async || {
            (client.get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }
    let sent = load.stop().await;
    assert!(sent.iter().all(|it| it.fate == Fate::Accepted));
    account_for(&database, &sent).await;
    // Everybody has noticed. One that follows another at once is part of it, and what was answered
    // before may be heard of behind its beginning.
    let log = server.log();
    for line in ["all goes on when it is back", "the database answers again"] {
        assert!((1..=6).contains(&log.matches(line).count()), "{line}: {log}");
    }
    for line in ["will try again", "testing the connection"] {
        assert_eq!(log.matches(line).count(), 0, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_told_to_stop_keeps_its_word() {
    let (database, mut server) = Server::create().await;
    let client = server.client();
    let load = Load::start(std::slice::from_ref(&client), 16, Manner::LetsGo);
    let lines: String = (0..20_000)
        .map(|at| format!("{{\"id\":\"bulk-{at}\",\"type\":\"issue_points\",\"account\":\"b{}\",\"points\":1}}\n", at % 50))
        .collect();
    let bulk = tokio::spawn(async move {
        // Cut off or not: what came back counts.
        let request = client.request(Method::POST, "/v1/commands").body(lines);
        let mut response = request.send().await.expect("the stream begins");
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).expect("UTF-8")
    });
    eventually("both kinds go through", async || {
        let bulk = "SELECT count(*) FROM events WHERE metadata->>'command_id' LIKE 'bulk-%'";
        (load.accepted() > 300 && database.number(bulk).await > 500).then_some(())
    })
    .await;
    server.sigterm();
    let status = server.exit().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let mut sent = load.stop().await;
    assert!(sent.iter().any(|it| it.fate == Fate::Accepted));
    let text = bulk.await.expect("the stream was read");
    for line in text.lines().filter_map(|it| serde_json::from_str::<serde_json::Value>(it).ok()) {
        let key = line["id"].as_str().expect("a key").to_owned();
        let fate = match line["status"].as_u64() {
            Some(201) => Fate::Accepted,
            Some(503) => Fate::NotDone,
            other => panic!("{other:?}: {line}"),
        };
        sent.push(Sent { key, fate });
    }
    // Lines that got no answer may be there.
    let named: std::collections::BTreeSet<_> = sent.iter().map(|it| it.key.clone()).collect();
    let silent = (0..20_000).map(|at| format!("bulk-{at}")).filter(|key| !named.contains(key));
    sent.extend(silent.map(|key| Sent { key, fate: Fate::Unknown }).collect::<Vec<_>>());
    server.restart().await;
    account_for(&database, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_a_server_that_is_about_to_leave_is_told_so() {
    let (database, mut server) = Server::create().await;
    let (lines, body) = futures::channel::mpsc::unbounded::<std::io::Result<&str>>();
    let line = r#"{"id":"first","type":"issue_points","account":"ann","points":1}"#;
    lines.unbounded_send(Ok(line)).expect("it is read");
    lines.unbounded_send(Ok("\n")).expect("it is read");
    let body = reqwest::Body::wrap_stream(body);
    let request = server.client().request(Method::POST, "/v1/commands").body(body);
    let mut bulk = request.send().await.expect("the stream begins");
    let first = bulk.chunk().await.expect("readable").expect("an answer");
    let first: serde_json::Value = serde_json::from_slice(&first).expect("a line of JSON");
    assert_eq!((&first["id"], &first["status"]), (&json!("first"), &json!(201)), "{first}");

    // One request is still in flight, and its client may take its time.
    server.sigterm();
    eventually("it says that it is about to leave", async || {
        // One that comes just then may be cut off.
        let ready = server.client().try_send(Method::GET, "/readyz", None::<String>).await.ok()?;
        (ready.status == 503 && ready.json()["shutting_down"] == true).then_some(())
    })
    .await;
    let issue = "/v1/accounts/ann/points/issue";
    let refused = server.client().keyed("late").post(issue, json!({"points": 1})).await;
    assert_eq!(refused.problem(), "503 shutting-down");
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(refused.header("connection"), "close");
    // What is read to its end is whole.
    let lines_of = server.client().with("accept", "application/x-ndjson");
    assert_eq!(lines_of.get("/v1/events").await.expect(200).lines().len(), 2);
    let follow = lines_of.get("/v1/events?follow=true").await;
    assert_eq!(follow.problem(), "503 shutting-down");

    drop(lines);
    assert_eq!(bulk.chunk().await.expect("the stream ends as it should"), None);
    assert_eq!(server.exit().await.code(), Some(0), "{}", server.log());
    let keys = "SELECT metadata->>'command_id' FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(database.texts(keys).await, ["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_never_show_a_conflict() {
    let (database, first) = Server::create().await;
    let second = Server::start(&database).await;
    let clients = [first.client(), second.client()];
    let load = Load::start(&clients, 12, Manner::LetsGo);
    eventually("a thousand go through", async || (load.accepted() >= 1_000).then_some(())).await;
    // What one wrote the other shows, no older.
    for at in 0..20 {
        let (writer, reader) = (&clients[at % 2], &clients[(at + 1) % 2]);
        let account = format!("pair-{}", at % 3);
        let issue = format!("/v1/accounts/{account}/points/issue");
        let issued = writer.post(&issue, json!({"points": 1})).await.expect(201);
        let balance = reader.balance(&account, issued.position()).await;
        assert!(balance.starts_with(&format!("available {};", at / 3 + 1)), "{balance}");
    }
    assert_eq!(load.refused(), 0);
    let mut sent = load.stop().await;
    assert!(sent.iter().all(|it| it.fate == Fate::Accepted));
    // One key at both of them is one command.
    let twins = |at: usize| {
        let client = clients[at % 2].keyed("twin");
        async move { client.post("/v1/accounts/load-1/points/issue", json!({"points": 1})).await }
    };
    let answers = futures::future::join_all((0..8).map(twins)).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (201, &answers[0].text));
    }
    let others = "SELECT metadata->>'command_id' FROM events WHERE event_type = 'PointsIssued' \
                  AND metadata->>'command_id' NOT LIKE 'load-%'";
    let others = database.texts(others).await;
    assert_eq!(others.len(), 21);
    sent.extend(others.into_iter().map(|key| Sent { key, fate: Fate::Accepted }));
    account_for(&database, &sent).await;
}
