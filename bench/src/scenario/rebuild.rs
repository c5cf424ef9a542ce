//! Rebuilding a read model from the log: events a second of `accrue projections rebuild balances`.

use super::{ACCOUNTS, Bench, Side};
use crate::load::outcome::per_second;
use crate::process::run_accrue;
use crate::report::{Figure, Goal, median};

const COMMANDS: u64 = 900_000;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve(Side::Accrue, &database).await?;
    let (commands, accounts) = (bench.settings.scaled(COMMANDS), bench.settings.scaled(ACCOUNTS));
    bench.fill(&server, commands, accounts).await?;
    server.stop().await?;
    let events = database.head().await?;
    let url = database.url();
    let mut rates = Vec::new();
    for _ in 0..bench.settings.repeats {
        bench.postgres.checkpoint().await?;
        let arguments = ["projections", "rebuild", "balances", "--database-url", &url];
        let time = run_accrue(&bench.settings.accrue, arguments).await?;
        let rate = per_second(events, time);
        bench.note(format!("rebuild       : {rate:>9.0}/s ({events} events in {time:.2?})"));
        rates.push(rate);
    }
    bench.postgres.drop(database).await?;
    let rate = median(rates);
    Ok(vec![Figure {
        name: "rebuild of balances".to_owned(),
        accrue: format!("{rate:.0} events/s"),
        beside: format!("{events} events"),
        value: rate,
        unit: "/s",
        goal: Goal::AtLeast(100_000.0),
    }])
}
