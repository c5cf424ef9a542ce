//! Growth: the issue scenario on a ledger of 5 million events in 1 million accounts, against the
//! same on an empty one; and the server's memory.
//!
//! The grown ledger is measured in three states: right behind its server's start, when about nine
//! commands in ten are about an account that has to be read first; behind the minutes in which the
//! server has filled its memory, as it is for nearly all of its life; and where memory is too small
//! for that many accounts. Postgres is not started anew.

use super::{Bench, Side};
use crate::load::outcome::Outcome;
use crate::load::request::{Requests, account_id};
use crate::machine::Memory;
use crate::postgres::{Database, Sizes};
use crate::process::{self, Server};
use crate::report::{Figure, Goal, median, ratio, rounded};
use anyhow::Context as _;
use std::time::Instant;

const ACCOUNTS: u64 = 1_000_000;
/// Each account's first command writes two events, so that this makes 5 million.
const COMMANDS: u64 = 4_000_000;
const CONNECTIONS: usize = 256;

/// MiB for aggregates: for some two in ten of the accounts.
const SMALL_CACHE: &str = "128";

/// The outcomes of both ledgers in turn.
#[derive(Debug, Default)]
struct Runs {
    grown: Vec<Outcome>,
    empty: Vec<Outcome>,
}

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let accounts = bench.settings.scaled(ACCOUNTS);
    let (grown, after_fill) = fill(bench, accounts).await?;
    let mut memories = vec![after_fill];
    let mut started = Runs::default();
    for _ in 0..bench.settings.repeats {
        started.empty.push(on_empty(bench, accounts).await?);
        let server = bench.serve_commands(Side::Accrue, &grown).await?;
        let (outcome, memory) = measure(bench, &server, accounts, "started").await?;
        started.grown.push(outcome);
        memories.push(memory);
        server.stop().await?;
    }
    let server = bench.serve_commands(Side::Accrue, &grown).await?;
    let filled = in_turn(bench, (server, &grown), accounts, "filled", &mut memories).await?;
    let (binary, few) = (bench.settings.accrue.clone(), ["--cache-mb", SMALL_CACHE]);
    let server = process::accrue_with(&binary, &grown, "api", &few).await?;
    let small = in_turn(bench, (server, &grown), accounts, "small", &mut Vec::new()).await?;
    let events = grown.head().await?;
    bench.note(format!("growth end    : {events} events"));
    bench.postgres.drop(grown).await?;
    let mut figures = compared("just started", &started, false);
    figures.extend(compared("memory filled", &filled, true));
    figures.extend(compared("memory for two accounts in ten", &small, false));
    let all = [&started, &filled, &small];
    let of_grown = all.iter().flat_map(|runs| &runs.grown);
    let of_empty = all.iter().flat_map(|runs| &runs.empty);
    figures.push(Figure::errors("grown ledger", of_grown, of_empty));
    figures.push(resident(&memories));
    Ok(figures)
}

/// A server that has filled its memory, and an empty ledger, in turn.
async fn in_turn(
    bench: &mut Bench,
    (server, grown): (Server, &Database),
    accounts: u64,
    name: &str,
    memories: &mut Vec<Memory>,
) -> anyhow::Result<Runs> {
    let began = Instant::now();
    server.wait_filled().await?;
    bench
        .note(format!("growth {name:<7}: memory filled in {:.0} s", began.elapsed().as_secs_f64()));
    grown.execute(VACUUM).await?;
    let mut runs = Runs::default();
    for _ in 0..bench.settings.repeats {
        runs.empty.push(on_empty(bench, accounts).await?);
        let (outcome, memory) = measure(bench, &server, accounts, name).await?;
        runs.grown.push(outcome);
        memories.push(memory);
    }
    server.stop().await?;
    Ok(runs)
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
    grown.execute(VACUUM).await?;
    Ok((grown, memory))
}

/// What comes to a ledger over months has been vacuumed on the way; here that would fall into the
/// measurement.
const VACUUM: &str = "VACUUM (ANALYZE)";

async fn on_empty(bench: &mut Bench, accounts: u64) -> anyhow::Result<Outcome> {
    let empty = bench.fresh(Side::Accrue).await?;
    let server = bench.serve_commands(Side::Accrue, &empty).await?;
    let (outcome, _) = measure(bench, &server, accounts, "empty").await?;
    server.stop().await?;
    bench.postgres.drop(empty).await?;
    Ok(outcome)
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

/// A grown ledger in this state against the empty one.
fn compared(state: &str, runs: &Runs, has_goal: bool) -> Vec<Figure> {
    let goal = |goal| if has_goal { goal } else { Goal::None };
    let rate = |runs: &[Outcome]| median(runs.iter().map(Outcome::rate));
    let p99 = |runs: &[Outcome]| median(runs.iter().map(|run| run.quantile_ms(0.99)));
    let (fast, fast_empty) = (rate(&runs.grown), rate(&runs.empty));
    let (late, late_empty) = (p99(&runs.grown), p99(&runs.empty));
    vec![
        Figure {
            name: format!("grown ledger, {state}, {CONNECTIONS} connections, against an empty one"),
            accrue: format!("{fast:.0}/s"),
            beside: format!("{fast_empty:.0}/s"),
            value: ratio(fast, fast_empty),
            unit: "x",
            goal: goal(Goal::AtLeast(0.7)),
        },
        Figure {
            name: format!("grown ledger, {state}, p99"),
            accrue: format!("{} ms", rounded(late)),
            beside: format!("{} ms", rounded(late_empty)),
            value: ratio(late, late_empty),
            unit: "x",
            goal: goal(Goal::AtMost(1.3)),
        },
    ]
}

fn resident(memories: &[Memory]) -> Figure {
    let peak = memories.iter().map(|memory| memory.peak_mib).max().unwrap_or_default();
    let resident = memories.iter().map(|memory| memory.resident_mib).max().unwrap_or_default();
    Figure {
        name: "grown ledger, memory of the server".to_owned(),
        accrue: format!("{resident} MiB"),
        beside: "–".to_owned(),
        value: peak as f64,
        unit: " MiB peak",
        goal: Goal::None,
    }
}
