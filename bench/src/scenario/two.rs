//! Two processes that take commands for one log: beside one alone, on accounts of their own, and
//! both on one hot account.

use super::{ACCOUNTS, Bench, Side};
use crate::load;
use crate::load::Pace;
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::process::Server;
use crate::report::{Figure, Goal, median, ratio, rounded};

/// In all, however many processes there are.
const CONNECTIONS: usize = 64;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut one, mut two, mut hot) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.settings.repeats {
        one.push(measure(bench, "one process", 1, ACCOUNTS).await?);
        two.push(measure(bench, "two processes", 2, ACCOUNTS).await?);
        hot.push(measure(bench, "two, one hot account", 2, 1).await?);
    }
    let rate = |runs: &[Vec<Outcome>]| {
        median(runs.iter().map(|run| run.iter().map(Outcome::rate).sum::<f64>()))
    };
    let (ours, beside) = (rate(&two), rate(&one));
    let none: [&Outcome; 0] = [];
    Ok(vec![
        Figure {
            name: format!("two processes on accounts of their own, {CONNECTIONS} connections"),
            accrue: format!("{}/s", rounded(ours)),
            beside: format!("{}/s by one", rounded(beside)),
            value: ratio(ours, beside),
            unit: "x",
            goal: Goal::AtLeast(0.9),
        },
        Figure {
            name: "two processes on one hot account".to_owned(),
            accrue: format!("{}/s", rounded(rate(&hot))),
            beside: String::new(),
            value: rate(&hot),
            unit: "/s",
            goal: Goal::None,
        },
        Figure::errors("two processes", two.iter().chain(&hot).flatten(), none),
    ])
}

/// A run on a fresh database; what each of the processes did.
async fn measure(
    bench: &mut Bench,
    name: &str,
    processes: usize,
    accounts: u64,
) -> anyhow::Result<Vec<Outcome>> {
    let database = bench.fresh(Side::Accrue).await?;
    let mut servers: Vec<Server> = Vec::new();
    for _ in 0..processes {
        servers.push(bench.serve_commands(Side::Accrue, &database).await?);
    }
    bench.postgres.checkpoint().await?;
    let runs = servers.iter().enumerate().map(|(at, server)| {
        let requests = Requests::issue(server.address, accounts);
        // One hot account is everybody's.
        let requests = if at > 0 && accounts > 1 { requests.elsewhere() } else { requests };
        let load = bench.load(server, CONNECTIONS / processes, Pace::Closed);
        async move { load::run(&load, &requests).await }
    });
    let outcomes = futures::future::try_join_all(runs).await?;
    for outcome in &outcomes {
        bench.note(format!("two   {name:<20}: {}", outcome.line()));
    }
    for server in servers {
        server.stop().await?;
    }
    bench.postgres.drop(database).await?;
    Ok(outcomes)
}
