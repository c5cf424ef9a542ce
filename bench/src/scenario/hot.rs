//! One hot account: 64 connections issue to the same account, against the baseline.

use super::{Bench, Sides};
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::report::{Figure, Goal, median, ratio, rounded};

const CONNECTIONS: usize = 64;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let mut outcomes: Sides<Vec<Outcome>> = Sides::default();
    for _ in 0..bench.settings.repeats {
        for side in bench.sides() {
            let database = bench.fresh(side).await?;
            let server = bench.serve_commands(side, &database).await?;
            let requests = Requests::issue(server.address, 1);
            let outcome = bench.closed(&server, CONNECTIONS, &requests).await?;
            bench.note(format!("hot   {:<8} {CONNECTIONS:>3}: {}", side.name(), outcome.line()));
            outcomes.of(side).push(outcome);
            server.stop().await?;
            bench.postgres.drop(database).await?;
        }
    }
    let rate = |runs: &[Outcome]| median(runs.iter().map(Outcome::rate));
    let (ours, theirs) = (rate(&outcomes.accrue), rate(&outcomes.baseline));
    Ok(vec![
        Figure {
            name: format!("hot account, {CONNECTIONS} connections, successes"),
            accrue: format!("{}/s", rounded(ours)),
            beside: format!("{}/s", rounded(theirs)),
            value: ratio(ours, theirs),
            unit: "x",
            goal: Goal::AtLeast(100.0),
        },
        Figure::errors("hot account", &outcomes.accrue, &outcomes.baseline),
    ])
}
