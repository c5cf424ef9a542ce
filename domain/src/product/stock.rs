//! Stock: units that come and go, and holds on them.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::event::Event;
use super::{Draft, Hold};
use crate::account::event::ReleaseReason;
use crate::holds::Stage;
use crate::id::HoldId;
use crate::quantity::{Delta, Quantity};
use crate::{deadline, expiry, text};

impl Draft<'_> {
    /// Makes the state what time has made of it as of now.
    pub(super) fn settle(&mut self) {
        let overdue = self.state.holds.overdue(self.context.now);
        let overdue: Vec<_> = overdue.map(|(hold, quantity)| (hold.clone(), quantity)).collect();
        for (hold, quantity) in overdue {
            let reason = ReleaseReason::Deadline;
            self.push(Event::StockReleased { hold, quantity, reason, reference: None });
        }
    }

    pub(super) fn adjust_stock(
        &mut self,
        delta: Delta,
        reason: String,
        reference: Option<String>,
    ) -> Result<(), Error> {
        self.listing()?;
        text::check(&reason).map_err(|why| Error::InvalidText { field: "/reason", why })?;
        check_reference(reference.as_deref())?;
        if !self.state.is_counted() {
            return Err(Error::NoStock);
        }
        let available = self.state.available;
        if delta.get() < 0 {
            available.checked_change(delta).ok_or(Error::BelowHeld { delta, available })?;
        } else {
            let on_hand = available.checked_add(self.state.held);
            let more = on_hand.and_then(|on_hand| on_hand.checked_change(delta));
            more.ok_or(Error::LimitExceeded)?;
        }
        self.push(Event::StockAdjusted { delta, reason, reference });
        Ok(())
    }

    pub(super) fn hold_stock(
        &mut self,
        hold: HoldId,
        quantity: Quantity,
        until: Option<DateTime<Utc>>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        let retired = self.listing()?.retired;
        check_reference(reference.as_deref())?;
        let until = until.map(expiry::instant).transpose().map_err(Error::InvalidTime)?;
        if let Some(seen) = self.state.holds.get(&hold) {
            // A retry gets the first answer, whatever became of the hold since.
            let same = seen.was_placed_as(&quantity, until, reference.as_deref());
            return if same { Ok(()) } else { Err(Error::HoldExists(hold)) };
        }
        if retired {
            return Err(Error::Retired);
        }
        if until.is_some_and(|until| !deadline::is_near(until, self.context.now)) {
            return Err(Error::InvalidUntil);
        }
        let available = self.state.available;
        if self.state.is_counted() && quantity.units() > available {
            return Err(Error::InsufficientStock { requested: quantity, available });
        }
        self.push(Event::StockHeld { hold, quantity, until, reference });
        Ok(())
    }

    pub(super) fn capture_stock(
        &mut self,
        hold: HoldId,
        quantity: Option<Quantity>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        self.listing()?;
        check_reference(reference.as_deref())?;
        let seen = self.hold(&hold)?;
        let held = seen.amount;
        let requested = quantity.unwrap_or(held);
        match seen.stage {
            Stage::Open(()) => {}
            Stage::Captured(before) if before == requested => return Ok(()),
            Stage::Captured(_) => return Err(Error::HoldEnded { hold, how: "captured" }),
            Stage::Released => return Err(Error::HoldEnded { hold, how: "released" }),
        }
        let Some(released) = held.rest(requested) else {
            return Err(Error::ExceedsHold { hold, requested, held });
        };
        self.push(Event::StockCaptured { hold, quantity: requested, released, reference });
        Ok(())
    }

    pub(super) fn release_stock(
        &mut self,
        hold: HoldId,
        reference: Option<String>,
    ) -> Result<(), Error> {
        self.listing()?;
        check_reference(reference.as_deref())?;
        let seen = self.hold(&hold)?;
        let quantity = seen.amount;
        match seen.stage {
            Stage::Open(()) => {}
            Stage::Released => return Ok(()),
            Stage::Captured(_) => return Err(Error::HoldEnded { hold, how: "captured" }),
        }
        let reason = ReleaseReason::Requested;
        self.push(Event::StockReleased { hold, quantity, reason, reference });
        Ok(())
    }

    fn hold(&self, hold: &HoldId) -> Result<&Hold, Error> {
        self.state.holds.get(hold).ok_or_else(|| Error::UnknownHold(hold.clone()))
    }
}

fn check_reference(reference: Option<&str>) -> Result<(), Error> {
    text::check_optional(reference).map_err(|why| Error::InvalidText { field: "/reference", why })
}
