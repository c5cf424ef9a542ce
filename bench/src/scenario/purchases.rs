//! Purchases: a closed loop of orders paid from a wallet, each answered when the saga has taken it
//! from its placing to its completion. The server does everything: API, read models, sagas.
//!
//! The baseline has no sagas, so nothing stands beside it.

use super::{Bench, Side};
use crate::load::outcome::Outcome;
use crate::load::request::{Commands, Requests, product_id};
use crate::machine::cpu_seconds;
use crate::postgres::Database;
use crate::process::Server;
use crate::report::{Figure, Goal, median, ratio, rounded};

const PRODUCTS: u64 = 10_000;
const WALLETS: u64 = 10_000;

/// Where the goals are.
const CONNECTIONS: usize = 300;

/// The rest of the sweep, measured once.
const SWEEP: [usize; 4] = [10, 50, 100, 1_000];

const COMPLETED: &str = "PurchaseCompleted";

/// A run, with what each of its purchases cost, those of the warm-up included.
struct Run {
    outcome: Outcome,
    events: f64,
    wal_bytes: f64,
    server_micros: f64,
    /// Unknown of a Postgres that is not ours.
    postgres_micros: Option<f64>,
}

/// What has been used up, at one moment.
struct Used {
    purchases: u64,
    events: u64,
    wal_bytes: u64,
    server_seconds: f64,
    postgres_seconds: Option<f64>,
}

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    if !bench.sides().contains(&Side::Accrue) {
        return Ok(Vec::new());
    }
    let products = bench.settings.scaled(PRODUCTS);
    let mut runs = Vec::new();
    for _ in 0..bench.settings.repeats {
        runs.push(step(bench, CONNECTIONS, products).await?);
    }
    let mut figures = goals(&runs);
    let mut others = Vec::new();
    for connections in SWEEP {
        let run = step(bench, connections, products).await?;
        figures.push(stated(&format!("purchases, {connections} connections"), &run.outcome));
        others.push(run.outcome);
    }
    let hot = step(bench, CONNECTIONS, 1).await?;
    let name = format!("purchases of one hot product, {CONNECTIONS} connections");
    figures.push(stated(&name, &hot.outcome));
    others.push(hot.outcome);
    let all = runs.iter().map(|run| &run.outcome).chain(&others);
    figures.push(Figure::errors("purchases", all, []));
    Ok(figures)
}

/// One measurement on a database of its own.
async fn step(bench: &mut Bench, connections: usize, products: u64) -> anyhow::Result<Run> {
    let wallets = bench.settings.scaled(WALLETS);
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve(Side::Accrue, &database).await?;
    fill(bench, &server, &database, products, wallets).await?;
    let before = used(bench, &server, &database).await?;
    let requests = Requests::purchase(server.address, products, wallets);
    let outcome = bench.closed(&server, connections, &requests).await?;
    let after = used(bench, &server, &database).await?;
    let run = Run::between(outcome, &before, &after);
    let (name, line, costs) = (kind(products), run.outcome.line(), run.costs());
    bench.note(format!("purchases {name:<3} {connections:>4}: {line}\n{:>19} {costs}", ""));
    server.stop().await?;
    bench.postgres.drop(database).await?;
    Ok(run)
}

const fn kind(products: u64) -> &'static str {
    if products == 1 { "hot" } else { "" }
}

/// Products with stock, wallets with money, and every read model up to date with them.
async fn fill(
    bench: &Bench,
    server: &Server,
    database: &Database,
    products: u64,
    wallets: u64,
) -> anyhow::Result<()> {
    bench.bulk(server, products, Commands::CreateProducts).await?;
    bench.bulk(server, products, Commands::FillStock).await?;
    bench.bulk(server, wallets, Commands::FillWallets).await?;
    let stock = format!("/v1/products/{}/stock", product_id(0));
    server.wait_shown(&stock, database.head().await?).await
}

async fn used(bench: &Bench, server: &Server, database: &Database) -> anyhow::Result<Used> {
    Ok(Used {
        purchases: database.events_of(COMPLETED).await?,
        events: database.head().await?,
        wal_bytes: bench.postgres.wal_bytes().await?,
        server_seconds: server.pid().and_then(cpu_seconds).unwrap_or_default(),
        postgres_seconds: bench.postgres.pid().and_then(cpu_seconds),
    })
}

impl Run {
    fn between(outcome: Outcome, before: &Used, after: &Used) -> Self {
        let purchases = after.purchases.saturating_sub(before.purchases) as f64;
        let each = |used: f64| ratio(used, purchases);
        let postgres = after.postgres_seconds.zip(before.postgres_seconds);
        Self {
            outcome,
            events: each(after.events.saturating_sub(before.events) as f64),
            wal_bytes: each(after.wal_bytes.saturating_sub(before.wal_bytes) as f64),
            server_micros: each(1e6 * (after.server_seconds - before.server_seconds)),
            postgres_micros: postgres.map(|(after, before)| each(1e6 * (after - before))),
        }
    }

    fn costs(&self) -> String {
        let Self { events, wal_bytes, server_micros, postgres_micros, .. } = self;
        let postgres = postgres_micros.map_or_else(|| "–".to_owned(), |it| format!("{it:.0} µs"));
        format!(
            "a purchase: {events:.2} events, {wal_bytes:.0} bytes of WAL, processor: server \
             {server_micros:.0} µs, Postgres {postgres}"
        )
    }
}

fn latencies(outcome: &Outcome) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| rounded(outcome.quantile_ms(quantile)));
    format!("p50 {p50} ms, p99 {p99} ms")
}

fn stated(name: &str, outcome: &Outcome) -> Figure {
    Figure {
        name: name.to_owned(),
        accrue: format!("{:.0}/s", outcome.rate()),
        beside: latencies(outcome),
        value: outcome.rate(),
        unit: "/s",
        goal: Goal::None,
    }
}

fn goals(runs: &[Run]) -> Vec<Figure> {
    let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
    let rate = of(|run| run.outcome.rate());
    let (p50, p99) =
        (of(|run| run.outcome.quantile_ms(0.5)), of(|run| run.outcome.quantile_ms(0.99)));
    let name = |what: &str| format!("purchases, {CONNECTIONS} connections{what}");
    let cost = |what: &str, value: f64, unit: &'static str| Figure {
        name: name(what),
        accrue: format!("{}{unit}", rounded(value)),
        beside: "–".to_owned(),
        value,
        unit,
        goal: Goal::None,
    };
    let mut figures = vec![
        Figure {
            name: name(", completed"),
            accrue: format!("{rate:.0}/s"),
            beside: format!("p50 {} ms", rounded(p50)),
            value: rate,
            unit: "/s",
            goal: Goal::AtLeast(1_000.0),
        },
        Figure {
            name: name(", p99"),
            accrue: format!("{} ms", rounded(p99)),
            beside: "–".to_owned(),
            value: p99,
            unit: " ms",
            goal: Goal::AtMost(500.0),
        },
        cost(", events each", of(|run| run.events), ""),
        cost(", WAL each", of(|run| run.wal_bytes), " B"),
        cost(", processor of the server each", of(|run| run.server_micros), " µs"),
    ];
    let postgres: Vec<f64> = runs.iter().filter_map(|run| run.postgres_micros).collect();
    if !postgres.is_empty() {
        figures.push(cost(", processor of Postgres each", median(postgres), " µs"));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::{Run, Used};
    use crate::load::outcome::Outcome;
    use std::time::Duration;

    #[test]
    fn costs_are_those_of_one_purchase() {
        let used = |purchases: u64, postgres_seconds| Used {
            purchases,
            events: 100 + 8 * purchases,
            wal_bytes: 5_000 * purchases,
            server_seconds: 2.0,
            postgres_seconds,
        };
        let outcome = || Outcome::new(Duration::from_secs(1));
        let run = Run::between(outcome(), &used(10, Some(1.0)), &used(30, Some(2.0)));
        let text =
            "a purchase: 8.00 events, 5000 bytes of WAL, processor: server 0 µs, Postgres 50000 µs";
        assert_eq!(run.costs(), text);
        let nothing = Run::between(outcome(), &used(10, None), &used(10, None));
        assert!(nothing.costs().ends_with("Postgres –"), "{}", nothing.costs());
    }
}
