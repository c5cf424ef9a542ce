//! What an account has, as readers see it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::settled::{Settled, Totals};

/// Most lots in an answer.
pub const LOTS_MAX: usize = 100;

/// Most dates of expiry in an answer.
pub const EXPIRING_MAX: usize = 12;

/// What an account has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balance {
    /// The account.
    #[schema(example = "17850")]
    pub account: String,
    /// Can be spent now.
    pub available: i64,
    /// Can be spent later.
    pub pending: i64,
    /// Set aside by open holds.
    pub held: i64,
    /// Owed from reversals; later points repay it.
    pub debt: i64,
    /// Lots with points that no hold pins, soonest to expire first, at most 100.
    pub lots: Vec<LotView>,
    /// Are there more lots than these?
    pub lots_more: bool,
    /// The next dates on which points lapse, at most 12.
    pub expiring: Vec<Expiring>,
    /// Events of the account so far; also its `ETag`.
    pub version: i64,
    /// Position of its last event.
    pub position: i64,
}

/// One lot.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Lot)]
pub struct LotView {
    /// The lot.
    pub lot: String,
    /// Its size when it was issued.
    pub issued: i64,
    /// What nobody has spent and no hold pins.
    pub remaining: i64,
    /// What open holds pin.
    pub held: i64,
    /// Pending until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_from: Option<DateTime<Utc>>,
    /// Lapses then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What made it: its `kind` is `issue`, `adjustment`, `campaign`, or `restored`
    /// where points came back too late for their own lot.
    #[schema(value_type = Object)]
    pub source: Box<RawValue>,
}

impl LotView {
    pub(super) fn is_lapsed(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_pending(&self, now: DateTime<Utc>) -> bool {
        self.available_from.is_some_and(|from| from > now)
    }
}

/// Points that lapse together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Expiring {
    /// When.
    pub at: DateTime<Utc>,
    /// How many.
    pub points: i64,
}

/// An account's version and the position of its last event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) version: i64,
    pub(super) position: i64,
}

/// An account's rows at one instant.
pub(super) struct Rows {
    pub(super) totals: Totals,
    /// Lots that have not lapsed, in the order of use; one more than an answer shows, where there
    /// is one.
    pub(super) lots: Vec<LotView>,
    /// The next dates of expiry; one for each date that the lots name, or more.
    pub(super) expiring: Vec<Expiring>,
}

impl Rows {
    pub(super) fn balance(mut self, account: String, place: Place, now: DateTime<Utc>) -> Balance {
        let settled = self.totals.settled();
        self.repay(settled, now);
        self.lots.retain(|lot| lot.remaining > 0);
        self.expiring.retain(|expiring| expiring.points > 0);
        let lots_more = self.lots.len() > LOTS_MAX;
        self.lots.truncate(LOTS_MAX);
        self.expiring.truncate(EXPIRING_MAX);
        Balance {
            account,
            available: settled.available,
            pending: settled.pending,
            held: settled.held,
            debt: settled.debt,
            lots: self.lots,
            lots_more,
            expiring: self.expiring,
            version: place.version,
            position: place.position,
        }
    }

    /// Takes from the lots what a debt takes before anything is recorded: only where an overdue
    /// hold gives points back to an account that owes some.
    fn repay(&mut self, settled: Settled, now: DateTime<Utc>) {
        for (pending, mut left) in [(false, settled.repaid_active), (true, settled.repaid_pending)]
        {
            for lot in self.lots.iter_mut().filter(|lot| lot.is_pending(now) == pending) {
                let part = left.min(lot.remaining);
                left -= part;
                lot.remaining -= part;
                let date = self.expiring.iter_mut().find(|it| Some(it.at) == lot.expires_at);
                if let Some(date) = date {
                    date.points -= part;
                }
            }
        }
    }
}
