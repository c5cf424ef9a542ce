//! What can have happened to a product.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Offering;
use crate::account::event::ReleaseReason;
use crate::id::HoldId;
use crate::money::Money;
use crate::quantity::{Delta, Quantity, Units};

/// A fact about a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// It is offered from here on.
    ProductCreated {
        /// For people.
        name: String,
        /// What is offered.
        kind: Offering,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Where its picture is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
        /// Of one unit.
        price: Money,
    },
    /// It is called or priced otherwise from here on. All of it is here, changed or not, so that
    /// a reader needs nothing from before.
    ProductChanged {
        /// For people.
        name: String,
        /// For people; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Where its picture is; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
        /// Of one unit.
        price: Money,
    },
    /// It is no longer for sale, and never will be again.
    ProductRetired {},
    /// Units came or went.
    StockAdjusted {
        /// How many more, or fewer.
        delta: Delta,
        /// Why.
        reason: String,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Units were set aside; of a service, none are.
    StockHeld {
        /// The hold.
        hold: HoldId,
        /// How many.
        quantity: Quantity,
        /// Released by itself then; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// What a hold set aside left the stock; the rest of it went back.
    StockCaptured {
        /// The hold.
        hold: HoldId,
        /// How many left.
        quantity: Quantity,
        /// How many went back.
        released: Units,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// What a hold set aside went back.
    StockReleased {
        /// The hold.
        hold: HoldId,
        /// How many: all of the hold.
        quantity: Quantity,
        /// Why.
        reason: ReleaseReason,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}
