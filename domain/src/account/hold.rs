//! Place, capture and release: points set aside, then spent or given back.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::event::{Event, Part, ReleaseReason};
use super::issue::check_reference;
use super::{Draft, Hold};
use crate::deadline;
use crate::expiry::instant;
use crate::holds::Stage;
use crate::id::HoldId;
use crate::points::{Amount, Points};

/// Most lots that one hold may pin. A hold is placed and ends in one event each, so it is
/// bounded where a redemption is split.
const HOLD_PARTS_MAX: usize = 10_000;

impl Draft<'_> {
    pub(super) fn place_hold(
        &mut self,
        hold: HoldId,
        points: Amount,
        until: Option<DateTime<Utc>>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let invalid_until = |why| Error::InvalidTime { field: "/until", why };
        let until = until.map(instant).transpose().map_err(invalid_until)?;
        let points = points.points();
        if let Some(seen) = self.state.holds.get(&hold) {
            // A retry gets the first answer, whatever became of the hold since.
            let same = seen.was_placed_as(&points, until, reference.as_deref());
            return if same { Ok(()) } else { Err(Error::HoldExists(hold)) };
        }
        self.check_until(until)?;
        let lots = self.allocate(points)?;
        if lots.len() > HOLD_PARTS_MAX {
            let max = i64::try_from(HOLD_PARTS_MAX).unwrap_or(i64::MAX);
            return Err(Error::LimitExceeded { what: "the number of lots in a hold", max });
        }
        self.push_last(Event::HoldPlaced { hold, points, lots, until, reference });
        Ok(())
    }

    fn check_until(&self, until: Option<DateTime<Utc>>) -> Result<(), Error> {
        match until {
            Some(until) if !deadline::is_near(until, self.context.now) => Err(Error::InvalidUntil),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn capture_hold(
        &mut self,
        hold: HoldId,
        points: Option<Amount>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let seen = self.hold(&hold)?;
        let held = seen.amount;
        let requested = points.map_or(held, Amount::points);
        let parts = match &seen.stage {
            Stage::Open(parts) => parts,
            Stage::Captured(before) if before.points == requested => return Ok(()),
            Stage::Captured(_) => return Err(ended(hold, "captured")),
            Stage::Released => return Err(ended(hold, "released")),
        };
        if requested > held {
            return Err(Error::ExceedsHold { hold, requested, held });
        }
        let (lots, released) = split(parts, requested);
        let given_back = !released.is_empty();
        self.push(Event::HoldCaptured { hold, points: requested, lots, released, reference });
        if given_back {
            self.level();
        }
        Ok(())
    }

    pub(super) fn release_hold(
        &mut self,
        hold: HoldId,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        match self.hold(&hold)?.stage {
            Stage::Open(_) => {}
            Stage::Released => return Ok(()),
            Stage::Captured(_) => return Err(ended(hold, "captured")),
        }
        self.release(hold, ReleaseReason::Requested, reference);
        self.level();
        Ok(())
    }

    pub(super) fn hold(&self, hold: &HoldId) -> Result<&Hold, Error> {
        self.state.holds.get(hold).ok_or_else(|| Error::UnknownHold(hold.clone()))
    }
}

pub(super) const fn ended(hold: HoldId, how: &'static str) -> Error {
    Error::HoldEnded { hold, how }
}

/// The first `points` of the parts, and what is left of them.
pub(super) fn split(parts: &[Part], points: Points) -> (Vec<Part>, Vec<Part>) {
    let (mut spent, mut left, mut missing) = (Vec::new(), Vec::new(), points);
    for part in parts {
        let here = missing.min(part.points);
        missing = missing.saturating_sub(here);
        let rest = part.points.saturating_sub(here);
        for (points, list) in [(here, &mut spent), (rest, &mut left)] {
            if !points.is_zero() {
                list.push(Part { lot: part.lot.clone(), points });
            }
        }
    }
    (spent, left)
}
