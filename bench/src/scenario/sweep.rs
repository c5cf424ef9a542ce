//! Which size of pool is best for the baseline: the one that its runs should have.

use super::{ACCOUNTS, Bench, Side};
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::process;
use crate::report::median;

const POOLS: [u32; 5] = [4, 8, 16, 32, 64];
const CONNECTIONS: usize = 256;

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); POOLS.len()];
    for _ in 0..bench.settings.repeats {
        for (pool, outcomes) in POOLS.into_iter().zip(&mut outcomes) {
            let database = bench.fresh(Side::Baseline).await?;
            let server = process::baseline(&database, pool).await?;
            let requests = Requests::issue(server.address, ACCOUNTS);
            let outcome = bench.closed(&server, CONNECTIONS, &requests).await?;
            bench.note(format!("pool {pool:>3}: {}", outcome.line()));
            outcomes.push(outcome);
            server.stop().await?;
            bench.postgres.drop(database).await?;
        }
    }
    println!("\nmedians at {CONNECTIONS} connections");
    for (pool, outcomes) in POOLS.iter().zip(&outcomes) {
        let rate = median(outcomes.iter().map(Outcome::rate));
        let p99 = median(outcomes.iter().map(|outcome| outcome.quantile_ms(0.99)));
        println!("pool {pool:>3}: {rate:>6.0}/s, p99 {p99:.1} ms");
    }
    Ok(())
}
