//! What a wallet can be asked.

use chrono::{DateTime, Utc};

use crate::id::HoldId;
use crate::money::Money;

/// A request to a wallet. No amount in it may be zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Money comes in; opens the wallet.
    TopUp {
        /// How much.
        money: Money,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Set money aside.
    Hold {
        /// The hold's id.
        hold: HoldId,
        /// How much.
        money: Money,
        /// When it is released by itself; must lie after now.
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Spend what a hold set aside; what is not captured is released.
    Capture {
        /// The hold.
        hold: HoldId,
        /// How much; all where absent.
        money: Option<Money>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Give back what a hold set aside.
    Release {
        /// The hold.
        hold: HoldId,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Money that was spent comes back; opens the wallet, too.
    Refund {
        /// How much.
        money: Money,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Record what time has done: overdue holds. Sent by the deadline scheduler.
    Settle,
}
