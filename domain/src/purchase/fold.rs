//! How events make the state.

use super::Purchase;
use super::event::{Effect, Event};
use super::order::Order;
use super::refunds::{Refund, Stage};
use super::step::{KeyNumber, Step, Way};
use super::trail::{Phase, Reason, Request, Stuck};

/// What a purchase waits for that waits for its customer.
const ASKED: &str = "the customer is asked to act";

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
            discounts,
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
                discounts: discounts.clone(),
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
                if step.is_of_refund() {
                    let refund = self.refunds.open_mut().ok_or(Damage::NoRefund)?;
                    refund.called.get_or_insert(*until);
                }
            }
            Event::PurchaseStepDone { step: Step::RefundCard, .. } => {
                trail.call = None;
                self.refunds.open_mut().ok_or(Damage::NoRefund)?.card_done();
            }
            Event::PurchaseStepDone { step, payment } => trail.step_done(*step, payment.as_ref()),
            Event::PurchaseStepRefused { reason, detail, .. } => {
                // This attempt had no effect; one before it may have had.
                if let Some(call) = &mut trail.call {
                    call.out = false;
                }
                trail.turn(Reason { code: reason.clone(), detail: detail.clone() });
            }
            Event::PurchaseStepDelayed { step, way, effect, retry_at, detail } => {
                trail.delayed(*step, *way, *effect, *retry_at, detail);
            }
            Event::PurchaseActionRequired { payment, url, retry_at } => {
                trail.payment = Some(payment.clone());
                trail.request = Some(Request { url: url.clone() });
                let (step, way) = (Step::AuthoriseCard, Way::Do);
                trail.delayed(step, way, Effect::None, *retry_at, ASKED);
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
            Event::PurchaseStuck { step, detail, refused, .. } => {
                let stuck = Some(Stuck { detail: detail.clone(), refused: *refused });
                if step.is_of_refund() {
                    self.refunds.open_mut().ok_or(Damage::NoRefund)?.stuck = stuck;
                } else {
                    trail.stuck = stuck;
                }
            }
            Event::PurchaseRetried { key, .. } => {
                trail.call = None;
                if trail.phase == Phase::Completed {
                    let refund = self.refunds.open_mut().ok_or(Damage::NoRefund)?;
                    refund.stuck = None;
                    if let Some(key) = key {
                        (refund.key, refund.called) = (*key, None);
                    }
                } else {
                    trail.stuck = None;
                    if let Some(key) = key {
                        trail.renew(*key);
                    }
                }
            }
            // People give the card's part back themselves; the rest of the refund goes on.
            Event::PurchaseStepAbandoned { step: Step::RefundCard, .. } => {
                trail.call = None;
                let refund = self.refunds.open_mut().ok_or(Damage::NoRefund)?;
                refund.by_hand = true;
                refund.card_done();
            }
            // The next event is the refund's end.
            Event::PurchaseStepAbandoned { step: Step::SettleRefund, .. } => {
                trail.call = None;
                self.refunds.open_mut().ok_or(Damage::NoRefund)?.stuck = None;
            }
            Event::PurchaseStepAbandoned { step, .. } => {
                trail.by_hand |= *step == Step::CaptureCard;
                trail.step_undone(*step);
            }
            Event::PurchaseRefundFailed { refund, detail, .. } => {
                let stuck = Stuck { detail: detail.clone(), refused: true };
                match refund {
                    // Another refund's call may be out: it is made again under its own key.
                    Some(refund) => {
                        trail.call = None;
                        let refund = self.refunds.get_mut(refund).ok_or(Damage::NoRefund)?;
                        refund.card_failed(stuck);
                    }
                    None => trail.return_failed(stuck),
                }
            }
            Event::PurchaseCompleted { spent, .. } => {
                self.spent.clone_from(spent);
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
                    key: KeyNumber::default(),
                    called: None,
                    stuck: None,
                    by_hand: false,
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
