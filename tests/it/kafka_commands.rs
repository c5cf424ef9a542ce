//! Commands by Kafka: the same envelopes, the same answers, each with one effect.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use accrue_private_kafka::broker::Broker;
use accrue_private_postgres::cluster::{Cluster, Mode};
use accrue_private_postgres::options::Options;
use accrue_tests::chance::Chance;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::history::{self, FIGURES};
use accrue_tests::kafka::{broker, flags, prefix};
use accrue_tests::program::{self, workspace};
use accrue_tests::server::Server;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde_json::Value;
use sqlx::Executor as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::relay_world::figure;

/// How long a record may take to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn client(broker: &Broker) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker.bootstrap());
    client
}

/// Takes a topic away, with what is in it.
pub(crate) async fn remove(broker: &Broker, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(broker).create().expect("an admin");
    let removed = admin.delete_topics(&[topic], &AdminOptions::new()).await;
    let removed = removed.expect("it can be asked");
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
}

pub(crate) async fn serve(broker: &Broker, prefix: &str) -> (Database, Server) {
    let database = Database::create().await;
    let flags = flags(&database, broker, prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_with(&flags).await;
    (database, server)
}

/// Writes records, in order, and waits until the broker has them.
pub(crate) async fn write(broker: &Broker, topic: &str, records: &[(Option<&str>, &str)]) {
    let producer: FutureProducer =
        client(broker).set("allow.auto.create.topics", "false").create().expect("a producer");
    eventually("the topic is there", async || {
        let there = producer.client().fetch_metadata(Some(topic), PATIENCE).ok()?;
        there.topics().iter().any(|it| it.error().is_none()).then_some(())
    })
    .await;
    let mut sent = FuturesUnordered::new();
    for (key, body) in records {
        let mut record = FutureRecord::<str, str>::to(topic).payload(body);
        if let Some(key) = key {
            record = record.key(key);
        }
        sent.push(producer.send_result(record).map_err(|(error, _)| error).expect("room"));
    }
    while let Some(delivered) = sent.next().await {
        delivered.expect("the producer lives").map_err(|(error, _)| error).expect("delivered");
    }
}

/// Writes lines as people do from a shell, a record each; by our own client where kcat is missing.
pub(crate) async fn kcat(broker: &Broker, topic: &str, lines: &str) {
    // The topic is there.
    write(broker, topic, &[]).await;
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &broker.bootstrap(), "-t", topic]).stdin(Stdio::piped());
    let Ok(mut kcat) = kcat.kill_on_drop(true).spawn() else {
        println!("no kcat: see `cargo xtask setup`");
        let lines: Vec<_> = lines.lines().map(|line| (None, line)).collect();
        return write(broker, topic, &lines).await;
    };
    let mut input = kcat.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).await.expect("kcat takes it all");
    drop(input);
    assert!(kcat.wait().await.expect("kcat ends").success());
}

/// The first records of a topic.
pub(crate) async fn read(broker: &Broker, topic: &str, count: usize) -> Vec<OwnedMessage> {
    let consumer: StreamConsumer = client(broker)
        .set("group.id", format!("reader of {topic}"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let mut found = Vec::new();
    while found.len() < count {
        let received = tokio::time::timeout(PATIENCE, consumer.recv()).await;
        let received = received.unwrap_or_else(|_| panic!("{} of {count} came", found.len()));
        // A topic that is not there yet is an error that passes.
        if let Ok(message) = received {
            found.push(message.detach());
        }
    }
    found
}

/// The results of so many records of one partition, by the records' offsets.
async fn results_by_offset(broker: &Broker, topic: &str, count: usize) -> BTreeMap<i64, Value> {
    let mut more = count;
    loop {
        let results = read(broker, topic, more).await;
        let by_offset: BTreeMap<_, _> = results
            .iter()
            .map(|it| (header(it, "accrue-offset").parse().expect("an offset"), json(it)))
            .collect();
        if by_offset.len() == count {
            return by_offset;
        }
        more += 1;
    }
}

pub(crate) fn json(message: &OwnedMessage) -> Value {
    serde_json::from_slice(message.payload().expect("a body")).expect("JSON")
}

pub(crate) fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().expect("headers");
    let found = headers.iter().find(|it| it.key == name).and_then(|it| it.value);
    String::from_utf8(found.unwrap_or_default().to_vec()).expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_answered_and_what_is_no_command_is_set_aside() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = serve(broker, &prefix).await;
    let of = |family: &str| format!("{prefix}.{family}.default");
    let issue = r#"{"id":"c-1","type":"issue_points","account":"a","points":10}"#;
    let other = r#"{"id":"c-1","type":"issue_points","account":"a","points":11}"#;
    let redeem = r#"{"id":"c-2","type":"redeem_points","account":"a","points":99}"#;
    let nameless = r#"{"type":"issue_points","account":"a","points":10}"#;
    let unknown = r#"{"id":"c-3","type":"give","account":"a"}"#;
    let stale =
        r#"{"id":"c-5","type":"issue_points","account":"a","points":1,"expected_version":9}"#;
    let last = r#"{"id":"c-4","type":"redeem_points","account":"a","points":4}"#;
    let bodies = [issue, issue, other, redeem, "{", nameless, unknown, stale, last];
    // One key, so one partition: what is no command must not stop those behind it.
    let records: Vec<_> = bodies.iter().map(|body| (Some("a"), *body)).collect();
    write(broker, &of("commands"), &records).await;

    let results = read(broker, &of("results"), bodies.len()).await;
    let mut by_offset: Vec<_> = results
        .iter()
        .map(|it| (header(it, "accrue-offset").parse::<i64>().expect("an offset"), json(it)))
        .collect();
    by_offset.sort_by_key(|(offset, _)| *offset);
    let statuses: Vec<_> = by_offset.iter().map(|(_, it)| it["status"].as_i64()).collect();
    let expected = [201, 201, 422, 409, 400, 422, 422, 412, 200].map(Some);
    assert_eq!(statuses, expected, "{by_offset:#?}");
    let (first, again) = (&by_offset[0].1, &by_offset[1].1);
    assert_eq!(first["receipt"], again["receipt"]);
    assert_eq!((&first["replayed"], &again["replayed"]), (&Value::Null, &Value::Bool(true)));
    assert_eq!(by_offset[3].1["problem"]["type"], "/problems/insufficient-points");
    assert_eq!(by_offset[3].1["offset"], by_offset[3].0);
    assert!(results.iter().all(|it| it.key() == Some(b"a")));
    assert!(results.iter().all(|it| header(it, "accrue-topic") == of("commands")));

    let dead = read(broker, &of("commands-dead"), 3).await;
    let dead: BTreeMap<i64, _> = dead
        .iter()
        .map(|it| (header(it, "accrue-offset").parse().expect("an offset"), it))
        .collect();
    let reasons: Vec<_> = dead.values().map(|it| header(it, "accrue-reason")).collect();
    assert!(reasons[0].contains("EOF") || reasons[0].contains("end"), "{reasons:?}");
    assert!(reasons[1].contains("missing field `id`"), "{reasons:?}");
    assert!(reasons[2].contains("expected one of"), "{reasons:?}");
    let bodies: Vec<_> = dead.values().map(|it| it.payload().expect("a body")).collect();
    assert_eq!(bodies, ["{", nameless, unknown].map(str::as_bytes));

    let account = server.client().get("/v1/accounts/a").await.expect(200);
    assert_eq!(account.json()["available"], 6);
    assert_eq!(database.number("SELECT count(*) FROM events").await, 3);
}

/// Points of an account are spent in the order in which the records of its key were written, also
/// where the database goes away in between.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_key_are_decided_in_their_order() {
    let (broker, prefix) = (broker().await, prefix());
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let database = Database::create_in(&cluster).await;
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _server = Server::start_with(&flags).await;
    let envelopes: Vec<String> = (0..300)
        .map(|at| {
            let (r#type, account) = (["issue_points", "redeem_points"][at / 3 % 2], at % 3);
            format!(r#"{{"id":"o-{at}","type":"{type}","account":"o{account}","points":5}}"#)
        })
        .collect();
    let keys = ["o0", "o1", "o2"];
    let records: Vec<_> =
        envelopes.iter().enumerate().map(|(at, it)| (Some(keys[at % 3]), &**it)).collect();
    write(broker, &format!("{prefix}.commands.default"), &records).await;
    for to in [30, 120] {
        eventually("some are taken", async || {
            (database.number("SELECT count(*) FROM events").await >= to).then_some(())
        })
        .await;
        cluster.stop(Mode::Immediate).await.expect("Postgres stops");
        cluster.ensure_running().await.expect("Postgres starts again");
    }
    let results = read(broker, &format!("{prefix}.results.default"), 300).await;
    // One that came before the points were there would have been refused.
    let refused = results.iter().map(json).find(|it| it["status"].as_i64() > Some(201));
    assert_eq!(refused, None);
    let redeemed = "SELECT count(*) FROM events WHERE event_type = 'PointsRedeemed'";
    assert_eq!(database.number(redeemed).await, 150);
}

/// A year of invoices as envelopes, one a line.
pub(crate) async fn invoices() -> String {
    let file = workspace().join("data/online-retail/invoices.csv");
    let file = file.to_str().expect("a path of text");
    let map = "id=InvoiceNo,occurred_at=InvoiceDate,account=CustomerID,total=TotalPrice";
    let printed = program::run(["import", "sales", file, "--map", map, "--print"]).await;
    let printed = printed.expect_success();
    assert_eq!(printed.lines().count(), 18_532);
    printed
}

/// One whose database stands still is full after a while. It gives its partitions up all the same to
/// whoever joins, and goes on where it was when the database does.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_full_holds_nobody_up() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = serve(broker, &prefix).await;
    let topic = format!("{prefix}.commands.default");
    // Nobody writes to the log while this is held.
    let mut holding = database.connect().await;
    holding.execute("BEGIN").await.expect("a transaction begins");
    holding.execute("SELECT 1 FROM log_head FOR UPDATE").await.expect("the log is held");
    let envelopes: Vec<String> = (0..FULL)
        .map(|at| {
            format!(r#"{{"id":"f-{at}","type":"issue_points","account":"f{}","points":5}}"#, at % 9)
        })
        .collect();
    let records: Vec<_> = envelopes.iter().map(|it| (None, &**it)).collect();
    write(broker, &topic, &records).await;
    let client_of = server.client();
    eventually("it is full", async || {
        let outstanding = figure(&client_of, "accrue_kafka_commands_outstanding").await;
        outstanding.filter(|count| *count >= 2_048)
    })
    .await;

    let joining: StreamConsumer = client(broker)
        .set("group.id", format!("{prefix}-commands"))
        .set("partition.assignment.strategy", "range,roundrobin")
        .set("session.timeout.ms", "6000")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    joining.subscribe(&[&topic]).expect("subscribed");
    let partitions = async {
        loop {
            let _record = tokio::time::timeout(Duration::from_millis(50), joining.recv()).await;
            let count = joining.assignment().expect("it can be asked").count();
            if count > 0 {
                return count;
            }
        }
    };
    let partitions = tokio::time::timeout(Duration::from_secs(30), partitions).await;
    assert_eq!(partitions.expect("it gets its share within 30 s"), 6);
    drop(joining);

    holding.execute("ROLLBACK").await.expect("the log is let go");
    let issued = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    eventually("all are decided", async || {
        (database.number(issued).await == i64::try_from(FULL).expect("few")).then_some(())
    })
    .await;
}

/// Records that are more than are taken at a time.
const FULL: usize = 6_000;

/// A day and a bit ago nobody knows any more whether a command was decided before.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_older_than_the_keys_are_kept_is_not_decided() {
    let (broker, prefix) = (broker().await, prefix());
    let topic = format!("{prefix}.commands.old");
    // Here a record's time is its sender's.
    let admin: AdminClient<DefaultClientContext> = client(broker).create().expect("an admin");
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    admin.create_topics(&[new], &AdminOptions::new()).await.expect("a topic is made");
    let producer: FutureProducer = client(broker).create().expect("a producer");
    let envelope =
        |id: &str| format!(r#"{{"id":"{id}","type":"issue_points","account":"a","points":10}}"#);
    for (id, hours) in [("a-1", 48), ("a-2", 25), ("a-3", 22), ("a-4", 0)] {
        let at = (chrono::Utc::now() - chrono::TimeDelta::hours(hours)).timestamp_millis();
        let body = envelope(id);
        let record = FutureRecord::<str, str>::to(&topic).payload(&body).timestamp(at);
        producer.send(record, PATIENCE).await.expect("delivered");
    }
    let database = Database::create().await;
    let mut flags = flags(&database, broker, &prefix);
    flags.extend(["--idempotency-days", "1"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_with(&flags).await;
    // A new assignment delivers a record once more, so there may be two results of one.
    let results = results_by_offset(broker, &format!("{prefix}.results.old"), 4).await;
    let found: Vec<_> = results.values().map(|it| (&it["id"], it["status"].as_i64())).collect();
    let expected = [("a-1", 410), ("a-2", 410), ("a-3", 201), ("a-4", 201)];
    let expected = expected.map(|(id, status)| (Value::from(id), Some(status)));
    assert_eq!(found, expected.each_ref().map(|(id, status)| (id, *status)));
    for dead in read(broker, &format!("{prefix}.commands-dead.old"), 2).await {
        assert!(["0", "1"].contains(&&*header(&dead, "accrue-offset")));
        let reason = header(&dead, "accrue-reason");
        assert!(reason.contains("older than the keys are kept"), "{reason}");
    }
    let account = server.client().of_program("old").get("/v1/accounts/a").await.expect(200);
    assert_eq!(account.json()["available"], 20);
}

/// Kills in this test.
const KILLS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_invoices_by_kafka_through_kills_comes_to_the_same_figures() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, mut server) = serve(broker, &prefix).await;
    history::campaign(&server.client()).await;
    let invoices = invoices().await;
    let topic = format!("{prefix}.commands.default");
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    // A second worker, which takes over half of the partitions and gives them back.
    let mut second = Server::start_with(&flags).await;
    let writing = kcat(broker, &topic, &invoices);
    let killing = async {
        let mut chance = Chance::new("kills of those who take commands");
        let sales = "SELECT count(*) FROM events WHERE event_type = 'SaleRecorded'";
        for kill in 0..KILLS {
            let more = i64::try_from(chance.below(2_000)).expect("a small number");
            let to = (database.number(sales).await + more).min(18_000);
            eventually("commands are taken", async || {
                (database.number(sales).await >= to).then_some(())
            })
            .await;
            let victim = if kill % 2 == 0 { &mut server } else { &mut second };
            victim.kill9();
            victim.restart().await;
        }
        eventually("all are taken", async || {
            (database.number(sales).await >= 18_532).then_some(())
        })
        .await;
    };
    tokio::join!(writing, killing);
    history::settled(&database).await;
    assert_eq!(history::figures(&database, "default").await, FIGURES);
    history::verify(&database).await.expect_success();
}
