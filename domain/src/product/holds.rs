//! Holds: units set aside, and for ever what became of them.
//!
//! Invariants
//! - An id names one hold for ever.
//! - `deadlines` has exactly the open holds that have one.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fold::Damage;
use crate::digest::Digest;
use crate::id::HoldId;
use crate::quantity::Quantity;
use crate::small_map::SmallMap as Map;

/// Units set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How many.
    pub quantity: Quantity,
    /// Released by itself then.
    pub until: Option<DateTime<Utc>>,
    /// What became of it.
    pub stage: Stage,
    /// The note, to tell a retry from another hold.
    pub(super) digest: Digest,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// All of it is set aside.
    Open,
    /// So many of its units left, the rest went back.
    Captured(Quantity),
    /// All went back.
    Released,
}

/// Every hold of a product.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Holds {
    by_id: Map<HoldId, Hold>,
    deadlines: Map<(DateTime<Utc>, HoldId), ()>,
}

impl Holds {
    /// A hold by its id.
    #[must_use]
    pub fn get(&self, id: &HoldId) -> Option<&Hold> {
        self.by_id.get(id)
    }

    /// Every hold, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&HoldId, &Hold)> {
        self.by_id.iter()
    }

    /// The first deadline of an open hold.
    #[must_use]
    pub fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.deadlines.first().map(|((at, _), ())| *at)
    }

    /// Open holds whose deadline has passed at that time, longest overdue first.
    pub(super) fn overdue(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&HoldId, Quantity)> {
        let due = self.deadlines.iter().map(|(key, ())| key);
        due.take_while(move |(at, _)| *at <= now)
            .filter_map(|(_, id)| self.get(id).map(|hold| (id, hold.quantity)))
    }

    pub(super) fn insert(&mut self, id: &HoldId, hold: Hold) -> Result<(), Damage> {
        if self.by_id.get(id).is_some() {
            return Err(Damage::HoldTwice(id.clone()));
        }
        if let (Some(until), Stage::Open) = (hold.until, hold.stage) {
            self.deadlines.insert((until, id.clone()), ());
        }
        self.by_id.insert(id.clone(), hold);
        Ok(())
    }

    /// Ends an open hold; how many units it had set aside.
    pub(super) fn end(&mut self, id: &HoldId, stage: Stage) -> Result<Quantity, Damage> {
        let hold = self.by_id.get_mut(id).ok_or_else(|| Damage::NoHold(id.clone()))?;
        if hold.stage != Stage::Open {
            return Err(Damage::HoldTwice(id.clone()));
        }
        hold.stage = stage;
        let quantity = hold.quantity;
        if let Some(until) = hold.until {
            self.deadlines.remove(&(until, id.clone()));
        }
        Ok(quantity)
    }
}
