//! What an account has, as readers see it.

use std::collections::BTreeMap;

use accrue_domain::expiry::instant;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::settled::Settled;

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
    /// Lots with points, soonest to expire first, at most 100. A lot that has lapsed is among them
    /// while an open hold pins something of it.
    pub lots: Vec<LotView>,
    /// Are there more lots than these? `/v1/accounts/{account}/lots` has all of them.
    pub lots_more: bool,
    /// The next dates on which points lapse, at most 12.
    pub expiring: Vec<Expiring>,
    /// Are there more dates than these? All of them are those of the lots.
    pub expiring_more: bool,
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
    /// What nobody has spent, no hold pins and has not lapsed.
    pub remaining: i64,
    /// What open holds pin. They may still capture it when the lot itself has lapsed.
    pub held: i64,
    /// Pending until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_from: Option<DateTime<Utc>>,
    /// Lapses then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What made it.
    #[schema(value_type = LotSource)]
    pub source: Box<RawValue>,
    /// Position of the event that made it.
    pub position: i64,
}

/// What made a lot.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what is kept as JSON, for OpenAPI")]
pub(crate) struct LotSource {
    /// `issue` or `adjustment` by a client, `campaign` for an award, `restored` where points came
    /// back too late for their own lot.
    #[schema(pattern = "^(issue|adjustment|campaign|restored)$")]
    kind: String,
    /// The campaign of an award.
    campaign: Option<String>,
    /// The version of its rules that judged.
    version: Option<u32>,
    /// Position of the event that was judged.
    event: Option<i64>,
    /// The sale that was judged.
    sale: Option<String>,
    /// The hold that the points came back from.
    hold: Option<String>,
}

/// A lot's place among the others of its account. An event in the log makes one lot at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotKey {
    /// When it lapses; none is the last of all.
    pub expires_at: Option<DateTime<Utc>>,
    /// Position of the event that made it.
    pub position: i64,
}

impl LotKey {
    /// The key as text, for a cursor.
    #[must_use]
    pub fn text(self) -> String {
        let micros = self.expires_at.map(|at| at.timestamp_micros().to_string());
        format!("{}.{}", micros.unwrap_or_default(), self.position)
    }

    /// The key of that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (micros, position) = text.split_once('.')?;
        let expires_at = match micros {
            "" => None,
            micros => {
                let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
                Some(instant(at).ok()?)
            }
        };
        Some(Self { expires_at, position: position.parse().ok()? })
    }

    /// Its place before or behind others'.
    pub(super) fn order(self) -> (DateTime<Utc>, i64) {
        (self.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC), self.position)
    }
}

impl LotView {
    /// Its place.
    #[must_use]
    pub fn key(&self) -> LotKey {
        LotKey { expires_at: self.expires_at, position: self.position }
    }

    pub(super) fn is_lapsed(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_pending(&self, now: DateTime<Utc>) -> bool {
        self.available_from.is_some_and(|from| from > now)
    }

    pub(super) fn has_points(&self) -> bool {
        self.remaining > 0 || self.held > 0
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

impl Balance {
    /// Of lots and dates there may be one more than an answer shows, or any number more.
    pub(super) fn new(
        account: String,
        settled: Settled,
        mut lots: Vec<LotView>,
        mut expiring: Vec<Expiring>,
        place: Place,
    ) -> Self {
        let (lots_more, expiring_more) = (lots.len() > LOTS_MAX, expiring.len() > EXPIRING_MAX);
        lots.truncate(LOTS_MAX);
        expiring.truncate(EXPIRING_MAX);
        Self {
            account,
            available: settled.available,
            pending: settled.pending,
            held: settled.held,
            debt: settled.debt,
            lots,
            lots_more,
            expiring,
            expiring_more,
            version: place.version,
            position: place.position,
        }
    }
}

/// Takes from all of an account's lots, in the order of their expiry, what a debt takes before
/// anything is recorded: only where an overdue hold gives points back to an account that owes some.
pub(super) fn repay(lots: &mut Vec<LotView>, settled: Settled, now: DateTime<Utc>) {
    for (pending, mut left) in [(false, settled.repaid_active), (true, settled.repaid_pending)] {
        for lot in lots.iter_mut().filter(|lot| lot.is_pending(now) == pending) {
            let part = left.min(lot.remaining);
            left -= part;
            lot.remaining -= part;
        }
    }
    lots.retain(LotView::has_points);
}

/// The dates on which points of these lots lapse, the next one first.
pub(super) fn dates(lots: &[LotView]) -> Vec<Expiring> {
    let mut dates = BTreeMap::<_, i64>::new();
    for lot in lots.iter().filter(|lot| lot.remaining > 0) {
        if let Some(at) = lot.expires_at {
            *dates.entry(at).or_default() += lot.remaining;
        }
    }
    dates.into_iter().map(|(at, points)| Expiring { at, points }).collect()
}

/// Of all of an account's lots the first `limit` behind one.
pub(super) fn behind(mut lots: Vec<LotView>, after: Option<LotKey>, limit: i64) -> Vec<LotView> {
    lots.retain(|lot| after.is_none_or(|after| lot.key().order() > after.order()));
    lots.truncate(usize::try_from(limit).unwrap_or_default());
    lots
}

#[cfg(test)]
mod tests {
    use super::LotKey;

    #[test]
    fn a_key_is_the_same_behind_a_cursor() {
        let at = |text: &str| Some(text.parse().unwrap());
        for expires_at in [
            None,
            at("2026-03-01T10:00:00.000001Z"),
            at("1969-12-31T23:59:59.999999Z"),
            at("0001-01-01T00:00:00Z"),
            at("9999-12-31T23:59:59.999999Z"),
        ] {
            let key = LotKey { expires_at, position: 7 };
            assert_eq!(LotKey::parse(&key.text()), Some(key));
        }
        let year_10000 = "253402300800000000.1";
        for text in ["", ".", "1", "x.1", "1.x", "1.1.1", year_10000, "9223372036854775807.1"] {
            assert_eq!(LotKey::parse(text), None, "{text}");
        }
    }
}
