//! Account: what one member has earned, promised and spent.
//!
//! Invariants
//! - The sum of all lots (free and held parts) is the balance, and stays within `Points::MAX`.
//! - Points are spent soonest to expire first, of equal expiry in the order of issue; a pending
//!   or lapsed point is never spent.
//! - A debt comes from a reversal only. While there is one, no point is free.
//! - A hold ends once, captured or released. An id names one hold until 1,000 later ones have
//!   ended, and one lot for ever.
//! - What a captured hold spent comes back at most once, to the lots that it came from.
//!
//! Every decision settles first: overdue holds are released and lapsed lots expire as of now;
//! only then the command is judged. A command that is refused keeps nothing of that.
//!
//! The state is kept in persistent (shared) maps: a decision that needs more than one step works
//! on a copy, which costs nothing however many lots there are.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Kind};
use crate::holds;
use crate::points::Points;

pub mod command;
pub mod error;
pub mod event;
pub mod lots;

mod fold;
mod hold;
mod issue;
mod packed;
mod restore;
mod reverse;
mod settle;
mod snapshot;
mod spend;

use command::{Change, Command};
use error::Error;
use event::{Event, Part};
use lots::Lots;

/// Points set aside: open, the parts of lots that it pins in the order of use; captured, what it
/// spent.
pub type Hold = holds::Hold<Points, Vec<Part>, Spent>;
/// The holds of an account.
pub type Holds = holds::Holds<Points, Vec<Part>, Spent>;

/// What a captured hold spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// How many: the sum of the parts.
    pub points: Points,
    /// Of which lots, in the order of use.
    pub lots: Vec<Part>,
    /// How many of them came back, the ones used last first.
    pub restored: Points,
}

/// The state: the fold of an account's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "snapshot::Snapshot", into = "snapshot::Snapshot")]
#[schemars(with = "snapshot::Snapshot")]
pub struct Account {
    opened: bool,
    lots: Lots,
    holds: Holds,
    debt: Points,
    /// An event that does not follow from those before it: the log was tampered with or written
    /// by a faulty build. Such an account refuses every command instead of guessing.
    damage: Option<String>,
}

impl Account {
    /// Has it accepted a command yet?
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.opened
    }

    /// All points in lots: free, pending and held. Points that have lapsed count until a decision
    /// has settled them.
    #[must_use]
    pub const fn balance(&self) -> i64 {
        self.lots.free().saturating_add(self.lots.held())
    }

    /// Points that open holds have set aside.
    #[must_use]
    pub const fn held(&self) -> i64 {
        self.lots.held()
    }

    /// What a reversal could not take back yet.
    #[must_use]
    pub const fn debt(&self) -> Points {
        self.debt
    }

    /// What can be spent at that time: neither pending, lapsed nor held. Overdue holds count as
    /// held until a decision has settled them.
    #[must_use]
    pub fn available(&self, now: DateTime<Utc>) -> i64 {
        self.lots.available(now)
    }

    /// What can be spent later than at that time.
    #[must_use]
    pub fn pending(&self, now: DateTime<Utc>) -> i64 {
        self.lots.pending(now)
    }

    /// Every lot that was ever issued.
    #[must_use]
    pub const fn lots(&self) -> &Lots {
        &self.lots
    }

    /// How many lots and holds it remembers: what it takes of memory grows with that.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.lots.count().saturating_add(self.holds.count())
    }

    /// The open holds, and those that ended last.
    #[must_use]
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }
}

impl Aggregate for Account {
    const KIND: Kind = Kind::Account;
    const STATE_VERSION: u32 = 2;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        if let Some(damage) = &self.damage {
            return Err(Error::Damaged(damage.clone()));
        }
        let mut draft = Draft::new(self, context);
        draft.settle();
        match command {
            Command::Open => draft.open(),
            Command::Issue(issue) => draft.issue(issue)?,
            Command::Redeem { points, reference } => draft.redeem(points, reference)?,
            Command::Adjust { change, reason, actor, reference } => {
                let note = issue::Note::new(reason, actor, reference)?;
                match change {
                    Change::Credit { points, lot, expires } => {
                        draft.credit(points, lot, expires, note)?;
                    }
                    Change::Debit { points } => draft.debit(points, note)?,
                }
            }
            Command::Reverse { lot, points, reference } => {
                draft.reverse(&lot, points, reference)?;
            }
            Command::ReverseSale { sale, return_id, returned, total } => {
                draft.reverse_sale(&sale, &return_id, returned, total)?;
            }
            Command::PlaceHold { hold, points, until, reference } => {
                draft.place_hold(hold, points, until, reference)?;
            }
            Command::CaptureHold { hold, points, reference } => {
                draft.capture_hold(hold, points, reference)?;
            }
            Command::ReleaseHold { hold, reference } => draft.release_hold(hold, reference)?,
            Command::RestoreHold { hold, points, spent, reference } => {
                draft.restore_hold(hold, points, spent.as_ref(), reference)?;
            }
            Command::Settle => {}
        }
        Ok(draft.events)
    }

    fn evolve(&mut self, event: &Event) {
        if let Err(damage) = self.apply(event)
            && self.damage.is_none()
        {
            self.damage = Some(damage.to_string());
        }
    }

    /// The next expiry of a lot with free points, or the next deadline of a hold.
    fn next_deadline(&self) -> Option<DateTime<Utc>> {
        [self.lots.next_expiry(), self.holds.next_deadline()].into_iter().flatten().min()
    }
}

/// A decision in the making: the state as the events so far have made it.
struct Draft<'a> {
    state: Cow<'a, Account>,
    events: Vec<Event>,
    context: &'a Context<'a>,
}

impl<'a> Draft<'a> {
    const fn new(state: &'a Account, context: &'a Context<'a>) -> Self {
        Self { state: Cow::Borrowed(state), events: Vec::new(), context }
    }

    /// Opens the account where that has not happened.
    fn open(&mut self) {
        if !self.state.opened {
            self.state.to_mut().opened = true;
            self.events.push(Event::AccountOpened {});
        }
    }

    /// One more event, and the state that follows from it.
    fn push(&mut self, event: Event) {
        self.open();
        self.state.to_mut().evolve(&event);
        self.events.push(event);
    }

    /// The last event of a decision: nobody reads the state behind it.
    fn push_last(&mut self, event: Event) {
        self.open();
        self.events.push(event);
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
