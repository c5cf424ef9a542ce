//! An answer that waits until a purchase has come to its end, or to where it waits for somebody.

use std::time::Duration;

use accrue_domain::aggregate::{Aggregate as _, Kind};
use accrue_domain::event::Event;
use accrue_domain::id::{ProgramId, PurchaseId};
use accrue_domain::purchase::Purchase;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::log_query::read_stream_until;
use accrue_event_store::record::Recorded;
use accrue_event_store::stream::StreamKey;
use accrue_event_store::watch::Watch;
use accrue_http::problem::{IDEMPOTENCY_HIT, Problem};
use accrue_http::purchase::PurchaseView;
use accrue_http::receipt::PREFERENCE_APPLIED;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::call::{Call, late};
use crate::command::Command;
use crate::prefer::preference;

/// How long an answer waits where the client does not say, and at most.
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// How long an answer whose wait is over may take to be read.
const LOAD_MAX: Duration = Duration::from_secs(5);

/// Between two attempts to read it.
const PAUSE: Duration = Duration::from_millis(100);

/// `Prefer: wait=N` (RFC 7240).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefer {
    wait: Duration,
    /// The client said so.
    asked: bool,
}

/// The header, for OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header for OpenAPI; `Prefer` reads it")]
pub(crate) struct PreferHeader {
    /// `wait=N`: answer within so many seconds; 10 where absent, 60 at most. `respond-async`:
    /// do not wait.
    #[param(rename = "Prefer", example = "wait=5")]
    prefer: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Prefer {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        // `wait` bounds `respond-async`: so long, and then what there is. A value that is no number is
        // a slip, which the client would else take for a server that is slow.
        if let Some(seconds) = preference(headers, "wait").filter(|it| !it.is_empty()) {
            let seconds = seconds.parse().map_err(|_| {
                Problem::invalid("Prefer", "expected wait= and a whole number of seconds")
            })?;
            let wait = Duration::from_secs(seconds).min(WAIT.1);
            return Ok(Self { wait, asked: true });
        }
        let asked = preference(headers, "respond-async").is_some();
        Ok(Self { wait: if asked { Duration::ZERO } else { WAIT.0 }, asked })
    }
}

/// Executes a command on a purchase and answers with what the purchase has come to.
pub(super) async fn execute<C: Command>(
    ledger: &Ledger,
    call: Call,
    prefer: Prefer,
    id: PurchaseId,
    target: C::Target,
    body: C,
) -> Result<Response, Problem> {
    let program = call.program.clone();
    let stream = StreamKey::new(Kind::Purchase, &program, id.as_str());
    let until = Instant::now() + prefer.wait;
    // Before the command, or its end could come unseen.
    let watch = ledger.watch(stream.clone());
    if call.dry_run {
        return call.execute(ledger, target, body).await;
    }
    let keyed = call.sender.key.is_some();
    let receipt = call.receipt(ledger, target, body).await?;
    let mut seen = Seen { ledger, program, id, stream, at: None, position: receipt.position };
    // Of a purchase that begins here the answer tells everything.
    for event in &receipt.events {
        if event.stream.as_ref() == Some(&seen.stream) && !receipt.replayed {
            seen.take(event);
        }
    }
    let limit = until.max(Instant::now()) + LOAD_MAX;
    let read = tokio::time::timeout_at(limit, seen.until(until, watch)).await;
    if !matches!(read, Ok(Ok(()))) && seen.at.is_none() {
        // The command is done: nobody is to be told that it is not, whatever cannot be read now.
        return Err(late(false, keyed));
    }
    let mut response = seen.response(C::STATUS)?;
    let headers = response.headers_mut();
    if prefer.asked
        && let Ok(applied) = HeaderValue::try_from(format!("wait={}", prefer.wait.as_secs()))
    {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    if receipt.replayed {
        headers.insert(IDEMPOTENCY_HIT, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A purchase, as far as it was seen.
struct Seen<'a> {
    ledger: &'a Ledger,
    program: ProgramId,
    id: PurchaseId,
    stream: StreamKey,
    at: Option<(Purchase, i64)>,
    position: i64,
}

impl Seen<'_> {
    /// Takes in an event, if it is the next; what cannot be followed is read at the end.
    fn take(&mut self, event: &Recorded) {
        let version = self.at.as_ref().map_or(0, |(_, version)| *version);
        if event.sequence <= version && self.at.is_some() {
            return;
        }
        if event.sequence != version + 1 {
            self.at = None;
            return;
        }
        let (state, version) = self.at.get_or_insert_default();
        for it in event.events() {
            if let Event::Purchase(it) = it {
                state.evolve(it);
            }
        }
        *version = event.sequence;
        self.position = event.position;
    }

    /// Waits until it has come to an end, to a standstill, or until the time is over.
    async fn until(&mut self, until: Instant, mut watch: Watch) -> Result<(), Problem> {
        let begun = Instant::now();
        if self.at.is_none() {
            self.load().await?;
        }
        while let Some((state, _)) = &self.at
            && !PurchaseView::is_final(state)
            && state.stuck().is_none()
            && state.trail().request().is_none()
        {
            match tokio::time::timeout_at(until, watch.next()).await {
                Ok(event) => self.take(&event),
                // Nobody waited, so nothing was missed.
                Err(_) if begun >= until => break,
                // A watch is a hint that may be missed; the log knows.
                Err(_) => return self.load().await,
            }
            if self.at.is_none() {
                self.load().await?;
            }
        }
        Ok(())
    }

    /// Reads it, however long the database is away.
    async fn load(&mut self) -> Result<(), Problem> {
        loop {
            match self.try_load().await {
                Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn try_load(&mut self) -> Result<(), Problem> {
        let at = self.ledger.load::<Purchase>(&self.program, self.id.as_str()).await?;
        let Some((_, version)) = &at else { return Ok(()) };
        // Of the very version that was loaded: the tail may not have come so far yet, and whoever
        // reads as of this position is to find what the answer tells.
        let (codec, after, all) = (self.ledger.codec(), version - 1, DateTime::<Utc>::MAX_UTC);
        let pool = self.ledger.pool();
        let last = pool
            .ask(async |conn| read_stream_until(conn, codec, &self.stream, after, all, 1).await)
            .await?;
        self.position = last.last().map_or(self.position, |it| it.position.max(self.position));
        self.at = at;
        Ok(())
    }

    fn response(self, done: StatusCode) -> Result<Response, Problem> {
        let id = self.id.as_str();
        let unknown = || Problem::not_found("purchase", id);
        let (state, version) = self.at.as_ref().ok_or_else(unknown)?;
        let view = PurchaseView::of(id, state, self.position, *version).ok_or_else(unknown)?;
        let status = if PurchaseView::is_final(state) { done } else { StatusCode::ACCEPTED };
        let body = serde_json::to_vec(&view).map_err(|error| Problem::fault(&error))?;
        let location = format!("/v1/purchases/{id}");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in
            [(header::LOCATION, location), (header::ETAG, format!("\"{version}\""))]
        {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        Ok(response)
    }
}
