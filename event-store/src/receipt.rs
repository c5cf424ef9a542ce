//! What a command is answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use accrue_domain::aggregate::{RefusalKind, Refuse};
use accrue_domain::id::CommandId;
use serde::{Deserialize, Serialize};

use crate::record::{Position, Recorded};

/// An accepted command, durable.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The command.
    pub command_id: CommandId,
    /// Position of its last event; where it had none, a position at or behind everything that it
    /// was decided on.
    pub position: Position,
    /// The version of its (last) stream behind it: the sequence of that stream's last event.
    pub version: i64,
    /// What happened, in order. Empty when the command changed nothing, and in a dry run that
    /// would change nothing. In a dry run positions are 0.
    pub events: Vec<Arc<Recorded>>,
    /// The command had been answered before, and this is that answer.
    pub replayed: bool,
}

/// A typed "no", kept under the command's id so that a retry hears the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable reason in kebab-case.
    pub code: String,
    /// What kind of "no".
    pub kind: RefusalKind,
    /// One sentence for people.
    pub detail: String,
    /// JSON pointer of the field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The version that was expected, where it is another one that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i64>,
}

impl Refusal {
    /// The refusal of a domain error.
    pub fn of(error: &impl Refuse) -> Self {
        Self {
            code: error.code().to_owned(),
            kind: error.kind(),
            detail: error.to_string(),
            field: error.pointer().map(Cow::into_owned),
            expected_version: None,
        }
    }
}

/// Why a command has no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// It was decided, and the answer is no.
    #[error("{}", refusal.detail)]
    Refused {
        /// Why.
        refusal: Refusal,
        /// This is the answer of an earlier delivery of the same command.
        replayed: bool,
    },
    /// The id belongs to another command.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// The queue is full: surely not done.
    #[error("the command queue is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The log cannot be written now: surely not done.
    #[error("the log cannot be written at the moment")]
    Unavailable,
    /// The server is going down: surely not done.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A defect of ours: surely not done.
    #[error("the command could not be decided because of a defect")]
    Fault,
    /// Others kept winning: surely not done.
    #[error("the stream was changed by others too often")]
    Conflict,
}
