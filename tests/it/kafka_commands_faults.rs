//! Commands by Kafka, where topics refuse what is written to them, clocks are wrong, or nothing goes on.

use accrue_private_kafka::broker::Broker;
use accrue_private_postgres::cluster::{Cluster, Mode};
use accrue_private_postgres::options::Options;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::kafka::{broker, flags, prefix};
use accrue_tests::server::Server;
use chrono::{DateTime, TimeDelta, Utc};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;

use crate::failover::check;
use crate::kafka_commands::{PATIENCE, client, header, json, read, remove, serve, write};
use crate::relay_world::figure;

async fn make(broker: &Broker, topic: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(broker).create().expect("an admin");
    let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let made = admin.create_topics(&[new], &AdminOptions::new()).await.expect("it can be asked");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

fn issue(id: &str) -> String {
    format!(r#"{{"id":"{id}","type":"issue_points","account":"a","points":10}}"#)
}

async fn outstanding(client: &Client) -> Option<i64> {
    figure(client, "accrue_kafka_commands_outstanding").await
}

/// A topic that keeps the last of each key takes no record without one.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_its_topic_refuses_for_good_stops_nothing() {
    let (broker, prefix) = (broker().await, prefix());
    make(broker, &format!("{prefix}.results.kept"), &[("cleanup.policy", "compact")]).await;
    make(broker, &format!("{prefix}.commands.kept"), &[]).await;
    let bodies = ["r-1", "r-2", "r-3"].map(issue);
    let records = [(Some("a"), &*bodies[0]), (None, &bodies[1]), (Some("b"), &bodies[2])];
    write(broker, &format!("{prefix}.commands.kept"), &records).await;
    let (_database, server) = serve(broker, &prefix).await;
    let results = read(broker, &format!("{prefix}.results.kept"), 2).await;
    let ids: Vec<_> = results.iter().map(|it| json(it)["id"].clone()).collect();
    assert!(["r-1", "r-3"].iter().all(|id| ids.contains(&Value::from(*id))), "{ids:?}");
    let client = server.client();
    eventually("no record is left", async || (outstanding(&client).await == Some(0)).then_some(()))
        .await;
    let kept = client.of_program("kept");
    eventually("all are in the read model", async || {
        (kept.get("/v1/accounts/a").await.json()["available"] == 30).then_some(())
    })
    .await;
}

/// Records of this test, whose results make batches.
const MANY: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_for_its_topic_costs_no_result_its_body() {
    let (broker, prefix) = (broker().await, prefix());
    let results = format!("{prefix}.results.small");
    // Room for one of them, and not for many.
    make(broker, &results, &[("max.message.bytes", "2000")]).await;
    make(broker, &format!("{prefix}.commands.small"), &[]).await;
    let bodies: Vec<_> = (0..MANY).map(|at| issue(&format!("s-{at}"))).collect();
    let records: Vec<_> = bodies.iter().map(|it| (None, &**it)).collect();
    write(broker, &format!("{prefix}.commands.small"), &records).await;
    let (_database, _server) = serve(broker, &prefix).await;
    let empty: Vec<_> = read(broker, &results, MANY)
        .await
        .iter()
        .filter(|it| it.payload().is_none_or(<[u8]>::is_empty))
        .map(|it| header(it, "accrue-offset"))
        .collect();
    assert!(empty.is_empty(), "the results of {empty:?}");
}

/// Most records of one topic in memory, where others have none there.
const HELD_MAX: i64 = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_results_cannot_be_written_holds_up_no_other() {
    let (broker, prefix) = (broker().await, prefix());
    let of = |family: &str, program: &str| format!("{prefix}.{family}.{program}");
    for topic in ["default", "stuck", "other"].map(|program| of("commands", program)) {
        make(broker, &topic, &[]).await;
    }
    let (_database, server) = serve(broker, &prefix).await;
    let client = server.client();
    // Made by the server, which does so once.
    write(broker, &of("commands", "stuck"), &[(None, &issue("w"))]).await;
    read(broker, &of("results", "stuck"), 1).await;
    remove(broker, &of("results", "stuck")).await;
    let bodies: Vec<_> = (0..2 * HELD_MAX).map(|at| issue(&format!("w-{at}"))).collect();
    let records: Vec<_> = bodies.iter().map(|it| (None, &**it)).collect();
    write(broker, &of("commands", "stuck"), &records).await;
    let held = async || outstanding(&client).await.filter(|held| *held >= HELD_MAX);
    eventually("it has all that it may have", held).await;

    write(broker, &of("commands", "other"), &[(None, &issue("o"))]).await;
    let results = read(broker, &of("results", "other"), 1).await;
    assert_eq!(json(&results[0])["status"], 201);
    let held = outstanding(&client).await;
    assert!(held.is_some_and(|it| (HELD_MAX..HELD_MAX + 64).contains(&it)), "{held:?} records");
    eventually("it says why they wait", async || {
        let check = check(&client, "kafka_commands").await;
        check["reason"].as_str()?.contains("records wait, the first of them: ").then_some(())
    })
    .await;
}

/// The same record comes to the same, however late it is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_future_is_judged_by_when_it_was_written() {
    let (broker, prefix) = (broker().await, prefix());
    let topic = format!("{prefix}.commands.clock");
    // Here a record's time is its sender's.
    make(broker, &topic, &[]).await;
    let written_at = Utc::now() - TimeDelta::hours(2);
    let producer: FutureProducer = client(broker).create().expect("a producer");
    let of = |id: &str, at: DateTime<Utc>| {
        let at = at.to_rfc3339();
        issue(id).replace("}", &format!(r#","occurred_at":"{at}"}}"#))
    };
    let soon = of("c-1", written_at + TimeDelta::minutes(1));
    let far = of("c-2", written_at + TimeDelta::hours(1));
    for body in [&soon, &far] {
        let record = FutureRecord::<str, str>::to(&topic).payload(body).key("a");
        let record = record.timestamp(written_at.timestamp_millis());
        producer.send(record, PATIENCE).await.expect("delivered");
    }
    let (_database, _server) = serve(broker, &prefix).await;
    let results = read(broker, &format!("{prefix}.results.clock"), 2).await;
    let mut found: Vec<_> = results.iter().map(json).collect();
    found.sort_by_key(|it| it["id"].to_string());
    assert_eq!((&found[0]["status"], &found[1]["status"]), (&201.into(), &422.into()), "{found:?}");
    assert_eq!(found[1]["problem"]["errors"][0]["pointer"], "/occurred_at", "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_wait_say_why_and_are_no_reason_to_send_nobody_here() {
    let (broker, prefix) = (broker().await, prefix());
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let database = Database::create_in(&cluster).await;
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_with(&flags).await;
    let (client, topic) = (server.client(), format!("{prefix}.commands.default"));
    let (first, second) = (issue("w-1"), issue("w-2"));
    write(broker, &topic, &[(None, &first)]).await;
    read(broker, &format!("{prefix}.results.default"), 1).await;
    let fine = check(&client, "kafka_commands").await;
    assert_eq!((&fine["ok"], &fine["reason"]), (&Value::Bool(true), &Value::Null));

    cluster.stop(Mode::Immediate).await.expect("Postgres stops");
    write(broker, &topic, &[(None, &second)]).await;
    let waits = eventually("it says so", async || {
        let check = check(&client, "kafka_commands").await;
        check["reason"].is_string().then_some(check)
    })
    .await;
    assert_eq!(waits["ok"], true);
    let reason = waits["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("a record waits: "), "{reason}");
    cluster.ensure_running().await.expect("Postgres starts again");
    eventually("it goes on", async || {
        let check = check(&client, "kafka_commands").await;
        check["reason"].is_null().then_some(())
    })
    .await;
}
