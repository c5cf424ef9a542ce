//! Reverse: an issue is taken back. The lot first, then other active lots soonest to expire, then
//! pending ones; what cannot be taken is a debt. Held parts are left alone.

use super::Draft;
use super::error::Error;
use super::event::{Event, Part};
use super::issue::check_reference;
use super::settle::{PARTS_MAX, gather, sum};
use crate::id::{LotId, ReturnId, SaleId};
use crate::points::{Amount, Points};

impl Draft<'_> {
    pub(super) fn reverse(
        &mut self,
        lot: &LotId,
        points: Option<Amount>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let seen = self.state.lots.get(lot).ok_or_else(|| Error::UnknownLot(lot.clone()))?;
        let left = seen.unreversed();
        if left.is_zero() {
            return Err(Error::AlreadyReversed(lot.clone()));
        }
        let requested = points.map_or(left, Amount::points);
        if requested > left {
            return Err(Error::ExceedsLot { lot: lot.clone(), requested, left });
        }
        self.claw_back(lot, requested, None, reference.as_ref())
    }

    pub(super) fn reverse_sale(
        &mut self,
        sale: &SaleId,
        return_id: &ReturnId,
        returned: i64,
        total: i64,
    ) -> Result<(), Error> {
        if total < 1 || !(0..=total).contains(&returned) {
            return Err(Error::InvalidShare { returned, total });
        }
        let due: Vec<(LotId, Points)> = self
            .state
            .lots
            .of_sale(sale)
            .map(|(id, lot)| {
                let target = share(lot.issued, returned, total);
                (id.clone(), target.saturating_sub(lot.reversed))
            })
            .filter(|(_, points)| !points.is_zero())
            .collect();
        due.iter().try_for_each(|(lot, points)| self.claw_back(lot, *points, Some(return_id), None))
    }

    fn claw_back(
        &mut self,
        lot: &LotId,
        points: Points,
        return_id: Option<&ReturnId>,
        reference: Option<&String>,
    ) -> Result<(), Error> {
        let (parts, debt) = self.takeable(lot, points);
        if self.state.debt.checked_add(debt).is_none() {
            let max = Points::MAX.get();
            return Err(Error::LimitExceeded { what: "the account's debt", max });
        }
        let reversed = |lots: &[Part], debt| Event::PointsReversed {
            lot: lot.clone(),
            points: sum(lots).checked_add(debt).unwrap_or(points),
            lots: lots.to_vec(),
            debt,
            return_id: return_id.cloned(),
            reference: reference.cloned(),
        };
        // The last event carries the debt, also where there is no lot left to take from.
        let last = parts.len().saturating_sub(1).checked_div(PARTS_MAX).unwrap_or(0);
        let (whole, rest) = parts.split_at(last.saturating_mul(PARTS_MAX));
        for lots in whole.chunks(PARTS_MAX) {
            self.push(reversed(lots, Points::ZERO));
        }
        self.push(reversed(rest, debt));
        Ok(())
    }

    /// What can be taken back, in order, and what is missing.
    fn takeable(&self, lot: &LotId, points: Points) -> (Vec<Part>, Points) {
        let (lots, now) = (&self.state.lots, self.context.now);
        let own = lots.get(lot).filter(|own| !own.free.is_zero()).map(|own| (lot, own));
        let others = lots.spendable(now).chain(lots.waiting(now)).filter(|(id, _)| *id != lot);
        gather(points, own.into_iter().chain(others))
    }
}

/// `floor(issued * returned / total)`. Never more than `issued`, as `returned <= total`.
fn share(issued: Points, returned: i64, total: i64) -> Points {
    i128::from(issued.get())
        .checked_mul(i128::from(returned))
        .and_then(|product| product.checked_div(i128::from(total)))
        .and_then(|share| i64::try_from(share).ok())
        .and_then(|share| Points::new(share).ok())
        .unwrap_or(issued)
}
