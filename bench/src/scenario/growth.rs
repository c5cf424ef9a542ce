//! Growth: the issue scenario on a ledger of 5 million events in 1 million accounts, against the
//! same on an empty one; and the server's memory.

use super::{Bench, Side};
use crate::load::outcome::Outcome;
use crate::load::request::{Requests, account_id};
use crate::machine::Memory;
use crate::postgres::{Database, Sizes};
use crate::report::{Figure, Goal, median, ratio, rounded};
use anyhow::Context as _;

const ACCOUNTS: u64 = 1_000_000;
/// Each account's first command writes two events, so that this makes 5 million.
const COMMANDS: u64 = 4_000_000;
const CONNECTIONS: usize = 256;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let accounts = bench.settings.scaled(ACCOUNTS);
    let (grown, after_fill) = fill(bench, accounts).await?;
    let (mut on_empty, mut on_grown, mut memories) = (Vec::new(), Vec::new(), vec![after_fill]);
    for _ in 0..bench.settings.repeats {
        let empty = bench.fresh(Side::Accrue).await?;
        let (outcome, _) = measure(bench, &empty, accounts, "empty").await?;
        on_empty.push(outcome);
        bench.postgres.drop(empty).await?;
        let (outcome, memory) = measure(bench, &grown, accounts, "grown").await?;
        on_grown.push(outcome);
        memories.push(memory);
    }
    bench.postgres.drop(grown).await?;
    Ok(figures(&on_grown, &on_empty, &memories))
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

async fn measure(
    bench: &mut Bench,
    database: &Database,
    accounts: u64,
    name: &str,
) -> anyhow::Result<(Outcome, Memory)> {
    let server = bench.serve_commands(Side::Accrue, database).await?;
    let requests = Requests::issue(server.address, accounts);
    let outcome = bench.closed(&server, CONNECTIONS, &requests).await?;
    let memory = server.memory().context("reading the server's memory")?;
    let resident = memory.resident_mib;
    bench.note(format!("growth {name:<7}: {}  resident {resident} MiB", outcome.line()));
    server.stop().await?;
    Ok((outcome, memory))
}

fn figures(grown: &[Outcome], empty: &[Outcome], memories: &[Memory]) -> Vec<Figure> {
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
        Figure::errors("grown ledger", grown, empty),
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
