//! The way in for envelopes that do not come by HTTP, such as records of a topic: the same
//! envelopes as the lines of `POST /v1/commands`, the same results.

use accrue_domain::id::ProgramId;
use accrue_event_store::ledger::Ledger;
use accrue_http::problem::Problem;
use accrue_http::receipt::Shown;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};

use crate::envelope;
use crate::taken::Taken;

/// Takes envelopes in.
#[derive(Debug, Clone)]
pub struct Door {
    ledger: Ledger,
}

/// A command that was handed to the executor.
pub struct Entered {
    taken: Taken,
    /// It was no command, or is to be none.
    unreadable: bool,
}

/// What became of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided, for good: the result, as `POST /v1/commands` has it.
    Decided(Vec<u8>),
    /// It is no command, or none that the ledger can digest: nobody need try again.
    Unusable {
        /// What is wrong with it.
        reason: String,
        /// The result for its sender.
        result: Vec<u8>,
    },
    /// Surely nothing has happened, or nobody can say yet: the same envelope is to be sent again.
    NotNow {
        /// Why.
        reason: String,
    },
}

impl Door {
    /// A door into this ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Hands an envelope to the executor, and waits for room there. Those of one caller are
    /// decided in the order in which they were handed over. It must have an `id`: what may be
    /// delivered twice is known again by that alone. What lies in the future is judged by when it
    /// was written, where that is known: it is then the same at each delivery.
    pub async fn enter(
        &self,
        program: &ProgramId,
        text: &[u8],
        written_at: Option<DateTime<Utc>>,
    ) -> Entered {
        let read = match envelope::read(program, text) {
            Ok(read) => read,
            Err(unread) => return Entered::unreadable(Taken::known(unread.id, unread.problem)),
        };
        if read.envelope.fingerprint.is_none() {
            let problem = Problem::invalid("/id", "missing field `id`");
            return Entered::unreadable(Taken::known(None, problem));
        }
        let now = written_at.unwrap_or_else(|| self.ledger.clock().now());
        let taken = Taken::submit(&self.ledger, read, now, false).await;
        Entered { taken, unreadable: false }
    }
}

impl Door {
    /// What an envelope comes to that is not to be decided, whatever it says.
    #[must_use]
    pub fn refuse(program: &ProgramId, text: &[u8], problem: Problem) -> Entered {
        let id = match envelope::read(program, text) {
            Ok(read) => Some(read.envelope.id),
            Err(unread) => unread.id,
        };
        Entered::unreadable(Taken::known(id, problem))
    }
}

impl Entered {
    fn unreadable(taken: Taken) -> Self {
        Self { taken, unreadable: true }
    }

    /// What becomes of it. `place` are members of the result's object that say where the command
    /// came from, such as `"offset":7`.
    pub async fn outcome(mut self, place: &str) -> Outcome {
        let answer = self.taken.get().await;
        let problem = answer.as_ref().err();
        let reason = problem.map(|it| it.detail.clone()).unwrap_or_default();
        let status = problem.map(|it| it.status);
        // Where the log is out of reach or too busy, and where an answer is not there in time.
        if status == Some(StatusCode::SERVICE_UNAVAILABLE.as_u16()) {
            return Outcome::NotNow { reason };
        }
        let unusable =
            self.unreadable || status == Some(StatusCode::INTERNAL_SERVER_ERROR.as_u16());
        let mut result = Vec::with_capacity(512);
        self.taken.write(answer, Shown::Whole, place, &mut result);
        if unusable { Outcome::Unusable { reason, result } } else { Outcome::Decided(result) }
    }
}

impl std::fmt::Debug for Entered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entered").field("unreadable", &self.unreadable).finish_non_exhaustive()
    }
}
