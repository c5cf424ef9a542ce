//! What time does to an account: overdue holds are released, lapsed lots expire; and what free
//! points do to a debt.

use super::Draft;
use super::event::{Event, Part, ReleaseReason};
use super::lots::Lot;
use crate::holds::Stage;
use crate::id::{HoldId, LotId};
use crate::points::Points;

/// Most lots that one event names; more make further events.
pub(super) const PARTS_MAX: usize = 1_000;

impl Draft<'_> {
    /// Makes the state what time has made of it as of now.
    pub(super) fn settle(&mut self) {
        let overdue = self.state.holds.overdue(self.context.now);
        let overdue: Vec<HoldId> = overdue.map(|(hold, _)| hold.clone()).collect();
        for hold in overdue {
            self.release(hold, ReleaseReason::Deadline, None);
        }
        self.level();
    }

    /// After points became free: lapsed ones expire, and the others repay a debt.
    pub(super) fn level(&mut self) {
        let now = self.context.now;
        let lapsed: Vec<Part> = self.state.lots.lapsed(now).map(all_free).collect();
        for lots in lapsed.chunks(PARTS_MAX) {
            self.push(Event::PointsExpired { points: sum(lots), lots: lots.to_vec() });
        }
        if self.state.debt.is_zero() || self.state.lots.free() == 0 {
            return;
        }
        let lots = &self.state.lots;
        let (parts, _) = gather(self.state.debt, lots.spendable(now).chain(lots.waiting(now)));
        for lots in parts.chunks(PARTS_MAX) {
            self.push(Event::DebtRepaid { points: sum(lots), lots: lots.to_vec() });
        }
    }

    /// Ends an open hold; all that it pinned goes back. The caller levels afterwards.
    pub(super) fn release(
        &mut self,
        hold: HoldId,
        reason: ReleaseReason,
        reference: Option<String>,
    ) {
        let lots = match self.state.holds.get(&hold).map(|seen| &seen.stage) {
            Some(Stage::Open(parts)) => parts.clone(),
            Some(Stage::Captured(_) | Stage::Released) | None => Vec::new(),
        };
        let points = sum(&lots);
        self.push(Event::HoldReleased { hold, points, lots, reason, reference });
    }
}

/// Takes parts from lots in their order until `need` is met; the second value is what is missing.
pub(super) fn gather<'l>(
    need: Points,
    lots: impl Iterator<Item = (&'l LotId, &'l Lot)>,
) -> (Vec<Part>, Points) {
    let mut parts = Vec::new();
    let mut missing = need;
    for (lot, Lot { free, .. }) in lots {
        if missing.is_zero() {
            break;
        }
        let points = missing.min(*free);
        missing = missing.saturating_sub(points);
        parts.push(Part { lot: lot.clone(), points });
    }
    (parts, missing)
}

fn all_free((id, lot): (&LotId, &Lot)) -> Part {
    Part { lot: id.clone(), points: lot.free }
}

/// The sum of parts. It cannot leave the range of points: all parts are of one account, whose
/// balance does not.
pub(super) fn sum(parts: &[Part]) -> Points {
    parts
        .iter()
        .try_fold(Points::ZERO, |sum, part| sum.checked_add(part.points))
        .unwrap_or(Points::MAX)
}
