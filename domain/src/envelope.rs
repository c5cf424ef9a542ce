//! The envelope of a command: who sends what, when, caused by what.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::action::Action;
use crate::id::{CommandId, ProgramId};

/// A command on its way to the executor. Its actions happen together or not at all.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The command's id: the client's key, or made by the edge.
    pub id: CommandId,
    /// `Some` when a retry may come: a digest of the request. The answer is then kept under
    /// `(program, id)`, and another request under the same id is refused. `None` for an id that
    /// nobody outside knows yet.
    pub fingerprint: Option<[u8; 32]>,
    /// The tenant.
    pub program: ProgramId,
    /// Business time; the executor's clock where absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The conversation that it belongs to; its own id where absent.
    pub correlation_id: Option<Arc<str>>,
    /// What caused it: another command's id, or an event as `event/42`.
    pub causation_id: Option<Arc<str>>,
    /// Who sent it.
    pub actor: Option<Arc<str>>,
    /// Only when the first action's stream is at this version: `If-Match`.
    pub expected_version: Option<i64>,
    /// What to do, in order. Never empty.
    pub actions: Vec<Action>,
}
