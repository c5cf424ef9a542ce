//! Wallet: stored value of one customer, a balance in each currency.
//!
//! Invariants
//! - Of each currency, available + held is what was put in and not captured; none of them is ever
//!   negative, nor their sum beyond `Minor::MAX`.
//! - Currencies never mix: nothing is converted.
//! - A hold ends once, captured or released. An id names one hold until 1,000 later ones have
//!   ended.
//!
//! A wallet is opened by the first money that comes in. Every decision settles first: overdue holds
//! are released as of now; only then the command is judged. A command that is refused keeps nothing
//! of that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Kind};
use crate::holds;
use crate::money::{Currency, Minor, Money};

pub mod command;
pub mod error;
pub mod event;

mod fold;
mod funds;

use command::Command;
use error::Error;
use event::Event;

/// Money set aside; captured, it remembers how much left.
pub type Hold = holds::Hold<Money>;
/// The holds of a wallet.
pub type Holds = holds::Holds<Money>;

/// Money of one currency, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Can be spent.
    pub available: Minor,
    /// Set aside by open holds. Overdue ones count until a decision has settled them.
    pub held: Minor,
}

/// The state: the fold of a wallet's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wallet {
    balances: BTreeMap<Currency, Balance>,
    holds: Holds,
    /// An event that does not follow from those before it: the log was tampered with or written
    /// by a faulty build. Such a wallet refuses every command instead of guessing.
    damage: Option<String>,
}

impl Wallet {
    /// Has money come in yet?
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.balances.is_empty()
    }

    /// What is there of a currency. Overdue holds count as held until a decision has settled them.
    #[must_use]
    pub fn balance(&self, currency: Currency) -> Balance {
        self.balances.get(&currency).copied().unwrap_or_default()
    }

    /// What is there of each currency at that time, by their letters: an overdue hold sets nothing
    /// aside, whether or not that was recorded yet.
    #[must_use]
    pub fn balances_at(&self, now: DateTime<Utc>) -> BTreeMap<Currency, Balance> {
        let mut balances = self.balances.clone();
        for (_, money) in self.holds.overdue(now) {
            if let Some(balance) = balances.get_mut(&money.currency)
                && let Some(settled) = balance.back(money.amount, money.amount)
            {
                *balance = settled;
            }
        }
        balances
    }

    /// The open holds, and those that ended last.
    #[must_use]
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }
}

impl Balance {
    /// After so much more came in; none beyond [`Minor::MAX`].
    fn plus(self, amount: Minor) -> Option<Self> {
        let available = self.available.checked_add(amount)?;
        available.checked_add(self.held)?;
        Some(Self { available, ..self })
    }

    /// After so much was set aside.
    fn aside(self, amount: Minor) -> Option<Self> {
        let available = self.available.checked_sub(amount)?;
        Some(Self { available, held: self.held.checked_add(amount)? })
    }

    /// After a hold of so much ended, of which `released` is available again.
    fn back(self, held: Minor, released: Minor) -> Option<Self> {
        let available = self.available.checked_add(released)?;
        Some(Self { available, held: self.held.checked_sub(held)? })
    }
}

impl Aggregate for Wallet {
    const KIND: Kind = Kind::Wallet;
    const STATE_VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        if let Some(damage) = &self.damage {
            return Err(Error::Damaged(damage.clone()));
        }
        let mut draft = Draft { state: Cow::Borrowed(self), events: Vec::new(), context };
        draft.settle();
        match command {
            Command::TopUp { money, reference } => draft.top_up(money, reference)?,
            Command::Hold { hold, money, until, reference } => {
                draft.hold(hold, money, until, reference)?;
            }
            Command::Capture { hold, money, reference } => draft.capture(hold, money, reference)?,
            Command::Release { hold, reference } => draft.release(hold, reference)?,
            Command::Refund { money, reference } => draft.refund(money, reference)?,
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

    /// The next deadline of a hold.
    fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.holds.next_deadline()
    }
}

/// A decision in the making: the state as the events so far have made it.
struct Draft<'a> {
    state: Cow<'a, Wallet>,
    events: Vec<Event>,
    context: &'a Context<'a>,
}

impl Draft<'_> {
    /// One more event, and the state that follows from it.
    fn push(&mut self, event: Event) {
        self.state.to_mut().evolve(&event);
        self.events.push(event);
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
