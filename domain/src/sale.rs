//! Sale: a purchase made elsewhere (till, shop, import), and what was returned of it.
//!
//! Invariants
//! - `returned <= total`, per line and in sum.
//! - A sale's id names one content for ever: the same again is a no-op, another is refused. So
//!   does a return's id within the sale.
//! - Money comes back by cumulative shares, rounded down: however a sale is returned piece by
//!   piece, all of it together is exactly the total.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Kind};
use crate::id::{AccountId, ReturnId};
use crate::money::{Minor, Money};

pub mod error;

mod record;
mod returns;

use error::Error;
use returns::Return;

/// One line of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What was sold: the shop's own code.
    pub product: String,
    /// How many, from 1.
    pub quantity: u32,
    /// Minor units for the whole line, in the sale's currency.
    pub amount: Minor,
    /// What the line stands for; goods where absent.
    #[serde(default, skip_serializing_if = "LineKind::is_goods")]
    pub kind: LineKind,
}

/// What a line stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Something from the shelf.
    #[default]
    Goods,
    /// Money for something else, such as postage or a fee: there is no stock of it.
    Charge,
}

impl LineKind {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goods => "goods",
            Self::Charge => "charge",
        }
    }

    /// Is it what a line is that says nothing of its kind?
    #[must_use]
    pub const fn is_goods(&self) -> bool {
        matches!(self, Self::Goods)
    }
}

/// How many of which line come back. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnedLine {
    /// The line's number, from 1.
    pub line: u32,
    /// How many come back, from 1.
    pub quantity: u32,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Portion {
    /// All that is left.
    All,
    /// Some of some lines.
    Lines(Vec<ReturnedLine>),
    /// A part of the total.
    Amount(Money),
}

/// What a sale can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Record it.
    Record {
        /// Whose; absent for an anonymous sale, which earns nothing.
        account: Option<AccountId>,
        /// What was paid in all.
        total: Money,
        /// What was bought; may be empty. The lines' amounts need not sum to the total.
        lines: Vec<Line>,
        /// When it took place by its client's clock, which may be a little ahead; the command's time
        /// where absent.
        occurred_at: Option<DateTime<Utc>>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Record a return.
    Return {
        /// The return's id; derived from the command where absent.
        id: Option<ReturnId>,
        /// How much.
        portion: Portion,
        /// The client's own note.
        reference: Option<String>,
    },
}

/// A fact about a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// The sale took place.
    SaleRecorded {
        /// Whose; absent for an anonymous sale.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// What was paid in all.
        total: Money,
        /// What was bought.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Line>,
        /// Business time.
        occurred_at: DateTime<Utc>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Some or all of it came back.
    SaleReturned {
        /// The return.
        return_id: ReturnId,
        /// Whose sale it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// What came back this time.
        amount: Money,
        /// Minor units that have come back in all, this time included.
        returned: Minor,
        /// Minor units of the whole sale.
        total: Minor,
        /// Of which lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<ReturnedLine>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

/// The state: what was sold, and what of it came back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sale {
    /// The sale; none before it is recorded.
    recorded: Option<Recorded>,
    /// Minor units that came back in all.
    returned: Minor,
    /// How many of each line came back, in the order of the lines.
    quantities: Vec<u32>,
    /// Every return, in order.
    returns: Vec<Return>,
}

/// A sale as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Whose; absent for an anonymous sale.
    pub account: Option<AccountId>,
    /// What was paid in all.
    pub total: Money,
    /// What was bought.
    pub lines: Vec<Line>,
    /// Business time.
    pub occurred_at: DateTime<Utc>,
    /// The client's own note.
    pub reference: Option<String>,
}

impl Sale {
    /// The sale as it was recorded; none before.
    #[must_use]
    pub const fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    /// Minor units that came back in all.
    #[must_use]
    pub const fn returned(&self) -> Minor {
        self.returned
    }
}

impl Aggregate for Sale {
    const KIND: Kind = Kind::Sale;
    const STATE_VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        match command {
            Command::Record { account, total, lines, occurred_at: told, reference } => {
                // A retry that tells no time is of the same sale, however late it comes.
                let seen = self.recorded.as_ref().map(|seen| seen.occurred_at);
                let occurred_at = told.or(seen).unwrap_or(context.occurred_at);
                self.record(Recorded { account, total, lines, occurred_at, reference }, context)
            }
            Command::Return { id, portion, reference } => {
                let sale = self.recorded.as_ref().ok_or(Error::Unknown)?;
                let id = id.unwrap_or_else(|| ReturnId::of_command(context.command_id));
                self.take_back(sale, id, portion, reference)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::SaleRecorded { account, total, lines, occurred_at, reference } => {
                self.quantities = vec![0; lines.len()];
                self.recorded = Some(Recorded {
                    account: account.clone(),
                    total: *total,
                    lines: lines.clone(),
                    occurred_at: *occurred_at,
                    reference: reference.clone(),
                });
            }
            Event::SaleReturned { return_id, amount, returned, lines, .. } => {
                self.returned = *returned;
                self.count(lines);
                let (id, amount, lines) = (return_id.clone(), amount.amount, lines.clone());
                self.returns.push(Return { id, amount, lines, returned: *returned });
            }
        }
    }
}

#[cfg(test)]
mod tests;
