//! Workers that Kafka feeds, among things that break: every event once, in order, in each read model.

use std::time::Duration;

use accrue_private_kafka::broker::Broker;
use accrue_private_postgres::cluster::{Cluster, Mode};
use accrue_private_postgres::options::Options;
use accrue_tests::chance::Chance;
use accrue_tests::database::Database;
use accrue_tests::eventually::{eventually, while_it_gets_on, within};
use accrue_tests::history::{self, FIGURES};
use accrue_tests::kafka::{broker, flags, prefix, published};
use accrue_tests::load::{Load, Manner};
use accrue_tests::server::Server;
use accrue_tests::shop::{by_wallet, order, usd};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use tokio::time::sleep;

use crate::feed_world::{fed, lag, partitions, takes, verified};
use crate::kafka_commands::{invoices, kcat, remove};
use crate::relay_world::{figure, lines};
use crate::roles::business;

/// Kills in the test of the invoices.
const KILLS: usize = 12;

/// Faults of sagas, and purchases before each.
const FAULTS: u32 = 6;
const PURCHASES_A_FAULT: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_invoices_by_kafka_both_ways_through_kills_comes_to_the_same_figures() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let mut api = fed(&database, broker, &prefix, "api,relay,timers").await;
    history::campaign(&api.client()).await;
    let mut one = fed(&database, broker, &prefix, "projections,campaigns").await;
    let mut two = fed(&database, broker, &prefix, "projections,campaigns").await;
    let invoices = invoices().await;
    let topic = format!("{prefix}.commands.default");
    let writing = kcat(broker, &topic, &invoices);
    let killing = async {
        let mut chance = Chance::new("kills of workers that Kafka feeds");
        // Who applies events, and who takes the commands and publishes the events.
        let mut victims = [&mut one, &mut two, &mut api];
        for kill in 0..KILLS {
            // The fault's own moment.
            sleep(chance.moment(Duration::from_millis(2_500))).await;
            let victim = &mut victims[kill % 3];
            victim.kill9();
            victim.restart().await;
        }
    };
    tokio::join!(writing, killing);
    let sales = "SELECT count(*) FROM events WHERE event_type = 'SaleRecorded'";
    eventually("all are taken", async || (database.number(sales).await == 18_532).then_some(()))
        .await;
    history::settled(&database).await;
    assert_eq!(history::figures(&database, "default").await, FIGURES);
    history::verify(&database).await.expect_success();
    // The same tables as the log makes of them, to the byte.
    let by_kafka = history::read_models(&database).await;
    one.kill9();
    two.kill9();
    database.run("DROP SCHEMA read CASCADE; CREATE SCHEMA read").await;
    database.run("DELETE FROM checkpoints WHERE follower NOT IN ('relay', 'awards')").await;
    let _by_log = Server::start(&database).await;
    history::settled(&database).await;
    assert_eq!(by_kafka, history::read_models(&database).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_that_kafka_tells_of_come_to_one_end_each_through_kills_and_pauses() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,projections,relay,timers").await;
    let mut one = fed(&database, broker, &prefix, "saga").await;
    let mut two = fed(&database, broker, &prefix, "saga").await;
    let client = api.client();
    // A unicorn is sold here already.
    business(&client).await;
    let delivery = json!({"delta": 200, "reason": "delivery"});
    client.post("/v1/products/1/stock", delivery).await.expect(200);
    client.post("/v1/wallets/derick/top-ups", json!({"money": usd(1_000_000)})).await.expect(201);
    let patient = client.with("prefer", "respond-async");
    let mut chance = Chance::new("faults of sagas that Kafka feeds");
    for fault in 0..FAULTS {
        for at in 0..PURCHASES_A_FAULT {
            let bought = order(&format!("q{fault}-{at}"), 1, by_wallet());
            patient.post("/v1/purchases", bought).await.taken();
        }
        // The fault's own moment.
        sleep(chance.moment(Duration::from_millis(300))).await;
        let victim = if fault % 2 == 0 { &mut one } else { &mut two };
        if fault % 3 == 2 {
            victim.freeze();
            sleep(chance.moment(Duration::from_secs(3))).await;
            victim.thaw();
        } else {
            victim.kill9();
            victim.restart().await;
        }
    }
    let count = async |event_type: &str| {
        let sql = format!("SELECT count(*) FROM events WHERE event_type = '{event_type}'");
        database.number(&sql).await
    };
    let all = i64::from(FAULTS * PURCHASES_A_FAULT) + 1;
    while_it_gets_on("all are over", async || {
        let completed = count("PurchaseCompleted").await;
        (completed, completed >= all)
    })
    .await;
    for event_type in ["PurchaseCompleted", "StockCaptured", "WalletMoneyCaptured"] {
        assert_eq!(count(event_type).await, all, "{event_type}");
    }
    verified(&database).await;
    let stock = client.get("/v1/products/1").await.expect(200).json()["stock"].clone();
    assert_eq!((&stock["on_hand"], &stock["held"]), (&json!(205 - all), &json!(0)));
    let wallet = client.get("/v1/wallets/derick").await.expect(200).json()["balances"][0].clone();
    let left = 1_009_999 - 700 * all;
    assert_eq!((&wallet["available"], &wallet["held"]), (&json!(left), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_the_partitions_and_one_that_stops_hands_them_back() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    api.client().post_lines("/v1/commands", lines(0..2_000)).await.expect(200);
    let mut one = fed(&database, broker, &prefix, "projections").await;
    takes(&one, "balances", 12).await;
    let two = fed(&database, broker, &prefix, "projections").await;
    takes(&one, "balances", 6).await;
    takes(&two, "balances", 6).await;
    let load = Load::start(&[api.client()], 8, Manner::Insists);
    api.client().post_lines("/v1/commands", lines(2_000..6_000)).await.expect(200);
    one.sigterm();
    assert!(one.exit().await.success(), "{}", one.log());
    // Well before a worker that says nothing would be given up.
    within(Duration::from_secs(4), "the other has them all", async || {
        (partitions(&two, "balances").await == 12).then_some(())
    })
    .await;
    load.stop().await;
    verified(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_paused_past_its_time_applies_nothing_when_it_wakes() {
    let mut chance = Chance::new("pauses of workers that Kafka feeds");
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    history::campaign(&api.client()).await;
    let mut one = fed(&database, broker, &prefix, "projections,campaigns").await;
    let mut two = fed(&database, broker, &prefix, "projections,campaigns").await;
    takes(&one, "balances", 6).await;
    let load = Load::start(&[api.client()], 8, Manner::Insists);
    for _ in 0..3 {
        // Within a batch, perhaps within its transaction.
        sleep(chance.moment(Duration::from_millis(300))).await;
        one.freeze();
        takes(&two, "balances", 12).await;
        // The other goes on behind what the first has begun, unless that holds the very rows.
        let head = database.number("SELECT position FROM log_head").await;
        let passed = within(Duration::from_secs(3), "the other goes on", async || {
            (database.number("SELECT position FROM checkpoints WHERE follower = 'balances'").await
                > head)
                .then_some(())
        });
        let _perhaps = tokio::time::timeout(Duration::from_secs(2), passed).await;
        one.thaw();
        takes(&one, "balances", 6).await;
        std::mem::swap(&mut one, &mut two);
    }
    load.stop().await;
    verified(&database).await;
}

fn client(broker: &Broker) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker.bootstrap());
    client
}

/// Writes the first records of each partition once more, behind the last.
fn repeat(broker: &Broker, topic: &str, count: usize) {
    let consumer: BaseConsumer = client(broker)
        .set("group.id", "repeater")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut from = TopicPartitionList::new();
    for at in 0..12 {
        from.add_partition_offset(topic, at, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&from).expect("assigned");
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(broker).create().expect("a producer");
    for _ in 0..count {
        let message = consumer.poll(Duration::from_secs(10)).expect("a record").expect("readable");
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(message.partition());
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        let headers = message.headers().expect("headers").detach();
        let record = record.payload(message.payload().expect("a body")).headers(headers);
        let record = record.timestamp(message.timestamp().to_millis().expect("a time"));
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(10)).expect("delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_again_are_skipped() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let mut worker = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(0..2_000)).await.expect(200);
    verified(&database).await;
    let topic = format!("{prefix}.events.default");
    tokio::task::spawn_blocking(move || repeat(broker, &topic, 700)).await.expect("repeated");
    let skipped = r#"accrue_feed_skipped_total{follower="balances"}"#;
    eventually("they came again", async || {
        (figure(&worker.client(), skipped).await >= Some(700)).then_some(())
    })
    .await;
    api.client().post_lines("/v1/commands", lines(2_000..3_000)).await.expect(200);
    verified(&database).await;
    worker.kill9();
    worker.restart().await;
    api.client().post_lines("/v1/commands", lines(3_000..4_000)).await.expect(200);
    verified(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_with_records_that_come_again_is_known_to_its_end() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    for from in [0, 300] {
        api.client().post_lines("/v1/commands", lines(from..from + 300)).await.expect(200);
    }
    published(&database).await;
    read_to_repeats_at_the_end(&database, broker, &prefix).await;
}

/// The first records come once more behind the last, and a new worker reads all of them.
async fn read_to_repeats_at_the_end(database: &Database, broker: &'static Broker, prefix: &str) {
    let topic = format!("{prefix}.events.default");
    tokio::task::spawn_blocking(move || repeat(broker, &topic, 300)).await.expect("repeated");
    // Most read models take nothing from these events, and look at few of their records.
    let worker = fed(database, broker, prefix, "projections").await;
    takes(&worker, "stock", 12).await;
    verified(database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_keeps_the_times_of_the_broker_is_known_to_its_end() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    api.client().post_lines("/v1/commands", lines(0..300)).await.expect(200);
    published(&database).await;
    let topic = format!("{prefix}.events.default");
    let admin: AdminClient<DefaultClientContext> = client(broker).create().expect("an admin");
    let times = AlterConfig::new(ResourceSpecifier::Topic(&topic))
        .set("message.timestamp.type", "LogAppendTime");
    let altered = admin.alter_configs([&times], &AdminOptions::new()).await;
    altered.expect("an answer")[0].as_ref().expect("altered");
    api.client().post_lines("/v1/commands", lines(300..600)).await.expect(200);
    published(&database).await;
    // The broker takes the repeats for the latest.
    read_to_repeats_at_the_end(&database, broker, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_read_anew_and_nothing_is_left_out() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let mut api = fed(&database, broker, &prefix, "api,relay").await;
    let mut worker = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(0..4_000)).await.expect(200);
    verified(&database).await;
    let topic = format!("{prefix}.events.default");
    for round in 1..=2 {
        // The relay publishes to it what is not applied yet, and then it is gone with that.
        if round == 2 {
            worker.kill9();
            api.client().post_lines("/v1/commands", lines(8_000..9_000)).await.expect(200);
            published(&database).await;
        }
        api.kill9();
        remove(broker, &topic).await;
        database.run("UPDATE leases SET until = '-infinity'").await;
        api.restart().await;
        let from = 5_000 * round;
        api.client().post_lines("/v1/commands", lines(from..from + 2_000)).await.expect(200);
        if round == 2 {
            worker.restart().await;
        }
        verified(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_log_does_not_have_are_not_applied() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let mut api = fed(&database, broker, &prefix, "api,relay").await;
    let mut worker = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(0..1_000)).await.expect(200);
    verified(&database).await;
    worker.kill9();
    api.sigterm();
    api.exit().await;
    // The database is set back to what it is now, after it has published more.
    let older = Database::copy_of(&database).await;
    api.restart().await;
    api.client().post_lines("/v1/commands", lines(1_000..1_500)).await.expect(200);
    published(&database).await;
    let before = history::read_models(&older).await;
    let late = fed(&older, broker, &prefix, "projections").await;
    eventually("it says why it stands still", async || {
        let ready = late.client().get("/readyz").await;
        ready.text.contains("Kafka holds another event at position").then_some(())
    })
    .await;
    assert_eq!(before, history::read_models(&older).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_under_load_leaves_every_read_model_right() {
    let (broker, prefix) = (broker().await, prefix());
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let database = Database::create_in(&cluster).await;
    let flags = flags(&database, broker, &prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--feed", "kafka"]).collect();
    let server = Server::start_with(&flags).await;
    let load = Load::start(&[server.client()], 8, Manner::Insists);
    for _ in 0..3 {
        let before = load.accepted();
        eventually("commands go through", async || (load.accepted() > before + 300).then_some(()))
            .await;
        cluster.stop(Mode::Immediate).await.expect("Postgres stops");
        cluster.ensure_running().await.expect("Postgres starts again");
    }
    load.stop().await;
    verified(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_delays_and_no_more() {
    use accrue_private_kafka::broker::Options;
    let broker = Broker::scratch(Options::small()).await.expect("a broker starts");
    let prefix = prefix();
    let database = Database::create().await;
    let server = fed(&database, &broker, &prefix, "api,projections,relay").await;
    let load = Load::start(&[server.client()], 8, Manner::Insists);
    for _ in 0..2 {
        let before = load.accepted();
        broker.kill().await.expect("it can be killed");
        eventually("commands go through", async || (load.accepted() > before + 300).then_some(()))
            .await;
        assert!(lag(&database, "balances").await > 0);
        broker.start().await.expect("it starts again");
        published(&database).await;
    }
    load.stop().await;
    verified(&database).await;
}
