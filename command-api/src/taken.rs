//! One command of many: an envelope that was read and handed to the executor, and its result as
//! JSON. For the bulk stream (`commands`), and for envelopes that come another way (`door`).

use accrue_domain::id::CommandId;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_http::problem::Problem;
use accrue_http::receipt::{self, Shown};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::call;
use crate::command;
use crate::envelope::Read;

/// A command whose result is not written yet.
pub(crate) struct Taken {
    id: Option<CommandId>,
    status: StatusCode,
    id_in_envelope: Option<&'static str>,
    dry_run: bool,
    too_late: bool,
    answer: Answer,
}

enum Answer {
    Known(Box<Problem>),
    Coming(BoxFuture<'static, Result<Receipt, ExecuteError>>, Instant),
}

impl Taken {
    /// One whose problem is known without asking the executor.
    pub(crate) fn known(id: Option<CommandId>, problem: Problem) -> Self {
        Self {
            id,
            status: StatusCode::OK,
            id_in_envelope: None,
            dry_run: false,
            too_late: false,
            answer: Answer::Known(Box::new(problem)),
        }
    }

    /// Hands a command to the executor that was sent at `now`; waits for room there, which holds the
    /// sender back.
    pub(crate) async fn submit(
        ledger: &Ledger,
        read: Read,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Self {
        let Read { envelope, status, id_in_envelope } = read;
        let id = envelope.id.clone();
        if let Err(problem) = command::not_ahead(&envelope, now) {
            return Self::known(Some(id), problem);
        }
        let executor = ledger.executor();
        let (status, answer) = if dry_run {
            let executor = executor.clone();
            let answer = async move { executor.dry_run(envelope).await };
            (StatusCode::OK, Box::pin(answer) as BoxFuture<'static, _>)
        } else {
            match executor.submit(envelope).await {
                Ok(answer) => (status, Box::pin(answer) as BoxFuture<'static, _>),
                Err(error) => {
                    let too_late = error == ExecuteError::ShuttingDown;
                    return Self { too_late, ..Self::known(Some(id), error.into()) };
                }
            }
        };
        let answer = Answer::Coming(answer, Instant::now() + call::WAIT_MAX);
        Self { id: Some(id), status, id_in_envelope, dry_run, too_late: false, answer }
    }

    /// The executor takes nothing any more.
    pub(crate) fn is_too_late(&self) -> bool {
        self.too_late
    }

    /// The answer, once it is there.
    pub(crate) async fn get(&mut self) -> Result<Receipt, Problem> {
        match &mut self.answer {
            Answer::Known(problem) => Err((**problem).clone()),
            Answer::Coming(answer, until) => match tokio::time::timeout_at(*until, answer).await {
                Ok(answer) => answer.map_err(Problem::from),
                Err(_) => Err(call::late(self.dry_run, true)),
            },
        }
    }

    /// The answer, if it is there.
    pub(crate) fn now(&mut self) -> Option<Result<Receipt, Problem>> {
        match &mut self.answer {
            Answer::Known(problem) => Some(Err((**problem).clone())),
            Answer::Coming(answer, _) => {
                answer.now_or_never().map(|answer| answer.map_err(Problem::from))
            }
        }
    }

    /// Writes the result as an object. `place` tells where the command came from, as members of
    /// it; a problem repeats that.
    pub(crate) fn write(
        self,
        result: Result<Receipt, Problem>,
        shown: Shown,
        place: &str,
        out: &mut Vec<u8>,
    ) {
        let Self { id, status, id_in_envelope, .. } = self;
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
                out.extend_from_slice(receipt::body(&receipt, shown).as_bytes());
            }
            Err(problem) => {
                let mut problem = command::in_envelope(id_in_envelope, problem);
                // The parser counts from the line's beginning; the place says which that is.
                problem.detail = problem.detail.replace(" at line 1 column ", " at column ");
                let status = problem.status;
                out.extend_from_slice(format!("{place},\"status\":{status}").as_bytes());
                if problem.replayed {
                    out.extend_from_slice(b",\"replayed\":true");
                }
                out.extend_from_slice(b",\"problem\":");
                json(out, &problem);
            }
        }
        out.push(b'}');
    }
}

fn json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("texts and problems always serialise");
}
