//! The relay: every event of the log in Kafka, once, in order, to the byte.

use std::time::Duration;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::kafka::{self, Within, broker, expect_same, flags, prefix, published};
use accrue_tests::program;
use accrue_tests::server::Server;
use serde_json::json;

use crate::relay_world::{figure, lines, serve, serve_with};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_in_the_topic_of_its_program_once_and_says_where_it_comes_from() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = serve(broker, &prefix).await;
    let client = server.client();
    // Every kind of metadata, with signs that JSON escapes.
    let told = client.with("accrue-correlation-id", "talk-1").with("accrue-causation-id", "a\"b");
    told.post("/v1/accounts/a/points/issue", json!({"points": 5})).await.expect(201);
    client.post("/v1/accounts/a/points/redeem", json!({"points": 2})).await.expect(200);
    let shop = client.of_program("shop");
    shop.post("/v1/accounts/a/points/issue", json!({"points": 7})).await.expect(201);
    client.post_lines("/v1/commands", lines(0..2_000)).await.expect(200);
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
    let events = database.number("SELECT position FROM log_head").await;
    assert_eq!(figure(&client, "accrue_relay_published_total").await, Some(events));
    assert_eq!(figure(&client, "accrue_follower_lag_events{follower=\"relay\"}").await, Some(0));
    assert_eq!(figure(&client, "accrue_relay_alarm").await, Some(0));
    let relay = client.get("/readyz").await.expect(200).check("relay");
    assert_eq!((relay["ok"].as_bool(), relay["position"].as_i64()), (Some(true), Some(events)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_be_written_as_one_json_object() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = serve_with(broker, &prefix, &["--kafka-form", "structured"]).await;
    server.client().post_lines("/v1/commands", lines(0..300)).await.expect(200);
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_there_before_kafka_is_published_from_its_first_event() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, mut first) = Server::create().await;
    first.client().post_lines("/v1/commands", lines(0..12_000)).await.expect(200);
    first.kill9();
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _server = Server::start_with(&flags).await;
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_published_again_from_any_position_and_once_however_often_it_is_asked_for() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = Server::create().await;
    server.client().post_lines("/v1/commands", lines(0..1_000)).await.expect(200);
    let (topic, bootstrap) = (format!("{prefix}.again"), broker.bootstrap());
    let again = ["relay", "republish", "--from", "500", "--topic", &topic];
    let place = ["--kafka-bootstrap", &bootstrap, "--kafka-partitions", "5"];
    let place = [&place[..], &["--database-url", &database.url]].concat();
    let words = || again.iter().chain(&place).copied();
    let head = database.number("SELECT position FROM log_head").await;
    let said = program::run(words()).await.expect_success();
    let expected = |sent: i64, there: i64| {
        format!("{sent} events of default published to {topic}, {there} were there; up to position")
    };
    assert!(said.replace(',', "").contains(&expected(head - 499, 0).replace(',', "")), "{said}");
    let within = Within { topic: Some(&topic), first: Some(500) };
    kafka::compare(broker, &database, &prefix, within).await.expect_success();
    let said = program::run(words()).await.expect_success();
    assert!(said.replace(',', "").contains(&expected(0, head - 499).replace(',', "")), "{said}");
    // What would have to go before that, or is another program's, is refused and not taken for there.
    for (flag, value, why) in [
        ("--from", "1", "belongs before it: it needs another topic, or a later --from"),
        ("--from", "499", "belongs before it"),
        ("--program", "shop", "holds events of the program default"),
    ] {
        let mut again = vec!["relay", "republish", "--topic", &topic, flag, value];
        if flag != "--from" {
            again.extend(["--from", "500"]);
        }
        let said = program::run(again.iter().chain(&place).copied()).await;
        assert_ne!(said.code, Some(0), "{flag} {value}: {}", said.out);
        assert!(said.err.contains(why), "{flag} {value}: {}", said.err);
    }
    kafka::compare(broker, &database, &prefix, within).await.expect_success();
}

/// Whatever this call takes the servers' prefix for.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_published_again_into_a_topic_that_its_relay_writes() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, server) = serve(broker, &prefix).await;
    server.client().post_lines("/v1/commands", lines(0..100)).await.expect(200);
    published(&database).await;
    let (topic, bootstrap) = (format!("{prefix}.events.default"), broker.bootstrap());
    let again = ["relay", "republish", "--from", "1", "--topic", &topic];
    let place = ["--kafka-bootstrap", &bootstrap, "--database-url", &database.url];
    let said = program::run(again.iter().chain(&place).copied()).await;
    assert_ne!(said.code, Some(0), "{}", said.out);
    assert!(said.err.contains("is written by the relay of this log's servers"), "{}", said.err);
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_published_again_into_a_topic_that_has_its_own_use() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, _server) = Server::create().await;
    let bootstrap = broker.bootstrap();
    let place = ["--kafka-bootstrap", &bootstrap, "--kafka-topic-prefix", &prefix];
    let place = [&place[..], &["--database-url", &database.url]].concat();
    for family in ["events.default", "events.shop", "commands.shop", "results.shop"] {
        let topic = format!("{prefix}.{family}");
        let again = ["relay", "republish", "--from", "1", "--topic", &topic];
        let said = program::run(again.iter().chain(&place).copied()).await;
        assert_ne!(said.code, Some(0), "{family}");
        let line = format!("--topic: {topic} is named as one that this ledger's servers use");
        assert!(said.err.contains(&line), "{}", said.err);
    }
}

/// A stream with an event that is far larger than others.
pub(crate) async fn large(client: &Client) {
    let rules: Vec<_> = (0..60)
        .map(|at| {
            json!({
                "variable": format!("$.amount_of_something_{at}"),
                "condition": {"rule": "numeric_greater_than", "value": 100},
                "action": {"command": "issue", "formula": "$.amount/10"}
            })
        })
        .collect();
    let campaign = json!({"id": "large", "name": "Large", "activate": true, "rules": rules});
    client.keyed("large").post("/v1/campaigns", campaign).await.expect(201);
}

/// What is too large is parked and visible, the others go on, and a restart changes nothing.
async fn parks_what_is_too_large(database: &Database, server: &mut Server) {
    let client = server.client();
    client.post_lines("/v1/commands", lines(0..200)).await.expect(200);
    large(&client).await;
    client.post_lines("/v1/commands", lines(200..400)).await.expect(200);
    published(database).await;
    let parked = "SELECT string_agg(aggregate_id || ': ' || reason, '; ') FROM parked \
                  WHERE follower = 'relay'";
    let parked = database.text(parked).await;
    assert!(parked.starts_with("default/large: a record of "), "{parked}");
    assert_eq!(figure(&client, "accrue_follower_parked{follower=\"relay\"}").await, Some(1));
    server.kill9();
    server.restart().await;
    server.client().post_lines("/v1/commands", lines(400..500)).await.expect(200);
    published(database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_parks_its_stream_and_the_others_go_on() {
    let (broker, prefix) = (broker().await, prefix());
    let size = ["--kafka-record-bytes-max", "4000"];
    let (database, mut server) = serve_with(broker, &prefix, &size).await;
    parks_what_is_too_large(&database, &mut server).await;
    expect_same(broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_less_than_it_was_thought_to_is_found_out() {
    use accrue_private_kafka::broker::{Broker, Options};
    let settings = vec![("message.max.bytes".to_owned(), "4000".to_owned())];
    let options = Options { settings, ..Options::small() };
    let broker = Broker::scratch(options).await.expect("a broker starts");
    let prefix = prefix();
    // Without compression, or what is too large would not be.
    let plain = "[kafka.properties]\n'compression.type' = 'none'\n";
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let file = dir.path().join("accrue.toml");
    std::fs::write(&file, plain).expect("a file can be written");
    let file = file.to_str().expect("a path of text");
    let (database, mut server) = serve_with(&broker, &prefix, &["--config", file]).await;
    parks_what_is_too_large(&database, &mut server).await;
    expect_same(&broker, &database, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_another_log_is_not_added_to() {
    let (broker, prefix) = (broker().await, prefix());
    let (first, mut server) = serve(broker, &prefix).await;
    server.client().post_lines("/v1/commands", lines(0..50)).await.expect(200);
    published(&first).await;
    server.kill9();
    let (_second, server) = serve(broker, &prefix).await;
    let client = server.client();
    client.post_lines("/v1/commands", lines(1_000..1_200)).await.expect(200);
    eventually("it says why it does not publish", async || {
        let relay = client.get("/readyz").await.expect(200).check("relay");
        let reason = relay["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("holds another event at position").then_some(())
    })
    .await;
    expect_same(broker, &first, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_publish_once_and_the_second_takes_over_when_the_first_stops() {
    let (broker, prefix) = (broker().await, prefix());
    let (database, mut one) = serve(broker, &prefix).await;
    one.client().post_lines("/v1/commands", lines(0..500)).await.expect(200);
    published(&database).await;
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let two = Server::start_with(&flags).await;
    one.client().post_lines("/v1/commands", lines(500..1_000)).await.expect(200);
    published(&database).await;
    assert_eq!(figure(&two.client(), "accrue_relay_leading").await, Some(0));
    one.sigterm();
    one.exit().await;
    two.client().post_lines("/v1/commands", lines(1_000..1_500)).await.expect(200);
    // Well before a lease would lapse that was not given back.
    let taken = accrue_tests::eventually::within(Duration::from_secs(3), "it leads", async || {
        (figure(&two.client(), "accrue_relay_leading").await == Some(1)).then_some(())
    });
    taken.await;
    published(&database).await;
    expect_same(broker, &database, &prefix).await;
}
