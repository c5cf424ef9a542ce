//! What the saga and operators ask of a purchase: the next move, in its turn.

use super::Draft;
use super::command::Command;
use super::error::Error;
use super::event::Event;
use super::order::Order;
use super::step::{Step, Turn, Way};
use super::trail::Phase;
use crate::account::event::Part;
use crate::aggregate::Context;
use crate::text;

impl Draft<'_> {
    pub(super) fn go_on(&mut self, command: Command, context: &Context<'_>) -> Result<(), Error> {
        match command {
            // Decided by whoever calls this.
            Command::Place(_) | Command::Cancel { .. } | Command::Refund(_) => {}
            Command::Start { turn, until } => {
                self.check_turn(&turn)?;
                let Turn { step, way, .. } = turn;
                let call = self.state.trail.call.as_ref();
                if call.is_some_and(|call| call.next > context.now) {
                    return Err(Error::OutOfTurn);
                }
                let attempts = call.map_or(0, |call| call.attempts);
                let attempt = attempts.saturating_add(1);
                self.push(Event::PurchaseStepStarted { step, way, attempt, until });
            }
            Command::Done { turn, payment, spent } => self.done(&turn, payment, spent)?,
            Command::Undone { step } => {
                self.check_turn(&Turn { step, way: Way::Undo, refund: None })?;
                self.push(Event::PurchaseStepUndone { step });
                self.reject_if_undone();
            }
            Command::Refused { turn, reason, detail } => {
                self.check_turn(&turn)?;
                let Turn { step, way, .. } = turn;
                if self.state.trail.phase == Phase::Forward {
                    self.push(Event::PurchaseStepRefused { step, reason, detail });
                    self.reject_if_undone();
                } else {
                    // What must be undone or given back, and is refused, is for people to see.
                    let detail = format!("{reason}: {detail}");
                    self.push(Event::PurchaseStuck { step, way, detail, refused: true });
                }
            }
            Command::Delay { turn, effect, detail, retry_at } => {
                self.check_turn(&turn)?;
                let Turn { step, way, .. } = turn;
                self.push(match retry_at {
                    Some(retry_at) => {
                        Event::PurchaseStepDelayed { step, way, effect, detail, retry_at }
                    }
                    None => Event::PurchaseStuck { step, way, detail, refused: false },
                });
            }
            Command::AskCustomer { payment, url, retry_at } => {
                self.check_turn(&Turn { step: Step::AuthoriseCard, way: Way::Do, refund: None })?;
                self.push(Event::PurchaseActionRequired { payment, url, retry_at });
            }
            Command::TimeOut => {
                let over = self.order()?.until <= context.now;
                if self.state.trail.phase != Phase::Forward || !over {
                    return Err(Error::OutOfTurn);
                }
                self.push(Event::PurchaseTimedOut {});
                self.reject_if_undone();
            }
            Command::Retry { reason, actor } => {
                check_verb(&reason, &actor)?;
                let (step, _) = self.stuck()?;
                // Under the key of what was refused the provider would say the same again.
                let refused = self.state.stuck().is_some_and(|it| it.refused);
                let key = (refused && step.is_outside()).then(|| self.state.key(step).next());
                self.push(Event::PurchaseRetried { reason, actor, key });
            }
            Command::Abandon { reason, actor } => {
                check_verb(&reason, &actor)?;
                let (step, way) = self.stuck()?;
                self.push(Event::PurchaseStepAbandoned { step, way, reason, actor });
                if step == Step::SettleRefund {
                    self.refunded()?;
                }
                self.reject_if_undone();
            }
            Command::RefundFailed { refund, key, detail } => {
                // Told again, or about a call that people have replaced since.
                if self.state.is_news(refund.as_ref(), key) {
                    self.push(Event::PurchaseRefundFailed { refund, key, detail });
                }
            }
        }
        Ok(())
    }

    fn done(
        &mut self,
        turn: &Turn,
        payment: Option<String>,
        spent: Vec<Part>,
    ) -> Result<(), Error> {
        let step = turn.step;
        // The answer to a call that was made before the way turned: it only tells the name of
        // the payment that is to be undone.
        let late = step.is_outside() && self.state.trail.phase == Phase::Back;
        if late && self.state.trail.done.contains(&step) {
            if payment.is_some() && self.state.trail.payment.is_none() {
                self.push(Event::PurchaseStepDone { step, payment });
            }
            return Ok(());
        }
        self.check_turn(turn)?;
        match step {
            Step::Settle => {
                let order = self.order()?.clone();
                let paid = order.paid();
                self.push(Event::PurchaseCompleted {
                    account: order.account,
                    lines: order.lines,
                    total: order.total,
                    discounts: order.discounts,
                    paid,
                    tenders: order.tenders,
                    spent,
                    occurred_at: order.occurred_at,
                    reference: order.reference,
                });
            }
            Step::SettleRefund => self.refunded()?,
            Step::HoldStock
            | Step::HoldTenders
            | Step::AuthoriseCard
            | Step::CaptureCard
            | Step::RefundCard => self.push(Event::PurchaseStepDone { step, payment }),
        }
        Ok(())
    }

    fn refunded(&mut self) -> Result<(), Error> {
        let order = self.order()?;
        let refund = self.state.refunds.open().ok_or(Error::OutOfTurn)?;
        let amount = crate::money::Money { amount: refund.amount, currency: order.total.currency };
        let event = Event::PurchaseRefunded {
            refund: refund.id.clone(),
            account: order.account.clone(),
            amount,
            parts: refund.parts.clone(),
            lines: refund.lines.clone(),
            returned: self.state.refunds.returned(order, refund),
            paid: order.paid(),
        };
        self.push(event);
        Ok(())
    }

    fn order(&self) -> Result<&Order, Error> {
        self.state.order().ok_or(Error::Unknown)
    }

    /// Is this the move that is to be made now?
    fn check_turn(&self, turn: &Turn) -> Result<(), Error> {
        let order = self.order()?;
        let refund = self.state.refunds.next_step(order);
        let pending = self.state.trail.pending(order, refund);
        let pending = pending.map(|(step, way)| self.state.turn(step, way));
        let stuck = self.state.stuck().is_some();
        if stuck || pending.as_ref() != Some(turn) { Err(Error::OutOfTurn) } else { Ok(()) }
    }

    /// The move that is stuck.
    fn stuck(&self) -> Result<(Step, Way), Error> {
        let order = self.order()?;
        let refund = self.state.refunds.next_step(order);
        let stuck = self.state.stuck().is_some();
        let pending = self.state.trail.pending(order, refund).filter(|_| stuck);
        pending.ok_or(Error::NotStuck)
    }

    /// When the last step is undone, that is its end.
    pub(super) fn reject_if_undone(&mut self) {
        let trail = &self.state.trail;
        if trail.phase != Phase::Back || !trail.done.is_empty() {
            return;
        }
        if let Some(reason) = trail.reason.clone() {
            let (reason, detail) = (reason.code, reason.detail);
            self.push(Event::PurchaseRejected { reason, detail });
        }
    }
}

fn check_verb(reason: &str, actor: &str) -> Result<(), Error> {
    let invalid = |field| move |why| Error::InvalidText { field, why };
    text::check(reason).map_err(invalid("/reason"))?;
    text::check(actor).map_err(invalid("/actor"))
}
