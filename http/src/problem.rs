//! Problems: every error leaves as RFC 9457 `application/problem+json`, with a stable `type` and,
//! where one is at fault, the field.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use accrue_domain::aggregate::RefusalKind;
use accrue_event_store::outage::{Reminder, is_outage};
use accrue_event_store::receipt::{ExecuteError, Refusal};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::header::IDEMPOTENCY_KEY;

/// Most characters of a wrong value that a problem shows.
pub const SHOWN_CHARS_MAX: usize = 40;

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Says that an answer is that of an earlier delivery.
pub const IDEMPOTENCY_HIT: HeaderName = HeaderName::from_static("idempotency-hit");

/// An error as clients see it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The contract: a stable path such as `/problems/insufficient-points`.
    pub r#type: String,
    /// What kind of problem, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time, for people.
    pub detail: String,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which to try again; also in `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The answer of an earlier delivery of the same command.
    #[serde(skip)]
    pub replayed: bool,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body (RFC 6901), or the name of a header or parameter.
    pub pointer: String,
    /// What was expected.
    pub detail: String,
    /// Column in the field's text, from 1, where the text has a syntax of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Problem {
    /// A problem of the type `/problems/{code}`.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("/problems/{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            replayed: false,
        }
    }

    /// With the field at fault.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
            column: None,
        });
        self
    }

    /// With a time after which to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// A body, header or parameter that is not what it must be.
    #[must_use]
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request is not valid",
            format!("{pointer}: {detail}"),
        )
        .at(pointer, detail)
    }

    /// Nothing there.
    #[must_use]
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            &format!("unknown-{what}"),
            "There is no such thing",
            format!("there is no {what} {id:?} in this program"),
        )
    }

    /// Not now; surely nothing was done.
    #[must_use]
    pub fn unavailable(code: &str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not available at the moment", detail)
            .retry_after(Duration::from_secs(1))
    }

    /// A fault of ours. The cause goes to the log, not to the client.
    #[must_use]
    pub fn fault(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "fault",
            "Something went wrong on our side",
            "the fault was logged; nothing was changed",
        )
    }

    /// A database that did not answer is "not now", anything else a fault.
    #[must_use]
    pub fn database(error: &sqlx::Error) -> Self {
        if is_outage(error) {
            if TOLD.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now()) {
                tracing::warn!(%error, "a request finds the database out of reach");
            }
            return Self::unavailable("database-unavailable", "the database does not answer");
        }
        match error {
            // A statement that was broken off, and lack of resources; on a replica, what it replays
            // was in the way of the read.
            sqlx::Error::Database(database)
                if database.code().is_some_and(|code| {
                    code.starts_with("57")
                        || code.starts_with("53")
                        || ["40001", "40P01", "25006"].contains(&&*code)
                }) =>
            {
                tracing::warn!(%error, "the database is not ready");
                Self::unavailable("database-unavailable", "the database is not ready")
            }
            error => Self::fault(error),
        }
    }
}

/// When it was last logged that requests find the database out of reach: each of thousands does.
static TOLD: Mutex<Reminder> = Mutex::new(Reminder::new());

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::database(&error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, title) = match refusal.kind {
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
            RefusalKind::Conflict => (StatusCode::CONFLICT, "The present state does not allow it"),
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "The request is not valid"),
            RefusalKind::Precondition => {
                (StatusCode::PRECONDITION_FAILED, "Somebody else has changed it")
            }
        };
        let problem = Self::new(status, &refusal.code, title, refusal.detail.clone());
        match refusal.field {
            Some(pointer) => problem.at(pointer, refusal.detail),
            None => problem,
        }
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        let detail = error.to_string();
        match error {
            ExecuteError::Refused { refusal, replayed } => Self { replayed, ..Self::from(refusal) },
            ExecuteError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key belongs to another request",
                detail.clone(),
            )
            .at(IDEMPOTENCY_KEY.shown, detail),
            ExecuteError::Busy { retry_after } => {
                Self::unavailable("busy", &detail).retry_after(retry_after)
            }
            ExecuteError::Unavailable => Self::unavailable("log-unavailable", &detail),
            ExecuteError::ShuttingDown => Self::unavailable("shutting-down", &detail),
            ExecuteError::Conflict => Self::unavailable("contention", &detail),
            ExecuteError::Fault => Self::fault(&detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        // The rest of the body is not read, so the connection ends: say so, or the client's next
        // request is sent into it and lost.
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.replayed {
            headers.insert(IDEMPOTENCY_HIT, HeaderValue::from_static("true"));
        }
        response
    }
}
