//! A single call: its headers and query in, its answer out.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use accrue_domain::id::ProgramId;
use accrue_domain::text;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::Receipt;
use accrue_http::extract::{IdempotencyKey, Program, Query, header_text};
use accrue_http::header::{self, Header, IF_MATCH};
use accrue_http::problem::{FieldError, Problem};
use accrue_http::receipt::{self, Shown};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses};

use crate::command::{self, Command, Sender};
use crate::prefer;

/// How long a caller waits for its answer.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(15);

/// What a call says beside its path and body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) program: ProgramId,
    pub(crate) dry_run: bool,
    pub(crate) if_match: Option<IfMatch>,
    /// Of its receipt.
    pub(crate) shown: Shown,
    pub(crate) sender: Sender,
}

/// `If-Match`: a version, or any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMatch {
    Any,
    Version(i64),
}

/// The query of every write. Others are refused: a slip in `dry_run` would be done for real.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Options {
    /// `true`: the same checks and the same errors, and nothing is kept. Answers 200.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// The headers of every write.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the headers for OpenAPI; `Call` reads them")]
pub(crate) struct WriteHeaders {
    /// The program (tenant); `default` where absent.
    #[param(rename = "Accrue-Program", max_length = 50, pattern = "^[a-z0-9_-]+$")]
    program: Option<String>,
    /// The command's id. Again with the same request: the first answer again, with
    /// `Idempotency-Hit: true`; with another request: 422. An id is made where it is absent.
    #[param(rename = "Idempotency-Key", max_length = 200)]
    key: Option<String>,
    /// The conversation that the command belongs to.
    #[param(rename = "Accrue-Correlation-Id", max_length = 200)]
    correlation_id: Option<String>,
    /// What caused the command.
    #[param(rename = "Accrue-Causation-Id", max_length = 200)]
    causation_id: Option<String>,
    /// Who sends it.
    #[param(rename = "Accrue-Actor", max_length = 200)]
    actor: Option<String>,
}

/// `If-Match`, where it counts.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header for OpenAPI; `Call` reads it")]
pub(crate) struct IfMatchHeader {
    /// Only at this version (the `ETag` of an earlier answer), or `*` for any.
    #[param(rename = "If-Match", example = "\"3\"")]
    if_match: Option<String>,
}

/// The problems of every write.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers for OpenAPI")]
pub(crate) enum Problems {
    /// The body is not JSON.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The body is larger than 1 MiB.
    #[response(status = 413, content_type = "application/problem+json")]
    PayloadTooLarge(Problem),
    /// The body is not `application/json`.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// A field, header or parameter is not what it must be, or the key belongs to another
    /// request.
    #[response(status = 422, content_type = "application/problem+json")]
    UnprocessableEntity(Problem),
    /// Not now: try again after `Retry-After`, with the same `Idempotency-Key`.
    #[response(status = 503, content_type = "application/problem+json")]
    ServiceUnavailable(Problem),
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Program(program) = Program::from_request_parts(parts, state).await?;
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(parts, state).await?;
        let Options { dry_run } = match parts.uri.query() {
            None => Options::default(),
            Some(_) => Query::from_request_parts(parts, state).await?.0,
        };
        let headers = &parts.headers;
        let if_match = header_text(headers, &IF_MATCH)?;
        let sender = Sender {
            key,
            correlation_id: line(headers, &header::CORRELATION_ID)?,
            causation_id: line(headers, &header::CAUSATION_ID)?,
            actor: line(headers, &header::ACTOR)?,
            expected_version: None,
        };
        let if_match = if_match.map(str::parse).transpose();
        let if_match =
            if_match.map_err(|detail: String| Problem::invalid(IF_MATCH.shown, detail))?;
        Ok(Self { program, dry_run, if_match, shown: prefer::receipts(headers), sender })
    }
}

fn line(headers: &HeaderMap, header: &Header) -> Result<Option<Arc<str>>, Problem> {
    let Some(line) = header_text(headers, header)? else { return Ok(None) };
    text::check(line).map_err(|error| Problem::invalid(header.shown, error.to_string()))?;
    Ok(Some(Arc::from(line)))
}

impl FromStr for IfMatch {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        // Versions are numbers, so a client that leaves the quotes out can mean nothing else.
        let bare = text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(text);
        let version = bare.parse().ok().filter(|version| *version >= 0);
        let wrong = || format!("expected one version in quotes, such as \"3\", or *, got {text}");
        version.map(Self::Version).ok_or_else(wrong)
    }
}

impl Call {
    /// Executes a command and answers.
    ///
    /// # Errors
    /// Every problem that the command can meet.
    pub(crate) async fn execute<C: Command>(
        self,
        ledger: &Ledger,
        target: C::Target,
        body: C,
    ) -> Result<Response, Problem> {
        let shown = self.shown;
        let (dry_run, receipt) = self.answer(ledger, target, body).await?;
        let status = if dry_run { StatusCode::OK } else { C::STATUS };
        Ok(receipt::response(status, &receipt, shown))
    }

    /// Executes a command, and hands its receipt on.
    ///
    /// # Errors
    /// As [`Call::execute`].
    pub(crate) async fn receipt<C: Command>(
        self,
        ledger: &Ledger,
        target: C::Target,
        body: C,
    ) -> Result<Receipt, Problem> {
        Ok(self.answer(ledger, target, body).await?.1)
    }

    /// Was it a dry run, and the receipt.
    async fn answer<C: Command>(
        self,
        ledger: &Ledger,
        target: C::Target,
        body: C,
    ) -> Result<(bool, Receipt), Problem> {
        let call = if C::HAS_VERSION { self } else { self.without_if_match()? };
        let expected_version = match call.if_match {
            Some(IfMatch::Version(version)) => Some(version),
            Some(IfMatch::Any) | None => None,
        };
        let sender = Sender { expected_version, ..call.sender };
        let keyed = sender.key.is_some();
        let envelope = command::envelope(call.program, sender, target, body);
        let envelope = envelope.map_err(command::in_call::<C>)?;
        command::not_ahead(&envelope, ledger.clock().now())?;
        let executor = ledger.executor();
        let answer = if call.dry_run {
            tokio::time::timeout(WAIT_MAX, executor.dry_run(envelope)).await
        } else {
            tokio::time::timeout(WAIT_MAX, executor.execute(envelope)).await
        };
        let answer = answer.map_err(|_| late(call.dry_run, keyed))?;
        let receipt = answer.map_err(|error| command::in_call::<C>(error.into()))?;
        Ok((call.dry_run, receipt))
    }

    /// Refuses `If-Match` where a version of what the call changes would say nothing.
    pub(crate) fn without_if_match(self) -> Result<Self, Problem> {
        match self.if_match {
            None => Ok(self),
            Some(_) => {
                Err(Problem::invalid(IF_MATCH.shown, "expected none: this call takes no version"))
            }
        }
    }

    /// Demands `If-Match`.
    pub(crate) fn with_if_match(self) -> Result<Self, Problem> {
        if self.if_match.is_some() {
            return Ok(self);
        }
        let detail = "expected the version that the change is made to, such as \"3\", or *";
        let problem = Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition-required",
            "The request must say which version it changes",
            format!("{}: {detail}", IF_MATCH.shown),
        );
        Err(problem.at(IF_MATCH.shown, detail))
    }
}

/// The problem of an answer that did not come in time. The command itself goes on.
pub(crate) fn late(dry_run: bool, keyed: bool) -> Problem {
    if dry_run {
        return Problem::unavailable("busy", "the dry run took too long");
    }
    let detail = if keyed {
        "the command was taken but its outcome is not known yet; \
         retry with the same Idempotency-Key to learn it"
    } else {
        "the command was taken but its outcome is not known yet; it came without an \
         Idempotency-Key, so read what it would have changed before you retry"
    };
    Problem::unavailable("outcome-unknown", detail)
}

/// A problem of several fields, or of none.
pub(crate) fn invalid_fields(code: &str, title: &str, errors: Vec<FieldError>) -> Problem {
    let detail = match &errors[..] {
        [] => title.to_owned(),
        [error] => format!("{}: {}", error.pointer, error.detail),
        [error, rest @ ..] => {
            format!("{}: {} (and {} more)", error.pointer, error.detail, rest.len())
        }
    };
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail);
    Problem { errors, ..problem }
}
