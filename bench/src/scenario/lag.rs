//! Projection lag under an open loop: how long after its answer a command shows in a read.
//!
//! A probe issues points, then reads the account as of the answer's position; the time between the
//! two answers counts. It contains a whole read, so it is an upper bound of the lag.

use super::{ACCOUNTS, Bench, Side};
use crate::load::client::Client;
use crate::load::outcome::Outcome;
use crate::load::request::Requests;
use crate::load::{self, Load, Pace};
use crate::report::{Figure, Goal, median, rounded};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const COMMANDS_PER_SECOND: u64 = 5_000;
const CONNECTIONS: usize = 128;
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut lags, mut commands) = (Vec::new(), Vec::new());
    for _ in 0..bench.settings.repeats {
        let database = bench.fresh(Side::Accrue).await?;
        let server = bench.serve(Side::Accrue, &database).await?;
        let pace = Pace::Open { per_second: COMMANDS_PER_SECOND };
        let load = bench.load(&server, CONNECTIONS, pace);
        let requests = Requests::issue(server.address, ACCOUNTS);
        let (command, lag) = tokio::join!(load::run(&load, &requests), probe(&load));
        let (command, lag) = (command?, lag?);
        bench.note(format!("lag   commands: {}", command.line()));
        bench.note(format!("lag   probe   : {}", lag.line()));
        commands.push(command);
        lags.push(lag);
        server.stop().await?;
        bench.postgres.drop(database).await?;
    }
    let p99 = |runs: &[Outcome]| median(runs.iter().map(|run| run.quantile_ms(0.99)));
    let rate = median(commands.iter().map(Outcome::rate));
    let (lag, latency) = (p99(&lags), p99(&commands));
    let lag = Figure {
        name: format!("projection lag at {COMMANDS_PER_SECOND}/s, p99"),
        accrue: format!("{} ms", rounded(lag)),
        beside: format!("{rate:.0}/s, p99 {} ms", rounded(latency)),
        value: lag,
        unit: " ms",
        goal: Goal::AtMost(100.0),
    };
    Ok(vec![lag, Figure::errors("open loop", &commands, [])])
}

#[derive(Deserialize)]
struct Receipt {
    position: u64,
}

async fn probe(load: &Load) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(load.address).await?;
    // A seed beyond those of the load's connections.
    let mut requests = Requests::issue(load.address, ACCOUNTS).seeded(u64::MAX);
    let mut outcome = Outcome::new(load.duration);
    let from = Instant::now() + load.warm_up;
    while Instant::now() < from + load.duration {
        let (status, body) = client.fetch(requests.next()).await?;
        let answered = Instant::now();
        if !(200..=299).contains(&status) {
            bail!("the probe's command: {status}: {}", String::from_utf8_lossy(&body));
        }
        let receipt: Receipt = serde_json::from_slice(&body).context("reading a receipt")?;
        shown(&mut client, load.address, &requests.account(), receipt.position).await?;
        if answered >= from {
            outcome.answered(status, answered.elapsed(), 1);
        }
        sleep(PROBE_INTERVAL).await;
    }
    Ok(outcome)
}

/// Reads until the read model has the position; 503 says that it had not within the server's wait.
async fn shown(
    client: &mut Client,
    host: SocketAddr,
    account: &str,
    position: u64,
) -> anyhow::Result<()> {
    let request = format!(
        "GET /v1/accounts/{account}?min_position={position} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    loop {
        match client.fetch(request.as_bytes()).await? {
            (200, _) => return Ok(()),
            (503, _) => (),
            (status, body) => {
                bail!("the probe's read: {status}: {}", String::from_utf8_lossy(&body))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::probe;
    use crate::load::{Load, Pace};
    use axum::extract::{Query, State};
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// Reads of a position that are refused before it shows, 10 ms each.
    const REFUSALS: u64 = 3;

    async fn issue(State(reads): State<Arc<AtomicU64>>) -> Json<serde_json::Value> {
        reads.store(0, Ordering::SeqCst);
        Json(serde_json::json!({"command_id": "c", "position": 41, "events": []}))
    }

    async fn account(
        State(reads): State<Arc<AtomicU64>>,
        Query(query): Query<HashMap<String, u64>>,
    ) -> StatusCode {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if query.get("min_position") != Some(&41) {
            return StatusCode::BAD_REQUEST;
        }
        let shown = reads.fetch_add(1, Ordering::SeqCst) >= REFUSALS;
        if shown { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    #[tokio::test]
    async fn lag_lasts_until_the_read_model_has_the_position_of_the_answer() {
        let router = Router::new()
            .route("/v1/accounts/{id}/points/issue", post(issue))
            .route("/v1/accounts/{id}", get(account))
            .with_state(Arc::new(AtomicU64::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (warm_up, duration) = (Duration::ZERO, Duration::from_millis(200));
        let load = Load { address, connections: 1, warm_up, duration, pace: Pace::Closed };
        let lag = probe(&load).await.unwrap();
        assert!(lag.tally.ok > 0);
        assert!(lag.quantile_ms(0.0) >= 40.0, "{}", lag.line());
    }
}
