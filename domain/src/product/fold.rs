//! How events make the state.

use super::event::Event;
use super::{Details, Hold, Listing, Offering, Product};
use crate::digest::Digest;
use crate::holds::{self, Stage};
use crate::id::HoldId;
use crate::quantity::{Quantity, Units};

/// An event that does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// Something happened to a product that was never created.
    #[error("the product was never created")]
    NoProduct,
    /// It was created again.
    #[error("the product was created twice")]
    CreatedTwice,
    /// More units moved than there were.
    #[error("more units moved than there were")]
    Overdrawn,
    /// A sum left the range of units.
    #[error("a sum left the range of units")]
    Overflow,
    /// A hold was placed or ended where none could be.
    #[error(transparent)]
    Hold(#[from] holds::Damage),
    /// A hold ended with another number of units than it had.
    #[error("hold {0} ended with another number of units than it had")]
    OtherQuantity(HoldId),
}

impl Product {
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), Damage> {
        match event {
            Event::ProductCreated { name, kind, description, image, price } => {
                if self.listing.is_some() {
                    return Err(Damage::CreatedTwice);
                }
                let (description, image) = (description.clone(), image.clone());
                let details = Details { name: name.clone(), description, image, price: *price };
                let created_as = created_as(*kind, &details);
                self.listing = Some(Listing { kind: *kind, details, retired: false, created_as });
                Ok(())
            }
            Event::ProductChanged { name, description, image, price } => {
                let listing = self.listing.as_mut().ok_or(Damage::NoProduct)?;
                let (description, image) = (description.clone(), image.clone());
                listing.details = Details { name: name.clone(), description, image, price: *price };
                Ok(())
            }
            Event::ProductRetired {} => {
                self.listing.as_mut().ok_or(Damage::NoProduct)?.retired = true;
                Ok(())
            }
            Event::StockAdjusted { delta, .. } => {
                let refused = if delta.get() < 0 { Damage::Overdrawn } else { Damage::Overflow };
                self.available = self.available.checked_change(*delta).ok_or(refused)?;
                self.available.checked_add(self.held).ok_or(Damage::Overflow)?;
                Ok(())
            }
            Event::StockHeld { hold, quantity, until, reference } => {
                self.set_aside(quantity.units())?;
                let placed = Hold::open(*quantity, (), *until, reference.as_deref());
                Ok(self.holds.insert(hold, placed)?)
            }
            Event::StockCaptured { hold, quantity, released, .. } => {
                self.end_hold(hold, Stage::Captured(*quantity), quantity.units(), *released)
            }
            Event::StockReleased { hold, quantity, .. } => {
                self.end_hold(hold, Stage::Released, Units::ZERO, quantity.units())
            }
        }
    }

    /// Of a service nothing is set aside, and so nothing comes back.
    fn set_aside(&mut self, units: Units) -> Result<(), Damage> {
        if self.is_counted() {
            self.available = self.available.checked_sub(units).ok_or(Damage::Overdrawn)?;
            self.held = self.held.checked_add(units).ok_or(Damage::Overflow)?;
        }
        Ok(())
    }

    fn end_hold(
        &mut self,
        hold: &HoldId,
        stage: Stage<(), Quantity>,
        taken: Units,
        back: Units,
    ) -> Result<(), Damage> {
        let held = self.holds.end(hold, stage)?;
        if taken.checked_add(back) != Some(held.units()) {
            return Err(Damage::OtherQuantity(hold.clone()));
        }
        if self.is_counted() {
            self.held = self.held.checked_sub(held.units()).ok_or(Damage::Overdrawn)?;
            self.available = self.available.checked_add(back).ok_or(Damage::Overflow)?;
        }
        Ok(())
    }
}

/// Stands for what a product was created as.
pub(super) fn created_as(kind: Offering, details: &Details) -> Digest {
    Digest::of(&[
        Some(kind.as_str()),
        Some(&details.name),
        details.description.as_deref(),
        details.image.as_deref(),
        Some(&details.price.amount.get().to_string()),
        Some(details.price.currency.code()),
    ])
}
