//! What can have happened to an account.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::Source;
use crate::id::{HoldId, LotId, ReturnId};
use crate::points::Points;

/// Part of a lot: which, and how many points of it. Never zero points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The lot.
    pub lot: LotId,
    /// How many points of it.
    pub points: Points,
}

/// A new lot for points whose own lot lapsed while they were spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// The new lot.
    pub lot: LotId,
    /// Its size.
    pub points: Points,
    /// Lapses then.
    pub expires_at: DateTime<Utc>,
}

/// Why a hold was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// Somebody asked.
    Requested,
    /// Its deadline passed.
    Deadline,
}

/// A fact about an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// The account's first command was accepted.
    AccountOpened {},
    /// A lot was credited.
    PointsIssued {
        /// The new lot.
        lot: LotId,
        /// Its size.
        points: Points,
        /// Pending until then; absent: spendable at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available_from: Option<DateTime<Utc>>,
        /// Lapses then; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
        /// What made it.
        source: Source,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Points were spent.
    PointsRedeemed {
        /// How many: the sum of the parts.
        points: Points,
        /// Of which lots, in the order of use.
        lots: Vec<Part>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Points were credited by hand: a new lot.
    PointsCredited {
        /// The new lot.
        lot: LotId,
        /// Its size.
        points: Points,
        /// Lapses then; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
        /// Why.
        reason: String,
        /// Who.
        actor: String,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Points were debited by hand.
    PointsDebited {
        /// How many: the sum of the parts.
        points: Points,
        /// Of which lots, in the order of use.
        lots: Vec<Part>,
        /// Why.
        reason: String,
        /// Who.
        actor: String,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// An issue was taken back, in whole or in part.
    PointsReversed {
        /// The lot whose issue was reversed.
        lot: LotId,
        /// How many: the parts and the debt together.
        points: Points,
        /// What was taken, from which lots.
        lots: Vec<Part>,
        /// What could not be taken: owed, and repaid by later issues.
        debt: Points,
        /// The return that caused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_id: Option<ReturnId>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A debt from a reversal was repaid out of lots.
    DebtRepaid {
        /// How many: the sum of the parts.
        points: Points,
        /// Of which lots.
        lots: Vec<Part>,
    },
    /// Points were set aside. The parts named here can neither be spent nor lapse while it lasts.
    HoldPlaced {
        /// The hold.
        hold: HoldId,
        /// How many: the sum of the parts.
        points: Points,
        /// Of which lots, soonest to expire first.
        lots: Vec<Part>,
        /// Released by itself then; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A hold was captured; the hold is over.
    HoldCaptured {
        /// The hold.
        hold: HoldId,
        /// How many were spent: the sum of the parts.
        points: Points,
        /// Of which lots, in the order of use.
        lots: Vec<Part>,
        /// What of the hold was not captured, given back to these lots.
        released: Vec<Part>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A hold was released; the hold is over.
    HoldReleased {
        /// The hold.
        hold: HoldId,
        /// How many went back: the sum of the parts.
        points: Points,
        /// To which lots.
        lots: Vec<Part>,
        /// Why.
        reason: ReleaseReason,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Points that a captured hold had spent came back.
    PointsRestored {
        /// The hold.
        hold: HoldId,
        /// How many: the sum of the parts and the grace lot.
        points: Points,
        /// To which lots, the ones used last first.
        lots: Vec<Part>,
        /// The new lot of those whose own lot has lapsed since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Grace>,
        /// The client's own note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Lots lapsed; their free remainders are gone.
    PointsExpired {
        /// How many: the sum of the parts.
        points: Points,
        /// Of which lots.
        lots: Vec<Part>,
    },
}
