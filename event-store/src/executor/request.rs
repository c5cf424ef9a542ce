//! A command on its way through the executor.

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::ProgramId;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::idempotency;
use crate::receipt::{ExecuteError, Receipt};
use crate::stream::StreamKey;
use crate::trace;

/// Where the answer goes.
pub(super) type Reply = oneshot::Sender<Result<Receipt, ExecuteError>>;

/// What is asked.
#[derive(Debug)]
pub(super) enum Work {
    /// A command of ours, to be decided here.
    Command(Envelope),
    /// Events decided elsewhere.
    Raw {
        /// Where to.
        stream: RawStream,
        /// The sequence that the stream must be at.
        sequence: i64,
        /// What.
        events: Vec<RawEvent>,
    },
}

/// A stream by its columns; perhaps not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawStream {
    /// `aggregate_type`.
    pub aggregate_type: Arc<str>,
    /// `aggregate_id`.
    pub aggregate_id: Arc<str>,
}

/// An event decided elsewhere, as texts.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// Its name.
    pub event_type: Arc<str>,
    /// Its version.
    pub event_version: Arc<str>,
    /// JSON.
    pub payload: String,
    /// A flat JSON object of texts.
    pub metadata: String,
}

/// The name under which an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) program: ProgramId,
    /// [`idempotency::digest`] of the command's id.
    pub(super) command: Uuid,
}

/// A request with what the executor has learnt about it so far.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) dry_run: bool,
    pub(super) reply: Reply,
    /// The key that its answer is kept under; none for a dry run, a raw append, or an id that no
    /// retry can know.
    pub(super) key: Option<Key>,
    /// The trace that its events belong to.
    pub(super) trace: Option<Arc<str>>,
    /// The streams of its actions, in their order.
    pub(super) streams: Vec<StreamKey>,
    /// The stream of its program's settings.
    pub(super) settings: Option<StreamKey>,
    /// It stands for its key in the executor's table of keys.
    pub(super) holds_key: bool,
    /// The database must be asked for its key (or a raw stream's sequence) before it is decided.
    pub(super) check: bool,
    /// The first load that began behind its arrival: what that load saw is no older than the
    /// request. 0 while it has not been parked.
    pub(super) asked: u64,
    /// Such a load has come back.
    pub(super) proven: bool,
    /// It was decided without an event, so it waits for that proof. A decision that makes events
    /// is judged by the unique index, should another process have been faster; a refusal, or a
    /// decision that changes nothing, meets no index.
    pub(super) needs_proof: bool,
    /// How often it was decided in vain.
    pub(super) attempts: u32,
}

impl Request {
    pub(super) fn new(
        work: Work,
        dry_run: bool,
    ) -> (Box<Self>, oneshot::Receiver<Result<Receipt, ExecuteError>>) {
        let (reply, answer) = oneshot::channel();
        let (streams, settings) = match &work {
            Work::Command(envelope) => {
                let key = |action| StreamKey::of_action(&envelope.program, action);
                (
                    envelope.actions.iter().map(key).collect(),
                    Some(StreamKey::settings(&envelope.program)),
                )
            }
            Work::Raw { .. } => (Vec::new(), None),
        };
        let key = match &work {
            Work::Command(it) if it.fingerprint.is_some() && !dry_run => {
                let command = idempotency::digest(&it.id);
                Some(Key { program: it.program.clone(), command })
            }
            Work::Command(_) | Work::Raw { .. } => None,
        };
        // A raw append is compared with its stream before it is let in.
        let check = matches!(work, Work::Raw { .. });
        let request = Self {
            work,
            dry_run,
            reply,
            key,
            trace: trace::current(),
            streams,
            settings,
            holds_key: false,
            check,
            asked: 0,
            proven: false,
            needs_proof: false,
            attempts: 0,
        };
        (Box::new(request), answer)
    }

    pub(super) fn answer(self, answer: Result<Receipt, ExecuteError>) {
        // A caller that has hung up hears nothing; the command counts all the same.
        let _ = self.reply.send(answer);
    }
}

impl RawStream {
    /// The stream as one of ours, if it is.
    pub(super) fn ours(&self) -> Option<StreamKey> {
        Kind::parse(&self.aggregate_type)?;
        StreamKey::from_columns(&self.aggregate_type, &self.aggregate_id)
    }
}
