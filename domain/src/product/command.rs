//! What a product can be asked.

use chrono::{DateTime, Utc};

use super::Offering;
use crate::id::HoldId;
use crate::money::Money;
use crate::quantity::{Delta, Quantity};

/// A request to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Offer it.
    Create(New),
    /// Call it or price it otherwise.
    Change(Changes),
    /// Take it off sale for good.
    Retire,
    /// Units came or went: a delivery, a loss, a count.
    AdjustStock {
        /// How many more, or fewer.
        delta: Delta,
        /// Why; never empty.
        reason: String,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Set units aside.
    HoldStock {
        /// The hold's id.
        hold: HoldId,
        /// How many.
        quantity: Quantity,
        /// When it is released by itself; must lie after now.
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Hand out what a hold set aside; what is not captured is released.
    CaptureStock {
        /// The hold.
        hold: HoldId,
        /// How many; all where absent.
        quantity: Option<Quantity>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Give back what a hold set aside.
    ReleaseStock {
        /// The hold.
        hold: HoldId,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Say nothing and change nothing: a command names it to have the product's state at hand when
    /// another of its actions is decided, as an order does that takes its prices from here.
    Quote,
    /// Record what time has done: overdue holds. Sent by the deadline scheduler.
    Settle,
}

/// A new product. An empty description or image is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// For people; never empty.
    pub name: String,
    /// What is offered.
    pub kind: Offering,
    /// For people.
    pub description: Option<String>,
    /// Where its picture is.
    pub image: Option<String>,
    /// Of one unit.
    pub price: Money,
}

/// What is to be otherwise; what is absent stays. An empty description or image takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// For people; never empty.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Where its picture is.
    pub image: Option<String>,
    /// Of one unit.
    pub price: Option<Money>,
}
