//! Lots: every credited amount, and the orders in which they are found.
//!
//! Invariants
//! - `free + held <= issued` for each lot, and `reversed <= issued`.
//! - A lot stands in `order` (and in `pending`, where it has an `available_from`) exactly while
//!   it has free points.
//! - The totals are the sums over all lots.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Utc};

use super::event::Part;
use super::fold::Damage;
use crate::digest::Digest;
use crate::id::{LotId, SaleId};
use crate::points::Points;
use crate::small_map::SmallMap as Map;

/// One credited amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// Its place in the order of issue, from 0.
    pub(super) sequence: u64,
    /// Its size.
    pub issued: Points,
    /// Neither spent nor held nor lapsed.
    pub free: Points,
    /// Set aside by open holds.
    pub held: Points,
    /// How much of its issue was reversed, whatever lots that was taken from.
    pub reversed: Points,
    /// Pending until then.
    pub available_from: Option<DateTime<Utc>>,
    /// Lapses then.
    pub expires_at: Option<DateTime<Utc>>,
    /// The sale that it was awarded for.
    pub sale: Option<SaleId>,
    /// Source and notes, to tell a retry from another lot.
    pub(super) digest: Digest,
}

impl Lot {
    /// Can it be spent at that time, as far as its start goes?
    #[must_use]
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.available_from.is_none_or(|from| from <= now)
    }

    /// Issued and not reversed.
    #[must_use]
    pub fn unreversed(&self) -> Points {
        self.issued.saturating_sub(self.reversed)
    }

    fn spending_key(&self) -> SpendingKey {
        (self.expires_at.unwrap_or(NEVER), self.sequence)
    }

    fn pending_key(&self) -> Option<(DateTime<Utc>, u64)> {
        self.available_from.map(|from| (from, self.sequence))
    }
}

/// A lot's id behind its hash: a comparison rarely has to follow the pointer to the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LotKey {
    hash: u64,
    id: LotId,
}

impl LotKey {
    fn new(id: &LotId) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Self { hash: hasher.finish(), id: id.clone() }
    }
}

/// Soonest to expire first, then in the order of issue.
type SpendingKey = (DateTime<Utc>, u64);

/// Sorts behind every instant that a lot can lapse at.
const NEVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// Every lot of an account.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lots {
    by_id: Map<LotKey, Lot>,
    order: Map<SpendingKey, LotKey>,
    /// The free points of lots with an `available_from`, by that.
    pending: Map<(DateTime<Utc>, u64), Points>,
    by_sale: Map<(SaleId, u64), LotKey>,
    free: i64,
    held: i64,
}

impl Lots {
    /// No lots, with room for so many.
    pub(super) fn with_capacity(lots: usize) -> Self {
        let (by_id, order) = (Map::with_capacity(lots), Map::with_capacity(lots));
        Self { by_id, order, ..Self::default() }
    }

    /// A lot by its id.
    #[must_use]
    pub fn get(&self, id: &LotId) -> Option<&Lot> {
        self.by_id.get(&LotKey::new(id))
    }

    /// Every lot, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&LotId, &Lot)> {
        self.by_id.iter().map(|(key, lot)| (&key.id, lot))
    }

    /// How many lots there ever were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Free points of all lots, pending ones included.
    #[must_use]
    pub const fn free(&self) -> i64 {
        self.free
    }

    /// Held points of all lots.
    #[must_use]
    pub const fn held(&self) -> i64 {
        self.held
    }

    /// Free points of lots that are not active at that time.
    #[must_use]
    pub fn pending(&self, now: DateTime<Utc>) -> i64 {
        self.pending
            .range((now, u64::MAX)..)
            .fold(0, |sum: i64, (_, points)| sum.saturating_add(points.get()))
    }

    /// Free points of lots that are active and not lapsed at that time.
    #[must_use]
    pub fn available(&self, now: DateTime<Utc>) -> i64 {
        let lapsed = self.lapsed(now).filter(|(_, lot)| lot.is_active(now));
        let lapsed = lapsed.fold(0, |sum: i64, (_, lot)| sum.saturating_add(lot.free.get()));
        self.free.saturating_sub(self.pending(now)).saturating_sub(lapsed)
    }

    /// Lots with free points that have lapsed at that time, soonest first.
    pub fn lapsed(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&LotId, &Lot)> {
        // Nearly always there is none, and the first entry tells; a range costs more to set up.
        let some = self.next_expiry().is_some_and(|at| at <= now);
        let lapsed = some.then(|| self.order.range(..=(now, u64::MAX)));
        lapsed.into_iter().flatten().filter_map(|(_, key)| self.entry(key))
    }

    /// Lots with free points that can be spent at that time, in the order of use. Lazy: whoever
    /// takes a few looks at a few, and at pending lots that would lapse sooner.
    pub fn spendable(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&LotId, &Lot)> {
        self.unlapsed(now).filter(move |(_, lot)| lot.is_active(now))
    }

    /// Lots with free points that cannot be spent yet, soonest to expire first.
    pub fn waiting(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&LotId, &Lot)> {
        self.unlapsed(now).filter(move |(_, lot)| !lot.is_active(now))
    }

    fn unlapsed(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&LotId, &Lot)> {
        let behind = (std::ops::Bound::Excluded((now, u64::MAX)), std::ops::Bound::Unbounded);
        self.order.range(behind).filter_map(|(_, key)| self.entry(key))
    }

    /// Lots that were awarded for a sale, in the order of issue.
    pub fn of_sale(&self, sale: &SaleId) -> impl Iterator<Item = (&LotId, &Lot)> {
        self.by_sale
            .range((sale.clone(), 0)..=(sale.clone(), u64::MAX))
            .filter_map(|(_, key)| self.entry(key))
    }

    /// When the next lot with free points lapses.
    #[must_use]
    pub fn next_expiry(&self) -> Option<DateTime<Utc>> {
        self.order.first().map(|((at, _), _)| *at).filter(|at| *at != NEVER)
    }

    fn entry(&self, key: &LotKey) -> Option<(&LotId, &Lot)> {
        self.by_id.get_key_value(key).map(|(key, lot)| (&key.id, lot))
    }

    /// Adds a lot as it is: one just issued, or one that was kept.
    pub(super) fn insert(&mut self, id: &LotId, lot: Lot) -> Result<(), Damage> {
        let key = LotKey::new(id);
        let free = self.free.checked_add(lot.free.get()).ok_or(Damage::Overflow)?;
        let held = self.held.checked_add(lot.held.get()).ok_or(Damage::Overflow)?;
        if self.by_id.get(&key).is_some() {
            return Err(Damage::LotTwice(id.clone()));
        }
        let (spending, pending) = (lot.spending_key(), lot.pending_key());
        let (points, sale) = (lot.free, lot.sale.clone().map(|sale| (sale, lot.sequence)));
        self.by_id.insert(key.clone(), lot);
        (self.free, self.held) = (free, held);
        if let Some(sale) = sale {
            self.by_sale.insert(sale, key.clone());
        }
        if !points.is_zero() {
            self.order.insert(spending, key);
            if let Some(pending) = pending {
                self.pending.insert(pending, points);
            }
        }
        Ok(())
    }

    /// Free points are gone: spent, lapsed or taken back.
    pub(super) fn take(&mut self, parts: &[Part]) -> Result<(), Damage> {
        parts.iter().try_for_each(|part| self.change(part, Flow::FreeOut))
    }

    /// Free points are set aside.
    pub(super) fn hold(&mut self, parts: &[Part]) -> Result<(), Damage> {
        parts.iter().try_for_each(|part| self.change(part, Flow::FreeToHeld))
    }

    /// Points that were set aside are free again.
    pub(super) fn release(&mut self, parts: &[Part]) -> Result<(), Damage> {
        parts.iter().try_for_each(|part| self.change(part, Flow::HeldToFree))
    }

    /// Points that were set aside are spent.
    pub(super) fn capture(&mut self, parts: &[Part]) -> Result<(), Damage> {
        parts.iter().try_for_each(|part| self.change(part, Flow::HeldOut))
    }

    /// Points that were spent are free again.
    pub(super) fn restore(&mut self, parts: &[Part]) -> Result<(), Damage> {
        parts.iter().try_for_each(|part| self.change(part, Flow::FreeIn))
    }

    /// So much more of the lot's issue was reversed.
    pub(super) fn reverse(&mut self, id: &LotId, points: Points) -> Result<(), Damage> {
        let lot = self.by_id.get_mut(&LotKey::new(id)).ok_or_else(|| Damage::NoLot(id.clone()))?;
        lot.reversed = lot
            .reversed
            .checked_add(points)
            .filter(|reversed| *reversed <= lot.issued)
            .ok_or_else(|| Damage::Overdrawn(id.clone()))?;
        Ok(())
    }

    fn change(&mut self, part: &Part, flow: Flow) -> Result<(), Damage> {
        let overdrawn = || Damage::Overdrawn(part.lot.clone());
        let key = LotKey::new(&part.lot);
        let lot = self.by_id.get_mut(&key).ok_or_else(|| Damage::NoLot(part.lot.clone()))?;
        let points = part.points;
        let (free, held) = match flow {
            Flow::FreeOut => (lot.free.checked_sub(points), Some(lot.held)),
            Flow::FreeToHeld => (lot.free.checked_sub(points), lot.held.checked_add(points)),
            Flow::HeldToFree => (lot.free.checked_add(points), lot.held.checked_sub(points)),
            Flow::HeldOut => (Some(lot.free), lot.held.checked_sub(points)),
            Flow::FreeIn => {
                let free = lot.free.checked_add(points);
                let fits = |free: &Points| {
                    free.checked_add(lot.held).is_some_and(|there| there <= lot.issued)
                };
                (free.filter(fits), Some(lot.held))
            }
        };
        let (free, held) = (free.ok_or_else(overdrawn)?, held.ok_or_else(overdrawn)?);
        let moved = |total: i64, to: Points, from: Points| {
            total.checked_add(to.get())?.checked_sub(from.get())
        };
        self.free = moved(self.free, free, lot.free).ok_or(Damage::Overflow)?;
        self.held = moved(self.held, held, lot.held).ok_or(Damage::Overflow)?;
        let changed = lot.free != free;
        (lot.free, lot.held) = (free, held);
        if changed {
            let lot = lot.clone();
            self.index(key, &lot);
        }
        Ok(())
    }

    fn index(&mut self, key: LotKey, lot: &Lot) {
        if lot.free.is_zero() {
            self.order.remove(&lot.spending_key());
            if let Some(pending) = lot.pending_key() {
                self.pending.remove(&pending);
            }
            return;
        }
        self.order.insert(lot.spending_key(), key);
        if let Some(pending) = lot.pending_key() {
            self.pending.insert(pending, lot.free);
        }
    }
}

/// Which way points move.
#[derive(Debug, Clone, Copy)]
enum Flow {
    FreeOut,
    FreeToHeld,
    HeldToFree,
    HeldOut,
    FreeIn,
}
