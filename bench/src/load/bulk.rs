//! Bulk load: a given number of commands through `POST /v1/commands`, many a request.

use super::client::Client;
use super::outcome::Outcome;
use super::record;
use super::request::{Commands, bulk};
use anyhow::{Context as _, bail};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How often a request that found the server's queue full is sent again.
const RETRIES_MAX: u32 = 100;
const RETRY_DELAY: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    pub address: SocketAddr,
    pub connections: usize,
    pub commands_per_request: u64,
    pub commands: u64,
    pub of: Commands,
}

/// Sends all commands; the window is the time it took.
pub(crate) async fn run(plan: &Bulk) -> anyhow::Result<Outcome> {
    let outcome = Arc::new(Mutex::new(Outcome::new(Duration::ZERO)));
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        let client = Client::connect(plan.address).await.context("connecting for bulk")?;
        workers.spawn(worker(client, *plan, next.clone(), outcome.clone()));
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).clone();
    outcome.window = started.elapsed();
    Ok(outcome)
}

async fn worker(
    mut client: Client,
    plan: Bulk,
    next: Arc<AtomicU64>,
    outcome: Arc<Mutex<Outcome>>,
) -> anyhow::Result<()> {
    loop {
        let first = next.fetch_add(plan.commands_per_request, Ordering::Relaxed);
        if first >= plan.commands {
            return Ok(());
        }
        let last = plan.commands.min(first + plan.commands_per_request);
        let envelopes: Vec<_> = (first..last).map(|number| plan.of.envelope(number)).collect();
        let request = bulk(plan.address, &envelopes);
        let sent = Instant::now();
        let lines = send(&mut client, &request).await?;
        let accepted = accepted(&lines);
        if accepted != last - first {
            let shown = String::from_utf8_lossy(lines.split(|b| *b == b'\n').next().unwrap_or(&[]))
                .into_owned();
            bail!("{accepted} of {} commands were accepted; first line: {shown}", last - first);
        }
        record(&outcome, |it| it.answered(200, sent.elapsed(), accepted));
    }
}

async fn send(client: &mut Client, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    for _ in 0..RETRIES_MAX {
        let (status, body) = client.fetch(request).await?;
        match status {
            200..=299 => return Ok(body),
            503 => sleep(RETRY_DELAY).await,
            _ => bail!("POST /v1/commands: {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
    bail!("POST /v1/commands: 503 after {RETRIES_MAX} tries");
}

/// Result lines of accepted commands; each names the position of its events.
fn accepted(lines: &[u8]) -> u64 {
    const POSITION: &[u8] = br#""position":"#;
    let lines = lines.split(|byte| *byte == b'\n');
    let good = lines.filter(|line| line.windows(POSITION.len()).any(|part| part == POSITION));
    u64::try_from(good.count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::request::Commands;
    use super::{Bulk, accepted, run};
    use axum::Router;
    use axum::body::Body;
    use axum::extract::{Request, State};
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use axum::routing::post;
    use std::collections::HashSet;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::net::TcpListener;

    const ISSUE: Commands = Commands::Issue { accounts: 10 };

    async fn serve(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn plan(address: SocketAddr, commands_per_request: u64, commands: u64) -> Bulk {
        Bulk { address, connections: 2, commands_per_request, commands, of: ISSUE }
    }

    /// Answers 503 so many times, then each request's body as its result lines, as it comes in.
    async fn echo(State(busy): State<Arc<AtomicU32>>, request: Request) -> Response {
        let left =
            busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Body::new(request.into_body()).into_response()
    }

    async fn echoing(busy: u32) -> SocketAddr {
        let state = Arc::new(AtomicU32::new(busy));
        serve(Router::new().route("/v1/commands", post(echo)).with_state(state)).await
    }

    #[tokio::test]
    async fn results_are_read_while_the_request_is_still_being_written() {
        // Far more than the sockets of both directions can hold.
        let address = echoing(0).await;
        let failure = run(&plan(address, 200_000, 200_000)).await.unwrap_err().to_string();
        // An envelope names no position, so the echo of one is no acceptance.
        assert!(failure.starts_with("0 of 200000 commands were accepted; first line: {\"id\":"));
    }

    #[tokio::test]
    async fn a_request_that_found_the_queue_full_is_sent_again() {
        let lines = "{\"position\":1}\n".repeat(10);
        let busy = Arc::new(AtomicU32::new(3));
        let handler = move |State(busy): State<Arc<AtomicU32>>, request| async move {
            let answer = echo(State(busy), request).await;
            if answer.status() == StatusCode::OK { lines.into_response() } else { answer }
        };
        let router = Router::new().route("/v1/commands", post(handler)).with_state(busy.clone());
        let outcome = run(&plan(serve(router).await, 10, 40)).await.unwrap();
        assert_eq!((outcome.units, outcome.tally.ok), (40, 4));
        assert_eq!(busy.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_refused_request_ends_the_run_and_says_why() {
        let router = Router::new().route(
            "/v1/commands",
            post(|| async { (StatusCode::UNPROCESSABLE_ENTITY, "no such type") }),
        );
        let failure = run(&plan(serve(router).await, 10, 40)).await.unwrap_err().to_string();
        assert_eq!(failure, "POST /v1/commands: 422: no such type");
    }

    #[test]
    fn commands_are_spread_over_the_accounts_under_ids_of_their_own() {
        let all: Vec<String> = (0..1000).map(|number| ISSUE.envelope(number)).collect();
        let id = |line: &String| line.split(',').next().map(str::to_owned);
        assert_eq!(all.iter().map(id).collect::<HashSet<_>>().len(), 1000);
        assert_eq!(all.iter().filter(|line| line.contains("m00000003")).count(), 100);
    }

    #[test]
    fn a_retry_repeats_the_ids() {
        assert_eq!(ISSUE.envelope(5), ISSUE.envelope(5));
    }

    #[test]
    fn only_lines_with_a_position_count() {
        let lines = b"{\"id\":\"a\",\"position\":1}\n{\"id\":\"b\",\"problem\":{}}\n";
        assert_eq!(accepted(lines), 1);
        assert_eq!(accepted(b""), 0);
    }
}
