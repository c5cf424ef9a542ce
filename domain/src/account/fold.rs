//! How events make the state.

use super::Account;
use super::command::Source;
use super::event::{Event, Part};
use super::holds::{Hold, Stage};
use super::lots::Lot;
use crate::digest::Digest;
use crate::id::{HoldId, LotId, SaleId};
use crate::points::Points;

/// An event that does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Points of a lot moved that was never issued.
    #[error("lot {0} was never issued")]
    NoLot(LotId),
    /// A lot's id was issued again.
    #[error("lot {0} was issued twice")]
    LotTwice(LotId),
    /// More points of a lot moved than it had.
    #[error("lot {0} gave more points than it had")]
    Overdrawn(LotId),
    /// A hold ended that was never placed.
    #[error("hold {0} was never placed")]
    NoHold(HoldId),
    /// A hold was placed or ended twice.
    #[error("hold {0} was placed or ended twice")]
    HoldTwice(HoldId),
    /// More debt was repaid than there was.
    #[error("more debt was repaid than there was")]
    NoDebt,
    /// A sum left the range of points.
    #[error("a sum left the range of points")]
    Overflow,
}

impl Account {
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), Damage> {
        self.opened = true;
        match event {
            Event::AccountOpened {} => Ok(()),
            Event::PointsIssued { lot, points, available_from, expires_at, source, reference } => {
                let digest = issue_digest(source, reference.as_deref());
                let new = Lot {
                    available_from: *available_from,
                    expires_at: *expires_at,
                    sale: sale_of(source).cloned(),
                    ..self.new_lot(*points, digest)
                };
                self.lots.insert(lot, new)
            }
            Event::PointsCredited { lot, points, expires_at, reason, actor, reference } => {
                let digest = credit_digest(reason, actor, reference.as_deref());
                let new = Lot { expires_at: *expires_at, ..self.new_lot(*points, digest) };
                self.lots.insert(lot, new)
            }
            Event::PointsRedeemed { lots, .. }
            | Event::PointsDebited { lots, .. }
            | Event::PointsExpired { lots, .. } => self.lots.take(lots),
            Event::PointsReversed { lot, points, lots, debt, .. } => {
                self.lots.reverse(lot, *points)?;
                self.lots.take(lots)?;
                self.debt = self.debt.checked_add(*debt).ok_or(Damage::Overflow)?;
                Ok(())
            }
            Event::DebtRepaid { points, lots } => {
                self.lots.take(lots)?;
                self.debt = self.debt.checked_sub(*points).ok_or(Damage::NoDebt)?;
                Ok(())
            }
            Event::HoldPlaced { hold, points, lots, until, reference } => {
                self.lots.hold(lots)?;
                let digest = Digest::of(&[reference.as_deref()]);
                let stage = Stage::Open(lots.clone());
                self.holds.insert(hold, Hold { points: *points, until: *until, stage, digest })
            }
            Event::HoldCaptured { hold, points, lots, released, .. } => {
                self.end_hold(hold, Stage::Captured(*points), lots, released)
            }
            Event::HoldReleased { hold, lots, .. } => {
                self.end_hold(hold, Stage::Released, &[], lots)
            }
        }
    }

    fn new_lot(&self, points: Points, digest: Digest) -> Lot {
        Lot {
            sequence: u64::try_from(self.lots.count()).unwrap_or(u64::MAX),
            issued: points,
            free: points,
            held: Points::ZERO,
            reversed: Points::ZERO,
            available_from: None,
            expires_at: None,
            sale: None,
            digest,
        }
    }

    fn end_hold(
        &mut self,
        hold: &HoldId,
        stage: Stage,
        spent: &[Part],
        released: &[Part],
    ) -> Result<(), Damage> {
        self.holds.end(hold, stage)?;
        self.lots.capture(spent)?;
        self.lots.release(released)
    }
}

/// Stands for an issue's source and note.
pub(super) fn issue_digest(source: &Source, reference: Option<&str>) -> Digest {
    match source {
        Source::Issue => Digest::of(&[Some("issue"), reference]),
        Source::Adjustment => Digest::of(&[Some("adjustment"), reference]),
        Source::Campaign { campaign, version, event, sale } => Digest::of(&[
            Some("campaign"),
            reference,
            Some(campaign.as_str()),
            Some(&version.to_string()),
            Some(&event.to_string()),
            sale.as_ref().map(SaleId::as_str),
        ]),
    }
}

/// Stands for a credit's reason, actor and note.
pub(super) fn credit_digest(reason: &str, actor: &str, reference: Option<&str>) -> Digest {
    Digest::of(&[Some("credit"), Some(reason), Some(actor), reference])
}

const fn sale_of(source: &Source) -> Option<&SaleId> {
    match source {
        Source::Campaign { sale, .. } => sale.as_ref(),
        Source::Issue | Source::Adjustment => None,
    }
}
