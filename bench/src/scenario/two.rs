//! Two processes that take commands for one log: beside one alone, on accounts of their own, and
//! both on one hot account.

use std::collections::BTreeMap;

use super::{ACCOUNTS, Bench, Side};
use crate::load;
use crate::load::Pace;
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::process::Server;
use crate::report::{Figure, Goal, median, ratio, rounded};

/// Connections in all, however many processes there are, and how much of one process's throughput
/// is wanted there. Where there are two processes every batch is half as large, and the fewer the
/// connections are the more tells what a batch costs by itself; both are busy with 256.
const STEPS: [(usize, Goal); 3] = [(64, Goal::None), (256, Goal::AtLeast(0.9)), (512, Goal::None)];

const HOT_CONNECTIONS: usize = 64;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut all, mut hot) = (Vec::new(), Vec::new());
    let mut steps: BTreeMap<usize, [Vec<f64>; 2]> = BTreeMap::new();
    for run in 0..bench.settings.repeats {
        for (connections, _) in STEPS {
            // Neither is always the first.
            for processes in if run % 2 == 0 { [1, 2] } else { [2, 1] } {
                let outcomes = measure(bench, processes, connections, ACCOUNTS).await?;
                let rate = outcomes.iter().map(Outcome::rate).sum();
                steps.entry(connections).or_default()[processes - 1].push(rate);
                all.extend(outcomes);
            }
        }
        let outcomes = measure(bench, 2, HOT_CONNECTIONS, 1).await?;
        hot.push(outcomes.iter().map(Outcome::rate).sum::<f64>());
        all.extend(outcomes);
    }
    let mut figures: Vec<Figure> = Vec::new();
    for (connections, goal) in STEPS {
        let [one, two] = steps.remove(&connections).unwrap_or_default().map(median);
        figures.push(Figure {
            name: format!("two processes on accounts of their own, {connections} connections"),
            accrue: format!("{}/s", rounded(two)),
            beside: format!("{}/s by one", rounded(one)),
            value: ratio(two, one),
            unit: "x",
            goal,
        });
    }
    let hot = median(hot);
    figures.push(Figure {
        name: "two processes on one hot account".to_owned(),
        accrue: format!("{}/s", rounded(hot)),
        beside: String::new(),
        value: hot,
        unit: "/s",
        goal: Goal::None,
    });
    let none: [&Outcome; 0] = [];
    figures.push(Figure::errors("two processes", &all, none));
    Ok(figures)
}

/// A run on a fresh database; what each of the processes did. However many they are, the accounts
/// are as many in all: opening one is an event more, and a load.
async fn measure(
    bench: &mut Bench,
    processes: usize,
    connections: usize,
    accounts: u64,
) -> anyhow::Result<Vec<Outcome>> {
    let database = bench.fresh(Side::Accrue).await?;
    let mut servers: Vec<Server> = Vec::new();
    for _ in 0..processes {
        servers.push(bench.serve_commands(Side::Accrue, &database).await?);
    }
    bench.postgres.checkpoint().await?;
    let runs = servers.iter().enumerate().map(|(at, server)| {
        let share = (accounts / processes as u64).max(1);
        let requests = Requests::issue(server.address, share);
        // One hot account is everybody's.
        let requests = if at > 0 && accounts > 1 { requests.elsewhere() } else { requests };
        let load = bench.load(server, connections / processes, Pace::Closed);
        async move { load::run(&load, &requests).await }
    });
    let outcomes = futures::future::try_join_all(runs).await?;
    for outcome in &outcomes {
        let on = if accounts == 1 { "one hot account" } else { "their own" };
        bench.note(format!("two   {processes} on {on:<15} {connections:>3}: {}", outcome.line()));
    }
    for server in servers {
        server.stop().await?;
    }
    bench.postgres.drop(database).await?;
    Ok(outcomes)
}
