//! Bulk: `POST /v1/commands` against the ceiling, which is one connection inserting the very rows
//! that the server wrote.

use super::{ACCOUNTS, Bench, Side, ceiling};
use crate::load::outcome::per_second;
use crate::report::{Figure, Goal, median, ratio};

const COMMANDS: u64 = 500_000;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
    let commands = bench.settings.scaled(COMMANDS);
    for _ in 0..bench.settings.repeats {
        let database = bench.fresh(Side::Accrue).await?;
        let server = bench.serve_commands(Side::Accrue, &database).await?;
        let accounts = bench.settings.scaled(ACCOUNTS);
        let outcome = bench.fill(&server, commands, accounts).await?;
        server.stop().await?;
        bench.note(format!("bulk  accrue  : {}", outcome.line()));
        let copy = bench.postgres.fresh("accrue_bench_ceiling").await?;
        let time = ceiling::measure(&database, &copy).await?;
        let rate = per_second(commands, time);
        bench.note(format!("bulk  ceiling : {rate:>9.0}/s"));
        ours.push(outcome.rate());
        ceilings.push(rate);
        bench.postgres.drop(copy).await?;
        bench.postgres.drop(database).await?;
    }
    let (ours, ceiling) = (median(ours), median(ceilings));
    Ok(vec![Figure {
        name: "bulk commands, against the ceiling".to_owned(),
        accrue: format!("{ours:.0}/s"),
        beside: format!("{ceiling:.0}/s"),
        value: ratio(ours, ceiling),
        unit: "x",
        goal: Goal::AtLeast(0.6),
    }])
}
