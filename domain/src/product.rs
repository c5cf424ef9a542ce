//! Product: what is for sale, at which price, and how much of it there is.
//!
//! Invariants
//! - On hand = available + held, and none of them is ever negative or beyond `UNITS_MAX`.
//! - A hold ends once, captured or released. An id names one hold until 1,000 later ones have
//!   ended.
//! - A retired product takes no new hold and never changes again. What is held can still be
//!   captured or released, and what is left on the shelf still be counted.
//!
//! A service has no stock. It takes holds as goods do, under the same ids, deadlines and refusals,
//! but they set nothing aside: whoever sells several lines treats all of them alike, and a retired
//! service is refused at the same step as retired goods.
//!
//! Every decision settles first: overdue holds are released as of now; only then the command is
//! judged. A command that is refused keeps nothing of that.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Kind};
use crate::digest::Digest;
use crate::holds;
use crate::money::Money;
use crate::purchase::command::Quote;
use crate::quantity::{Quantity, Units};

pub mod command;
pub mod error;
pub mod event;

mod catalogue;
mod fold;
mod stock;

use command::Command;
use error::Error;
use event::Event;

/// What is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Offering {
    /// Things that are counted.
    Goods,
    /// Something that is done: it has no stock.
    Service,
}

impl Offering {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goods => "goods",
            Self::Service => "service",
        }
    }
}

/// What a product is called and costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Details {
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its picture is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of one unit, now. Whoever sells freezes it: a hold has no price.
    pub price: Money,
}

/// A product that was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// What is offered; never changes.
    pub kind: Offering,
    /// Its name and price at present.
    pub details: Details,
    /// Is it no longer for sale?
    pub retired: bool,
    /// What it was created as, to tell a retry from another product.
    created_as: Digest,
}

/// Units set aside; captured, it remembers how many left.
pub type Hold = holds::Hold<Quantity>;
/// The holds of a product.
pub type Holds = holds::Holds<Quantity>;

/// The state: the fold of a product's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    listing: Option<Listing>,
    available: Units,
    held: Units,
    holds: Holds,
    /// An event that does not follow from those before it: the log was tampered with or written
    /// by a faulty build. Such a product refuses every command instead of guessing.
    damage: Option<String>,
}

impl Product {
    /// What it is; none before it is created.
    #[must_use]
    pub const fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    /// Units that are there and promised to nobody.
    #[must_use]
    pub const fn available(&self) -> Units {
        self.available
    }

    /// Units that open holds have set aside. Overdue ones count until a decision has settled them.
    #[must_use]
    pub const fn held(&self) -> Units {
        self.held
    }

    /// Units that open holds set aside at that time: an overdue hold sets nothing aside, whether or
    /// not that was recorded yet.
    #[must_use]
    pub fn held_at(&self, now: DateTime<Utc>) -> i64 {
        let overdue = self.is_counted().then(|| self.holds.overdue(now));
        let overdue = overdue.into_iter().flatten().map(|(_, quantity)| quantity.get());
        overdue.fold(self.held.get(), i64::saturating_sub)
    }

    /// The open holds, and those that ended last.
    #[must_use]
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }

    /// What it costs now, for an order; none where nothing was created.
    #[must_use]
    pub fn quote(&self) -> Option<Quote> {
        let Listing { kind, details, retired, .. } = self.listing.as_ref()?;
        let retired = *retired || self.damage.is_some();
        Some(Quote { name: details.name.clone(), kind: *kind, price: details.price, retired })
    }

    /// Do holds take stock?
    fn is_counted(&self) -> bool {
        self.listing.as_ref().is_some_and(|it| it.kind == Offering::Goods)
    }
}

impl Aggregate for Product {
    const KIND: Kind = Kind::Product;
    const STATE_VERSION: u32 = 2;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        if matches!(command, Command::Quote) {
            return Ok(Vec::new());
        }
        if let Some(damage) = &self.damage {
            return Err(Error::Damaged(damage.clone()));
        }
        let mut draft = Draft { state: Cow::Borrowed(self), events: Vec::new(), context };
        draft.settle();
        match command {
            Command::Create(new) => draft.create(new)?,
            Command::Change(changes) => draft.change(changes)?,
            Command::Retire => draft.retire()?,
            Command::AdjustStock { delta, reason, reference } => {
                draft.adjust_stock(delta, reason, reference)?;
            }
            Command::HoldStock { hold, quantity, until, reference } => {
                draft.hold_stock(hold, quantity, until, reference)?;
            }
            Command::CaptureStock { hold, quantity, reference } => {
                draft.capture_stock(hold, quantity, reference)?;
            }
            Command::ReleaseStock { hold, reference } => draft.release_stock(hold, reference)?,
            Command::Quote | Command::Settle => {}
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
    state: Cow<'a, Product>,
    events: Vec<Event>,
    context: &'a Context<'a>,
}

impl Draft<'_> {
    /// What the product is.
    fn listing(&self) -> Result<&Listing, Error> {
        self.state.listing.as_ref().ok_or(Error::Unknown)
    }

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
