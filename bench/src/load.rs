//! Load: closed and open loops over keep-alive connections, one request in flight on each.
//!
//! Everything runs on one thread, so that the generator's cost is one core at most and the outcome
//! needs no contended lock.

pub(crate) mod bulk;
pub(crate) mod client;
pub(crate) mod outcome;
pub(crate) mod request;
mod response;
mod schedule;

use anyhow::{Context as _, bail};
use client::Client;
use outcome::Outcome;
use request::Requests;
use schedule::Schedule;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long answers may be outstanding after the end of a run before they count as lost.
const GRACE: Duration = Duration::from_secs(30);

/// Runs of this process so far, for their seeds.
static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// A connection sends when its last answer has come.
    Closed,
    /// So many requests a second are due, whatever the answers do.
    Open { per_second: u64 },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub warm_up: Duration,
    pub duration: Duration,
    pub pace: Pace,
}

type Shared = Arc<Mutex<Outcome>>;

fn record(outcome: &Shared, note: impl FnOnce(&mut Outcome)) {
    note(&mut outcome.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The measured window of a run.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    from: Instant,
    until: Instant,
}

/// Runs the load to its end. Requests begun in the warm-up are not counted.
pub(crate) async fn run(load: &Load, requests: &Requests) -> anyhow::Result<Outcome> {
    let mut clients = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        let client = Client::connect(load.address).await;
        clients.push(client.with_context(|| format!("connecting to {}", load.address))?);
    }
    let outcome = Arc::new(Mutex::new(Outcome::new(load.duration)));
    let start = Instant::now();
    let from = start + load.warm_up;
    let window = Window { start, from, until: from + load.duration };
    let mut workers = JoinSet::new();
    let schedule = match load.pace {
        Pace::Closed => None,
        Pace::Open { per_second } => {
            Some(Arc::new(Schedule::new(per_second, load.warm_up + load.duration)))
        }
    };
    // Every run has keys of its own: a repeated key would be answered from the log, which is
    // another measurement.
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    for (seed, client) in ((run << 32) + 1..).zip(clients) {
        let (requests, outcome) = (requests.seeded(seed), outcome.clone());
        match schedule.clone() {
            None => workers.spawn(closed(client, requests, window, outcome)),
            Some(schedule) => workers.spawn(open(client, requests, window, schedule, outcome)),
        };
    }
    finish(workers, window, &outcome).await
}

async fn finish(
    mut workers: JoinSet<()>,
    window: Window,
    outcome: &Shared,
) -> anyhow::Result<Outcome> {
    let limit = window.until.duration_since(Instant::now()) + GRACE;
    let all = async { while workers.join_next().await.is_some() {} };
    if timeout(limit, all).await.is_err() {
        let unanswered = workers.len();
        record(outcome, |it| it.tally.lost += u64::try_from(unanswered).unwrap_or(u64::MAX));
    }
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if outcome.tally == outcome::Tally::default() {
        bail!("no request was answered in the measured window");
    }
    Ok(outcome)
}

/// What came of a request.
#[derive(Debug, Clone, Copy)]
enum Got {
    Status(u16),
    /// A good status, with a body that does not say what was wanted.
    Other,
}

/// Sends the next request. Its answer's body is read only where something is wanted of it.
async fn ask(
    client: &mut Client,
    requests: &mut Requests,
    body: &mut Vec<u8>,
) -> Result<Got, client::Lost> {
    let Some(wanted) = requests.wanted() else {
        return client.exchange(requests.next(), &mut |_| ()).await.map(Got::Status);
    };
    body.clear();
    let mut keep = |part: &[u8]| body.extend_from_slice(part);
    let status = client.exchange(requests.next(), &mut keep).await?;
    let wanted = wanted.as_bytes();
    let good = !(200..=299).contains(&status) || body.windows(wanted.len()).any(|it| it == wanted);
    Ok(if good { Got::Status(status) } else { Got::Other })
}

async fn closed(mut client: Client, mut requests: Requests, window: Window, outcome: Shared) {
    let mut body = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= window.until {
            return;
        }
        let answer = ask(&mut client, &mut requests, &mut body).await;
        let now = Instant::now();
        let counts = sent >= window.from && now <= window.until;
        if !note(&mut client, answer, counts.then_some(now - sent), &outcome).await {
            return;
        }
    }
}

async fn open(
    mut client: Client,
    mut requests: Requests,
    window: Window,
    schedule: Arc<Schedule>,
    outcome: Shared,
) {
    let mut body = Vec::new();
    while let Some(offset) = schedule.take() {
        let due = window.start + offset;
        sleep_until(due).await;
        let answer = ask(&mut client, &mut requests, &mut body).await;
        let latency = (due >= window.from).then(|| due.elapsed());
        if !note(&mut client, answer, latency, &outcome).await {
            return;
        }
    }
}

/// Counts an answer; false when the connection is gone and cannot be made again.
async fn note(
    client: &mut Client,
    answer: Result<Got, client::Lost>,
    latency: Option<Duration>,
    outcome: &Shared,
) -> bool {
    match (answer, latency) {
        (Ok(Got::Status(status)), Some(latency)) => {
            record(outcome, |it| it.answered(status, latency, 1));
        }
        (Ok(Got::Other), Some(_)) => record(outcome, |it| it.tally.other += 1),
        (Ok(_), None) => (),
        (Err(_), _) => {
            record(outcome, |it| it.tally.lost += 1);
            return client.reconnect().await.is_ok();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::request::Requests;
    use super::{Load, Pace, run};
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// A server that answers whatever it reads, after a delay.
    async fn server(status: &'static str, delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, status, delay));
            }
        });
        address
    }

    async fn answer(mut stream: TcpStream, status: &'static str, delay: Duration) {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(delay).await;
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn load(address: SocketAddr, connections: usize, pace: Pace) -> Load {
        let (warm_up, duration) = (Duration::from_millis(50), Duration::from_millis(300));
        Load { address, connections, warm_up, duration, pace }
    }

    #[tokio::test]
    async fn a_closed_loop_counts_answers_by_status() {
        let address = server("409 Conflict", Duration::ZERO).await;
        let requests = Requests::issue(address, 10);
        let outcome = run(&load(address, 2, Pace::Closed), &requests).await.unwrap();
        assert_eq!((outcome.tally.ok, outcome.units), (0, 0));
        assert_eq!(outcome.tally.conflict, outcome.tally.errors());
        assert!(outcome.tally.conflict > 0);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_what_was_wanted_is_no_success() {
        let address = server("202 Accepted", Duration::ZERO).await;
        let requests = Requests::purchase(address, 10, 10);
        let outcome = run(&load(address, 2, Pace::Closed), &requests).await.unwrap();
        assert_eq!((outcome.tally.ok, outcome.units), (0, 0));
        assert_eq!(outcome.tally.other, outcome.tally.errors());
        assert!(outcome.tally.other > 0);
    }

    #[tokio::test]
    async fn an_open_loop_sends_what_the_rate_says() {
        let address = server("200 OK", Duration::ZERO).await;
        let pace = Pace::Open { per_second: 200 };
        let requests = Requests::issue(address, 10);
        let outcome = run(&load(address, 4, pace), &requests).await.unwrap();
        assert_eq!(outcome.tally.ok, 60);
    }

    #[tokio::test]
    async fn an_open_loop_charges_the_wait_for_a_slow_server() {
        // 35 are due within 350 ms; one connection at 20 ms an answer needs 700 ms for them.
        let address = server("200 OK", Duration::from_millis(20)).await;
        let pace = Pace::Open { per_second: 100 };
        let requests = Requests::issue(address, 10);
        let outcome = run(&load(address, 1, pace), &requests).await.unwrap();
        assert_eq!(outcome.tally.ok, 30);
        assert!(outcome.max_ms() > 300.0, "max {} ms", outcome.max_ms());
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_an_error_and_not_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let requests = Requests::issue(address, 10);
        let outcome = run(&load(address, 1, Pace::Closed), &requests).await.unwrap();
        assert_eq!(outcome.tally.ok, 0);
        assert!(outcome.tally.lost > 0);
    }
}
