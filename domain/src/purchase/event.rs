//! What can have happened to a purchase.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::RefundedLine;
use super::discount::Discount;
use super::order::{Line, Tender};
use super::step::{KeyNumber, Step, Way};
use crate::account::event::Part;
use crate::digest::Fingerprint;
use crate::id::{AccountId, RefundId};
use crate::money::{Minor, Money};
use crate::points::Points;

/// What a call to the outside may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Surely nothing.
    None,
    /// Perhaps what was asked.
    Unknown,
}

/// What one tender gives back in a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundPart {
    /// The tender's number in the order, from 1.
    pub tender: u32,
    /// Minor units of its share.
    pub money: Minor,
    /// Where it is points: how many go back.
    #[serde(default, skip_serializing_if = "no_points")]
    pub points: Points,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
const fn no_points(points: &Points) -> bool {
    points.is_zero()
}

/// A fact about a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// The order was placed; prices and tenders are frozen from here on.
    PurchasePlaced {
        /// Who buys; absent for a guest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// What is bought.
        lines: Vec<Line>,
        /// The sum of the lines.
        total: Money,
        /// What was taken off the prices: the lines' amounts are what is left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        discounts: Vec<Discount>,
        /// How it is paid.
        tenders: Vec<Tender>,
        /// Business time.
        occurred_at: DateTime<Utc>,
        /// By the server's clock.
        placed_at: DateTime<Utc>,
        /// What is not completed by then is undone.
        until: DateTime<Utc>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Stands for what was asked for, to tell a retry from another order.
        asked: Fingerprint,
    },
    /// A call to the outside is being made.
    PurchaseStepStarted {
        /// Which step.
        step: Step,
        /// Which way.
        way: Way,
        /// How often it was tried, this time included.
        attempt: u32,
        /// When its caller is given up, and another may try.
        until: DateTime<Utc>,
    },
    /// A step is done; its effects elsewhere in the ledger commit with this.
    PurchaseStepDone {
        /// Which.
        step: Step,
        /// The payment provider's name for the payment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment: Option<String>,
    },
    /// A step was refused, and surely had no effect.
    PurchaseStepRefused {
        /// Which.
        step: Step,
        /// Stable name of the reason.
        reason: String,
        /// For people.
        detail: String,
    },
    /// A call to the outside came to nothing yet.
    PurchaseStepDelayed {
        /// Which step.
        step: Step,
        /// Which way.
        way: Way,
        /// What the attempt may have done.
        effect: Effect,
        /// For people.
        detail: String,
        /// When it is tried again.
        retry_at: DateTime<Utc>,
    },
    /// The customer must act before the card's money is held.
    PurchaseActionRequired {
        /// The payment provider's name for the payment.
        payment: String,
        /// Where to send the customer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// When it is looked whether they have acted, if nobody tells before.
        retry_at: DateTime<Utc>,
    },
    /// A step is undone.
    PurchaseStepUndone {
        /// Which.
        step: Step,
    },
    /// Somebody asked to stop; what was done is undone from here on.
    PurchaseCancelled {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<String>,
    },
    /// Its time was over; what was done is undone from here on.
    PurchaseTimedOut {},
    /// What must be undone or given back could not be, often enough: people are asked.
    PurchaseStuck {
        /// Which step.
        step: Step,
        /// Which way.
        way: Way,
        /// What was wrong last.
        detail: String,
        /// It was refused, and surely had no effect: to be called under another key, if at all.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
    },
    /// Somebody asked to try the stuck step again.
    PurchaseRetried {
        /// Why.
        reason: String,
        /// Who.
        actor: String,
        /// The key under which a call that was refused is made anew. Absent: under the same one,
        /// since what was called before may have happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<KeyNumber>,
    },
    /// Somebody took the stuck step upon themselves; the rest goes on without it.
    PurchaseStepAbandoned {
        /// Which step.
        step: Step,
        /// Which way.
        way: Way,
        /// Why.
        reason: String,
        /// Who.
        actor: String,
    },
    /// All was paid and handed over.
    PurchaseCompleted {
        /// Who bought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// What was bought.
        lines: Vec<Line>,
        /// The sum of the lines.
        total: Money,
        /// What was taken off the prices: the lines' amounts are what is left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        discounts: Vec<Discount>,
        /// What was paid in money: what awards are for.
        paid: Minor,
        /// How it was paid.
        tenders: Vec<Tender>,
        /// Of which lots its points were, in the order of use: they go back there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spent: Vec<Part>,
        /// Business time of the order.
        occurred_at: DateTime<Utc>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Nothing was bought, and all that was done is undone.
    PurchaseRejected {
        /// Stable name of the reason.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Something is to be given back; how it is shared between the tenders is frozen here.
    PurchaseRefundRequested {
        /// The refund.
        refund: RefundId,
        /// How much in all.
        amount: Money,
        /// For which units; empty for a part of the total.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<RefundedLine>,
        /// What each tender gives back; none that gives nothing.
        parts: Vec<RefundPart>,
        /// By the server's clock.
        requested_at: DateTime<Utc>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Stands for what was asked for, to tell a retry from another refund.
        asked: Fingerprint,
    },
    /// It was given back.
    PurchaseRefunded {
        /// The refund.
        refund: RefundId,
        /// Who had bought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// How much in all.
        amount: Money,
        /// What each tender gave back.
        parts: Vec<RefundPart>,
        /// For which units.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<RefundedLine>,
        /// Minor units of money, points left out, given back so far, this time included.
        returned: Minor,
        /// Minor units of money that were paid.
        paid: Minor,
    },
    /// The payment provider took on to give the card's money back, and then could not.
    PurchaseRefundFailed {
        /// The refund; absent where it was to undo the capture of an order that was not completed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refund: Option<RefundId>,
        /// Under which key it was called.
        key: KeyNumber,
        /// What the provider says about it.
        detail: String,
    },
}
