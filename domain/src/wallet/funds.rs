//! Money that comes in, is set aside, and leaves.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::event::Event;
use super::{Draft, Hold};
use crate::account::event::ReleaseReason;
use crate::holds::Stage;
use crate::id::HoldId;
use crate::money::Money;
use crate::{deadline, expiry, text};

impl Draft<'_> {
    /// Makes the state what time has made of it as of now.
    pub(super) fn settle(&mut self) {
        let overdue = self.state.holds.overdue(self.context.now);
        let overdue: Vec<_> = overdue.map(|(hold, money)| (hold.clone(), money)).collect();
        for (hold, money) in overdue {
            let reason = ReleaseReason::Deadline;
            self.push(Event::WalletMoneyReleased { hold, money, reason, reference: None });
        }
    }

    pub(super) fn top_up(&mut self, money: Money, reference: Option<String>) -> Result<(), Error> {
        self.check_incoming(money, reference.as_deref())?;
        self.push(Event::WalletToppedUp { money, reference });
        Ok(())
    }

    pub(super) fn refund(&mut self, money: Money, reference: Option<String>) -> Result<(), Error> {
        self.check_incoming(money, reference.as_deref())?;
        self.push(Event::WalletRefunded { money, reference });
        Ok(())
    }

    fn check_incoming(&self, money: Money, reference: Option<&str>) -> Result<(), Error> {
        check_amount(money)?;
        check_reference(reference)?;
        let balance = self.state.balance(money.currency);
        balance.plus(money.amount).map(|_| ()).ok_or(Error::LimitExceeded)
    }

    pub(super) fn hold(
        &mut self,
        hold: HoldId,
        money: Money,
        until: Option<DateTime<Utc>>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        check_amount(money)?;
        check_reference(reference.as_deref())?;
        let until = until.map(expiry::instant).transpose().map_err(Error::InvalidTime)?;
        self.check_open()?;
        if let Some(seen) = self.state.holds.get(&hold) {
            // A retry gets the first answer, whatever became of the hold since.
            let same = seen.was_placed_as(&money, until, reference.as_deref());
            return if same { Ok(()) } else { Err(Error::HoldExists(hold)) };
        }
        if until.is_some_and(|until| !deadline::is_near(until, self.context.now)) {
            return Err(Error::InvalidUntil);
        }
        let available = self.state.balance(money.currency).available;
        if money.amount > available {
            let available = Money { amount: available, ..money };
            return Err(Error::InsufficientFunds { requested: money, available });
        }
        self.push(Event::WalletMoneyHeld { hold, money, until, reference });
        Ok(())
    }

    pub(super) fn capture(
        &mut self,
        hold: HoldId,
        money: Option<Money>,
        reference: Option<String>,
    ) -> Result<(), Error> {
        money.map_or(Ok(()), check_amount)?;
        check_reference(reference.as_deref())?;
        let seen = self.seen(&hold)?;
        let held = seen.amount;
        let requested = money.unwrap_or(held);
        if requested.currency != held.currency {
            let (requested, held) = (requested.currency, held.currency);
            return Err(Error::CurrencyMismatch { hold, requested, held });
        }
        match seen.stage {
            Stage::Open(()) => {}
            Stage::Captured(before) if before == requested => return Ok(()),
            Stage::Captured(_) => return Err(Error::HoldEnded { hold, how: "captured" }),
            Stage::Released => return Err(Error::HoldEnded { hold, how: "released" }),
        }
        let Some(released) = held.amount.checked_sub(requested.amount) else {
            return Err(Error::ExceedsHold { hold, requested, held });
        };
        self.push(Event::WalletMoneyCaptured { hold, money: requested, released, reference });
        Ok(())
    }

    pub(super) fn release(&mut self, hold: HoldId, reference: Option<String>) -> Result<(), Error> {
        check_reference(reference.as_deref())?;
        let seen = self.seen(&hold)?;
        let money = seen.amount;
        match seen.stage {
            Stage::Open(()) => {}
            Stage::Released => return Ok(()),
            Stage::Captured(_) => return Err(Error::HoldEnded { hold, how: "captured" }),
        }
        let reason = ReleaseReason::Requested;
        self.push(Event::WalletMoneyReleased { hold, money, reason, reference });
        Ok(())
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.state.is_open() { Ok(()) } else { Err(Error::Unknown) }
    }

    fn seen(&self, hold: &HoldId) -> Result<&Hold, Error> {
        self.check_open()?;
        self.state.holds.get(hold).ok_or_else(|| Error::UnknownHold(hold.clone()))
    }
}

const fn check_amount(money: Money) -> Result<(), Error> {
    if money.amount.is_zero() { Err(Error::ZeroAmount) } else { Ok(()) }
}

fn check_reference(reference: Option<&str>) -> Result<(), Error> {
    text::check_optional(reference).map_err(Error::InvalidReference)
}
