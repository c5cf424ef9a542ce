//! Durable single commands: one issue a request, 100,000 accounts, against the baseline.

use super::{ACCOUNTS, Bench, Side, Sides};
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::report::{Figure, Goal, median, ratio, rounded};
use std::collections::BTreeMap;

/// Connections, and how many times the baseline's throughput is wanted there.
const STEPS: [(usize, Goal); 3] =
    [(64, Goal::None), (256, Goal::AtLeast(6.0)), (512, Goal::AtLeast(9.0))];

/// Connections of the run with everything in one process.
const EVERYTHING_CONNECTIONS: usize = 256;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let mut outcomes: BTreeMap<usize, Sides<Vec<Outcome>>> = BTreeMap::new();
    let mut with_everything = Vec::new();
    for _ in 0..bench.settings.repeats {
        for (connections, _) in STEPS {
            for side in bench.sides() {
                let outcome = step(bench, side, connections).await?;
                outcomes.entry(connections).or_default().of(side).push(outcome);
            }
        }
        if bench.sides().contains(&Side::Accrue) {
            with_everything.push(everything(bench).await?);
        }
    }
    let figures = STEPS.iter().flat_map(|(connections, goal)| {
        outcomes.get(connections).map(|sides| figures(*connections, *goal, sides))
    });
    let errors = Figure::errors(
        "issue",
        outcomes.values().flat_map(|sides| &sides.accrue),
        outcomes.values().flat_map(|sides| &sides.baseline),
    );
    let beside = outcomes.get(&EVERYTHING_CONNECTIONS).map(|sides| &sides.baseline[..]);
    let beside = median(beside.unwrap_or_default().iter().map(Outcome::rate));
    let all = median(with_everything.iter().map(Outcome::rate));
    let all = Figure {
        name: format!("issue, {EVERYTHING_CONNECTIONS} connections, read models and awards too"),
        accrue: format!("{all:.0}/s"),
        beside: format!("{beside:.0}/s"),
        value: ratio(all, beside),
        unit: "x",
        goal: Goal::None,
    };
    Ok(figures.flatten().chain([errors, all]).collect())
}

/// One side at so many connections. A database of its own, or the side that does more would carry
/// more history into its later steps.
async fn step(bench: &mut Bench, side: Side, connections: usize) -> anyhow::Result<Outcome> {
    let database = bench.fresh(side).await?;
    let server = bench.serve_commands(side, &database).await?;
    let requests = Requests::issue(server.address, ACCOUNTS);
    let outcome = bench.closed(&server, connections, &requests).await?;
    bench.note(format!("issue {:<8} {connections:>3}: {}", side.name(), outcome.line()));
    server.stop().await?;
    bench.postgres.drop(database).await?;
    Ok(outcome)
}

/// The same load while this process also keeps every read model and judges every event, on the
/// same cores.
async fn everything(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve(Side::Accrue, &database).await?;
    let requests = Requests::issue(server.address, ACCOUNTS);
    let outcome = bench.closed(&server, EVERYTHING_CONNECTIONS, &requests).await?;
    bench.note(format!("issue all      {EVERYTHING_CONNECTIONS:>3}: {}", outcome.line()));
    server.stop().await?;
    bench.postgres.drop(database).await?;
    Ok(outcome)
}

fn figures(connections: usize, goal: Goal, sides: &Sides<Vec<Outcome>>) -> [Figure; 2] {
    let rate = |runs: &[Outcome]| median(runs.iter().map(Outcome::rate));
    let p99 = |runs: &[Outcome]| median(runs.iter().map(|run| run.quantile_ms(0.99)));
    let (ours, theirs) = (rate(&sides.accrue), rate(&sides.baseline));
    let (our_p99, their_p99) = (p99(&sides.accrue), p99(&sides.baseline));
    let name = format!("issue, {connections} connections");
    [
        Figure {
            name: name.clone(),
            accrue: format!("{ours:.0}/s"),
            beside: format!("{theirs:.0}/s"),
            value: ratio(ours, theirs),
            unit: "x",
            goal,
        },
        Figure {
            name: format!("{name}, p99"),
            accrue: format!("{} ms", rounded(our_p99)),
            beside: format!("{} ms", rounded(their_p99)),
            value: ratio(our_p99, their_p99),
            unit: "x",
            goal: Goal::AtMost(1.0),
        },
    ]
}
