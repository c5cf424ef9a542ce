//! Calls to the payment provider, and what their answers mean.

use std::time::Instant;

use accrue_domain::action::Action;
use accrue_domain::id::PurchaseId;
use accrue_domain::money::Money;
use accrue_domain::purchase::command::Command;
use accrue_domain::purchase::event::Effect;
use accrue_domain::purchase::step::{Turn, Way};
use accrue_gateways::payment::names::{IdempotencyKey, PaymentId};
use accrue_gateways::payment::{
    Authorise, NotDone, Outcome, Part, Payment, Refund, RefundState, Refusal, State, Trouble,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::super::keys::{Keys, no_key};
use super::super::payments::{Kind, Payments};
use super::{CUSTOMER_POLL, NO_GATEWAY};

/// What a call needs, apart from the state that it was planned on.
pub(super) struct Calls {
    pub(super) payments: Payments,
    pub(super) id: PurchaseId,
    pub(super) keys: Keys,
    /// Which of these may have been forgotten.
    pub(super) old: Old,
    pub(super) authorise: Option<Authorise>,
    pub(super) payment: Option<PaymentId>,
    /// Where the customer is sent, as the provider said once: a look-up does not tell it again.
    pub(super) url: Option<String>,
    pub(super) turn: Turn,
    pub(super) attempts: u32,
    /// How soon it is looked again whether the customer has acted.
    pub(super) poll: TimeDelta,
    /// The clock when this was planned, and the moment of that.
    pub(super) now: DateTime<Utc>,
    pub(super) planned: Instant,
}

/// Is the first call of a step so long ago that the provider may have forgotten its key?
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    pub(super) authorise: bool,
    pub(super) capture: bool,
    pub(super) give_back: bool,
    pub(super) refund: bool,
}

/// How a hold has ended.
pub(super) enum Ended {
    /// Without any money moving.
    Held,
    /// Its money was taken.
    Taken,
}

impl Calls {
    /// Asks for the hold, or once more what became of it.
    pub(super) async fn ask(&self) -> Outcome<Payment> {
        let no_card = || NotDone::Refused(Refusal::Invalid { code: "no_card".to_owned() });
        let authorise = self.authorise.as_ref().ok_or_else(no_card)?;
        if self.old.authorise
            && let Some(payment) = self.search(authorise).await?
        {
            return Ok(payment);
        }
        let key = self.keys.authorise()?;
        self.payments.call(Kind::Authorise, |it| it.authorise(&key, authorise)).await
    }

    /// What there is under the purchase's own name. Behind a key that is old enough to be
    /// forgotten, what a search has not taken in by now is not there.
    async fn search(&self, authorise: &Authorise) -> Outcome<Option<Payment>> {
        let reference = &authorise.reference;
        self.payments.call(Kind::LookUp, |it| it.find(reference)).await.map(most_alive)
    }

    /// The payment that is to be ended; else the answer that tells that there is none, or that it
    /// is not known yet.
    pub(super) async fn known(&self) -> Result<PaymentId, Action> {
        if let Some(payment) = &self.payment {
            return Ok(payment.clone());
        }
        let asked = match &self.authorise {
            // Under a key that the provider has forgotten the call would be a new hold.
            Some(authorise) if self.old.authorise => {
                Ok(self.search(authorise).await.map_err(|it| self.not_done(&it))?)
            }
            _ => self.ask().await.map(Some),
        };
        match asked {
            Ok(None | Some(Payment { state: State::Declined | State::Voided, .. })) => {
                Err(self.undone())
            }
            Ok(Some(payment)) => Ok(payment.id),
            Err(NotDone::Refused(Refusal::CustomerAction { payment: Some(payment), .. })) => {
                Ok(payment)
            }
            // No money is held. A call that is not even valid says nothing about one before it.
            Err(NotDone::Refused(Refusal::Declined { .. } | Refusal::CustomerAction { .. })) => {
                Err(self.undone())
            }
            Err(not_done) => Err(self.not_done(&not_done)),
        }
    }

    /// Ends a hold; where its money was taken after all, gives that back.
    pub(super) async fn end_or_return(&self, payment: &PaymentId) -> Outcome<()> {
        match self.end(payment).await? {
            Ended::Held => Ok(()),
            Ended::Taken => match self.return_all(payment).await {
                // Where it has come back before, by whomever, there is no more to give back.
                Err(NotDone::Refused(why)) if self.is_back(payment).await? => {
                    tracing::warn!(%why, %payment, "a captured payment is not given back again");
                    Ok(())
                }
                returned => returned,
            },
        }
    }

    /// Has all that was captured been given back, or is it on its way?
    async fn is_back(&self, payment: &PaymentId) -> Outcome<bool> {
        let taken = self.payments.call(Kind::LookUp, |it| it.look_up(payment)).await?.captured;
        let there = self.payments.call(Kind::LookUp, |it| it.refunds(payment)).await?;
        let alive = there.iter().filter(|it| !matches!(it.state, RefundState::Failed { .. }));
        let back = alive.map(|it| i128::from(it.money.amount.get())).sum::<i128>();
        Ok(back >= i128::from(taken.get()))
    }

    /// Ends a hold. One whose money was taken has no hold any more.
    pub(super) async fn end(&self, payment: &PaymentId) -> Outcome<Ended> {
        let key = self.keys.void()?;
        match self.payments.call(Kind::Void, |it| it.void(&key, payment)).await {
            Ok(_) => Ok(Ended::Held),
            Err(NotDone::Refused(why)) => {
                let found = self.payments.call(Kind::LookUp, |it| it.look_up(payment)).await?;
                match found.state {
                    State::Captured => Ok(Ended::Taken),
                    State::Voided | State::Declined => Ok(Ended::Held),
                    State::InProgress => Err(NotDone::Unknown(Trouble::InProgress)),
                    State::Authorised | State::CustomerAction => Err(NotDone::Refused(why)),
                }
            }
            Err(not_done) => Err(not_done),
        }
    }

    /// A refused capture may be the answer to one that was made before, by people or under a key
    /// that the provider has forgotten: turning round on that word would keep the money.
    pub(super) async fn not_captured(
        &self,
        payment: &PaymentId,
        money: Money,
        why: Refusal,
    ) -> Action {
        let found = self.payments.call(Kind::LookUp, |it| it.look_up(payment)).await;
        match found {
            Ok(found) if found.state != State::Captured => self.not_done(&NotDone::Refused(why)),
            Ok(found) if found.captured == money.amount => self.done(Some(payment)),
            // Something else was taken than what is owed: nothing here knows why.
            Ok(_) => self.delayed(Effect::Unknown, "another amount was captured", None),
            Err(NotDone::Unknown(trouble) | NotDone::NoEffect(trouble)) => {
                self.again(Effect::Unknown, &why.to_string(), trouble)
            }
            Err(NotDone::Refused(_)) => self.not_done(&NotDone::Refused(why)),
        }
    }

    /// Takes the money.
    pub(super) async fn take(&self, payment: &PaymentId, money: Money) -> Outcome<Payment> {
        if self.old.capture {
            let found = self.payments.call(Kind::LookUp, |it| it.look_up(payment)).await?;
            if found.state == State::Captured && found.captured == money.amount {
                return Ok(found);
            }
        }
        let (key, part) = (self.keys.capture()?, Part::Of(money));
        self.payments.call(Kind::Capture, |it| it.capture(&key, payment, part)).await
    }

    /// Gives back all that was taken.
    pub(super) async fn return_all(&self, payment: &PaymentId) -> Outcome<()> {
        let keys = self.keys.give_back();
        self.return_once(payment, Part::Rest, keys, self.old.give_back).await
    }

    /// Gives money back under the last of these keys, unless that has been done under one of them.
    pub(super) async fn return_once(
        &self,
        payment: &PaymentId,
        part: Part,
        keys: Outcome<Vec<IdempotencyKey>>,
        old: bool,
    ) -> Outcome<()> {
        let keys = keys?;
        // A refusal may have been that of a second call, behind one whose answer was lost.
        if old || keys.len() > 1 {
            let there = self.payments.call(Kind::LookUp, |it| it.refunds(payment)).await?;
            let ours =
                |it: &&Refund| keys.iter().any(|key| it.key.as_deref() == Some(key.as_str()));
            let failed = |it: &&Refund| matches!(it.state, RefundState::Failed { .. });
            if there.iter().filter(ours).any(|it| !failed(&it)) {
                return Ok(());
            }
        }
        let Some(key) = keys.last() else { return Err(no_key()) };
        let refund = self.payments.call(Kind::Refund, |it| it.refund(key, payment, part));
        refund.await.map(|_| ())
    }

    /// What the answer to an authorisation means.
    pub(super) fn authorised(&self, outcome: Outcome<Payment>) -> Action {
        let declined = |code: &str| self.refused("payment_declined", &format!("declined: {code}"));
        match outcome {
            Ok(payment) => match payment.state {
                State::Authorised | State::Captured => self.done(Some(&payment.id)),
                State::CustomerAction => self.ask_customer(&payment.id, self.url.clone()),
                State::Declined => declined("declined"),
                State::Voided => declined("voided"),
                State::InProgress => {
                    self.delay(Effect::Unknown, "the provider is at work on it", CUSTOMER_POLL)
                }
            },
            Err(NotDone::Refused(Refusal::CustomerAction { payment: Some(payment), url })) => {
                self.ask_customer(&payment, url)
            }
            Err(NotDone::Refused(Refusal::CustomerAction { payment: None, .. })) => {
                declined("the customer must act first")
            }
            Err(NotDone::Refused(Refusal::Declined { code })) => declined(&code),
            Err(not_done) => self.not_done(&not_done),
        }
    }

    /// What an answer other than a yes means.
    pub(super) fn not_done(&self, not_done: &NotDone) -> Action {
        let detail = if self.payments.is_there() { &not_done.to_string() } else { NO_GATEWAY };
        match not_done {
            NotDone::Refused(refusal) => {
                let reason = match refusal {
                    Refusal::Declined { .. } | Refusal::CustomerAction { .. } => "payment_declined",
                    Refusal::Invalid { .. } => "payment_refused",
                };
                self.refused(reason, detail)
            }
            NotDone::NoEffect(trouble) => self.again(Effect::None, detail, *trouble),
            NotDone::Unknown(trouble) => self.again(Effect::Unknown, detail, *trouble),
        }
    }

    /// Tried again with growing pauses. On the way back it is at last left to people; on the way
    /// forward the purchase's own deadline ends it. A call that was not even made is no reason to
    /// give up.
    pub(super) fn again(&self, effect: Effect, detail: &str, trouble: Trouble) -> Action {
        let forward = self.turn.way == Way::Do && !self.turn.step.is_of_refund();
        let patient = forward || trouble == Trouble::LeftAlone;
        let most = self.payments.attempts_max();
        let attempt =
            if patient { self.attempts.min(most.saturating_sub(1)) } else { self.attempts };
        let pause = self.payments.pause(attempt);
        self.delayed(effect, detail, pause)
    }

    pub(super) fn delay(&self, effect: Effect, detail: &str, pause: TimeDelta) -> Action {
        self.delayed(effect, detail, Some(pause))
    }

    fn delayed(&self, effect: Effect, detail: &str, pause: Option<TimeDelta>) -> Action {
        let (turn, detail) = (self.turn.clone(), detail.to_owned());
        let retry_at = pause.and_then(|pause| self.noted().checked_add_signed(pause));
        self.action(Command::Delay { turn, effect, detail, retry_at })
    }

    /// The clock when the answer is noted: a call may take longer than the pause behind it.
    fn noted(&self) -> DateTime<Utc> {
        let taken = TimeDelta::from_std(self.planned.elapsed()).unwrap_or_default();
        self.now.checked_add_signed(taken).unwrap_or(self.now)
    }

    fn ask_customer(&self, payment: &PaymentId, url: Option<String>) -> Action {
        let retry_at = self.noted().checked_add_signed(self.poll).unwrap_or(self.now);
        let payment = payment.as_str().to_owned();
        self.action(Command::AskCustomer { payment, url, retry_at })
    }

    pub(super) fn refused(&self, reason: &str, detail: &str) -> Action {
        let (reason, detail) = (reason.to_owned(), detail.to_owned());
        self.action(Command::Refused { turn: self.turn.clone(), reason, detail })
    }

    pub(super) fn done(&self, payment: Option<&PaymentId>) -> Action {
        let payment = payment.map(|id| id.as_str().to_owned());
        self.action(Command::Done { turn: self.turn.clone(), payment, spent: Vec::new() })
    }

    pub(super) fn undone(&self) -> Action {
        self.action(Command::Undone { step: self.turn.step })
    }

    fn action(&self, command: Command) -> Action {
        Action::Purchase(self.id.clone(), command)
    }
}

/// Of several payments under one name the one that holds or has taken money, or may yet: a call
/// that was taken for a new one leaves two.
fn most_alive(found: Vec<Payment>) -> Option<Payment> {
    let rank = |it: &Payment| match it.state {
        State::Captured => 0,
        State::Authorised => 1,
        State::InProgress | State::CustomerAction => 2,
        State::Declined | State::Voided => 3,
    };
    found.into_iter().min_by_key(rank)
}
