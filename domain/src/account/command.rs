//! What an account can be asked.

use chrono::{DateTime, Utc};

use super::Spent;
use crate::expiry::Policy;
use crate::id::{CampaignId, HoldId, LotId, ReturnId, SaleId};
use crate::points::Amount;

/// A request to an account. Ids that are `None` are derived from the command's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make sure that the account exists; nothing happens when it does.
    Open,
    /// Credit a new lot.
    Issue(Issue),
    /// Spend points, soonest to expire first.
    Redeem {
        /// How many.
        points: Amount,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Credit or debit by hand, with a reason and who did it.
    Adjust {
        /// Which way, and how many.
        change: Change,
        /// Why; never empty.
        reason: String,
        /// Who; never empty.
        actor: String,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Take back an issue: the lot first, then other lots, the rest becomes a debt.
    Reverse {
        /// The lot that was issued.
        lot: LotId,
        /// How many of it; all that is not yet reversed where absent.
        points: Option<Amount>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Take back the share of a sale's awards that a return is of the sale's total. Each award
    /// lot ends up reversed by `floor(issued * returned / total)`, so the sum over partial
    /// returns equals one whole return and a repetition changes nothing.
    ReverseSale {
        /// The sale.
        sale: SaleId,
        /// The return that caused this.
        return_id: ReturnId,
        /// Minor units returned so far, this return included.
        returned: i64,
        /// Minor units of the whole sale.
        total: i64,
    },
    /// Set points aside.
    PlaceHold {
        /// The hold's id.
        hold: HoldId,
        /// How many.
        points: Amount,
        /// When it is released by itself; must lie after now.
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Spend what a hold set aside; what is not captured is released.
    CaptureHold {
        /// The hold.
        hold: HoldId,
        /// How many; all where absent.
        points: Option<Amount>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Give back what a hold set aside.
    ReleaseHold {
        /// The hold.
        hold: HoldId,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Give back points that a captured hold spent, to the lots that they came from, the ones used
    /// last first. Sent by sagas that undo a purchase.
    RestoreHold {
        /// The hold.
        hold: HoldId,
        /// How many; never more than it spent and did not get back yet.
        points: Amount,
        /// What the sender knows of it, for an account that has forgotten the hold.
        spent: Option<Spent>,
        /// The client's own note.
        reference: Option<String>,
    },
    /// Record what time has done: lapsed lots and overdue holds. Sent by the deadline scheduler.
    Settle,
}

/// A new lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The lot's id.
    pub lot: Option<LotId>,
    /// How many points.
    pub points: Amount,
    /// Not spendable before; at once where absent.
    pub available_from: Option<DateTime<Utc>>,
    /// When it lapses; the program's policy where absent.
    pub expires: Option<Policy>,
    /// What made it.
    pub source: Source,
    /// The client's own note.
    pub reference: Option<String>,
}

/// What made a lot.
#[derive(
    Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A client's own issue command.
    #[default]
    Issue,
    /// An adjustment by hand.
    Adjustment,
    /// A campaign's award.
    Campaign {
        /// The campaign.
        campaign: CampaignId,
        /// The version of its rules that judged the event.
        version: u32,
        /// Log position of the event that was judged.
        event: i64,
        /// The sale that was judged, where it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sale: Option<SaleId>,
    },
}

/// The direction of an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new lot.
    Credit {
        /// How many.
        points: Amount,
        /// The lot's id.
        lot: Option<LotId>,
        /// When it lapses; the program's policy where absent.
        expires: Option<Policy>,
    },
    /// Points taken, soonest to expire first; never more than are available.
    Debit {
        /// How many.
        points: Amount,
    },
}
