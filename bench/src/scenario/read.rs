//! `GET /v1/accounts/{account}` against a bare handler that reads one row by key.

use super::{ACCOUNTS, Bench, Side, Sides};
use crate::load::outcome::Outcome;
use crate::load::request::{Requests, account_id};
use crate::postgres::Database;
use crate::report::{Figure, Goal, median, ratio};

const CONNECTIONS: usize = 64;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let mut databases = Vec::new();
    for side in bench.sides() {
        let (database, prefix) = match side {
            Side::Baseline => (rows(bench).await?, "/row/"),
            Side::Accrue => (accounts(bench).await?, "/v1/accounts/"),
        };
        databases.push((side, database, prefix));
    }
    let mut outcomes: Sides<Vec<Outcome>> = Sides::default();
    for _ in 0..bench.settings.repeats {
        for (side, database, prefix) in &databases {
            let side = *side;
            let server = bench.serve(side, database).await?;
            let requests = Requests::get(server.address, prefix, ACCOUNTS);
            let outcome = bench.closed(&server, CONNECTIONS, &requests).await?;
            bench.note(format!("read  {:<8} {CONNECTIONS:>3}: {}", side.name(), outcome.line()));
            outcomes.of(side).push(outcome);
            server.stop().await?;
        }
    }
    for (_, database, _) in databases {
        bench.postgres.drop(database).await?;
    }
    let rate = |runs: &[Outcome]| median(runs.iter().map(Outcome::rate));
    let (ours, bare) = (rate(&outcomes.accrue), rate(&outcomes.baseline));
    let read = Figure {
        name: format!("read an account, {CONNECTIONS} connections"),
        accrue: format!("{ours:.0}/s"),
        beside: format!("{bare:.0}/s"),
        value: ratio(ours, bare),
        unit: "x",
        goal: Goal::AtLeast(0.7),
    };
    Ok(vec![read, Figure::errors("read", &outcomes.accrue, &outcomes.baseline)])
}

async fn rows(bench: &Bench) -> anyhow::Result<Database> {
    let database = bench.fresh(Side::Baseline).await?;
    let insert = format!(
        "INSERT INTO balance_rows
         SELECT 'm' || lpad(n::text, 8, '0'), 100, 0, 0, 0, n
           FROM generate_series(0, {}) AS n;
         VACUUM ANALYZE balance_rows",
        ACCOUNTS - 1,
    );
    for statement in insert.split(';') {
        database.execute(statement).await?;
    }
    Ok(database)
}

/// As many accounts with one lot each.
async fn accounts(bench: &Bench) -> anyhow::Result<Database> {
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve(Side::Accrue, &database).await?;
    bench.fill(&server, ACCOUNTS, ACCOUNTS).await?;
    server.wait_position(&account_id(0), database.head().await?).await?;
    server.stop().await?;
    database.execute("VACUUM ANALYZE").await?;
    Ok(database)
}
