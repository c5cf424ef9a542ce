//! Growth: the issue scenario on a ledger of 5 million events in 1 million accounts, against the
//! same on an empty one; and the server's memory.
//!
//! The grown ledger is measured twice: right behind its server's start, when all but every command
//! is about an account that has to be read first, and when the server's memory holds as many
//! accounts as it may, which is how it stays.

use super::{Bench, Side};
use crate::load::outcome::Outcome;
use crate::load::request::{Requests, account_id};
use crate::load::{self, Load, Pace};
use crate::machine::Memory;
use crate::postgres::{Database, Sizes};
use crate::process::Server;
use crate::report::{Figure, Goal, median, ratio, rounded};
use anyhow::Context as _;
use std::time::Duration;

const ACCOUNTS: u64 = 1_000_000;
/// Each account's first command writes two events, so that this makes 5 million.
const COMMANDS: u64 = 4_000_000;
const CONNECTIONS: usize = 256;

/// Commands that, spread over the accounts by chance, are about 40 in 100 of them: that many are
/// kept in memory (`cached_aggregates_max`, 400,000 of itself).
const COMMANDS_UNTIL_FULL: u64 = 510_000;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let accounts = bench.settings.scaled(ACCOUNTS);
    let (grown, after_fill) = fill(bench, accounts).await?;
    let server = bench.serve_commands(Side::Accrue, &grown).await?;
    let (started, _) = measure(bench, &server, accounts, "started").await?;
    run_full(bench, &server, accounts, started.rate()).await?;
    let (mut on_empty, mut on_grown, mut memories) = (Vec::new(), Vec::new(), vec![after_fill]);
    for _ in 0..bench.settings.repeats {
        let empty = bench.fresh(Side::Accrue).await?;
        let other = bench.serve_commands(Side::Accrue, &empty).await?;
        on_empty.push(measure(bench, &other, accounts, "empty").await?.0);
        other.stop().await?;
        bench.postgres.drop(empty).await?;
        let (outcome, memory) = measure(bench, &server, accounts, "grown").await?;
        on_grown.push(outcome);
        memories.push(memory);
    }
    server.stop().await?;
    bench.postgres.drop(grown).await?;
    Ok(figures(&on_grown, &on_empty, &started, &memories))
}

async fn fill(bench: &mut Bench, accounts: u64) -> anyhow::Result<(Database, Memory)> {
    let grown = bench.postgres.fresh("accrue_bench_grown").await?;
    let server = bench.serve(Side::Accrue, &grown).await?;
    let wal = bench.postgres.wal_bytes().await?;
    let commands = bench.settings.scaled(COMMANDS);
    let outcome = bench.fill(&server, commands, accounts).await?;
    let events = grown.head().await?;
    server.wait_position(&account_id(0), events).await?;
    let memory = server.memory().context("reading the server's memory")?;
    let resident = memory.resident_mib;
    bench.note(format!("growth fill   : {events} events; resident {resident} MiB"));
    bench.note(format!("growth fill   : {}", outcome.line()));
    let wal = bench.postgres.wal_bytes().await? - wal;
    let sizes = grown.sizes().await?;
    let per = |bytes: u64| bytes / events.max(1);
    let Sizes { log, indexes, read_models } = sizes;
    bench.note(format!(
        "growth fill   : bytes an event: log {}, its indexes {}, read models {}, WAL {}",
        per(log),
        per(indexes),
        per(read_models),
        per(wal)
    ));
    server.stop().await?;
    // What comes to a ledger over months has been vacuumed on the way; here that would fall into
    // the measurement.
    grown.execute("VACUUM (ANALYZE)").await?;
    Ok((grown, memory))
}

/// Uses the server until its memory is full.
async fn run_full(
    bench: &mut Bench,
    server: &Server,
    accounts: u64,
    rate: f64,
) -> anyhow::Result<()> {
    let commands = bench.settings.scaled(COMMANDS_UNTIL_FULL);
    let duration = Duration::from_secs_f64(commands as f64 / rate.max(1.0));
    let load = bench.load(server, CONNECTIONS, Pace::Closed);
    let load = Load { warm_up: Duration::ZERO, duration, ..load };
    let outcome = load::run(&load, &Requests::issue(server.address, accounts)).await?;
    bench.note(format!("growth filling: {}", outcome.line()));
    Ok(())
}

async fn measure(
    bench: &mut Bench,
    server: &Server,
    accounts: u64,
    name: &str,
) -> anyhow::Result<(Outcome, Memory)> {
    let requests = Requests::issue(server.address, accounts);
    let outcome = bench.closed(server, CONNECTIONS, &requests).await?;
    let memory = server.memory().context("reading the server's memory")?;
    let resident = memory.resident_mib;
    bench.note(format!("growth {name:<7}: {}  resident {resident} MiB", outcome.line()));
    Ok((outcome, memory))
}

fn figures(
    grown: &[Outcome],
    empty: &[Outcome],
    started: &Outcome,
    memories: &[Memory],
) -> Vec<Figure> {
    let rate = |runs: &[Outcome]| median(runs.iter().map(Outcome::rate));
    let p99 = |runs: &[Outcome]| median(runs.iter().map(|run| run.quantile_ms(0.99)));
    let (fast, fast_empty) = (rate(grown), rate(empty));
    let (late, late_empty) = (p99(grown), p99(empty));
    let peak = memories.iter().map(|memory| memory.peak_mib).max().unwrap_or_default();
    let resident = memories.iter().map(|memory| memory.resident_mib).max().unwrap_or_default();
    vec![
        Figure {
            name: format!("grown ledger, {CONNECTIONS} connections, against an empty one"),
            accrue: format!("{fast:.0}/s"),
            beside: format!("{fast_empty:.0}/s"),
            value: ratio(fast, fast_empty),
            unit: "x",
            goal: Goal::AtLeast(0.7),
        },
        Figure {
            name: "grown ledger, p99".to_owned(),
            accrue: format!("{} ms", rounded(late)),
            beside: format!("{} ms", rounded(late_empty)),
            value: ratio(late, late_empty),
            unit: "x",
            goal: Goal::AtMost(1.3),
        },
        Figure {
            name: "grown ledger, its server just started".to_owned(),
            accrue: format!("{:.0}/s", started.rate()),
            beside: format!("{fast_empty:.0}/s"),
            value: ratio(started.rate(), fast_empty),
            unit: "x",
            goal: Goal::None,
        },
        Figure {
            name: "the same, p99".to_owned(),
            accrue: format!("{} ms", rounded(started.quantile_ms(0.99))),
            beside: format!("{} ms", rounded(late_empty)),
            value: ratio(started.quantile_ms(0.99), late_empty),
            unit: "x",
            goal: Goal::None,
        },
        Figure::errors("grown ledger", grown.iter().chain([started]), empty),
        Figure {
            name: "grown ledger, memory of the server".to_owned(),
            accrue: format!("{resident} MiB"),
            beside: "–".to_owned(),
            value: peak as f64,
            unit: " MiB peak",
            goal: Goal::None,
        },
    ]
}
