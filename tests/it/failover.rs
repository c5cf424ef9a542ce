//! Reads from a replica, and a primary that is lost: nothing acknowledged goes with it, and the
//! server finds the next one by itself.

use std::future::Future;
use std::time::{Duration, Instant};

use accrue_tests::client::{Answer, Client};
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::kafka::reached;
use accrue_tests::load::{Fate, Load, Manner};
use accrue_tests::proxy::Mode;
use accrue_tests::server::Server;
use accrue_tests::standby::Pair;
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::crash::account_for;

async fn issue(client: &Client, account: &str) -> i64 {
    let path = format!("/v1/accounts/{account}/points/issue");
    client.post(&path, json!({"points": 1})).await.expect(201).position()
}

pub(crate) async fn check(client: &Client, name: &str) -> Value {
    client.get("/readyz").await.check(name)
}

async fn is_ready(client: &Client) {
    eventually("the server is ready", async || {
        (client.get("/readyz").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_answers_reads_and_no_read_is_older_than_it_may_be() {
    let pair = Pair::start().await;
    let flags = ["--database-url", &pair.database.url, "--read-database-url", &pair.copy.url];
    let server = Server::start_with(&flags).await;
    let client = server.client();
    is_ready(&client).await;
    let first = issue(&client, "a").await;
    assert!(client.balance("a", first).await.starts_with("available 1;"));

    pair.copy.run("SELECT pg_wal_replay_pause()").await;
    let second = issue(&client, "a").await;
    // What was asked for is not there, and nothing older is shown in its place.
    for path in ["/v1/accounts/a", "/v1/accounts", "/v1/events", "/v1/program"] {
        let late = client.get(&format!("{path}?min_position={second}")).await;
        assert_eq!(late.problem(), "503 not-there-yet", "{path}");
    }
    // Whoever asks for nothing in particular gets what the replica has.
    let balance = client.get("/v1/accounts/a").await.expect(200).json();
    assert_eq!(balance["available"], 1);
    let lag = check(&client, "read_database").await;
    assert_eq!((&lag["ok"], &lag["lag"]["events"]), (&json!(true), &json!(1)), "{lag}");
    // Decisions are the primary's: what was issued meanwhile can be spent.
    let redeem = client.post("/v1/accounts/a/points/redeem", json!({"points": 2})).await;
    let third = redeem.expect(200).position();

    pair.copy.run("SELECT pg_wal_replay_resume()").await;
    assert_snapshot!(client.balance("a", third).await, @"available 0");
}

/// Whatever is written to it from then on is no part of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_promoted_is_read_no_more_and_the_primary_answers() {
    let pair = Pair::start().await;
    let flags = ["--database-url", &pair.database.url, "--read-database-url", &pair.copy.url];
    let server = Server::start_with(&flags).await;
    let client = server.client();
    is_ready(&client).await;
    let both = issue(&client, "a").await;
    assert!(client.balance("a", both).await.starts_with("available 1;"));
    assert_eq!(check(&client, "read_database").await.get("reason"), None);

    pair.promote().await;
    let fork = Server::start_with(&["--database-url", &pair.copy.url]).await;
    let fork = fork.client();
    for account in ["a", "a", "forked"] {
        issue(&fork, account).await;
    }
    let forked = issue(&fork, "forked").await;
    assert!(fork.balance("a", forked).await.starts_with("available 3;"));
    // Nothing of it is shown, to whoever asks for nothing in particular or for a position that the
    // fork alone has come to.
    assert!(client.balance("a", both).await.starts_with("available 1;"));
    for from in ["", "?min_position=1"] {
        let none = client.get(&format!("/v1/accounts/forked{from}")).await;
        assert_eq!(none.status, 404, "{from}: {}", none.text);
        for (path, count) in [("/v1/accounts", 1), ("/v1/events", both)] {
            let list = client.get(&format!("{path}{from}")).await.expect(200).json();
            let found = list["items"].as_array().map(Vec::len);
            assert_eq!(found.and_then(|it| i64::try_from(it).ok()), Some(count), "{list}");
            assert!(!list.to_string().contains("forked"), "{list}");
        }
    }
    let late = client.get(&format!("/v1/accounts/forked?min_position={forked}")).await;
    assert_snapshot!(late.problem(), @"503 not-there-yet");
    // What is written here is read, and from here.
    let here = issue(&client, "a").await;
    assert!(client.balance("a", here).await.starts_with("available 2;"));
    let events = client.get(&format!("/v1/events?after={both}&min_position={here}")).await;
    assert_eq!(events.expect(200).json()["items"].as_array().map(Vec::len), Some(1));
    let told = check(&client, "read_database").await;
    assert_eq!((&told["ok"], &told["position"]), (&json!(true), &json!(here)), "{told}");
    let reason = told["reason"].as_str().unwrap_or_default();
    assert_snapshot!(reason, @"it is no standby, so reads are answered by the primary");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_synchronous_standby_a_lost_primary_takes_nothing_acknowledged_along() {
    let pair = Pair::start().await;
    pair.synchronous().await;
    let server = Server::start_with(&["--database-url", &pair.both()]).await;
    let client = server.client();
    let load = Load::start(std::slice::from_ref(&client), 12, Manner::LetsGo);
    eventually("commands go through", async || (load.accepted() > 300).then_some(())).await;
    pair.primary.kill().await.expect("the primary is ended");
    let refused = load.refused();
    eventually("writes are told to come back", async || (load.refused() > refused).then_some(()))
        .await;
    pair.promote().await;
    let accepted = load.accepted();
    eventually("commands go through again", async || {
        (load.accepted() > accepted + 300).then_some(())
    })
    .await;
    is_ready(&client).await;
    let sent = load.stop().await;
    assert!(sent.iter().any(|it| it.fate == Fate::NotDone));
    account_for(&pair.copy, &sent).await;
    // And what is read is of the server that was promoted.
    let position = issue(&client, "after").await;
    assert!(client.balance("after", position).await.starts_with("available 1;"));
}

/// Events of a stream whose sequence does not follow the one before.
const GAPS: &str = "SELECT count(*) FROM (SELECT sequence - lag(sequence, 1, 0::bigint) OVER
    (PARTITION BY aggregate_type, aggregate_id ORDER BY sequence) AS step FROM events) steps
    WHERE step <> 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_last_commits_is_gone_on_from_as_it_is() {
    let pair = Pair::start().await;
    let servers = [
        Server::start_with(&["--database-url", &pair.both()]).await,
        Server::start_with(&["--database-url", &pair.both()]).await,
    ];
    let clients = servers.each_ref().map(Server::client);
    issue(&clients[0], "a").await;
    let kept = issue(&clients[1], "b").await;
    let behind = "SELECT position FROM log_head";
    eventually("the standby has it", async || {
        (pair.copy.number(behind).await >= kept).then_some(())
    })
    .await;
    pair.part().await;
    let accept = ("accept", "application/x-ndjson");
    let mut followed = clients[0]
        .request(Method::GET, "/v1/events?follow=true")
        .header(accept.0, accept.1)
        .send()
        .await
        .expect("a stream begins");
    // Acknowledged by the primary alone, and known to both processes.
    for at in 0..10 {
        let lost = issue(&clients[at % 2], if at < 5 { "a" } else { "b" }).await;
        clients[(at + 1) % 2].balance("a", lost).await;
    }
    pair.primary.kill().await.expect("the primary is ended");
    pair.promote().await;
    for client in &clients {
        eventually("commands go through again", async || {
            let path = "/v1/accounts/a/points/issue";
            let answer = client.post(path, json!({"points": 10})).await;
            assert!(matches!(answer.status, 201 | 503), "{}", answer.text);
            (answer.status == 201).then_some(())
        })
        .await;
    }
    let position = issue(&clients[0], "b").await;
    for client in &clients {
        is_ready(client).await;
        assert_eq!(available(client, position).await, 21, "1 was kept, 20 are new");
    }
    assert_eq!(pair.copy.number(GAPS).await, 0);
    // Whoever followed the log has read what is there no more, and is not left to wait for more.
    let end = async {
        loop {
            match followed.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return "as if that were all",
                Err(_) => return "broken off",
            }
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(10), end).await;
    assert_eq!(end.expect("it ends"), "broken off");
    accrue_tests::history::settled(&pair.copy).await;
    accrue_tests::history::verify(&pair.copy).await.expect_success();
    assert!(servers.iter().any(|it| it.log().contains("commits that were acknowledged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_takes_no_more_writes_is_left_for_the_one_that_does() {
    let pair = Pair::start().await;
    pair.synchronous().await;
    let server = Server::start_with(&["--database-url", &pair.both()]).await;
    let client = server.client();
    issue(&client, "a").await;
    read_only(&pair.database).await;
    let path = "/v1/accounts/a/points/issue";
    let refused = client.post(path, json!({"points": 1})).await;
    assert_snapshot!(refused.problem(), @"503 log-unavailable");
    pair.promote().await;
    let done = issues_again(&client).await;
    assert_eq!(available(&client, done).await, 2);
    assert_eq!(pair.copy.number("SELECT position FROM log_head").await, done);
    assert!(pair.database.number("SELECT position FROM log_head").await < done);
}

/// A connection that sets out for the old primary and comes about when there is a new one would
/// show for as long as it lives what is the log no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_about_too_late_is_not_read_from() {
    is_left_behind(Mode::Hold).await;
}

/// Whoever waits for its answer waits for ever, and must keep nobody else waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_has_vanished_holds_nothing_up() {
    let log = is_left_behind(Mode::Freeze).await;
    // The writer did not wait for it as long as for one that is only slow.
    assert!(log.contains("another server is chosen"), "{log}");
}

/// Reads go on all the while that another server is promoted, and long after the primary has begun
/// to behave like that; then it is back.
async fn is_left_behind(mode: Mode) -> String {
    let pair = Pair::start().await;
    let (both, [primary, _standby]) = pair.proxied().await;
    let server = Server::start_with(&["--database-url", &both]).await;
    let client = server.client();
    let before = issue(&client, "a").await;
    client.balance("a", before).await;
    // The event, and what the read model made of it.
    reached(&pair.copy, "balances", before).await;
    primary.set(mode);
    // More than there are connections for reads.
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let readers = (0..32).map(|_| {
        let (client, stopped) = (client.clone(), stopped.clone());
        tokio::spawn(async move {
            while !*stopped.borrow() {
                let read = client.get("/v1/accounts/a").await;
                assert!(matches!(read.status, 200 | 503), "{}", read.text);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    eventually("connections are held", async || (primary.held() > 12).then_some(())).await;
    let promoted = async {
        if mode == Mode::Freeze {
            eventually("a command waits", async || (primary.stuck() > 0).then_some(())).await;
        }
        pair.promote().await;
    };
    let (done, ()) = tokio::join!(issues_again(&client), promoted);
    let reads = async || {
        let read = futures::future::join_all((0..64).map(|_| available(&client, done))).await;
        assert!(read.iter().all(|it| *it == 2), "{read:?}");
    };
    reads().await;
    is_ready(&client).await;
    primary.set(Mode::Pass);
    stop.send_replace(true);
    for reader in readers {
        reader.await.expect("a reader ends");
    }
    reads().await;
    is_ready(&client).await;
    let log = server.log();
    assert!(!log.contains("the log has gone back"), "{log}");
    log
}

/// As when a name is given to another machine, while the one before lives on.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_another_server_is_followed_there() {
    let pair = Pair::start().await;
    pair.synchronous().await;
    let (both, [name, _]) = pair.proxied().await;
    let (one, rest) = both.split_once(',').expect("two hosts");
    let (_, path) = rest.split_once('/').expect("a database");
    let server = Server::start_with(&["--database-url", &format!("{one}/{path}")]).await;
    let client = server.client();
    let before = issue(&client, "a").await;
    // Connections that go on showing what the log was.
    let read = async |position| {
        futures::future::join_all((0..64).map(|_| available(&client, position))).await
    };
    assert_eq!(read(before).await, [1; 64]);
    name.lead(pair.copy.socket());
    read_only(&pair.database).await;
    pair.promote().await;
    let done = issues_again(&client).await;
    assert_eq!(read(done).await, [2; 64]);
    is_ready(&client).await;
}

/// Sends the command until it is done, and says where. An attempt that nobody knows the outcome of
/// is not counted twice.
async fn issues_again(client: &Client) -> i64 {
    let client = client.keyed("again");
    eventually("the server has gone over", async || {
        let path = "/v1/accounts/a/points/issue";
        let answer = client.post(path, json!({"points": 1})).await;
        (answer.status == 201).then(|| answer.position())
    })
    .await
}

async fn available(client: &Client, position: i64) -> i64 {
    let read = client.get(&format!("/v1/accounts/a?min_position={position}")).await;
    read.expect(200).json()["available"].as_i64().expect("points are a number")
}

/// What a primary shows that came back by itself need not be with its standby yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_given_again_before_the_standby_has_what_it_is_about() {
    let path = "/v1/accounts/a/points/issue";
    let issue = |client: Client| {
        let client = client.keyed("one");
        async move { client.try_post(path, json!({"points": 1})).await }
    };
    is_answered_when_the_standby_has_it(issue).await;
}

/// Nor does a command without a key that finds its work done by the id that it gives to it.
#[tokio::test(flavor = "multi_thread")]
async fn work_is_not_said_to_be_done_before_the_standby_has_it() {
    let hold = |client: Client| async move {
        let hold = json!({"id": "h", "points": 1});
        client.try_post("/v1/accounts/a/holds", hold).await
    };
    is_answered_when_the_standby_has_it(hold).await;
}

/// The first delivery is written by a primary that the standby has left, and unheard of; then
/// the server and the primary are started anew, and the same is sent again.
async fn is_answered_when_the_standby_has_it<F>(send: impl Fn(Client) -> F)
where
    F: Future<Output = reqwest::Result<Answer>> + Send + 'static,
{
    let pair = Pair::start().await;
    pair.synchronous().await;
    let mut server = Server::start_with(&["--database-url", &pair.database.url]).await;
    let before = issue(&server.client(), "a").await;
    let parted = pair.part().await;
    let sent = tokio::spawn(send(server.client()));
    eventually("the commit waits for the standby", async || {
        (pair.database.number(WRITER_WAITS).await > 0).then_some(())
    })
    .await;
    server.kill9();
    sent.abort();
    pair.primary.kill().await.expect("the primary is ended");
    pair.primary.ensure_running().await.expect("it starts again");
    // It has its log back, with what was not acknowledged.
    let last = before + 1;
    assert_eq!(pair.database.number("SELECT position FROM log_head").await, last);

    server.begin_restart();
    server.ready().await;
    for _ in 0..2 {
        let again = send(server.client()).await.expect("an answer");
        assert_eq!(again.status, 503, "{}", again.text);
    }
    // However often it is asked, the standby is waited for once.
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND application_name NOT LIKE 'accrue lease %'";
    assert_eq!(pair.database.number(waiting).await, 1);
    pair.rejoin(&parted).await;
    let done = eventually("it is answered", async || {
        let answer = send(server.client()).await.expect("an answer");
        (answer.status == 201).then(|| answer.position())
    })
    .await;
    assert_eq!(done, last);
    assert_eq!(pair.copy.number("SELECT position FROM log_head").await, last);
}

/// Commits of the log that wait for the standby.
const WRITER_WAITS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'SyncRep' AND application_name = 'accrue log writer'";

/// Sessions that wait for the standby, or for one that does.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'accrue %' AND (wait_event = 'SyncRep' OR wait_event_type = 'Lock')";

/// Longer than any of our patience with the database.
const AWAY: Duration = Duration::from_secs(50);

/// A session that waits for the standby does not see that it was given up on.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_stays_away_costs_no_more_connections_the_longer_it_does() {
    let pair = Pair::start().await;
    pair.synchronous().await;
    let server = Server::start_with(&["--database-url", &pair.database.url]).await;
    let client = server.client();
    issue(&client, "a").await;
    let parted = pair.part().await;
    let keyed = client.keyed("one");
    let path = "/v1/accounts/a/points/issue";
    let sent = tokio::spawn(async move { keyed.try_post(path, json!({"points": 1})).await });
    eventually("the commit waits for the standby", async || {
        (pair.database.number(WRITER_WAITS).await > 0).then_some(())
    })
    .await;
    let mut most = 0;
    let begun = Instant::now();
    while begun.elapsed() < AWAY {
        most = most.max(pair.database.number(WAITING).await);
        tokio::time::sleep(AWAY / 100).await;
    }
    // The writer's, and that of the lease of the timers.
    assert!(most <= 2, "{most} sessions wait");
    assert_eq!(pair.database.number(WRITER_WAITS).await, 1, "its commit shows to nobody yet");
    assert_eq!(pair.database.number("SELECT position FROM log_head").await, 2);
    pair.rejoin(&parted).await;
    let answer = sent.await.expect("no panic").expect("an answer");
    assert!(matches!(answer.status, 201 | 503), "{}", answer.text);
    let done = eventually("it is done", async || {
        let answer = client.keyed("one").post(path, json!({"points": 1})).await;
        (answer.status == 201).then(|| answer.position())
    })
    .await;
    assert_eq!(done, 3);
}

async fn read_only(database: &Database) {
    database.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    database.run("SELECT pg_reload_conf()").await;
    eventually("it takes no writes", async || {
        (database.text("SHOW transaction_read_only").await == "on").then_some(())
    })
    .await;
}
