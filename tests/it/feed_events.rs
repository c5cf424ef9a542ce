//! What workers that Kafka feeds make of events that they cannot read, or that Kafka does not have.

use std::time::Duration;

use accrue_tests::database::Database;
use accrue_tests::eventually::{eventually, within};
use accrue_tests::history;
use accrue_tests::kafka::{broker, prefix, published};
use sqlx::Executor as _;

use crate::feed_world::{fed, partitions, takes, verified, with_feed, with_flags};
use crate::follow::append_foreign;
use crate::relay::large;
use crate::relay_world::lines;

/// Streams that followers have set aside, whatever the reason.
const PARKED: &str = "SELECT follower || ' ' || aggregate_id || ' ' || position FROM parked
    WHERE follower <> 'relay' ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_amid_others_parks_its_stream_as_by_the_log() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api").await;
    for (at, from) in [(0, 0), (1, 1_000), (2, 2_000)] {
        api.client().post_lines("/v1/commands", lines(from..from + 1_000)).await.expect(200);
        append_foreign(&database, at, "PointsIssued", r#"{"PointsIssued":{"lot":7}}"#).await;
    }
    api.client().post_lines("/v1/commands", lines(3_000..4_000)).await.expect(200);
    // Behind all of it, so that it comes in few batches.
    let _relay = fed(&database, broker, &prefix, "relay").await;
    published(&database).await;
    let mut worker = fed(&database, broker, &prefix, "projections").await;
    history::settled(&database).await;
    let by_kafka = (history::read_models(&database).await, database.texts(PARKED).await);
    assert!(!by_kafka.1.is_empty(), "the stream is set aside");
    worker.kill9();
    database.run("DROP SCHEMA read CASCADE; CREATE SCHEMA read; DELETE FROM parked").await;
    database.run("DELETE FROM feed_checkpoints").await;
    database.run("DELETE FROM checkpoints WHERE follower <> 'relay'").await;
    let _by_log = with_feed(&database, broker, &prefix, "projections", "log").await;
    history::settled(&database).await;
    assert_eq!(by_kafka, (history::read_models(&database).await, database.texts(PARKED).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_too_large_for_kafka_is_set_aside_and_the_others_go_on() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let flags = ["--feed", "kafka", "--kafka-record-bytes-max", "4000"];
    let api = with_flags(&database, broker, &prefix, "api,relay", &flags).await;
    let mut worker = with_flags(&database, broker, &prefix, "projections,campaigns", &flags).await;
    api.client().post_lines("/v1/commands", lines(0..1_000)).await.expect(200);
    large(&api.client()).await;
    history::campaign(&api.client()).await;
    api.client().post_lines("/v1/commands", lines(1_000..2_000)).await.expect(200);
    for until in [3_000, 4_000] {
        history::settled(&database).await;
        let parked =
            "SELECT aggregate_id || ': ' || reason FROM parked WHERE follower = 'campaigns'";
        let parked = database.texts(parked).await;
        assert_eq!(parked.len(), 1, "{parked:?}");
        assert!(parked[0].starts_with("default/large: not in Kafka: a record of "), "{parked:?}");
        assert_eq!(database.number("SELECT count(*) FROM read.campaigns").await, 1);
        worker.kill9();
        worker.restart().await;
        let from = until - 1_000;
        api.client().post_lines("/v1/commands", lines(from..until)).await.expect(200);
    }
    history::settled(&database).await;
    let points = "SELECT sum(free)::bigint FROM read.balance_accounts";
    assert_eq!(database.number(points).await, 4_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_build_stops_its_readers_alone_and_they_hand_back_what_they_had() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let worker = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(0..1_000)).await.expect(200);
    verified(&database).await;
    let head = append_foreign(&database, 0, "PointsTeleported", r#"{"PointsTeleported":{}}"#).await;
    api.client().post_lines("/v1/commands", lines(1_000..2_000)).await.expect(200);
    published(&database).await;
    eventually("it says why it stands still", async || {
        let ready = worker.client().get("/readyz").await;
        ready.text.contains("PointsTeleported").then_some(())
    })
    .await;
    // What reads nothing of accounts does not even notice.
    let position =
        |follower| format!("SELECT position FROM checkpoints WHERE follower = '{follower}'");
    let end = database.number("SELECT position FROM log_head").await;
    eventually("the orders go on", async || {
        (database.number(&position("orders")).await >= end).then_some(())
    })
    .await;
    // A newer one may be able to take them.
    eventually("the partitions are handed back", async || {
        (partitions(&worker, "balances").await == 0).then_some(())
    })
    .await;
    assert!(partitions(&worker, "orders").await > 0);
    assert!(database.number(&position("balances")).await < head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_take_what_it_has_read_holds_up_no_other() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let one = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(0..1_000)).await.expect(200);
    verified(&database).await;
    takes(&one, "balances", 12).await;
    let mut holding = database.connect().await;
    holding.execute("BEGIN").await.expect("a transaction begins");
    let rows = "SELECT 1 FROM feed_checkpoints WHERE follower = 'balances' FOR UPDATE";
    holding.execute(rows).await.expect("the marks are held");
    // More runs of records than it reads ahead.
    for at in 1..10 {
        let (from, until) = (at * 1_000, at * 1_000 + 300);
        api.client().post_lines("/v1/commands", lines(from..until)).await.expect(200);
        published(&database).await;
    }
    let two = fed(&database, broker, &prefix, "projections").await;
    // Long before what the first waits for would be given up.
    within(Duration::from_secs(30), "the partitions are shared", async || {
        (partitions(&two, "balances").await == 6).then_some(())
    })
    .await;
    takes(&one, "balances", 6).await;
    holding.execute("ROLLBACK").await.expect("they are let go");
    verified(&database).await;
}
