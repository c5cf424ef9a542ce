//! Runs stories: one move after another, until there is nothing to do but wait.
//!
//! Nothing here is remembered across a crash, and nothing has to be. What a story has come to is
//! in its events; that it is to go on is in its timer, which the log keeps with those events. A
//! cue from the tail, or from Kafka (see `cues`), only makes it prompt.
//!
//! Invariants
//! - In one process at most one move of a story is made at a time. Two processes may try the same
//!   one: within the ledger one of them is refused, and a call to the outside is noted by one
//!   before it makes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accrue_domain::action::Action;
use accrue_domain::aggregate::Aggregate;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{CommandId, ProgramId};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::{ExecuteError, Receipt, Refusal};
use accrue_event_store::record::Recorded;
use accrue_event_store::state::FromState;
use accrue_event_store::stream::StreamKey;
use accrue_event_store::trace;
use accrue_event_store::trace::span::{self, Span};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failpoint;
use crate::story::{Outside, Plan, Saga, Story, Within};

/// Most events of the tail looked at in one go.
const PAGE_EVENTS_MAX: usize = 4_096;

/// Moves in a row that end without progress, before the story is left to its timer.
const IDLE_MOVES_MAX: u32 = 5;

/// Pause after a failure of the ledger.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the stories of one kind. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Runner<S>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    ledger: Ledger,
    saga: S,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Stories that are being moved, and whether another cue came meanwhile.
    running: Mutex<HashMap<StreamKey, bool>>,
}

impl<S> Clone for Runner<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A story that is being moved; a panic in a move does not keep it from being taken up again.
struct Running<S: Saga> {
    of: Runner<S>,
    stream: StreamKey,
}

impl<S: Saga> Drop for Running<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.of.running().remove(&self.stream);
        }
    }
}

/// A story's state with the version that it is of.
struct Known<T> {
    state: T,
    version: i64,
}

/// What became of a move.
enum Moved {
    /// It is noted; there may be another.
    On,
    /// Somebody else was faster, or the answer was lost: look again.
    Again,
    /// The ledger does not take commands any more.
    Ended,
}

impl<S: Saga> Runner<S> {
    pub(crate) fn new(ledger: Ledger, saga: S, stop: CancellationToken) -> Self {
        let (tasks, running) = (TaskTracker::new(), Mutex::default());
        Self(Arc::new(Inner { ledger, saga, stop, tasks, running }))
    }

    /// Listens to the tail for cues until the end. What was there before is on timers.
    pub(crate) async fn listen(self) {
        let tail = self.0.ledger.tail().clone();
        let mut heads = tail.head();
        let mut moves = tail.moves();
        let mut position = *heads.borrow_and_update();
        while !self.0.stop.is_cancelled() {
            match tail.read(position, PAGE_EVENTS_MAX).await {
                Ok(events) => {
                    if let Some(last) = events.last() {
                        position = last.position;
                        self.cues(&events);
                        continue;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the tail cannot be read");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                () = self.0.stop.cancelled() => break,
                // The log may have gone back with its server: what comes now is new.
                _ = moves.changed() => position = position.min(*tail.head().borrow()),
                _ = heads.wait_for(|head| *head > position) => {}
            }
        }
        self.ended().await;
    }

    /// Waits for what is being moved; nothing is begun any more.
    pub(crate) async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn cues(&self, events: &[Arc<Recorded>]) {
        for event in events {
            let Some(stream) = &event.stream else { continue };
            if stream.kind() == S::State::KIND && self.0.saga.is_cue(event) {
                self.wake(stream.clone(), Some(event));
            }
        }
    }

    /// Lets a story go on, now. `first` is its first event, where that is what happened.
    pub(crate) fn wake(&self, stream: StreamKey, first: Option<&Arc<Recorded>>) {
        {
            let mut running = self.running();
            if let Some(again) = running.get_mut(&stream) {
                *again = true;
                return;
            }
            running.insert(stream.clone(), false);
        }
        let known = first.filter(|event| event.sequence == 1).map(|event| {
            let mut state = S::State::default();
            event.events().iter().filter_map(S::State::from_event).for_each(|it| state.evolve(it));
            Known { state, version: 1 }
        });
        let this = self.clone();
        let context = first.and_then(|event| trace::of(event)).or_else(trace::current);
        let running = Running { of: self.clone(), stream: stream.clone() };
        self.0.tasks.spawn(async move {
            let _running = running;
            trace::within(context, this.run(stream, known)).await;
        });
    }

    /// Notes what somebody outside has told about a story, and lets it go on. It is durable when
    /// this returns. The story's own turn refuses what does not fit any more.
    pub(crate) async fn tell(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        name: &str,
        note: Action,
    ) -> Result<(), ExecuteError> {
        self.execute(story, stream, name, vec![note]).await?;
        self.wake(stream.clone(), None);
        Ok(())
    }

    async fn run(self, stream: StreamKey, mut known: Option<Known<S::State>>) {
        loop {
            self.go_on(&stream, known.take()).await;
            let mut running = self.running();
            match running.get_mut(&stream) {
                Some(again) if *again && !self.0.stop.is_cancelled() => *again = false,
                _ => {
                    running.remove(&stream);
                    return;
                }
            }
        }
    }

    /// Moves a story as far as it goes.
    async fn go_on(&self, stream: &StreamKey, mut known: Option<Known<S::State>>) {
        let program = ProgramId::new(stream.program()).ok();
        let (Some(program), Some(id)) = (program, self.0.saga.id(stream)) else { return };
        let story = Story { program, id };
        let mut idle = 0;
        while !self.0.stop.is_cancelled() && idle < IDLE_MOVES_MAX {
            let Some(now_known) = self.known(&story, stream, known.take()).await else { return };
            let mut at = now_known;
            let now = self.0.ledger.clock().now();
            let moved = match self.0.saga.plan(&story, &at.state, now) {
                Plan::Wait => return,
                Plan::Within(within) => self.within(&story, stream, &mut at, within).await,
                Plan::Outside(outside) => self.outside(&story, stream, &mut at, outside).await,
            };
            match moved {
                Moved::On => {
                    idle = 0;
                    known = Some(at);
                }
                Moved::Again => idle += 1,
                Moved::Ended => return,
            }
        }
    }

    /// The story's state: what is known, or what the log has.
    async fn known(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        known: Option<Known<S::State>>,
    ) -> Option<Known<S::State>> {
        if known.is_some() {
            return known;
        }
        match self.0.ledger.load::<S::State>(&story.program, stream.id()).await {
            Ok(found) => found.map(|(state, version)| Known { state, version }),
            Err(error) => {
                tracing::warn!(%error, %stream, "a story cannot be read; its timer will tell again");
                None
            }
        }
    }

    async fn within(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        at: &mut Known<S::State>,
        within: Within,
    ) -> Moved {
        let Within { name, actions, refused } = within;
        let kind = S::State::KIND.as_str();
        failpoint::reach(kind, &name, "before");
        let moved = match self.execute(story, stream, &name, actions).await {
            Ok(receipt) => at.fold(stream, &receipt),
            Err(ExecuteError::Refused { refusal, .. }) if refusal.code == S::OUT_OF_TURN => {
                Moved::Again
            }
            Err(ExecuteError::Refused { refusal, .. }) => {
                failpoint::reach(kind, &name, "refused");
                self.note(story, stream, at, &name, refused(&refusal)).await
            }
            Err(error) => lost(stream, &error).await,
        };
        failpoint::reach(kind, &name, "after");
        moved
    }

    async fn outside(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        at: &mut Known<S::State>,
        outside: Outside,
    ) -> Moved {
        let Outside { name, before, call } = outside;
        let kind = S::State::KIND.as_str();
        failpoint::reach(kind, &name, "before");
        if let Some(before) = before {
            match self.execute(story, stream, &name, vec![before]).await {
                // Noted is noted, also where something else happened before: the call is ours.
                Ok(receipt) => {
                    at.fold(stream, &receipt);
                }
                Err(ExecuteError::Refused { .. }) => return Moved::Again,
                Err(error) => return lost(stream, &error).await,
            }
        }
        failpoint::reach(kind, &name, "started");
        let answer = call.await;
        failpoint::reach(kind, &name, "answered");
        match self.execute(story, stream, &name, vec![answer]).await {
            Ok(receipt) => {
                failpoint::reach(kind, &name, "after");
                at.fold(stream, &receipt)
            }
            Err(ExecuteError::Refused { refusal, .. }) => {
                tracing::warn!(%stream, step = name, refusal.detail, "an answer came too late");
                self.undo_late(story, stream).await;
                Moved::Again
            }
            Err(error) => lost(stream, &error).await,
        }
    }

    /// A call had an effect that the story has no use for: it is undone, unless the story itself
    /// knows of it.
    async fn undo_late(&self, story: &Story<S::Id>, stream: &StreamKey) {
        let Some(known) = self.known(story, stream, None).await else { return };
        let now = self.0.ledger.clock().now();
        if let Some(late) = self.0.saga.late(story, &known.state, now) {
            late.await;
        }
    }

    async fn note(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        at: &mut Known<S::State>,
        name: &str,
        note: Action,
    ) -> Moved {
        match self.execute(story, stream, &format!("{name}/refused"), vec![note]).await {
            Ok(receipt) => at.fold(stream, &receipt),
            Err(ExecuteError::Refused { refusal, .. }) => {
                log_refusal(stream, name, &refusal);
                Moved::Again
            }
            Err(error) => lost(stream, &error).await,
        }
    }

    /// The command has an id that tells what it is, and no kept answer: what makes a repetition
    /// harmless is the story's own turn, which commits with the effect.
    async fn execute(
        &self,
        story: &Story<S::Id>,
        stream: &StreamKey,
        name: &str,
        actions: Vec<Action>,
    ) -> Result<Receipt, ExecuteError> {
        let about: Arc<str> = stream.to_string().into();
        let id = CommandId::new(&format!("{about}/{name}"));
        let envelope = Envelope {
            id: id.map_err(|_| ExecuteError::Fault)?,
            fingerprint: None,
            program: story.program.clone(),
            occurred_at: None,
            correlation_id: Some(Arc::clone(&about)),
            causation_id: Some(about),
            actor: Some(S::ACTOR.into()),
            expected_version: None,
            actions,
        };
        let mut span = Span::consumer("step of a story", trace::current());
        if span::is_collected() {
            span.note("accrue.story", stream.to_string());
            span.note("accrue.step", name.to_owned());
        }
        let executed = async { self.0.ledger.executor().submit(envelope).await?.await };
        trace::within(span.context(), executed).await
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<StreamKey, bool>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: FromState> Known<T> {
    /// Takes in what a command did to the story, if nothing else happened to it before that.
    fn fold(&mut self, stream: &StreamKey, receipt: &Receipt) -> Moved {
        let own = receipt.events.iter().filter(|event| event.stream.as_ref() == Some(stream));
        let mut moved = Moved::Again;
        for event in own {
            if event.sequence != self.version + 1 {
                return Moved::Again;
            }
            event.events().iter().filter_map(T::from_event).for_each(|it| self.state.evolve(it));
            self.version = event.sequence;
            moved = Moved::On;
        }
        moved
    }
}

/// The ledger did not take a command: surely not done, and tried again soon, or by the timer.
async fn lost(stream: &StreamKey, error: &ExecuteError) -> Moved {
    if *error == ExecuteError::ShuttingDown {
        return Moved::Ended;
    }
    tracing::warn!(%error, %stream, "a move was not taken");
    tokio::time::sleep(PAUSE).await;
    Moved::Again
}

fn log_refusal(stream: &StreamKey, name: &str, refusal: &Refusal) {
    if refusal.code != "out-of-turn" {
        tracing::error!(%stream, step = name, refusal.detail, "a refusal could not be noted");
    }
}
