//! The relay among things that break: each event is in Kafka once, and nothing waits for it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accrue_private_kafka::broker::{Broker, Options};
use accrue_tests::chance::Chance;
use accrue_tests::database::Database;
use accrue_tests::eventually::{eventually, within};
use accrue_tests::kafka::{broker, expect_same, flags, prefix, published};
use accrue_tests::load::{Fate, Load, Manner};
use accrue_tests::program;
use accrue_tests::server::Server;
use rustix::process::Signal;
use serde_json::json;
use sqlx::Executor as _;
use tokio::time::{Instant, sleep};

use crate::relay_world::{figure, lines, serve, serve_with};

/// How often the relay is killed.
const KILLS: usize = 50;

/// What a slow broker takes of a producer, in bytes per second.
const SLOW: u32 = 5_000;

/// A server that takes commands and has no relay, and a process that is there for the relay.
async fn apart(broker: &Broker, prefix: &str) -> (Database, Server, Server) {
    let database = Database::create().await;
    let api = Server::start(&database).await;
    let relay = relay(&database, broker, prefix).await;
    (database, api, relay)
}

async fn relay(database: &Database, broker: &Broker, prefix: &str) -> Server {
    let flags = flags(database, broker, prefix);
    let roles = ["--roles", "api,relay"];
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(roles).collect();
    Server::start_with(&flags).await
}

fn signal(server: &Server, signal: Signal) {
    program::signal(server.pid(), signal);
}

async fn leads(server: &Server) -> bool {
    figure(&server.client(), "accrue_relay_leading").await == Some(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_relay_publishes_nothing_twice_and_leaves_nothing_out() {
    let mut chance = Chance::new("kills of the relay");
    let (broker, prefix) = (broker().await, prefix());
    let (database, api, mut relay) = apart(broker, &prefix).await;
    // Batches large and small, so that kills meet a transaction at every stage.
    api.client().post_lines("/v1/commands", lines(0..20_000)).await.expect(200);
    let load = Load::start(&[api.client()], 8, Manner::Insists);
    for kill in 0..KILLS {
        let leading = eventually("it leads", async || leads(&relay).await.then_some(()));
        leading.await;
        match kill % 3 {
            // The fault's own moment: while a session opens, or soon behind that.
            0 => sleep(chance.moment(Duration::from_millis(400))).await,
            // Within its work.
            1 => {
                let before = checkpoint(&database).await;
                published_behind(&database, before).await;
                sleep(chance.moment(Duration::from_millis(100))).await;
            }
            // Kafka has a transaction, and Postgres knows nothing of it.
            _ => {
                let mut holding = database.connect().await;
                holding.execute("BEGIN").await.expect("a transaction begins");
                let row = "SELECT 1 FROM checkpoints WHERE follower = 'relay' FOR UPDATE";
                holding.execute(row).await.expect("the checkpoint is held");
                let waits = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'accrue relay' AND wait_event_type = 'Lock'
                      AND datname = current_database()";
                eventually("it would note what it has published", async || {
                    (database.number(waits).await > 0).then_some(())
                })
                .await;
                relay.kill9();
            }
        }
        relay.kill9();
        // It is dead, and nobody need wait until its lease lapses.
        database.run("UPDATE leases SET until = '-infinity'").await;
        relay.restart().await;
    }
    let sent = load.stop().await;
    assert!(sent.iter().all(|it| it.fate == Fate::Accepted));
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_paused_past_its_lease_publishes_nothing_when_it_wakes() {
    let mut chance = Chance::new("pauses of the relay");
    let (broker, prefix) = (broker().await, prefix());
    let (database, api, mut one) = apart(broker, &prefix).await;
    eventually("it leads", async || leads(&one).await.then_some(())).await;
    let mut two = relay(&database, broker, &prefix).await;
    let load = Load::start(&[api.client()], 8, Manner::Insists);
    published_behind(&database, 0).await;
    for _ in 0..5 {
        sleep(chance.moment(Duration::from_millis(300))).await;
        signal(&one, Signal::STOP);
        let paused = Instant::now();
        within(Duration::from_secs(5), "another takes over", async || {
            leads(&two).await.then_some(())
        })
        .await;
        println!("taken over after {:?}", paused.elapsed());
        let before = checkpoint(&database).await;
        published_behind(&database, before).await;
        signal(&one, Signal::CONT);
        eventually("the first sees that it is late", async || (!leads(&one).await).then_some(()))
            .await;
        std::mem::swap(&mut one, &mut two);
    }
    // One that dies gives nothing back, and its lease lapses as fast.
    for _ in 0..2 {
        sleep(chance.moment(Duration::from_millis(300))).await;
        one.kill9();
        within(Duration::from_secs(5), "another takes over", async || {
            leads(&two).await.then_some(())
        })
        .await;
        one.restart().await;
        std::mem::swap(&mut one, &mut two);
    }
    load.stop().await;
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_under_load_has_every_event_once_when_it_is_back() {
    let broker = Broker::scratch(Options::small()).await.expect("a broker starts");
    let prefix = prefix();
    let (database, server) = serve(&broker, &prefix).await;
    let load = Load::start(&[server.client()], 8, Manner::Insists);
    for _ in 0..3 {
        let before = load.accepted();
        eventually("commands go through", async || (load.accepted() > before + 300).then_some(()))
            .await;
        broker.kill().await.expect("it can be killed");
        broker.start().await.expect("it starts again");
    }
    let sent = load.stop().await;
    assert!(sent.iter().all(|it| it.fate == Fate::Accepted));
    published(&database).await;
    expect_same(&broker, &database, &prefix).await;
}

/// What may be the matter with a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Away,
    Hangs,
    /// It takes so little that a batch as large as others does not get through in its time.
    Slow,
    /// There is no room on its disk.
    Full,
}

impl Trouble {
    async fn begins(self, broker: &Broker) {
        match self {
            Self::Away => broker.kill().await.expect("it can be killed"),
            Self::Hangs => program::signal(broker.pid().await.expect("it runs"), Signal::STOP),
            Self::Slow => broker.bound_producers(SLOW).await.expect("it can be told"),
            Self::Full => broker.take_its_room().await.expect("it can be bounded"),
        }
    }

    /// How long it is to last at the least.
    fn lasts(self) -> Duration {
        match self {
            Self::Away => Duration::from_secs(60),
            Self::Hangs | Self::Full => Duration::from_secs(10),
            Self::Slow => Duration::ZERO,
        }
    }

    async fn ends(self, broker: &Broker) {
        match self {
            Self::Away => broker.start().await.expect("it starts again"),
            Self::Hangs => program::signal(broker.pid().await.expect("it runs"), Signal::CONT),
            Self::Slow => broker.bound_producers(0).await.expect("it can be told"),
            Self::Full => {
                broker.ended().await.expect("it ends itself");
                broker.start().await.expect("it starts again");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_in_trouble_delays_the_relay_and_nothing_else() {
    let broker = Broker::scratch(Options::small()).await.expect("a broker starts");
    let prefix = prefix();
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    // A batch that is too large for a slow broker is given up soon.
    let patience = "[kafka.properties]\n'message.timeout.ms' = 5000\n";
    std::fs::write(file.path(), patience).expect("it can be written");
    let file = file.path().to_str().expect("a path");
    let flags = ["--relay-lag-seconds-max", "1", "--config", file];
    let (database, server) = serve_with(&broker, &prefix, &flags).await;
    let client = server.client();
    for trouble in [Trouble::Away, Trouble::Hangs, Trouble::Slow, Trouble::Full] {
        let load = Load::start(std::slice::from_ref(&client), 8, Manner::Insists);
        published_behind(&database, checkpoint(&database).await).await;
        trouble.begins(&broker).await;
        let (begun, before) = (Instant::now(), load.accepted());
        if trouble == Trouble::Slow {
            // Far more than gets through in the time of a batch.
            client.post_lines("/v1/commands", lines(0..20_000)).await.expect(200);
        }
        eventually("the alarm is given", async || {
            (figure(&client, "accrue_relay_alarm").await == Some(1)).then_some(())
        })
        .await;
        while begun.elapsed() < trouble.lasts() {
            // Ready all the while: without Kafka there is nothing that this server cannot do.
            client.get("/readyz").await.expect(200);
            sleep(Duration::from_millis(100)).await;
        }
        if trouble == Trouble::Slow {
            // Three failures are more than the lease is kept for without success.
            within(Duration::from_secs(120), "batches grow smaller", async || {
                let most = figure(&client, "accrue_relay_batch_events_max").await;
                (most.expect("a figure") <= 1_250).then_some(())
            })
            .await;
            // And what there is gets through, as slowly as it may.
            let before = checkpoint(&database).await;
            within(Duration::from_secs(120), "something gets through", async || {
                (checkpoint(&database).await > before).then_some(())
            })
            .await;
        }
        let relay = client.get("/readyz").await.expect(200).check("relay");
        assert!(relay["reason"].is_string(), "{trouble:?}: {relay}");
        eventually("commands are taken all the while", async || {
            (load.accepted() > before + 500).then_some(())
        })
        .await;
        assert_eq!((load.refused(), load.unknown()), (0, 0), "{trouble:?}: each was answered");
        trouble.ends(&broker).await;
        eventually("the alarm is over", async || {
            (figure(&client, "accrue_relay_alarm").await == Some(0)).then_some(())
        })
        .await;
        load.stop().await;
        published(&database).await;
        expect_same(&broker, &database, &prefix).await;
    }
}

/// The one that reaches Kafka is told by nobody: the other lets go of what it cannot do.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_alone_is_not_ready_without_kafka_and_gives_way_to_one_that_reaches_it() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, api) = Server::create().await;
    let relay = async |bootstrap: &str| {
        let place = ["--kafka-bootstrap", bootstrap, "--kafka-topic-prefix", &prefix];
        let flags = ["--database-url", &database.url, "--roles", "relay"];
        let alarm = ["--relay-lag-seconds-max", "1"];
        Server::start_with(&[&flags[..], &place, &alarm].concat()).await
    };
    let cut_off = relay("127.0.0.1:1").await;
    eventually("it leads", async || leads(&cut_off).await.then_some(())).await;
    api.client().post("/v1/accounts/a/points/issue", json!({"points": 1})).await.expect(201);
    let status = async |server: &Server| server.client().get("/readyz").await;
    let said = eventually("it is not ready", async || {
        let answer = status(&cut_off).await;
        (answer.status == 503).then_some(answer)
    });
    let said = said.await.check("relay");
    assert_eq!(said["ok"], false, "{said}");
    let other = relay(&broker.bootstrap()).await;
    within(Duration::from_secs(120), "the other leads", async || leads(&other).await.then_some(()))
        .await;
    published(&database).await;
    for server in [&cut_off, &other] {
        eventually("it is ready", async || (status(server).await.status == 200).then_some(()))
            .await;
    }
    expect_same(broker, &database, &prefix).await;
}

async fn checkpoint(database: &Database) -> i64 {
    let at = "SELECT coalesce(max(position), 0) FROM checkpoints WHERE follower = 'relay'";
    database.number(at).await
}

/// Waits until something behind that position was published.
async fn published_behind(database: &Database, before: i64) {
    eventually("something is published", async || {
        (checkpoint(database).await > before).then_some(())
    })
    .await;
}

/// The folders of a topic's partitions, the one with most in it first.
fn partitions(broker: &Broker, topic: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(broker.data_dir()).expect("the broker has a folder");
    let mut found: Vec<PathBuf> = folders
        .map(|it| it.expect("an entry").path())
        .filter(|it| {
            let name = it.file_name().unwrap_or_default().to_string_lossy();
            name.rsplit_once('-').is_some_and(|(of, _)| of == topic)
        })
        .collect();
    found.sort_by_key(|it| std::cmp::Reverse(segment(it).1));
    found
}

/// The last segment of a partition, and its length.
fn segment(partition: &Path) -> (PathBuf, u64) {
    let files = std::fs::read_dir(partition).expect("a partition has a folder");
    let mut logs: Vec<PathBuf> = files
        .map(|it| it.expect("an entry").path())
        .filter(|it| it.extension().is_some_and(|it| it == "log"))
        .collect();
    logs.sort();
    let last = logs.pop().expect("a partition has a segment");
    let length = std::fs::metadata(&last).expect("it is there").len();
    (last, length)
}

/// Cuts bytes off the end of a partition, as a loss of power does to what was not on disk yet:
/// what the broker derives from them goes with them.
fn cut(broker: &Broker, partition: &Path, bytes: u64) {
    let (log, length) = segment(partition);
    let file = std::fs::File::options().write(true).open(&log).expect("a segment can be opened");
    file.set_len(length.saturating_sub(bytes)).expect("a segment can be cut");
    for file in std::fs::read_dir(partition).expect("a folder") {
        let path = file.expect("an entry").path();
        let derived = ["index", "timeindex", "txnindex", "snapshot"];
        if path.extension().is_some_and(|it| derived.iter().any(|name| it == *name)) {
            std::fs::remove_file(&path).expect("a file can be removed");
        }
    }
    // Otherwise the broker would trust what it had written on its way down.
    let _clean = std::fs::remove_file(broker.data_dir().join(".kafka_cleanshutdown"));
    let recovery = broker.data_dir().join("recovery-point-offset-checkpoint");
    let mut recovery = std::fs::File::create(recovery).expect("a file can be written");
    recovery.write_all(b"0\n0\n").expect("a file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_has_lost_of_its_end_is_published_again() {
    let broker = Broker::scratch(Options::small()).await.expect("a broker starts");
    let prefix = prefix();
    let (database, mut server) = serve(&broker, &prefix).await;
    let topic = format!("{prefix}.events.default");
    for (round, restarted) in [(0, true), (1, false), (2, true)] {
        let from = round * 3_000;
        server.client().post_lines("/v1/commands", lines(from..from + 3_000)).await.expect(200);
        published(&database).await;
        expect_same(&broker, &database, &prefix).await;
        if restarted {
            server.kill9();
        }
        broker.stop().await.expect("it stops");
        let found = partitions(&broker, &topic);
        assert_eq!(found.len(), 12);
        // The end of a transaction alone, a little more, and more than everything since the last.
        for (partition, bytes) in found.iter().zip([20, 300, 9_000]) {
            cut(&broker, partition, bytes);
        }
        broker.start().await.expect("it starts again");
        if restarted {
            database.run("UPDATE leases SET until = '-infinity'").await;
            server.restart().await;
        }
        // It is noticed without anything new to publish.
        eventually("everything is there again", async || {
            let said = accrue_tests::kafka::compare(
                &broker,
                &database,
                &prefix,
                accrue_tests::kafka::Within::default(),
            );
            (said.await.code == Some(0)).then_some(())
        })
        .await;
    }
    server.client().post_lines("/v1/commands", lines(9_000..9_500)).await.expect(200);
    published(&database).await;
    expect_same(&broker, &database, &prefix).await;
}
