//! Redeem and debit: points leave, soonest to expire first.

use super::Draft;
use super::error::Error;
use super::event::{Event, Part};
use super::issue::{Note, check_reference};
use super::settle::{PARTS_MAX, gather, sum};
use crate::points::{Amount, Points};

impl Draft<'_> {
    pub(super) fn redeem(
        &mut self,
        points: Amount,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let parts = self.allocate(points.points())?;
        for lots in parts.chunks(PARTS_MAX) {
            let (points, lots) = (sum(lots), lots.to_vec());
            self.push_last(Event::PointsRedeemed { points, lots, reference: reference.clone() });
        }
        Ok(())
    }

    pub(super) fn debit(&mut self, points: Amount, note: Note) -> Result<(), Error> {
        let Note { reason, actor, reference } = note;
        let parts = self.allocate(points.points())?;
        for lots in parts.chunks(PARTS_MAX) {
            self.push_last(Event::PointsDebited {
                points: sum(lots),
                lots: lots.to_vec(),
                reason: reason.clone(),
                actor: actor.clone(),
                reference: reference.clone(),
            });
        }
        Ok(())
    }

    /// The parts of lots that make up `requested`, in the order of use.
    pub(super) fn allocate(&self, requested: Points) -> Result<Vec<Part>, Error> {
        let (lots, now) = (&self.state.lots, self.context.now);
        // Cheap and often decisive; without it every refusal would walk all lots.
        if lots.free() >= requested.get() {
            let (parts, missing) = gather(requested, lots.spendable(now));
            if missing.is_zero() {
                return Ok(parts);
            }
        }
        Err(Error::InsufficientPoints { requested, available: lots.available(now) })
    }
}
