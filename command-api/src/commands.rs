//! Commands in bulk: a stream of envelopes in, a stream of results out, line by line and in
//! order. Neither stream is ever held as a whole.

use std::collections::VecDeque;

use accrue_domain::id::{CommandId, ProgramId};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_event_store::trace;
use accrue_http::extract::Program;
use accrue_http::problem::Problem;
use accrue_http::receipt;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::call::{self, Call, Options};
use crate::command::{self, IDEMPOTENCY_KEY};
use crate::envelope::{self, Read};
use crate::lines::{LINE_BYTES_MAX, Line, Lines};

/// Most commands of one stream that wait for their answers.
const OUTSTANDING_MAX: usize = 1_024;

/// Results are sent on once they are so many bytes, or as soon as there is nothing else to do.
const CHUNK_BYTES: usize = 32 << 10;

/// Chunks of results that wait for a slow reader; then nothing more is read of the stream.
const CHUNKS_MAX: usize = 4;

const MEDIA_TYPE: &str = "application/x-ndjson";

/// Execute many commands.
///
/// One envelope a line in, `{"id": …, "type": "issue_points", "account": "17850", "points": 13}`:
/// the fields of the single call's body, with the path's parameters under their names (`account`,
/// `sale`, `hold`, `campaign`, `product`, `wallet`, `purchase`, `saga`), and with the body's own
/// `id` under the name of what it is (`sale`, `return`, `hold`, `campaign`, `product`, `purchase`,
/// `refund`). A purchase is answered 202 when it is placed; its end is read, or awaited by the
/// single call. One result a line out, in order:
/// `{"id": …, "status": 201, "receipt": {…}}`, or `{"id": …, "line": 7, "status": 409,
/// "problem": {…}}`; an answer of an earlier delivery has `"replayed": true`. A line that cannot
/// be read has its problem, and the stream goes on. Lines on one account, sale or campaign are
/// decided in their order, each by itself. Read the answers while you send.
#[utoipa::path(
    post, path = "/v1/commands", tag = "commands", operation_id = "execute_commands",
    params(
        Options,
        ("Accrue-Program" = Option<String>, Header, description = "The program of all lines"),
    ),
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One envelope a line, each at most 1 MiB",
        example = json!({"id": "key-1", "type": "issue_points", "account": "17850", "points": 13})),
    responses(
        (status = 200, description = "One result a line", body = String,
         content_type = "application/x-ndjson"),
        (status = 422, description = "A header or parameter is not what it must be",
         body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn execute(
    State(ledger): State<Ledger>,
    Program(program): Program,
    call: Call,
    body: Body,
) -> Result<Response, Problem> {
    if call.sender.key.is_some() {
        let detail = "expected none: each line has its own `id`";
        return Err(Problem::invalid(IDEMPOTENCY_KEY, detail));
    }
    let dry_run = call.without_if_match()?.dry_run;
    let (chunks, results) = mpsc::channel(CHUNKS_MAX);
    let bulk = Bulk {
        ledger,
        program,
        dry_run,
        body: body.into_data_stream(),
        lines: Lines::default(),
        open: true,
        outstanding: VecDeque::new(),
        out: Vec::with_capacity(CHUNK_BYTES),
        chunks,
    };
    tokio::spawn(trace::within(trace::current(), bulk.run()));
    let results = ReceiverStream::new(results).map(Ok::<_, std::convert::Infallible>);
    let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(results)).into_response())
}

/// One stream of commands.
struct Bulk {
    ledger: Ledger,
    program: ProgramId,
    dry_run: bool,
    body: BodyDataStream,
    lines: Lines,
    /// More lines may come.
    open: bool,
    outstanding: VecDeque<Outstanding>,
    /// Results that are not sent yet.
    out: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
}

/// A line whose result is not written yet.
struct Outstanding {
    line: u64,
    id: Option<CommandId>,
    status: StatusCode,
    id_in_envelope: Option<&'static str>,
    answer: Answer,
}

enum Answer {
    Known(Box<Problem>),
    Coming(BoxFuture<'static, Result<Receipt, ExecuteError>>, Instant),
}

/// The reader of the results has hung up.
struct Gone;

impl Bulk {
    async fn run(mut self) {
        // Commands that were submitted go on without us; nothing is left to tell anybody.
        let _: Result<(), Gone> = self.serve().await;
    }

    async fn serve(&mut self) -> Result<(), Gone> {
        loop {
            while self.outstanding.len() < OUTSTANDING_MAX
                && let Some((number, line)) = self.lines.next()
            {
                self.take(number, line).await;
            }
            self.write_what_is_there().await?;
            let room = self.outstanding.len() < OUTSTANDING_MAX;
            match self.outstanding.front_mut() {
                None if !self.open => return self.flush().await,
                None => {
                    self.flush().await?;
                    let piece = self.body.next().await;
                    self.piece(piece).await;
                }
                Some(first) => {
                    // Nothing to do but wait: whoever reads the results may have what there is.
                    if !self.out.is_empty() {
                        self.flush().await?;
                        continue;
                    }
                    tokio::select! {
                        biased;
                        problem_or_receipt = first.answer.get(self.dry_run) => {
                            self.write_first(problem_or_receipt);
                        }
                        piece = self.body.next(), if self.open && room => self.piece(piece).await,
                    }
                }
            }
        }
    }

    /// Takes in a piece of the body, or its end.
    async fn piece(&mut self, piece: Option<Result<Bytes, axum::Error>>) {
        match piece {
            Some(Ok(piece)) => self.lines.push(&piece),
            Some(Err(_)) => {
                self.open = false;
                // A line that did not arrive whole is not a command.
                self.lines = Lines::default();
            }
            None => {
                self.open = false;
                if let Some((number, line)) = self.lines.rest() {
                    self.take(number, line).await;
                }
            }
        }
    }

    async fn take(&mut self, line: u64, text: Line) {
        let outstanding = match text {
            Line::Text(text) => match envelope::read(&self.program, &text) {
                Ok(read) => self.submit(line, read).await,
                Err(unread) => Outstanding::known(line, unread.id, unread.problem),
            },
            Line::TooLong => Outstanding::known(line, None, too_long()),
        };
        self.outstanding.push_back(outstanding);
    }

    /// Hands a command to the executor; waits for room there, which holds the sender back.
    async fn submit(&mut self, line: u64, read: Read) -> Outstanding {
        let Read { envelope, status, id_in_envelope } = read;
        let id = envelope.id.clone();
        if let Err(problem) = command::not_ahead(&envelope, self.ledger.clock().now()) {
            return Outstanding::known(line, Some(id), problem);
        }
        let executor = self.ledger.executor();
        let (status, answer) = if self.dry_run {
            let executor = executor.clone();
            let answer = async move { executor.dry_run(envelope).await };
            (StatusCode::OK, Box::pin(answer) as BoxFuture<'static, _>)
        } else {
            match executor.submit(envelope).await {
                Ok(answer) => (status, Box::pin(answer) as BoxFuture<'static, _>),
                Err(error) => {
                    // Nothing more will be taken, so nothing more is read.
                    self.open &= error != ExecuteError::ShuttingDown;
                    return Outstanding::known(line, Some(id), error.into());
                }
            }
        };
        let answer = Answer::Coming(answer, Instant::now() + call::WAIT_MAX);
        Outstanding { line, id: Some(id), status, id_in_envelope, answer }
    }

    /// Writes every result that is known by now, from the first outstanding one on.
    async fn write_what_is_there(&mut self) -> Result<(), Gone> {
        while let Some(first) = self.outstanding.front_mut() {
            let Some(result) = first.answer.now() else { return Ok(()) };
            self.write_first(result);
            if self.out.len() >= CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn write_first(&mut self, result: Result<Receipt, Problem>) {
        if let Some(first) = self.outstanding.pop_front() {
            first.write(result, &mut self.out);
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK_BYTES));
        self.chunks.send(Bytes::from(chunk)).await.map_err(|_| Gone)
    }
}

impl Outstanding {
    fn known(line: u64, id: Option<CommandId>, problem: Problem) -> Self {
        let answer = Answer::Known(Box::new(problem));
        Self { line, id, status: StatusCode::OK, id_in_envelope: None, answer }
    }

    fn write(self, result: Result<Receipt, Problem>, out: &mut Vec<u8>) {
        let Self { line, id, status, id_in_envelope, answer: _ } = self;
        out.push(b'{');
        if let Some(id) = id {
            out.extend_from_slice(b"\"id\":");
            json(out, id.as_str());
            out.push(b',');
        }
        match result {
            Ok(receipt) => {
                out.extend_from_slice(format!("\"status\":{}", status.as_u16()).as_bytes());
                if receipt.replayed {
                    out.extend_from_slice(b",\"replayed\":true");
                }
                out.extend_from_slice(b",\"receipt\":");
                out.extend_from_slice(receipt::body(&receipt).as_bytes());
            }
            Err(problem) => {
                let mut problem = command::in_envelope(id_in_envelope, problem);
                // The parser counts from the line's beginning; `line` says which that is.
                problem.detail = problem.detail.replace(" at line 1 column ", " at column ");
                let status = problem.status;
                out.extend_from_slice(format!("\"line\":{line},\"status\":{status}").as_bytes());
                if problem.replayed {
                    out.extend_from_slice(b",\"replayed\":true");
                }
                out.extend_from_slice(b",\"problem\":");
                json(out, &problem);
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("texts and problems always serialise");
}

impl Answer {
    /// The result, once it is there.
    async fn get(&mut self, dry_run: bool) -> Result<Receipt, Problem> {
        match self {
            Self::Known(problem) => Err((**problem).clone()),
            Self::Coming(answer, until) => match tokio::time::timeout_at(*until, answer).await {
                Ok(answer) => answer.map_err(Problem::from),
                Err(_) => Err(call::late(dry_run, true)),
            },
        }
    }

    /// The result, if it is there.
    fn now(&mut self) -> Option<Result<Receipt, Problem>> {
        use futures::FutureExt;
        match self {
            Self::Known(problem) => Some(Err((**problem).clone())),
            Self::Coming(answer, _) => {
                answer.now_or_never().map(|answer| answer.map_err(Problem::from))
            }
        }
    }
}

fn too_long() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "line-too-long",
        "The line is too long",
        format!("expected a line of at most {LINE_BYTES_MAX} bytes"),
    )
}
