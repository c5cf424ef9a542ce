//! Commands in bulk: a stream of envelopes in, a stream of results out, line by line and in
//! order. Neither stream is ever held as a whole.

use std::collections::VecDeque;

use accrue_domain::id::ProgramId;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::Receipt;
use accrue_event_store::trace;
use accrue_http::extract::Program;
use accrue_http::extract::check_encoding;
use accrue_http::header::IDEMPOTENCY_KEY;
use accrue_http::problem::Problem;
use accrue_http::receipt::Shown;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::call::{Call, Options};
use crate::envelope;
use crate::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::prefer::ReturnHeader;
use crate::taken::Taken;

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
/// `refund`). `expected_version` is what `If-Match` is to a single call: the version that is changed,
/// any where it is absent; sales and purchases that are new take none. Of a line that was accepted it
/// is no part of what is compared when its `id` comes again; one that was refused for its version
/// (412) is another request with another version, which needs a new `id`. `correlation_id`, `causation_id` and `actor` stand for the headers of those
/// names. A purchase is answered 202 when it is placed; its end is read, or awaited by the
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
        ReturnHeader,
    ),
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One envelope a line, each at most 1 MiB",
        example = json!({"id": "key-1", "type": "issue_points", "account": "17850", "points": 13})),
    responses(
        (status = 200, description = "One result a line", body = String,
         content_type = "application/x-ndjson"),
        (status = 415, description = "The body is compressed",
         body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A header or parameter is not what it must be",
         body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn execute(
    State(ledger): State<Ledger>,
    Program(program): Program,
    call: Call,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_encoding(&headers)?;
    if call.sender.key.is_some() {
        let detail = "expected none: each line has its own `id`";
        return Err(Problem::invalid(IDEMPOTENCY_KEY.shown, detail));
    }
    let Call { dry_run, shown, .. } = call.without_if_match()?;
    let (chunks, results) = mpsc::channel(CHUNKS_MAX);
    let bulk = Bulk {
        ledger,
        program,
        dry_run,
        shown,
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
    let mut response = (headers, Body::from_stream(results)).into_response();
    shown.tell(response.headers_mut());
    Ok(response)
}

/// One stream of commands.
struct Bulk {
    ledger: Ledger,
    program: ProgramId,
    dry_run: bool,
    shown: Shown,
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
    taken: Taken,
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
                        problem_or_receipt = first.taken.get() => {
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
        let taken = match text {
            Line::Text(text) => match envelope::read(&self.program, &text) {
                Ok(read) => {
                    let now = self.ledger.clock().now();
                    Taken::submit(&self.ledger, read, now, self.dry_run).await
                }
                Err(unread) => Taken::known(unread.id, unread.problem),
            },
            Line::TooLong => Taken::known(None, too_long()),
        };
        // Nothing more will be taken, so nothing more is read.
        self.open &= !taken.is_too_late();
        self.outstanding.push_back(Outstanding { line, taken });
    }

    /// Writes every result that is known by now, from the first outstanding one on.
    async fn write_what_is_there(&mut self) -> Result<(), Gone> {
        while let Some(first) = self.outstanding.front_mut() {
            let Some(result) = first.taken.now() else { return Ok(()) };
            self.write_first(result);
            if self.out.len() >= CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn write_first(&mut self, result: Result<Receipt, Problem>) {
        if let Some(first) = self.outstanding.pop_front() {
            let place = format!("\"line\":{}", first.line);
            first.taken.write(result, self.shown, &place, &mut self.out);
            self.out.push(b'\n');
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

fn too_long() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "line-too-long",
        "The line is too long",
        format!("expected a line of at most {LINE_BYTES_MAX} bytes"),
    )
}
