//! What a saga is: a state that is the fold of its own events, and a pure plan of what to do next.
//!
//! A new saga is one file: for each step what is done, and beside it how it is undone. The runner
//! is the same for all of them.

use std::future::Future;
use std::pin::Pin;

use accrue_domain::action::Action;
use accrue_domain::id::ProgramId;
use accrue_event_store::receipt::Refusal;
use accrue_event_store::record::Recorded;
use accrue_event_store::state::FromState;
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};

/// One story of a kind: which program's, and its id there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Story<I> {
    pub(crate) program: ProgramId,
    pub(crate) id: I,
}

/// The answer to a call to the outside, as the action that notes it.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Action> + Send>>;

/// What is to be done next.
pub(crate) enum Plan {
    /// Nothing now: a timer or an event will tell.
    Wait,
    /// Something within the ledger.
    Within(Within),
    /// A call to the outside.
    Outside(Outside),
}

/// Effects within the ledger and the note of them: all of it or nothing.
pub(crate) struct Within {
    /// The step and its way, for the command's id and in the log.
    pub(crate) name: String,
    /// What is done; the story's own note comes last.
    pub(crate) actions: Vec<Action>,
    /// The note of a refusal.
    pub(crate) refused: Box<dyn FnOnce(&Refusal) -> Action + Send>,
}

/// A call to the outside. It is noted before it is made, so that a crash in it leaves its mark,
/// and its answer is noted after.
pub(crate) struct Outside {
    pub(crate) name: String,
    /// The note that it is made; none for a call that changes nothing.
    pub(crate) before: Option<Action>,
    /// Made only when it is polled.
    pub(crate) call: Answer,
}

/// A kind of story.
pub(crate) trait Saga: Send + Sync + 'static {
    /// Its state.
    type State: FromState;
    /// Its id.
    type Id: Clone + std::fmt::Debug + Send + Sync + 'static;
    /// Who sends its commands.
    const ACTOR: &'static str;
    /// The refusal that tells that somebody else was faster.
    const OUT_OF_TURN: &'static str;

    /// The id in a stream of this kind.
    fn id(&self, stream: &StreamKey) -> Option<Self::Id>;

    /// Does this event give the saga something to do, beside what it has just done itself?
    fn is_cue(&self, event: &Recorded) -> bool;

    /// What undoes a call whose answer nobody wanted any more, given what the story has come to
    /// since; none where it is wanted after all, or undone in its turn.
    fn late(
        &self,
        story: &Story<Self::Id>,
        state: &Self::State,
        now: DateTime<Utc>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

    /// What is to be done next, at that time. Pure: whatever it hands out is done by the runner.
    fn plan(&self, story: &Story<Self::Id>, state: &Self::State, now: DateTime<Utc>) -> Plan;
}
