//! Read models from Kafka beside read models from the log: events a second from an empty read model to
//! the end of a full log, by one worker and by two, and the processor time that an event takes.
//!
//! All eight read models follow. The broker and Postgres run on the same cores, so a second worker
//! has none of its own: then what it costs an event is what tells.

use super::{ACCOUNTS, Bench, Side};
use crate::load::outcome::per_second;
use crate::machine::cpu_seconds;
use crate::postgres::Database;
use crate::process::{self, Server};
use crate::report::{Figure, Goal, median, ratio, rounded};
use accrue_private_kafka::broker::{Broker, Options};
use anyhow::{Context as _, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// So many that the start of a worker and of its groups is little of a run.
const COMMANDS: u64 = 500_000;

/// Longest time for the read models to come to the end of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(1_800);

/// Everything empty, as if nothing had been followed; what the relay has published stays.
const FROM_THE_START: &str = "
DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT table_name FROM information_schema.tables
              WHERE table_schema = 'read' AND table_name <> 'models' LOOP
        EXECUTE format('TRUNCATE read.%I', t);
    END LOOP;
END $$;
DELETE FROM feed_checkpoints;
UPDATE checkpoints SET position = 0, feed = 'log' WHERE follower <> 'relay'";

/// What one run came to.
#[derive(Debug, Clone, Copy)]
struct Run {
    rate: f64,
    /// Microseconds of processor time an event: the workers', and Postgres's.
    workers: f64,
    postgres: f64,
}

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let broker = Broker::scratch(Options::default()).await.context("starting a broker")?;
    let database = bench.fresh(Side::Accrue).await?;
    // Tables are made while there is nothing to fill them with.
    serve(bench, &database, &broker, "projections", "log").await?.stop().await?;
    let server = serve(bench, &database, &broker, "api,relay", "log").await?;
    let (commands, accounts) = (bench.settings.scaled(COMMANDS), bench.settings.scaled(ACCOUNTS));
    bench.fill(&server, commands, accounts).await?;
    let events = database.head().await?;
    caught_up(&database, events, "follower = 'relay'").await?;
    server.stop().await?;
    // Not counted: in its first minute a broker spends as much on compiling itself as on its work.
    measure(bench, &database, &broker, "kafka", 1, events).await?;
    let (mut log, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.settings.repeats {
        log.push(measure(bench, &database, &broker, "log", 1, events).await?);
        one.push(measure(bench, &database, &broker, "kafka", 1, events).await?);
        two.push(measure(bench, &database, &broker, "kafka", 2, events).await?);
    }
    bench.postgres.drop(database).await?;
    broker.stop().await?;
    let of = |runs: &[Run], part: fn(&Run) -> f64| median(runs.iter().map(part));
    let rate = |runs: &[Run]| of(runs, |run| run.rate);
    let cost = |runs: &[Run]| of(runs, |run| run.workers + run.postgres);
    let figure = |name: &str, ours: f64, beside: String, value, goal| Figure {
        name: name.to_owned(),
        accrue: format!("{ours:.0}/s"),
        beside,
        value,
        unit: "x",
        goal,
    };
    let (by_log, by_one, by_two) = (rate(&log), rate(&one), rate(&two));
    Ok(vec![
        figure(
            "read models from Kafka, one worker",
            by_one,
            format!("{by_log:.0}/s from the log"),
            ratio(by_one, by_log),
            Goal::AtLeast(0.7),
        ),
        figure(
            "read models from Kafka, two workers",
            by_two,
            format!("{by_one:.0}/s by one"),
            ratio(by_two, by_one),
            Goal::None,
        ),
        Figure {
            name: "the same, processor time an event, two workers beside one".to_owned(),
            accrue: format!("{} us", rounded(cost(&two))),
            beside: format!("{} us; from the log {} us", rounded(cost(&one)), rounded(cost(&log))),
            value: ratio(cost(&two), cost(&one)),
            unit: "x",
            // So much may an event cost more for two to do 1.6 times the work on cores of their own.
            goal: Goal::AtMost(1.25),
        },
    ])
}

async fn serve(
    bench: &Bench,
    database: &Database,
    broker: &Broker,
    roles: &str,
    feed: &str,
) -> anyhow::Result<Server> {
    let bootstrap = broker.bootstrap();
    let kafka = ["--kafka-bootstrap", &bootstrap, "--feed", feed, "--kafka-commands", "false"];
    process::accrue_with(&bench.settings.accrue, database, roles, &kafka).await
}

/// A run from the start, by so many workers.
async fn measure(
    bench: &mut Bench,
    database: &Database,
    broker: &Broker,
    feed: &str,
    workers: usize,
    events: u64,
) -> anyhow::Result<Run> {
    database.execute(FROM_THE_START).await?;
    bench.postgres.checkpoint().await?;
    let postgres = || bench.postgres.pid().and_then(cpu_seconds).unwrap_or_default();
    let before = postgres();
    let begun = Instant::now();
    let starting = (0..workers).map(|_| serve(bench, database, broker, "projections", feed));
    let servers = futures::future::try_join_all(starting).await?;
    caught_up(database, events, "follower <> 'relay'").await?;
    let time = begun.elapsed();
    let spent = postgres() - before;
    let own: f64 = servers.iter().filter_map(Server::pid).filter_map(cpu_seconds).sum();
    for server in servers {
        server.stop().await?;
    }
    let an_event = |seconds: f64| seconds * 1e6 / events as f64;
    let run =
        Run { rate: per_second(events, time), workers: an_event(own), postgres: an_event(spent) };
    bench.note(format!(
        "feed {feed:<5} x{workers}: {:>7.0}/s, an event takes {:.1} us of workers, {:.1} us of Postgres",
        run.rate, run.workers, run.postgres
    ));
    Ok(run)
}

/// Waits until all of these followers have come to the end of the log.
async fn caught_up(database: &Database, events: u64, which: &str) -> anyhow::Result<()> {
    let mut conn = database.connect().await?;
    let limit = Instant::now() + CATCH_UP_MAX;
    let sql = format!("SELECT coalesce(min(position), 0) FROM checkpoints WHERE {which}");
    while Instant::now() < limit {
        let position: i64 = sqlx::query_scalar(&sql).fetch_one(&mut conn).await?;
        if u64::try_from(position)? >= events {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    bail!("not all of them came to position {events}")
}
