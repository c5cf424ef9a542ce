//! Holds: an amount set aside, the same whatever is held, and what became of it.
//!
//! Invariants
//! - An id names one hold until [`ENDED_MAX`] later ones have ended: open holds and the last ones
//!   that ended are remembered, older ones are forgotten, so that a busy state stays bounded.
//! - `deadlines` has exactly the open holds that have one.
//! - `ended` has exactly the remembered holds that have ended, in the order of ending.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::HoldId;
use crate::small_map::SmallMap as Map;

/// Holds that have ended and are remembered. A retry within so many later ones gets its first
/// answer; behind them its id is free again.
pub const ENDED_MAX: usize = 1_000;

/// An event that does not follow from the holds before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A hold ended that was never placed.
    #[error("hold {0} was never placed")]
    NoHold(HoldId),
    /// A hold was placed or ended twice.
    #[error("hold {0} was placed or ended twice")]
    HoldTwice(HoldId),
}

/// An amount `A` set aside. Open, it pins `P`; captured, it remembers `C`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold<A, P = (), C = A> {
    /// How much.
    pub amount: A,
    /// Released by itself then.
    pub until: Option<DateTime<Utc>>,
    /// What it pins, or what became of it.
    pub stage: Stage<P, C>,
    /// The note, to tell a retry from another hold.
    pub(crate) digest: Digest,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage<P, C> {
    /// All of it is set aside.
    Open(P),
    /// Some or all of it left, the rest went back.
    Captured(C),
    /// All went back.
    Released,
}

impl<P, C> Stage<P, C> {
    const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// Stands for a hold's note.
pub(crate) fn digest(reference: Option<&str>) -> Digest {
    Digest::of(&[reference])
}

impl<A: PartialEq, P, C> Hold<A, P, C> {
    /// A new hold: all of it is set aside.
    pub(crate) fn open(
        amount: A,
        pinned: P,
        until: Option<DateTime<Utc>>,
        reference: Option<&str>,
    ) -> Self {
        Self { amount, until, stage: Stage::Open(pinned), digest: digest(reference) }
    }

    /// Was it placed as is asked now? Then this is a retry, whatever became of it since.
    pub(crate) fn was_placed_as(
        &self,
        amount: &A,
        until: Option<DateTime<Utc>>,
        reference: Option<&str>,
    ) -> bool {
        (&self.amount, self.until, self.digest) == (amount, until, digest(reference))
    }
}

/// The open holds of one state, and those that ended last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<Row<A, P, C>>",
    into = "Vec<Row<A, P, C>>",
    bound(
        serialize = "A: Copy + Serialize, P: Clone + Serialize, C: Clone + Serialize",
        deserialize = "A: Copy + Deserialize<'de>, P: Clone + Deserialize<'de>, C: Clone + Deserialize<'de>"
    )
)]
pub struct Holds<A, P = (), C = A> {
    by_id: Map<HoldId, Hold<A, P, C>>,
    deadlines: Map<(DateTime<Utc>, HoldId), ()>,
    /// By a number that grows with every one.
    ended: Map<u64, HoldId>,
}

impl<A, P, C> Default for Holds<A, P, C> {
    fn default() -> Self {
        Self { by_id: Map::default(), deadlines: Map::default(), ended: Map::default() }
    }
}

/// The same holds that ended in the same order, however many were forgotten before them.
impl<A, P, C> PartialEq for Holds<A, P, C>
where
    A: Copy + PartialEq,
    P: Clone + PartialEq,
    C: Clone + PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        let order = |it: &Self| it.ended.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
        self.by_id == other.by_id && order(self) == order(other)
    }
}

impl<A: Copy, P: Clone, C: Clone> Holds<A, P, C> {
    /// A hold by its id.
    #[must_use]
    pub fn get(&self, id: &HoldId) -> Option<&Hold<A, P, C>> {
        self.by_id.get(id)
    }

    /// How many holds are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Every hold that is remembered, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&HoldId, &Hold<A, P, C>)> {
        self.by_id.iter()
    }

    /// The first deadline of an open hold.
    #[must_use]
    pub fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.deadlines.first().map(|((at, _), ())| *at)
    }

    /// Open holds whose deadline has passed at that time, longest overdue first.
    pub fn overdue(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&HoldId, A)> {
        let due = self.deadlines.iter().map(|(key, ())| key);
        due.take_while(move |(at, _)| *at <= now)
            .filter_map(|(_, id)| self.get(id).map(|hold| (id, hold.amount)))
    }

    /// Adds a hold as it is: one just placed, or one read from a snapshot.
    pub(crate) fn insert(&mut self, id: &HoldId, hold: Hold<A, P, C>) -> Result<(), Damage> {
        if self.by_id.get(id).is_some() {
            return Err(Damage::HoldTwice(id.clone()));
        }
        let (until, open) = (hold.until, hold.stage.is_open());
        self.by_id.insert(id.clone(), hold);
        if !open {
            self.remember(id);
        } else if let Some(until) = until {
            self.deadlines.insert((until, id.clone()), ());
        }
        Ok(())
    }

    /// Ends an open hold; how much it had set aside.
    pub(crate) fn end(&mut self, id: &HoldId, stage: Stage<P, C>) -> Result<A, Damage> {
        let hold = self.by_id.get_mut(id).ok_or_else(|| Damage::NoHold(id.clone()))?;
        if !hold.stage.is_open() {
            return Err(Damage::HoldTwice(id.clone()));
        }
        hold.stage = stage;
        let (amount, until) = (hold.amount, hold.until);
        if let Some(until) = until {
            self.deadlines.remove(&(until, id.clone()));
        }
        self.remember(id);
        Ok(amount)
    }

    /// What a captured hold remembers.
    pub(crate) fn captured_mut(&mut self, id: &HoldId) -> Option<&mut C> {
        match self.by_id.get_mut(id).map(|hold| &mut hold.stage) {
            Some(Stage::Captured(captured)) => Some(captured),
            Some(Stage::Open(_) | Stage::Released) | None => None,
        }
    }

    /// One more has ended; the one that ended first makes room.
    fn remember(&mut self, id: &HoldId) {
        let next = self.ended.last().map_or(0, |(last, _)| last.saturating_add(1));
        self.ended.insert(next, id.clone());
        if self.ended.len() > ENDED_MAX
            && let Some((first, id)) = self.ended.first().map(|(at, id)| (*at, id.clone()))
        {
            self.ended.remove(&first);
            self.by_id.remove(&id);
        }
    }
}

/// A hold as it is kept in a snapshot: the open ones by id, behind them the others in the order of
/// ending.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Row<A, P, C> {
    id: HoldId,
    hold: Hold<A, P, C>,
}

impl<A: Copy, P: Clone, C: Clone> From<Holds<A, P, C>> for Vec<Row<A, P, C>> {
    fn from(holds: Holds<A, P, C>) -> Self {
        let open = holds.iter().filter(|(_, hold)| hold.stage.is_open());
        let ended = holds.ended.iter().filter_map(|(_, id)| holds.by_id.get_key_value(id));
        let rows = open.chain(ended);
        rows.map(|(id, hold)| Row { id: id.clone(), hold: hold.clone() }).collect()
    }
}

impl<A: Copy, P: Clone, C: Clone> TryFrom<Vec<Row<A, P, C>>> for Holds<A, P, C> {
    type Error = Damage;

    fn try_from(rows: Vec<Row<A, P, C>>) -> Result<Self, Damage> {
        let mut holds = Self::default();
        rows.into_iter().try_for_each(|row| holds.insert(&row.id, row.hold))?;
        Ok(holds)
    }
}

impl<A: JsonSchema, P: JsonSchema, C: JsonSchema> JsonSchema for Holds<A, P, C> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        <Vec<Row<A, P, C>>>::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <Vec<Row<A, P, C>>>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests;
