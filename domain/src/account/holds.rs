//! Holds: points set aside, and for ever what became of them.
//!
//! Invariants
//! - An id names one hold for ever.
//! - `deadlines` has exactly the open holds that have one.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Part;
use super::fold::Damage;
use crate::digest::Digest;
use crate::id::HoldId;
use crate::points::Points;
use crate::small_map::SmallMap as Map;

/// Points set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How many.
    pub points: Points,
    /// Released by itself then.
    pub until: Option<DateTime<Utc>>,
    /// What it pins, or what became of it.
    pub stage: Stage,
    /// The note, to tell a retry from another hold.
    pub(super) digest: Digest,
}

/// Where a hold stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// It pins these parts of lots, in the order of use.
    Open(Vec<Part>),
    /// So many of its points were spent, the rest went back.
    Captured(Points),
    /// All went back.
    Released,
}

/// Every hold of an account.
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
    pub fn overdue(&self, now: DateTime<Utc>) -> impl Iterator<Item = &HoldId> {
        self.deadlines
            .iter()
            .map(|(key, ())| key)
            .take_while(move |(at, _)| *at <= now)
            .map(|(_, id)| id)
    }

    pub(super) fn insert(&mut self, id: &HoldId, hold: Hold) -> Result<(), Damage> {
        if self.by_id.get(id).is_some() {
            return Err(Damage::HoldTwice(id.clone()));
        }
        if let (Some(until), Stage::Open(_)) = (hold.until, &hold.stage) {
            self.deadlines.insert((until, id.clone()), ());
        }
        self.by_id.insert(id.clone(), hold);
        Ok(())
    }

    pub(super) fn end(&mut self, id: &HoldId, stage: Stage) -> Result<(), Damage> {
        let hold = self.by_id.get_mut(id).ok_or_else(|| Damage::NoHold(id.clone()))?;
        if !matches!(hold.stage, Stage::Open(_)) {
            return Err(Damage::HoldTwice(id.clone()));
        }
        hold.stage = stage;
        if let Some(until) = hold.until {
            self.deadlines.remove(&(until, id.clone()));
        }
        Ok(())
    }
}
