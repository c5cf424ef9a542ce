//! The relay into Kafka: events a second from a log that is full, and how long after its commit an
//! event can be consumed under an open loop.
//!
//! Beside the first: the same records from memory by a plain producer, without transactions,
//! checkpoints, or reading the log. The broker runs on the same cores.

use super::{ACCOUNTS, Bench, Side};
use crate::load::outcome::{Outcome, per_second};
use crate::load::request::Requests;
use crate::load::{self, Pace};
use crate::postgres::Database;
use crate::process;
use crate::report::{Figure, Goal, median, ratio, rounded};
use accrue_event_store::codec::Codec;
use accrue_event_store::{log, placement};
use accrue_kafka::record::{self, Form};
use accrue_kafka::settings::Settings;
use accrue_kafka::topics;
use accrue_private_kafka::broker::{Broker, Options};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const COMMANDS: u64 = 1_000_000;

/// Events that the plain producer sends.
const PLAIN_EVENTS: u64 = 300_000;

const COMMANDS_PER_SECOND: u64 = 2_000;
const CONNECTIONS: usize = 64;
const PARTITIONS: i32 = 12;

/// Load before the latency counts: a broker compiles what it does often while it does it, which takes
/// most of one of two cores for that long.
const BROKER_WARM_UP: Duration = Duration::from_secs(60);

/// Longest time for the relay to come to the end of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let broker = Broker::scratch(Options::default()).await.context("starting a broker")?;
    let mut figures = backlog(bench, &broker).await?;
    figures.extend(latency(bench, &broker).await?);
    broker.stop().await?;
    Ok(figures)
}

fn settings(broker: &Broker, prefix: &str) -> Settings {
    Settings {
        bootstrap: broker.bootstrap(),
        prefix: prefix.to_owned(),
        partitions: PARTITIONS,
        replication: 1,
        form: Form::Binary,
        record_bytes_max: 1_000_000,
        properties: Vec::new(),
    }
}

async fn serve(
    bench: &Bench,
    database: &Database,
    broker: &Broker,
    prefix: &str,
    roles: &str,
) -> anyhow::Result<process::Server> {
    let bootstrap = broker.bootstrap();
    let kafka = ["--kafka-bootstrap", &bootstrap, "--kafka-topic-prefix", prefix];
    process::accrue_with(&bench.settings.accrue, database, roles, &kafka).await
}

async fn backlog(bench: &mut Bench, broker: &Broker) -> anyhow::Result<Vec<Figure>> {
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve_commands(Side::Accrue, &database).await?;
    let (commands, accounts) = (bench.settings.scaled(COMMANDS), bench.settings.scaled(ACCOUNTS));
    bench.fill(&server, commands, accounts).await?;
    server.stop().await?;
    let events = database.head().await?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for run in 0..bench.settings.repeats {
        bench.postgres.checkpoint().await?;
        let prefix = format!("backlog{run}");
        // Its own database remembers how far it has come, so each run begins it anew.
        database
            .execute(
                "DELETE FROM checkpoints WHERE follower = 'relay'; DELETE FROM relayed; \
                          DELETE FROM leases",
            )
            .await?;
        let server = serve(bench, &database, broker, &prefix, "api,relay").await?;
        let rate = caught_up(&database, events).await?;
        server.stop().await?;
        bench.note(format!("relay backlog  : {rate:>9.0}/s ({events} events)"));
        ours.push(rate);
        let count = bench.settings.scaled(PLAIN_EVENTS).min(events);
        let rate = plainly(&database, broker, &format!("plain{run}"), count).await?;
        bench.note(format!("plain producer : {rate:>9.0}/s ({count} events)"));
        plain.push(rate);
    }
    bench.postgres.drop(database).await?;
    let (ours, plain) = (median(ours), median(plain));
    let figure = |value, unit, goal| Figure {
        name: "relay, events from a full log".to_owned(),
        accrue: format!("{ours:.0}/s"),
        beside: format!("{plain:.0}/s"),
        value,
        unit,
        goal,
    };
    Ok(vec![
        figure(ours, "/s", Goal::AtLeast(50_000.0)),
        figure(ratio(ours, plain), "x", Goal::None),
    ])
}

/// Events a second from the first checkpoint to the last.
async fn caught_up(database: &Database, events: u64) -> anyhow::Result<f64> {
    let mut conn = database.connect().await?;
    let limit = Instant::now() + CATCH_UP_MAX;
    let sql = "SELECT coalesce(max(position), 0) FROM checkpoints WHERE follower = 'relay'";
    let mut begun = None;
    while Instant::now() < limit {
        let position: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
        let position = u64::try_from(position)?;
        match begun {
            None if position > 0 => begun = Some((Instant::now(), position)),
            Some((at, from)) if position >= events => {
                return Ok(per_second(events - from, at.elapsed()));
            }
            _ => {}
        }
        sleep(Duration::from_millis(10)).await;
    }
    bail!("the relay did not come to position {events}")
}

/// The same records by a plain producer: events a second, acknowledged.
async fn plainly(
    database: &Database,
    broker: &Broker,
    prefix: &str,
    count: u64,
) -> anyhow::Result<f64> {
    let settings = settings(broker, prefix);
    let topic = topics::events(prefix, "default");
    topics::make(&settings.client().create()?, &settings, &topic).await?;
    let mut conn = database.connect().await?;
    let mut events = Vec::new();
    while events.len() < usize::try_from(count)? {
        let after = i64::try_from(events.len())?;
        events.extend(log::read_after(&mut conn, &Codec::default(), after, 5_000).await?);
    }
    let mut client = settings.client();
    client.set("acks", "all").set("compression.type", "lz4").set("linger.ms", "2");
    client.set("queue.buffering.max.messages", "1000000");
    let producer: ThreadedProducer<DefaultProducerContext> = client.create()?;
    let producer = Arc::new(producer);
    let sending = Arc::clone(&producer);
    let sent = events.len();
    let time = tokio::task::spawn_blocking(move || -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for event in &events {
            let record = record::encode(event, Form::Binary);
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
            }
            let outgoing = BaseRecord::to(&topic)
                .partition(placement::of_event(&event.row, PARTITIONS))
                .key(record.key.as_str())
                .payload(&*record.value)
                .headers(headers);
            sending.send(outgoing).map_err(|(error, _)| error)?;
        }
        sending.flush(Duration::from_secs(120))?;
        Ok(begun.elapsed())
    })
    .await??;
    Ok(per_second(u64::try_from(sent)?, time))
}

async fn latency(bench: &mut Bench, broker: &Broker) -> anyhow::Result<Vec<Figure>> {
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for run in 0..bench.settings.repeats {
        let database = bench.fresh(Side::Accrue).await?;
        let prefix = format!("latency{run}");
        let topic = topics::events(&prefix, "default");
        let settings = settings(broker, &prefix);
        topics::make(&settings.client().create()?, &settings, &topic).await?;
        let server = serve(bench, &database, broker, &prefix, super::ALL_ROLES_AND_RELAY).await?;
        let pace = Pace::Open { per_second: COMMANDS_PER_SECOND };
        let mut load = bench.load(&server, CONNECTIONS, pace);
        if !bench.settings.quick {
            load.warm_up = load.warm_up.max(BROKER_WARM_UP);
        }
        let requests = Requests::issue(server.address, ACCOUNTS);
        let over = Arc::new(AtomicBool::new(false));
        let (watch, duration, warm_up) = (Arc::clone(&over), load.duration, load.warm_up);
        let watching =
            tokio::task::spawn_blocking(move || consume(&settings, &topic, &watch, warm_up));
        let command = load::run(&load, &requests).await?;
        // What is on its way still counts.
        sleep(Duration::from_secs(1)).await;
        over.store(true, Ordering::SeqCst);
        let lag = since_commit(&database, &watching.await??, duration).await?;
        bench.note(format!("relay commands: {}", command.line()));
        bench.note(format!("relay lag     : {}", lag.line()));
        commands.push(command);
        seen.push(lag);
        server.stop().await?;
        bench.postgres.drop(database).await?;
    }
    let p99 = |runs: &[Outcome]| median(runs.iter().map(|run| run.quantile_ms(0.99)));
    let rate = median(commands.iter().map(Outcome::rate));
    let (lag, latency) = (p99(&seen), p99(&commands));
    let lag = Figure {
        name: format!("relay at {COMMANDS_PER_SECOND}/s, until consumable, p99"),
        accrue: format!("{} ms", rounded(lag)),
        beside: format!("{rate:.0}/s, p99 {} ms", rounded(latency)),
        value: lag,
        unit: " ms",
        goal: Goal::AtMost(100.0),
    };
    Ok(vec![lag, Figure::errors("relay, open loop", &commands, [])])
}

/// When a consumer of committed records got each event, by its position.
type Seen = Vec<(i64, DateTime<Utc>)>;

fn consume(
    settings: &Settings,
    topic: &str,
    over: &AtomicBool,
    warm_up: Duration,
) -> anyhow::Result<Seen> {
    let mut client = settings.client();
    client.set("group.id", "bench").set("isolation.level", "read_committed");
    client.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&from)?;
    let mut seen = Vec::new();
    let counted_from = std::time::Instant::now() + warm_up;
    while !over.load(Ordering::SeqCst) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        let now = Utc::now();
        if std::time::Instant::now() < counted_from {
            continue;
        }
        let position = record::position(&message).context("a record without a position")?;
        seen.push((position, now));
    }
    Ok(seen)
}

/// How long after its commit each event was got. Postgres notes the time of a commit before it writes
/// it to disk, so that is counted.
async fn since_commit(
    database: &Database,
    seen: &Seen,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let mut conn = database.connect().await?;
    let sql = "SELECT position, pg_xact_commit_timestamp(xmin) FROM events";
    let commits = sqlx::query_as(sql).fetch_all(&mut conn).await;
    let commits: Vec<(i64, DateTime<Utc>)> =
        commits.context("the server needs track_commit_timestamp = on")?;
    let commits: HashMap<_, _> = commits.into_iter().collect();
    let mut outcome = Outcome::new(duration);
    for (position, at) in seen {
        let commit = commits.get(position).context("an event that is not in the log")?;
        outcome.answered(200, (*at - commit).to_std().unwrap_or_default(), 1);
    }
    Ok(outcome)
}
