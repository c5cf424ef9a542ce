//! How events make the state.

use super::event::Event;
use super::{Balance, Hold, Wallet};
use crate::holds::{self, Stage};
use crate::id::HoldId;
use crate::money::{Minor, Money};

/// An event that does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// More money moved than there was.
    #[error("more money moved than there was")]
    Overdrawn,
    /// A sum left the range of money.
    #[error("a sum left the range of money")]
    Overflow,
    /// A hold was placed or ended where none could be.
    #[error(transparent)]
    Hold(#[from] holds::Damage),
    /// A hold ended with other money than it had.
    #[error("hold {0} ended with other money than it had")]
    OtherMoney(HoldId),
}

impl Wallet {
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), Damage> {
        match event {
            Event::WalletToppedUp { money, .. } | Event::WalletRefunded { money, .. } => {
                let balance = self.balances.entry(money.currency).or_default();
                *balance = balance.plus(money.amount).ok_or(Damage::Overflow)?;
                Ok(())
            }
            Event::WalletMoneyHeld { hold, money, until, reference } => {
                let balance = self.entry(*money)?;
                *balance = balance.aside(money.amount).ok_or(Damage::Overdrawn)?;
                let placed = Hold::open(*money, (), *until, reference.as_deref());
                Ok(self.holds.insert(hold, placed)?)
            }
            Event::WalletMoneyCaptured { hold, money, released, .. } => {
                self.end_hold(hold, Stage::Captured(*money), money.amount, *released)
            }
            Event::WalletMoneyReleased { hold, money, .. } => {
                self.end_hold(hold, Stage::Released, Minor::ZERO, money.amount)
            }
        }
    }

    fn entry(&mut self, money: Money) -> Result<&mut Balance, Damage> {
        self.balances.get_mut(&money.currency).ok_or(Damage::Overdrawn)
    }

    fn end_hold(
        &mut self,
        hold: &HoldId,
        stage: Stage<(), Money>,
        taken: Minor,
        released: Minor,
    ) -> Result<(), Damage> {
        let held = self.holds.end(hold, stage)?;
        if taken.checked_add(released) != Some(held.amount) {
            return Err(Damage::OtherMoney(hold.clone()));
        }
        let balance = self.entry(held)?;
        *balance = balance.back(held.amount, released).ok_or(Damage::Overdrawn)?;
        Ok(())
    }
}
