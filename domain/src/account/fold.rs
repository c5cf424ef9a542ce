//! How events make the state.

use std::sync::LazyLock;

use super::command::Source;
use super::event::{Event, Grace, Part};
use super::lots::Lot;
use super::{Account, Hold, Spent};
use crate::digest::Digest;
use crate::holds::{self, Stage};
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
    /// A hold was placed or ended where none could be.
    #[error(transparent)]
    Hold(#[from] holds::Damage),
    /// More came back than the hold had spent.
    #[error("hold {0} gave back more points than it had spent")]
    Unspent(HoldId),
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
                let placed = Hold::open(*points, lots.clone(), *until, reference.as_deref());
                Ok(self.holds.insert(hold, placed)?)
            }
            Event::HoldCaptured { hold, points, lots, released, .. } => {
                let restored = Points::ZERO;
                let spent = Spent { points: *points, lots: lots.clone(), restored };
                self.end_hold(hold, Stage::Captured(spent), lots, released)
            }
            Event::HoldReleased { hold, lots, .. } => {
                self.end_hold(hold, Stage::Released, &[], lots)
            }
            Event::PointsRestored { hold, points, lots, grace, .. } => {
                self.restore(hold, *points, lots, grace.as_ref())
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
        stage: Stage<Vec<Part>, Spent>,
        spent: &[Part],
        released: &[Part],
    ) -> Result<(), Damage> {
        self.holds.end(hold, stage)?;
        self.lots.capture(spent)?;
        self.lots.release(released)
    }

    fn restore(
        &mut self,
        hold: &HoldId,
        points: Points,
        lots: &[Part],
        grace: Option<&Grace>,
    ) -> Result<(), Damage> {
        // Of a hold that is forgotten nothing is left to compare with.
        if self.holds.get(hold).is_some() {
            let unspent = || Damage::Unspent(hold.clone());
            let spent = self.holds.captured_mut(hold).ok_or_else(unspent)?;
            let restored = spent.restored.checked_add(points).filter(|it| *it <= spent.points);
            spent.restored = restored.ok_or_else(unspent)?;
        }
        self.lots.restore(lots)?;
        let Some(Grace { lot, points, expires_at }) = grace else { return Ok(()) };
        let new = self.new_lot(*points, grace_digest(hold));
        self.lots.insert(lot, Lot { expires_at: Some(*expires_at), ..new })
    }
}

/// Stands for an issue's source and note.
pub(super) fn issue_digest(source: &Source, reference: Option<&str>) -> Digest {
    /// Of nearly every issue: one without a note.
    static PLAIN: LazyLock<Digest> = LazyLock::new(|| Digest::of(&[Some("issue"), None]));
    match source {
        Source::Issue if reference.is_none() => *PLAIN,
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

/// Stands for the hold whose points came back too late for their lots.
fn grace_digest(hold: &HoldId) -> Digest {
    Digest::of(&[Some("grace"), Some(hold.as_str())])
}

const fn sale_of(source: &Source) -> Option<&SaleId> {
    match source {
        Source::Campaign { sale, .. } => sale.as_ref(),
        Source::Issue | Source::Adjustment => None,
    }
}
