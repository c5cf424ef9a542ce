//! What can have happened to a wallet.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::account::event::ReleaseReason;
use crate::id::HoldId;
use crate::money::{Minor, Money};

/// A fact about a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// Money came in.
    WalletToppedUp {
        /// How much.
        money: Money,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Money was set aside.
    WalletMoneyHeld {
        /// The hold.
        hold: HoldId,
        /// How much.
        money: Money,
        /// Released by itself then; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// What a hold set aside was spent; the rest of it went back.
    WalletMoneyCaptured {
        /// The hold.
        hold: HoldId,
        /// How much was spent.
        money: Money,
        /// How much went back, in the same currency.
        released: Minor,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// What a hold set aside went back.
    WalletMoneyReleased {
        /// The hold.
        hold: HoldId,
        /// How much: all of the hold.
        money: Money,
        /// Why.
        reason: ReleaseReason,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Money that was spent came back.
    WalletRefunded {
        /// How much.
        money: Money,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}
