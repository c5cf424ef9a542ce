//! The second pass: chunks of commands over a few connections, repeated with the same keys until
//! each is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;

use super::dates::{DateReader, Shift};
use super::rows::{BadRow, Sale};
use super::survey::{self, FIRST_SALES_MAX, History, Survey};
use super::{Plan, Progress, Tally};
use crate::client::{CallError, Client, Problem};
use crate::output;

/// Commands in one request: enough to fill batches, few enough to repeat.
const CHUNK_COMMANDS_MAX: usize = 500;

/// So many bytes of commands fill a request, too: a sale may have a thousand lines.
const CHUNK_BYTES: usize = 1 << 20;

/// Requests at a time: what is in one batch leaves as much for the next. Sales do not depend on
/// each other, so their order is free.
pub(super) const REQUESTS_AT_A_TIME: usize = 8;

/// First and longest pause before a delivery is repeated.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A command ready to be sent, with the line of the file that it comes from.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) line: u64,
    pub(super) text: String,
}

/// What the reader gives.
pub(super) type Chunk = Vec<Result<Command, BadRow>>;

/// One line of an answer.
#[derive(Debug, Deserialize)]
struct Answer {
    status: u16,
    receipt: Option<Receipt>,
    problem: Option<Problem>,
}

#[derive(Debug, Deserialize)]
struct Receipt {
    position: i64,
    events: Vec<IgnoredAny>,
}

/// Where a chunk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) client: &'a Client,
    pub(super) progress: &'a Progress,
    /// How long a server that does not answer is waited for.
    pub(super) retry_for: Duration,
    /// What is at or before this position was there before us.
    pub(super) head: i64,
}

/// What became of one row.
#[derive(Debug)]
enum Outcome {
    Recorded(i64),
    Already(i64),
    Bad(BadRow),
}

/// What became of a chunk.
#[derive(Debug, Default)]
struct Delivered {
    outcomes: Vec<Outcome>,
    repeated: u64,
}

/// Sends everything.
pub(super) async fn send(plan: &Plan, survey: &Survey, client: &Client) -> Result<Tally> {
    let begun = Instant::now();
    let (progress, retry_for) = (Progress::new(survey.rows), plan.retry_for);
    let shift = || shift(&plan.dates, survey.history.as_ref(), client);
    let shift = patient(retry_for, &progress, shift).await?;
    let head = patient(retry_for, &progress, || client.head()).await?;
    let mut tally = Tally { rows: survey.rows, position: head, ..Tally::default() };
    let (chunks, read) = mpsc::channel(REQUESTS_AT_A_TIME);
    let of_reader = plan.clone();
    let reader = tokio::task::spawn_blocking(move || read_chunks(&of_reader, shift, chunks));
    let target = Target { client, progress: &progress, retry_for, head };
    deliver_all(target, read, REQUESTS_AT_A_TIME, &mut tally, |_| ()).await?;
    reader.await.context("the reader of the file ended early")??;
    progress.finish();
    tally.took = begun.elapsed();
    Ok(tally)
}

/// Delivers every chunk of a reader, several at a time, and counts what became of its commands.
pub(super) async fn deliver_all(
    target: Target<'_>,
    mut read: mpsc::Receiver<Chunk>,
    at_a_time: usize,
    tally: &mut Tally,
    mut on_bad: impl FnMut(&BadRow),
) -> Result<()> {
    let deliver = |chunk| deliver(target, chunk);
    // The first ones alone: once any other is there they are, and tell a later import how far
    // history was moved.
    let mut sent = 0;
    while sent < FIRST_SALES_MAX
        && let Some(chunk) = read.recv().await
    {
        sent += chunk.iter().filter(|it| it.is_ok()).count();
        count(tally, deliver(chunk).await?, target.progress, &mut on_bad);
    }
    let rest = stream::unfold(read, async |mut read| read.recv().await.map(|it| (it, read)));
    let mut delivered = std::pin::pin!(rest.map(deliver).buffer_unordered(at_a_time));
    while let Some(done) = delivered.next().await {
        count(tally, done?, target.progress, &mut on_bad);
    }
    Ok(())
}

fn count(
    tally: &mut Tally,
    delivered: Delivered,
    progress: &Progress,
    on_bad: &mut impl FnMut(&BadRow),
) {
    tally.repeated += delivered.repeated;
    for outcome in delivered.outcomes {
        match outcome {
            Outcome::Recorded(position) => {
                tally.recorded += 1;
                tally.position = tally.position.max(position);
            }
            Outcome::Already(position) => {
                tally.already += 1;
                tally.position = tally.position.max(position);
            }
            Outcome::Bad(bad) => {
                tally.bad += 1;
                progress.bad_row(&bad);
                on_bad(&bad);
            }
        }
    }
    progress.show(tally);
}

/// How far history is to be moved: to today, or as far as an earlier import of it has moved it.
pub(super) async fn shift(
    dates: &DateReader,
    history: Option<&History>,
    client: &Client,
) -> Result<Shift, CallError> {
    let Some(History { first, last }) = history else { return Ok(Shift::default()) };
    for (sale, moment) in first {
        let Some(known) = client.find(&format!("/v1/sales/{sale}")).await? else { continue };
        let at = known["occurred_at"].as_str().unwrap_or_default();
        let at: DateTime<Utc> =
            at.parse().map_err(|_| client.foreign(format!("sale {sale} has no occurred_at")))?;
        // Another's sale of that id says nothing of ours, which the server has refused.
        if let Some(shift) = dates.moved(*moment, at) {
            return Ok(shift);
        }
    }
    Ok(dates.until(*last, Utc::now()))
}

/// Reads the file in chunks, until it ends or nobody wants them.
fn read_chunks(plan: &Plan, shift: Shift, chunks: mpsc::Sender<Chunk>) -> Result<()> {
    let mut rows = plan.rows()?;
    let mut chunks = Chunks::new(chunks);
    while let Some(row) = rows.next()? {
        let sale = row.and_then(|row| row.sale(plan));
        if chunks.push(sale.and_then(|sale| command(plan, shift, sale))).is_err() {
            return Ok(());
        }
    }
    chunks.end();
    Ok(())
}

/// Prints the commands; rows that become none are told on standard error. Returns whether any row
/// became one.
pub(super) fn print(plan: &Plan) -> Result<bool> {
    survey::survey(plan)?;
    let mut rows = plan.rows()?;
    let (mut printed, mut bad) = (0_u64, 0_u64);
    while let Some(row) = rows.next()? {
        let sale = row.and_then(|row| row.sale(plan));
        match sale.and_then(|sale| command(plan, Shift::default(), sale)) {
            Ok(command) => {
                printed += 1;
                output::line(&command.text)?;
            }
            Err(BadRow { line, reason }) => {
                bad += 1;
                output::complain(&format!("line {line}: {reason}"));
            }
        }
    }
    Ok(printed > 0 || bad == 0)
}

/// Puts commands into chunks and hands these on.
pub(super) struct Chunks {
    chunk: Chunk,
    bytes: usize,
    to: mpsc::Sender<Chunk>,
}

/// Nobody wants more of them.
pub(super) struct Unwanted;

impl Chunks {
    pub(super) fn new(to: mpsc::Sender<Chunk>) -> Self {
        Self { chunk: Vec::with_capacity(CHUNK_COMMANDS_MAX), bytes: 0, to }
    }

    /// Adds one; waits while those before it are on their way.
    pub(super) fn push(&mut self, command: Result<Command, BadRow>) -> Result<(), Unwanted> {
        self.bytes += command.as_ref().map_or(0, |it| it.text.len());
        self.chunk.push(command);
        if self.chunk.len() < CHUNK_COMMANDS_MAX && self.bytes < CHUNK_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_COMMANDS_MAX));
        self.to.blocking_send(full).map_err(|_| Unwanted)
    }

    /// Hands on what is left.
    pub(super) fn end(self) {
        let _unwanted = self.to.blocking_send(self.chunk);
    }
}

fn command(plan: &Plan, shift: Shift, sale: Sale) -> Result<Command, BadRow> {
    let line = sale.line;
    let bad = |reason: &str| BadRow { line, reason: reason.to_owned() };
    let at = plan.dates.instant(sale.at, shift);
    let at = at.ok_or_else(|| bad("occurred_at: out of range"))?;
    let mut envelope = json!({
        "id": format!("import/sale/{}", sale.id),
        "type": "record_sale",
        "sale": sale.id,
        "total": sale.total,
        "occurred_at": at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    });
    if let Some(account) = sale.account {
        envelope["account"] = json!(account);
    }
    if let Some(reference) = sale.reference {
        envelope["reference"] = json!(reference);
    }
    Ok(Command { line, text: envelope.to_string() })
}

/// Delivers a chunk until every command of it is answered. Where the outcome of a delivery is
/// unknown it is repeated; the keys see to it that nothing is done twice.
async fn deliver(target: Target<'_>, chunk: Chunk) -> Result<Delivered> {
    let Target { client, progress, retry_for, head } = target;
    let mut delivered = Delivered::default();
    let mut waiting = Vec::with_capacity(chunk.len());
    for row in chunk {
        match row {
            Ok(command) => waiting.push(command),
            Err(bad) => delivered.outcomes.push(Outcome::Bad(bad)),
        }
    }
    let (mut pause, mut moved) = (BACKOFF.0, Instant::now());
    while !waiting.is_empty() {
        let before = waiting.len();
        let ended = attempt(client, head, &mut waiting, &mut delivered.outcomes).await;
        if waiting.len() < before {
            (pause, moved) = (BACKOFF.0, Instant::now());
            progress.answered();
        }
        if waiting.is_empty() {
            break;
        }
        let reason = match ended {
            Ok(()) => anyhow!("{} commands have no final answer", waiting.len()),
            Err(error) if error.is_passing() => error.into(),
            Err(error) => return Err(error.into()),
        };
        give_up_after(retry_for, moved, &reason)?;
        progress.waiting(&reason);
        delivered.repeated += 1;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
    Ok(delivered)
}

/// One delivery: takes those from `waiting` that it has a final answer for.
async fn attempt(
    client: &Client,
    head: i64,
    waiting: &mut Vec<Command>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), CallError> {
    let mut body = String::new();
    for command in waiting.iter() {
        body.push_str(&command.text);
        body.push('\n');
    }
    let request = client.request(Method::POST, "/v1/commands");
    let request = request.header("Content-Type", "application/x-ndjson").body(body);
    let response = client.answer(request).await?;
    let mut parts = response.bytes_stream();
    let mut line: Vec<u8> = Vec::new();
    let mut answered = Vec::with_capacity(waiting.len());
    let mut ended = Ok(());
    'answer: while let Some(part) = parts.next().await {
        let part = match part {
            Ok(part) => part,
            Err(error) => {
                ended = Err(client.lost(&error));
                break;
            }
        };
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.last() == Some(&b'\n') {
                match serde_json::from_slice::<Answer>(&line) {
                    Ok(answer) => answered.push(answer),
                    Err(error) => {
                        ended = Err(client.foreign(error.to_string()));
                        break 'answer;
                    }
                }
                line.clear();
            }
        }
    }
    settle(head, waiting, answered, outcomes);
    ended
}

/// Sorts the answered from those to be repeated.
fn settle(
    head: i64,
    waiting: &mut Vec<Command>,
    answered: Vec<Answer>,
    outcomes: &mut Vec<Outcome>,
) {
    let mut answers = answered.into_iter();
    waiting.retain(|command| {
        let Some(outcome) = answers.next().and_then(|it| outcome(head, command.line, it)) else {
            return true;
        };
        outcomes.push(outcome);
        false
    });
}

/// What an answer means; none when the command is to be repeated.
fn outcome(head: i64, line: u64, answer: Answer) -> Option<Outcome> {
    if let Some(Receipt { position, events }) = answer.receipt {
        // An answer from before us, or of the same sale under a key that was forgotten meanwhile.
        let already = events.is_empty() || position <= head;
        return Some(if already {
            Outcome::Already(position)
        } else {
            Outcome::Recorded(position)
        });
    }
    if matches!(answer.status, 429 | 503) {
        return None;
    }
    let reason = match answer.problem {
        Some(problem) if problem.kind.ends_with("/idempotency-key-reused") => {
            "another sale of this id was imported before, with other content".to_owned()
        }
        Some(problem) => problem.to_string(),
        None => format!("status {}", answer.status),
    };
    Some(Outcome::Bad(BadRow { line, reason }))
}

/// Asks again while the server does not answer.
pub(super) async fn patient<T>(
    retry_for: Duration,
    progress: &Progress,
    ask: impl AsyncFn() -> Result<T, CallError>,
) -> Result<T> {
    let (mut pause, begun) = (BACKOFF.0, Instant::now());
    loop {
        match ask().await {
            Ok(answer) => {
                progress.answered();
                return Ok(answer);
            }
            Err(error) if error.is_passing() => {
                let reason = error.into();
                give_up_after(retry_for, begun, &reason)?;
                progress.waiting(&reason);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

fn give_up_after(retry_for: Duration, since: Instant, reason: &anyhow::Error) -> Result<()> {
    if since.elapsed() < retry_for {
        return Ok(());
    }
    let seconds = retry_for.as_secs();
    Err(anyhow!("given up after {seconds} s: {reason}; the same command goes on where it was"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(count: u64) -> Vec<Command> {
        (1..=count).map(|line| Command { line, text: String::new() }).collect()
    }

    fn answer(text: &str) -> Answer {
        serde_json::from_str(text).unwrap()
    }

    fn receipt(position: i64, events: &str) -> Answer {
        let receipt =
            format!(r#"{{"command_id":"k","position":{position},"version":1,"events":{events}}}"#);
        answer(&format!(r#"{{"id":"k","status":201,"receipt":{receipt}}}"#))
    }

    fn problem(status: u16, code: &str) -> Answer {
        let problem = format!(r#"{{"type":"/problems/{code}","status":{status},"detail":"no"}}"#);
        answer(&format!(r#"{{"id":"k","status":{status},"problem":{problem}}}"#))
    }

    #[test]
    fn what_was_in_the_log_before_is_told_from_what_is_new() {
        let of = |it| outcome(7, 1, it);
        assert!(matches!(of(receipt(8, "[{}]")), Some(Outcome::Recorded(8))));
        assert!(matches!(of(receipt(7, "[{}]")), Some(Outcome::Already(7))));
        assert!(matches!(of(receipt(8, "[]")), Some(Outcome::Already(8))));
    }

    #[test]
    fn only_what_has_no_final_answer_is_sent_again() {
        let (mut waiting, mut outcomes) = (commands(5), Vec::new());
        let answered = vec![
            receipt(8, "[{}]"),
            problem(503, "shutting-down"),
            problem(422, "invalid-request"),
        ];
        settle(0, &mut waiting, answered, &mut outcomes);
        assert_eq!(waiting.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!(outcomes.len(), 2);
        let Outcome::Bad(bad) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!((bad.line, bad.reason.as_str()), (3, "no (invalid-request, 422)"));
    }

    #[test]
    fn the_key_of_a_command_is_made_of_the_sales_own_id() {
        let mapping = "id=n,occurred_at=d,total=t,account=a".parse().unwrap();
        let plan = Plan {
            source: super::super::Source::BuiltIn(b"n,d,t,a\n9,2010-12-01,139.12,17850\n"),
            format: super::super::Format::Csv,
            delimiter: b',',
            mapping,
            dates: super::super::DateReader::new(None, chrono_tz::Europe::London).unwrap(),
            currency: accrue_domain::money::Currency::GBP,
            shift_to_today: false,
            retry_for: Duration::ZERO,
        };
        let row = plan.rows().unwrap().next().unwrap().unwrap().unwrap();
        let command = command(&plan, Shift(1), row.sale(&plan).unwrap()).unwrap();
        let expected = r#"{"account":"17850","id":"import/sale/9","occurred_at":"2010-12-02T00:00:00Z","sale":"9","total":{"amount":13912,"currency":"GBP"},"type":"record_sale"}"#;
        let [seen, expected] = [command.text.as_str(), expected]
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(seen, expected);
    }
}
