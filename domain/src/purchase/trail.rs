//! The trail: how far a purchase has come, and what is to be done next. Pure: whoever asks says
//! what time it is, and does it.
//!
//! Invariants
//! - `done` holds exactly the steps that have, or may have, an effect: an outside step whose
//!   outcome is not known when the way turns counts as done, so it is undone.
//! - A call to the outside is started before it is made, so a crash in it leaves its mark.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Effect;
use super::order::Order;
use super::step::{KeyNumber, Step, Way};

/// How long a step within the ledger is left to whoever is at it before a timer takes it up: many
/// times what a commit takes.
const LOCAL_STEP_MAX: TimeDelta = TimeDelta::seconds(5);

/// Where a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// On its way to be completed.
    #[default]
    Forward,
    /// What was done is being undone.
    Back,
    /// All was paid and handed over; refunds may follow.
    Completed,
    /// Nothing was bought.
    Rejected,
}

/// Why the way turned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Stable name, such as `insufficient_stock`.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// A call to the outside that has not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// For which step.
    pub step: Step,
    /// Which way.
    pub way: Way,
    /// How often it was tried.
    pub attempts: u32,
    /// An attempt before the present one may have had an effect.
    pub(super) unknown: bool,
    /// An attempt is being made, and given up at `next`.
    pub(super) out: bool,
    /// When it is tried again.
    pub next: DateTime<Utc>,
    /// What came of the last attempt, for people.
    pub trouble: Option<String>,
}

/// What people are to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stuck {
    /// For people.
    pub detail: String,
    /// The provider said no, so that the last call surely had no effect.
    pub refused: bool,
}

/// The first call of a step under its present key: when it was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FirstCall {
    step: Step,
    way: Way,
    until: DateTime<Utc>,
}

impl Call {
    /// May it have had an effect?
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        self.unknown || self.out
    }
}

/// The customer is asked to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where to send them.
    pub url: Option<String>,
}

/// How far a purchase has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trail {
    pub(super) phase: Phase,
    /// Steps with an effect, in their order.
    pub(super) done: Vec<Step>,
    pub(super) call: Option<Call>,
    /// The payment provider's name for the payment.
    pub(super) payment: Option<String>,
    pub(super) request: Option<Request>,
    pub(super) reason: Option<Reason>,
    /// The card's money was taken, or may have been, and was given back in its turn.
    pub(super) returned: bool,
    /// The first calls of its steps; a refund keeps its own.
    first_calls: Vec<FirstCall>,
    /// Under which keys what was done is undone.
    pub(super) key: KeyNumber,
    /// People gave back themselves what was taken.
    pub(super) by_hand: bool,
    /// What people are to look at; a refund keeps its own.
    pub(super) stuck: Option<Stuck>,
    /// When the move that is to be made now became possible.
    pub(super) since: Option<DateTime<Utc>>,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Take this step, this way.
    Move(Step, Way),
    /// Look whether the customer has acted.
    LookUp,
    /// Its time is over: turn round.
    TimeOut,
    /// Nothing before then; none: not before somebody asks for something.
    Wait(Option<DateTime<Utc>>),
}

impl Trail {
    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Steps that have, or may have, an effect.
    #[must_use]
    pub fn done(&self) -> &[Step] {
        &self.done
    }

    /// The call to the outside that is not over.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        self.call.as_ref()
    }

    /// The payment provider's name for the payment.
    #[must_use]
    pub fn payment(&self) -> Option<&str> {
        self.payment.as_deref()
    }

    /// What the customer is asked.
    #[must_use]
    pub const fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// Why it was, or will be, rejected.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Was the card's money given back in its turn, by us or by people?
    #[must_use]
    pub const fn returned(&self) -> bool {
        self.returned
    }

    /// The move that is to be made, whatever the time; none when all is over.
    pub(super) fn pending(&self, order: &Order, refund: Option<Step>) -> Option<(Step, Way)> {
        match self.phase {
            Phase::Forward => {
                order.steps().find(|step| !self.done.contains(step)).map(|step| (step, Way::Do))
            }
            // Behind the end there is something to undo only where the provider has come back on
            // what it had undone.
            Phase::Back | Phase::Rejected => self.done.last().map(|step| (*step, Way::Undo)),
            Phase::Completed => refund.map(|step| (step, Way::Do)),
        }
    }

    /// What is to be done at that time. `refund` is the next step of an open refund.
    pub(super) fn next(&self, order: &Order, refund: Option<Step>, now: DateTime<Utc>) -> Next {
        let Some((step, way)) = self.pending(order, refund) else { return Next::Wait(None) };
        let forward = self.phase == Phase::Forward;
        let bound = self.bound(order);
        if bound.is_some_and(|until| until <= now) {
            return Next::TimeOut;
        }
        match &self.call {
            Some(call) if call.step == step && call.way == way && call.next > now => {
                Next::Wait(Some(bound.map_or(call.next, |until| until.min(call.next))))
            }
            _ if forward && step == Step::AuthoriseCard && self.request.is_some() => Next::LookUp,
            _ => Next::Move(step, way),
        }
    }

    /// When it is turned round. Once the card's money is taken there is nothing left that can
    /// take long, and turning round would only give it back.
    pub(super) fn bound(&self, order: &Order) -> Option<DateTime<Utc>> {
        let open = self.phase == Phase::Forward && !self.done.contains(&Step::CaptureCard);
        open.then_some(order.until)
    }

    /// When a timer is to look after it.
    pub(super) fn deadline(&self, order: &Order, refund: Option<Step>) -> Option<DateTime<Utc>> {
        self.pending(order, refund)?;
        let bound = self.bound(order);
        let since = self.since.unwrap_or(order.placed_at);
        let next = match &self.call {
            Some(call) => call.next,
            None => since.checked_add_signed(LOCAL_STEP_MAX).unwrap_or(since),
        };
        Some(bound.map_or(next, |until| until.min(next)))
    }

    /// A call to the outside begins; one that was out and never came back may have happened.
    pub(super) fn started(&mut self, step: Step, way: Way, attempt: u32, until: DateTime<Utc>) {
        let before = self.call.take().filter(|call| call.step == step && call.way == way);
        let unknown = before.as_ref().is_some_and(Call::may_have_happened);
        let trouble = before.and_then(|call| call.trouble);
        let (attempts, next) = (attempt, until);
        self.call = Some(Call { step, way, attempts, unknown, out: true, next, trouble });
        if !step.is_of_refund() && self.first_call(step, way).is_none() {
            self.first_calls.push(FirstCall { step, way, until });
        }
    }

    /// When the first call of a step under its present key was given up.
    pub(super) fn first_call(&self, step: Step, way: Way) -> Option<DateTime<Utc>> {
        let first = self.first_calls.iter().find(|it| (it.step, it.way) == (step, way));
        first.map(|it| it.until)
    }

    /// What was refused on the way back is called anew, under other keys.
    pub(super) fn renew(&mut self, key: KeyNumber) {
        self.key = key;
        self.first_calls.retain(|it| it.way == Way::Do);
    }

    /// Is it news that giving back what was captured, under that key, has come to nothing?
    pub(super) fn is_news(&self, key: KeyNumber) -> bool {
        let back = matches!(self.phase, Phase::Back | Phase::Rejected) && self.payment.is_some();
        let told = self.stuck.as_ref().is_some_and(|it| it.refused);
        let called = !self.done.contains(&Step::CaptureCard)
            || (self.first_call(Step::CaptureCard, Way::Undo).is_some() && !told);
        back && called && self.key == key && !self.by_hand
    }

    /// What was captured, and taken for given back, is to be given back once more.
    pub(super) fn return_failed(&mut self, stuck: Stuck) {
        self.done.retain(|step| *step != Step::CaptureCard);
        self.done.push(Step::CaptureCard);
        self.returned = false;
        self.call = None;
        self.stuck = Some(stuck);
    }

    /// It came to nothing yet.
    pub(super) fn delayed(
        &mut self,
        step: Step,
        way: Way,
        effect: Effect,
        next: DateTime<Utc>,
        trouble: &str,
    ) {
        let before = self.call.take().filter(|call| call.step == step && call.way == way);
        let (attempts, before) = before.map_or((0, false), |call| (call.attempts, call.unknown));
        let unknown = before || effect == Effect::Unknown;
        let trouble = Some(trouble.to_owned());
        self.call = Some(Call { step, way, attempts, unknown, out: false, next, trouble });
    }

    /// The way turns: a step outside that may have happened is one to undo.
    pub(super) fn turn(&mut self, reason: Reason) {
        self.phase = Phase::Back;
        self.reason = Some(reason);
        let asked = self.request.take().is_some().then_some(Step::AuthoriseCard);
        let call = self.call.take().filter(|call| call.way == Way::Do && call.may_have_happened());
        let uncertain = call.map(|call| call.step).or(asked);
        if let Some(step) = uncertain
            && !self.done.contains(&step)
        {
            self.done.push(step);
        }
    }

    /// A step is done. One that the way had turned on is noted already.
    pub(super) fn step_done(&mut self, step: Step, payment: Option<&String>) {
        if let Some(payment) = payment {
            self.payment = Some(payment.clone());
        }
        if self.phase == Phase::Forward {
            self.call = None;
            self.request = None;
        }
        if !self.done.contains(&step) {
            self.done.push(step);
        }
    }

    /// A step is undone, or never was done.
    pub(super) fn step_undone(&mut self, step: Step) {
        self.call = None;
        self.stuck = None;
        self.returned |= step == Step::CaptureCard;
        self.done.retain(|it| *it != step);
    }
}
