//! How events make the state.

use super::Purchase;
use super::event::Event;
use super::order::Order;
use super::refunds::{Refund, Stage};
use super::step::{Step, Way};
use super::trail::{Phase, Reason, Request};

/// An event that does not follow from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// Something happened to a purchase that was never placed.
    #[error("the purchase was never placed")]
    NotPlaced,
    /// It was placed again.
    #[error("the purchase was placed twice")]
    PlacedTwice,
    /// A refund went on that was never asked for.
    #[error("a refund went on that was never asked for")]
    NoRefund,
}

impl Purchase {
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), Damage> {
        if let Event::PurchasePlaced {
            account,
            lines,
            total,
            tenders,
            occurred_at,
            placed_at,
            until,
            reference,
            asked,
        } = event
        {
            if self.order.is_some() {
                return Err(Damage::PlacedTwice);
            }
            self.order = Some(Box::new(Order {
                account: account.clone(),
                lines: lines.clone(),
                total: *total,
                tenders: tenders.clone(),
                occurred_at: *occurred_at,
                placed_at: *placed_at,
                until: *until,
                reference: reference.clone(),
                asked: asked.clone(),
            }));
            return Ok(());
        }
        if self.order.is_none() {
            return Err(Damage::NotPlaced);
        }
        self.apply_to_placed(event)
    }

    fn apply_to_placed(&mut self, event: &Event) -> Result<(), Damage> {
        let trail = &mut self.trail;
        match event {
            Event::PurchasePlaced { .. } => return Err(Damage::PlacedTwice),
            Event::PurchaseStepStarted { step, way, attempt, until } => {
                trail.started(*step, *way, *attempt, *until);
            }
            Event::PurchaseStepDone { step: Step::RefundCard, .. } => {
                trail.call = None;
                self.refunds.open_mut().ok_or(Damage::NoRefund)?.stage = Stage::CardDone;
            }
            Event::PurchaseStepDone { step, payment } => trail.step_done(*step, payment.as_ref()),
            Event::PurchaseStepRefused { reason, detail, .. } => {
                // This attempt had no effect; one before it may have had.
                if let Some(call) = &mut trail.call {
                    call.out = false;
                }
                trail.turn(Reason { code: reason.clone(), detail: detail.clone() });
            }
            Event::PurchaseStepDelayed { step, way, effect, retry_at, .. } => {
                trail.delayed(*step, *way, *effect, *retry_at);
            }
            Event::PurchaseActionRequired { payment, url, retry_at } => {
                trail.payment = Some(payment.clone());
                trail.request = Some(Request { url: url.clone() });
                trail.delayed(Step::AuthoriseCard, Way::Do, super::event::Effect::None, *retry_at);
            }
            Event::PurchaseStepUndone { step } => trail.step_undone(*step),
            Event::PurchaseCancelled { reason, .. } => {
                let detail = reason.clone().unwrap_or_else(|| "cancelled".to_owned());
                trail.turn(Reason { code: "cancelled".to_owned(), detail });
            }
            Event::PurchaseTimedOut {} => {
                let detail = "it was not completed in time".to_owned();
                trail.turn(Reason { code: "timed_out".to_owned(), detail });
            }
            Event::PurchaseStuck { detail, .. } => trail.stuck = Some(detail.clone()),
            Event::PurchaseRetried { .. } => {
                trail.stuck = None;
                trail.call = None;
            }
            // People give the card's part back themselves; the rest of the refund goes on.
            Event::PurchaseStepAbandoned { step: Step::RefundCard, .. } => {
                trail.stuck = None;
                trail.call = None;
                self.refunds.open_mut().ok_or(Damage::NoRefund)?.stage = Stage::CardDone;
            }
            // The next event is the refund's end.
            Event::PurchaseStepAbandoned { step: Step::SettleRefund, .. } => {
                trail.stuck = None;
                trail.call = None;
            }
            Event::PurchaseStepAbandoned { step, .. } => trail.step_undone(*step),
            Event::PurchaseCompleted { .. } => {
                trail.phase = Phase::Completed;
                trail.call = None;
                trail.request = None;
            }
            Event::PurchaseRejected { reason, detail } => {
                trail.phase = Phase::Rejected;
                trail.call = None;
                trail.reason = Some(Reason { code: reason.clone(), detail: detail.clone() });
            }
            Event::PurchaseRefundRequested {
                refund,
                amount,
                lines,
                parts,
                requested_at,
                asked,
                ..
            } => {
                trail.since = Some(*requested_at);
                self.refunds.0.push(Refund {
                    id: refund.clone(),
                    amount: amount.amount,
                    lines: lines.clone(),
                    parts: parts.clone(),
                    stage: Stage::Open,
                    asked: asked.clone(),
                });
            }
            Event::PurchaseRefunded { .. } => {
                trail.call = None;
                self.refunds.open_mut().ok_or(Damage::NoRefund)?.stage = Stage::Done;
            }
        }
        Ok(())
    }
}
