//! Purchase: an order, how it is paid, and how far it has come. The saga's state is the fold of
//! its own events, so a purchase can be read, explained, and resumed after a crash at any point.
//!
//! Invariants
//! - Prices, discounts, tenders and the share of each tender in each unit are frozen when it is
//!   placed.
//! - It ends once: completed or rejected. What is completed can be refunded, up to what was paid.
//! - A step is done only in its turn, and undone only when it has, or may have, an effect; the
//!   latest first. An outside step whose outcome is not known counts as done.
//! - Steps within the ledger commit together with their effect, in one command: there is no
//!   moment at which one is there without the other.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::account::Spent;
use crate::account::event::Part;
use crate::aggregate::{Aggregate, Context, Kind};
use crate::digest::Fingerprint;
use crate::id::RefundId;
use crate::text;

pub mod command;
pub mod discount;
pub mod error;
pub mod event;
pub mod open;
pub mod order;
pub mod refunds;
pub mod step;
pub mod trail;

mod card_share;
mod fold;
mod place;
mod saga;

use command::{Command, Place};
use error::Error;
use event::Event;
use order::{Order, Tender};
use refunds::{REFUNDS_MAX, Refunds};
use step::{KeyNumber, Step, Turn, Way};
use trail::{Next, Phase, Stuck, Trail};

/// The state: the fold of a purchase's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purchase {
    order: Option<Box<Order>>,
    trail: Trail,
    refunds: Refunds,
    /// Of which lots its points were, in the order of use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<Part>,
    /// An event that does not follow from those before it: the log was tampered with or written
    /// by a faulty build. Such a purchase refuses every command instead of guessing.
    damage: Option<String>,
}

/// What a purchase has come to, for those who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On its way, one way or the other.
    Running,
    /// It waits for somebody outside: a payment provider, or the customer.
    Waiting,
    /// People are to look at it.
    Stuck,
    /// All was paid and handed over.
    Completed,
    /// Nothing was bought.
    Rejected,
    /// Completed, and all that was paid was given back.
    Refunded,
}

impl Status {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stuck => "stuck",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Refunded => "refunded",
        }
    }

    /// Has it come to an end that nothing but a refund changes?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Rejected | Self::Refunded)
    }
}

impl Purchase {
    /// The order; none before it is placed.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        self.order.as_deref()
    }

    /// How far it has come.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// What was, and is to be, given back.
    #[must_use]
    pub const fn refunds(&self) -> &Refunds {
        &self.refunds
    }

    /// What its points were, and how many of them refunds that are done have given back; none of an
    /// order that a release completed which did not note that.
    #[must_use]
    pub fn spent(&self) -> Option<Spent> {
        let order = self.order.as_deref().filter(|_| !self.spent.is_empty())?;
        let points = order.tenders.iter().find_map(|tender| match tender {
            Tender::Points { points, .. } => Some(*points),
            Tender::Wallet { .. } | Tender::Card { .. } => None,
        })?;
        let restored = self.refunds.restored();
        Some(Spent { points, lots: self.spent.clone(), restored })
    }

    /// What it has come to.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.stuck().is_some() {
            return Status::Stuck;
        }
        match self.trail.phase {
            Phase::Completed if self.is_refunded() => Status::Refunded,
            Phase::Completed => Status::Completed,
            Phase::Rejected if self.trail.done.is_empty() => Status::Rejected,
            Phase::Forward | Phase::Back | Phase::Rejected => {
                let waits = self.trail.call.as_ref().is_some_and(|it| !it.out);
                if waits { Status::Waiting } else { Status::Running }
            }
        }
    }

    /// Was all of it given back? Of an order that cost nothing: every unit.
    fn is_refunded(&self) -> bool {
        let Some(order) = self.order.as_deref() else { return false };
        match order.total.amount.get() {
            0 => self.refunds.covers_all_units(order),
            total => self.refunds.refunded() == total,
        }
    }

    /// Is there nothing that could still happen to it? A completed one can be refunded, and what
    /// was given back of a payment may come back from the provider.
    #[must_use]
    pub fn is_over_for_good(&self) -> bool {
        self.status() == Status::Rejected && self.trail.payment.is_none()
    }

    /// What people are to look at.
    #[must_use]
    pub fn stuck(&self) -> Option<&Stuck> {
        let refund = self.refunds.open().and_then(|refund| refund.stuck.as_ref());
        self.trail.stuck.as_ref().or(refund)
    }

    /// Under which key a step is called, where it is one that people may ask for anew.
    #[must_use]
    pub fn key(&self, step: Step) -> KeyNumber {
        let refund = self.refunds.open().filter(|_| step.is_of_refund());
        refund.map_or(self.trail.key, |refund| refund.key)
    }

    /// When the first call of a step, under its present key, was given up.
    #[must_use]
    pub fn first_call(&self, step: Step, way: Way) -> Option<DateTime<Utc>> {
        if step.is_of_refund() {
            return self.refunds.open()?.called;
        }
        self.trail.first_call(step, way)
    }

    /// Is it news that the provider could not give that money back after all? The refund is none
    /// where it was to undo the capture.
    #[must_use]
    pub fn is_news(&self, refund: Option<&RefundId>, key: KeyNumber) -> bool {
        let Some(order) = self.order.as_deref() else { return false };
        match refund {
            None => self.trail.is_news(key),
            Some(id) => self
                .refunds
                .get(id)
                .is_some_and(|it| it.is_news(key) && it.part_of_card(order).is_some()),
        }
    }

    /// What is to be done next, at that time.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Next {
        let Some(order) = self.order.as_deref() else { return Next::Wait(None) };
        if self.damage.is_some() || self.stuck().is_some() {
            return Next::Wait(None);
        }
        self.trail.next(order, self.refunds.next_step(order), now)
    }

    /// A move of it, named exactly.
    #[must_use]
    pub fn turn(&self, step: Step, way: Way) -> Turn {
        let refund = self.refunds.open().filter(|_| step.is_of_refund());
        Turn { step, way, refund: refund.map(|refund| refund.id.clone()) }
    }

    fn placed(&self) -> Result<&Order, Error> {
        self.order.as_deref().ok_or(Error::Unknown)
    }

    fn place(&self, place: Place, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        if let Some(order) = self.order.as_deref() {
            // A retry gets the first answer, whatever became of the purchase since.
            let same = order.asked == place::asked(&place);
            return if same { Ok(Vec::new()) } else { Err(Error::Exists) };
        }
        let order = place::order(place, context)?;
        Ok(vec![Event::PurchasePlaced {
            account: order.account,
            lines: order.lines,
            total: order.total,
            discounts: order.discounts,
            tenders: order.tenders,
            occurred_at: order.occurred_at,
            placed_at: order.placed_at,
            until: order.until,
            reference: order.reference,
            asked: order.asked,
        }])
    }

    fn cancel(&self, reason: Option<String>, actor: Option<String>) -> Result<Vec<Event>, Error> {
        self.placed()?;
        let invalid = |field| move |why| Error::InvalidText { field, why };
        text::check_optional(reason.as_deref()).map_err(invalid("/reason"))?;
        match self.trail.phase {
            Phase::Forward => {}
            // It is being undone already; the caller gets what they want.
            Phase::Back => return Ok(Vec::new()),
            Phase::Completed => return Err(Error::Over("completed")),
            Phase::Rejected => {
                let again = self.trail.reason.as_ref().is_some_and(|it| it.code == "cancelled");
                return if again { Ok(Vec::new()) } else { Err(Error::Over("rejected")) };
            }
        }
        let mut draft = Draft::new(self);
        draft.push(Event::PurchaseCancelled { reason, actor });
        draft.reject_if_undone();
        Ok(draft.events)
    }

    fn refund(&self, refund: command::Refund, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        let order = self.placed()?;
        let command::Refund { id, portion, reference } = refund;
        text::check_optional(reference.as_deref())
            .map_err(|why| Error::InvalidText { field: "/reference", why })?;
        let id = id.unwrap_or_else(|| RefundId::of_command(context.command_id));
        let asked = refund_asked(&portion, reference.as_deref());
        if let Some(seen) = self.refunds.get(&id) {
            return if seen.asked == asked { Ok(Vec::new()) } else { Err(Error::RefundExists(id)) };
        }
        if self.trail.phase != Phase::Completed {
            return Err(Error::NotCompleted);
        }
        if self.refunds.0.len() >= REFUNDS_MAX {
            return Err(Error::TooManyRefunds);
        }
        let refunds::Plan { amount, lines, parts } = self.refunds.plan(order, &portion)?;
        let requested_at = context.now;
        Ok(vec![Event::PurchaseRefundRequested {
            refund: id,
            amount,
            lines,
            parts,
            requested_at,
            reference,
            asked,
        }])
    }
}

fn refund_asked(portion: &command::Portion, reference: Option<&str>) -> Fingerprint {
    use command::Portion;
    let portion = match portion {
        Portion::All { restock } => serde_json::json!({ "all": restock }),
        Portion::Lines(lines) => serde_json::json!({ "lines": lines }),
        Portion::Amount(amount) => serde_json::json!({ "amount": amount }),
    };
    Fingerprint::of(&(portion, reference))
}

impl Aggregate for Purchase {
    const KIND: Kind = Kind::Purchase;
    const STATE_VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        if let Some(damage) = &self.damage {
            return Err(Error::Damaged(damage.clone()));
        }
        match command {
            Command::Place(place) => self.place(*place, context),
            Command::Cancel { reason, actor } => self.cancel(reason, actor),
            Command::Refund(refund) => self.refund(refund, context),
            command => {
                self.placed()?;
                let mut draft = Draft::new(self);
                draft.go_on(command, context)?;
                Ok(draft.events)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        if let Err(damage) = self.apply(event)
            && self.damage.is_none()
        {
            self.damage = Some(damage.to_string());
        }
    }

    /// When a timer is to look after it: a retry, a lost step, the end of its time.
    fn next_deadline(&self) -> Option<DateTime<Utc>> {
        let order = self.order.as_deref()?;
        if self.damage.is_some() || self.stuck().is_some() {
            return None;
        }
        self.trail.deadline(order, self.refunds.next_step(order))
    }
}

/// A decision in the making: the state as the events so far have made it.
struct Draft<'a> {
    state: Cow<'a, Purchase>,
    events: Vec<Event>,
}

impl<'a> Draft<'a> {
    const fn new(state: &'a Purchase) -> Self {
        Self { state: Cow::Borrowed(state), events: Vec::new() }
    }

    /// One more event, and the state that follows from it.
    fn push(&mut self, event: Event) {
        self.state.to_mut().evolve(&event);
        self.events.push(event);
    }
}

#[cfg(test)]
mod tests;
