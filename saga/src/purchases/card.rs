//! The card's part of a purchase: which calls to the payment provider a step is. How they are made,
//! and what their answers mean, is in `calls`.
//!
//! Invariants
//! - Each call that changes something carries a key that follows from the purchase and the step,
//!   so however often it is made it has one effect.
//! - A call that people ask for anew, because it was refused, has a key of its own: see `keys`.
//! - A step counts as refused only when the provider says so. Anything else is tried again.
//! - Providers forget keys, Stripe after a day. Where the first call under a key is nearly as old,
//!   what it has come to is looked up, and the call made again only if there is nothing of it.
//! - What may have happened is undone by first making sure: an authorisation whose answer was
//!   lost is asked for again under its own key, which tells the payment without making another.

mod calls;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use accrue_domain::action::Action;
use accrue_domain::id::{ProgramId, PurchaseId, RefundId};
use accrue_domain::money::{Minor, Money};
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::command::Command;
use accrue_domain::purchase::event::Effect;
use accrue_domain::purchase::order::Order;
use accrue_domain::purchase::step::{KeyNumber, Step, Way};
use accrue_gateways::payment::names::{PaymentId, Reference};
use accrue_gateways::payment::{
    Authorise, NotDone, Outcome, Part, Payment, Refund, RefundState, State, Trouble,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::keys::Keys;
use super::name;
use super::payments::{Kind, Payments};
use crate::story::{Outside, Story};

use calls::{Calls, Ended, Old};

/// How soon it is looked again whether a customer has acted.
const CUSTOMER_POLL: TimeDelta = TimeDelta::seconds(10);

/// The longest pause between two such looks; a webhook tells sooner.
const CUSTOMER_POLL_MAX: TimeDelta = TimeDelta::minutes(5);

/// Ever more seldom: a customer who has not acted for long is not expected this second, and each
/// look leaves its mark in the log.
fn poll(placed_at: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    let waited = now.signed_duration_since(placed_at);
    (waited / 4).clamp(CUSTOMER_POLL, CUSTOMER_POLL_MAX)
}

/// What stands between program and purchase in the name of a payment.
const REFERENCE_INFIX: &str = "/purchase/";

/// What is said where no provider is configured.
const NO_GATEWAY: &str = "no payment provider is configured on this server";

/// A purchase's name at the provider. Neither id has a `/`, so it names one purchase.
fn reference(program: &ProgramId, id: &PurchaseId) -> String {
    format!("{program}{REFERENCE_INFIX}{id}")
}

/// The purchase that a payment of ours is for.
pub(super) fn referred(reference: &Reference) -> Option<(ProgramId, PurchaseId)> {
    let (program, id) = reference.as_str().split_once(REFERENCE_INFIX)?;
    Some((ProgramId::new(program).ok()?, PurchaseId::new(id).ok()?))
}

/// The card of one purchase.
pub(super) struct Card<'a> {
    pub(super) payments: &'a Payments,
    pub(super) story: &'a Story<PurchaseId>,
    pub(super) order: &'a Order,
    pub(super) state: &'a Purchase,
    pub(super) now: DateTime<Utc>,
}

impl Card<'_> {
    /// Have the money held.
    pub(super) fn authorise(&self) -> Outside {
        self.outside(Step::AuthoriseCard, Way::Do, |calls| {
            Box::pin(async move {
                let outcome = calls.ask().await;
                calls.authorised(outcome)
            })
        })
    }

    /// The customer was asked to act: have they?
    pub(super) fn look_up(&self) -> Outside {
        let looked = self.outside(Step::AuthoriseCard, Way::Do, |calls| {
            Box::pin(async move {
                let Some(payment) = calls.payment.clone() else {
                    return calls.refused("payment_declined", "there is no payment to look at");
                };
                let looked = calls.payments.call(Kind::LookUp, |it| it.look_up(&payment)).await;
                match looked {
                    Ok(payment) => calls.authorised(Ok(payment)),
                    // Reading proves nothing: it is looked again.
                    Err(not_done) => {
                        calls.delay(Effect::Unknown, &not_done.to_string(), CUSTOMER_POLL)
                    }
                }
            })
        });
        // Nothing is changed by looking, so nothing has to be noted before.
        Outside { before: None, ..looked }
    }

    /// End the hold; nothing to do where none came about.
    pub(super) fn void(&self) -> Outside {
        // Money that was taken has been given back in its turn, by us or by people.
        let returned = self.state.trail().returned();
        self.outside(Step::AuthoriseCard, Way::Undo, move |calls| {
            Box::pin(async move {
                let payment = match calls.known().await {
                    Ok(payment) => payment,
                    Err(answer) => return answer,
                };
                let ended = if returned {
                    calls.end(&payment).await.map(|_| ())
                } else {
                    calls.end_or_return(&payment).await
                };
                match ended {
                    Ok(()) => calls.undone(),
                    Err(not_done) => calls.not_done(&not_done),
                }
            })
        })
    }

    /// Take the money.
    pub(super) fn capture(&self) -> Outside {
        let money = self.money();
        self.outside(Step::CaptureCard, Way::Do, move |calls| {
            Box::pin(async move {
                let Some(payment) = calls.payment.clone() else {
                    return calls.refused("payment_declined", "there is no payment to capture");
                };
                match calls.take(&payment, money).await {
                    Ok(payment) => calls.done(Some(&payment.id)),
                    Err(NotDone::Refused(why)) => calls.not_captured(&payment, money, why).await,
                    Err(not_done) => calls.not_done(&not_done),
                }
            })
        })
    }

    /// Give back what was taken, if anything was.
    pub(super) fn give_back(&self) -> Outside {
        self.outside(Step::CaptureCard, Way::Undo, |calls| {
            Box::pin(async move {
                let Some(payment) = calls.payment.clone() else { return calls.undone() };
                // A look alone proves nothing: the capture may still be on its way. Once the hold
                // is ended it can take nothing any more.
                let returned = match calls.end(&payment).await {
                    Ok(Ended::Held) => Ok(()),
                    Ok(Ended::Taken) => calls.return_all(&payment).await,
                    Err(not_done) => Err(not_done),
                };
                match returned {
                    Ok(()) => calls.undone(),
                    Err(not_done) => calls.not_done(&not_done),
                }
            })
        })
    }

    /// Give back the card's part of a refund.
    pub(super) fn refund(&self) -> Outside {
        let refund = self.state.refunds().open();
        let amount = refund.and_then(|refund| refund.part_of_card(self.order));
        let id = refund.map(|refund| refund.id.clone());
        let currency = self.order.total.currency;
        self.outside(Step::RefundCard, Way::Do, move |calls| {
            Box::pin(async move {
                let (Some(payment), Some(amount), Some(id)) = (calls.payment.clone(), amount, id)
                else {
                    return calls.refused("payment_unknown", "there is no payment to refund");
                };
                let part = Part::Of(Money { amount, currency });
                let keys = calls.keys.refund(&id);
                match calls.return_once(&payment, part, keys, calls.old.refund).await {
                    Ok(()) => calls.done(None),
                    Err(not_done) => calls.not_done(&not_done),
                }
            })
        })
    }

    /// What it means for a purchase that waits for the customer that its payment was found so;
    /// nothing while it still waits.
    pub(super) fn found(&self, found: Payment) -> Option<Action> {
        match found.state {
            State::CustomerAction | State::InProgress => None,
            State::Authorised | State::Captured | State::Voided | State::Declined => {
                Some(self.calls(Step::AuthoriseCard, Way::Do).authorised(Ok(found)))
            }
        }
    }

    /// Ends whatever an answer has brought about that came when nobody wanted it any more.
    pub(super) fn late(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let calls = self.calls(Step::AuthoriseCard, Way::Undo);
        Box::pin(async move {
            // Whoever undoes the purchase does the same under the same key: one effect.
            if let Ok(payment) = calls.known().await
                && let Err(not_done) = calls.end_or_return(&payment).await
            {
                tracing::error!(%not_done, %payment, "a late payment is not given back");
            }
        })
    }

    /// Ends a hold that the purchase does not know of, or has taken for ended.
    pub(super) async fn end_late(&self, payment: &PaymentId) -> Outcome<()> {
        self.calls(Step::AuthoriseCard, Way::Undo).end_or_return(payment).await
    }

    /// Gives money back that the purchase does not know of, or has taken for given back.
    pub(super) async fn give_back_late(&self, payment: &PaymentId) -> Outcome<()> {
        self.calls(Step::CaptureCard, Way::Undo).return_all(payment).await
    }

    fn money(&self) -> Money {
        let amount = self.order.card().map_or(Minor::ZERO, |(_, money)| money);
        Money { amount, currency: self.order.total.currency }
    }

    fn old(&self) -> Old {
        let kept = self.payments.keys_kept();
        let is_old = |step, way| {
            let first = self.state.first_call(step, way);
            first.is_some_and(|first| self.now.signed_duration_since(first) >= kept)
        };
        Old {
            authorise: is_old(Step::AuthoriseCard, Way::Do),
            capture: is_old(Step::CaptureCard, Way::Do),
            // Ending a hold gives the money back where it was taken after all.
            give_back: is_old(Step::CaptureCard, Way::Undo)
                || is_old(Step::AuthoriseCard, Way::Undo),
            refund: is_old(Step::RefundCard, Way::Do),
        }
    }

    /// What the provider has taken on to give back, and could not, as far as that is news.
    pub(super) fn failed(&self, refunds: &[Refund]) -> Option<Action> {
        let failed = |key: &str| {
            refunds.iter().find_map(|it| match &it.state {
                RefundState::Failed { code } if it.key.as_deref() == Some(key) => Some(code),
                RefundState::Failed { .. } | RefundState::Settled | RefundState::UnderWay => None,
            })
        };
        let (refund, key, code) = self.refundable().find_map(|(refund, key)| {
            let keys = self.calls(Step::RefundCard, Way::Do).keys;
            let name = keys.of(refund.as_ref(), key)?;
            Some((refund, key, failed(name.as_str())?.clone()))
        })?;
        let detail = format!("the provider could not give the card's money back: {code}");
        let command = Command::RefundFailed { refund, key, detail };
        Some(Action::Purchase(self.story.id.clone(), command))
    }

    /// Is there anything of which it would be news that it could not be given back?
    pub(super) fn may_fail(&self) -> bool {
        self.refundable().next().is_some()
    }

    fn refundable(&self) -> impl Iterator<Item = (Option<RefundId>, KeyNumber)> {
        let back = (None, self.state.key(Step::CaptureCard));
        let refunds = self.state.refunds().iter().map(|it| (Some(it.id.clone()), it.key));
        let all = refunds.chain([back]);
        all.filter(|(refund, key)| self.state.is_news(refund.as_ref(), *key))
    }

    fn outside(
        &self,
        step: Step,
        way: Way,
        call: impl FnOnce(Calls) -> Pin<Box<dyn Future<Output = Action> + Send>>,
    ) -> Outside {
        if self.payments.is_left_alone() {
            // Not made, so neither noted before nor counted.
            let calls = self.calls(step, way);
            let call = Box::pin(async move {
                let trouble = Trouble::LeftAlone;
                calls.again(Effect::None, &trouble.to_string(), trouble)
            });
            return Outside { name: name(step, way), before: None, call };
        }
        let until = self.now.checked_add_signed(self.payments.lease()).unwrap_or(self.now);
        let turn = self.state.turn(step, way);
        let before = Action::Purchase(self.story.id.clone(), Command::Start { turn, until });
        let call = call(self.calls(step, way));
        Outside { name: name(step, way), before: Some(before), call }
    }

    fn calls(&self, step: Step, way: Way) -> Calls {
        let Story { program, id } = self.story;
        let name = reference(program, id);
        let (back, refund) = (self.state.key(Step::CaptureCard), self.state.key(Step::RefundCard));
        let money = self.money();
        let authorise = self.order.card().and_then(|(method, _)| {
            let reference = Reference::parse(&name).ok()?;
            Some(Authorise { money, method: method.clone(), reference })
        });
        let trail = self.state.trail();
        let attempts = trail.call().filter(|it| (it.step, it.way) == (step, way));
        Calls {
            payments: self.payments.clone(),
            id: id.clone(),
            keys: Keys::new(name, back, refund),
            old: self.old(),
            authorise,
            payment: trail.payment().and_then(|id| PaymentId::parse(id).ok()),
            url: trail.request().and_then(|it| it.url.clone()),
            turn: self.state.turn(step, way),
            attempts: attempts.map_or(0, |it| it.attempts).saturating_add(1),
            poll: poll(self.order.placed_at, self.now),
            now: self.now,
            planned: Instant::now(),
        }
    }
}
