//! A client of a running server, for the commands that work by URL.

use std::error::Error as _;
use std::time::Duration;

use accrue_domain::id::ProgramId;
use anyhow::Result;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{ClientFlags, Layers, Target};

/// A client. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    program: ProgramId,
}

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server did not answer; whether it did the work is open.
    #[error("no answer from {url}: {reason} (is `accrue serve` running there?)")]
    Connection { url: String, reason: String },
    /// The server answered with a problem.
    #[error("{0}")]
    Problem(Problem),
    /// What answered is not ours.
    #[error("{url} does not answer like accrue: {reason}")]
    Foreign { url: String, reason: String },
}

/// An RFC 9457 problem, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Problem {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.kind.strip_prefix("/problems/").unwrap_or(&self.kind);
        write!(f, "{} ({code}, {})", self.detail, self.status)
    }
}

impl CallError {
    /// Trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 502..=504),
            Self::Foreign { .. } => false,
        }
    }

    /// The status of a problem.
    pub(crate) fn status(&self) -> Option<u16> {
        if let Self::Problem(problem) = self { Some(problem.status) } else { None }
    }
}

impl Client {
    /// A client of a command with these flags.
    pub(crate) fn read(flags: &ClientFlags) -> Result<Self> {
        Self::new(Target::read(&Layers::of_client(flags)?)?)
    }

    /// A client of that server.
    pub(crate) fn new(Target { url, program }: Target) -> Result<Self> {
        let http = reqwest::Client::builder()
            // The server is on this machine, whatever proxy the environment names.
            .no_proxy()
            // It speaks no TLS, so a machine without certificates is good enough.
            .tls_certs_only([])
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(60))
            .user_agent(concat!("accrue/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, base: url, program })
    }

    /// The server's URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// The program that it speaks for.
    pub(crate) fn program(&self) -> &ProgramId {
        &self.program
    }

    /// Asks for JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.json(self.request(Method::GET, path)).await
    }

    /// As [`Client::get`]; none where there is nothing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, CallError> {
        match self.get(path).await {
            Err(error) if error.status() == Some(404) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The log's last position, as the server's checks tell it, whether they pass or not.
    pub(crate) async fn head(&self) -> Result<i64, CallError> {
        let request = self.request(Method::GET, "/readyz");
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        let bytes = response.bytes().await.map_err(|error| self.lost(&error))?;
        let readiness: Value =
            serde_json::from_slice(&bytes).map_err(|error| self.foreign(error.to_string()))?;
        let checks = readiness["checks"].as_array().into_iter().flatten();
        let log = checks.into_iter().find(|check| check["name"] == "log");
        let position = log.and_then(|check| check["position"].as_i64());
        position.ok_or_else(|| self.foreign("/readyz names no position of the log".to_owned()))
    }

    /// Sends a command.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Value, CallError> {
        let request = self.request(method, path).header("Idempotency-Key", key).json(body);
        self.json(request).await
    }

    /// A request, not sent yet.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method, url).header("Accrue-Program", self.program.as_str())
    }

    /// Sends a request; an answer that is no success is an error.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.problem(response).await)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, CallError> {
        let response = self.answer(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(error.to_string()))
    }

    async fn problem(&self, response: Response) -> CallError {
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.kind.starts_with("/problems/") => CallError::Problem(problem),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                CallError::Connection { url: self.base.clone(), reason: status.to_string() }
            }
            _ => self.foreign(status.to_string()),
        }
    }

    /// A connection that failed, with its innermost reason.
    pub(crate) fn lost(&self, error: &reqwest::Error) -> CallError {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            reason = inner.to_string();
            source = inner.source();
        }
        CallError::Connection { url: self.base.clone(), reason }
    }

    pub(crate) fn foreign(&self, reason: String) -> CallError {
        CallError::Foreign { url: self.base.clone(), reason }
    }
}
