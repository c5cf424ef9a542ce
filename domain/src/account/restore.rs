//! Restore: what a captured hold spent comes back, as a purchase that is undone gives it back.

use chrono::TimeDelta;

use super::error::Error;
use super::event::{Event, Grace, Part};
use super::hold::{ended, split};
use super::issue::check_reference;
use super::settle::sum;
use super::{Draft, Spent};
use crate::expiry::{self, instant};
use crate::holds::Stage;
use crate::id::{HoldId, LotId};
use crate::points::{Amount, Points};

/// How long points can be spent that come back after their own lot has lapsed: the member did not
/// let them lapse, so they come back as something that can be used.
const GRACE_DAYS: i64 = 30;

impl Draft<'_> {
    pub(super) fn restore_hold(
        &mut self,
        hold: HoldId,
        points: Amount,
        known: Option<&Spent>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let requested = points.points();
        let spent = match (self.state.holds.get(&hold).map(|it| &it.stage), known) {
            (Some(Stage::Captured(spent)), _) => spent,
            (Some(Stage::Open(_)), _) => return Err(Error::NotCaptured { hold, how: "open" }),
            (Some(Stage::Released), _) => return Err(ended(hold, "released")),
            // Ended so long ago that it is forgotten here.
            (None, Some(spent)) => spent,
            (None, None) => return self.restore_forgotten(hold, requested, reference),
        };
        let left = spent.points.saturating_sub(spent.restored);
        let Some(kept) = left.checked_sub(requested) else {
            return Err(Error::ExceedsCaptured { hold, requested, left });
        };
        let max = Points::MAX.get();
        if self.state.balance().saturating_add(requested.get()) > max {
            return Err(Error::LimitExceeded { what: "the account's balance", max });
        }
        // Those used last came back first, so what is still spent is the beginning of the parts.
        let (still_spent, _) = split(&spent.lots, left);
        let (_, mut back) = split(&still_spent, kept);
        back.reverse();
        let (lapsed, lots): (Vec<Part>, Vec<Part>) =
            back.into_iter().partition(|part| self.has_lapsed(&part.lot));
        let grace = self.grace(sum(&lapsed))?;
        self.push(Event::PointsRestored { hold, points: requested, lots, grace, reference });
        self.level();
        Ok(())
    }

    /// Nobody knows of which lots they were: all of it comes back as one new lot.
    fn restore_forgotten(
        &mut self,
        hold: HoldId,
        points: Points,
        reference: Option<String>,
    ) -> Result<(), Error> {
        if self.state.balance().saturating_add(points.get()) > Points::MAX.get() {
            let max = Points::MAX.get();
            return Err(Error::LimitExceeded { what: "the account's balance", max });
        }
        let grace = self.grace(points)?;
        self.push(Event::PointsRestored { hold, points, lots: Vec::new(), grace, reference });
        self.level();
        Ok(())
    }

    fn has_lapsed(&self, lot: &LotId) -> bool {
        let expires_at = self.state.lots.get(lot).and_then(|lot| lot.expires_at);
        expires_at.is_some_and(|at| at <= self.context.now)
    }

    /// The new lot for points whose own has lapsed.
    fn grace(&self, points: Points) -> Result<Option<Grace>, Error> {
        if points.is_zero() {
            return Ok(None);
        }
        let lot = LotId::of_command(self.context.command_id);
        if self.state.lots.get(&lot).is_some() {
            return Err(Error::LotOfCommandExists(lot));
        }
        let end = self.context.now.checked_add_signed(TimeDelta::days(GRACE_DAYS));
        let expires_at = end.ok_or(expiry::Error::OutOfRange).and_then(instant);
        let invalid = |why| Error::InvalidTime { field: "/points", why };
        Ok(Some(Grace { lot, points, expires_at: expires_at.map_err(invalid)? }))
    }
}
