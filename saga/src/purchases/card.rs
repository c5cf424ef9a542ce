//! The card's part of a purchase: calls to the payment provider, and what their answers mean.
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
use accrue_domain::purchase::step::{KeyNumber, Step, Turn, Way};
use accrue_gateways::payment::names::{IdempotencyKey, PaymentId, Reference};
use accrue_gateways::payment::{
    Authorise, NotDone, Outcome, Part, Payment, Refund, RefundState, Refusal, State, Trouble,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::keys::{Keys, no_key};
use super::name;
use super::payments::{Kind, Payments};
use crate::story::{Outside, Story};

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

/// What a call needs, apart from the state that it was planned on.
struct Calls {
    payments: Payments,
    id: PurchaseId,
    keys: Keys,
    /// Which of these may have been forgotten.
    old: Old,
    authorise: Option<Authorise>,
    payment: Option<PaymentId>,
    /// Where the customer is sent, as the provider said once: a look-up does not tell it again.
    url: Option<String>,
    turn: Turn,
    attempts: u32,
    /// How soon it is looked again whether the customer has acted.
    poll: TimeDelta,
    /// The clock when this was planned, and the moment of that.
    now: DateTime<Utc>,
    planned: Instant,
}

/// Is the first call of a step so long ago that the provider may have forgotten its key?
#[derive(Debug, Clone, Copy)]
struct Old {
    authorise: bool,
    capture: bool,
    give_back: bool,
    refund: bool,
}

/// How a hold has ended.
enum Ended {
    /// Without any money moving.
    Held,
    /// Its money was taken.
    Taken,
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

impl Calls {
    /// Asks for the hold, or once more what became of it.
    async fn ask(&self) -> Outcome<Payment> {
        let no_card = || NotDone::Refused(Refusal::Invalid { code: "no_card".to_owned() });
        let authorise = self.authorise.as_ref().ok_or_else(no_card)?;
        if self.old.authorise {
            let reference = &authorise.reference;
            let found = self.payments.call(Kind::LookUp, |it| it.find(reference)).await?;
            // What a search has not taken in by now is not there.
            if let Some(payment) = most_alive(found) {
                return Ok(payment);
            }
        }
        let key = self.keys.authorise()?;
        self.payments.call(Kind::Authorise, |it| it.authorise(&key, authorise)).await
    }

    /// The payment that is to be ended; else the answer that tells that there is none, or that it
    /// is not known yet.
    async fn known(&self) -> Result<PaymentId, Action> {
        if let Some(payment) = &self.payment {
            return Ok(payment.clone());
        }
        if self.old.authorise
            && let Some(authorise) = &self.authorise
        {
            // Under a key that the provider has forgotten the call would be a new hold.
            let reference = &authorise.reference;
            return match self.payments.call(Kind::LookUp, |it| it.find(reference)).await {
                Ok(found) => match most_alive(found) {
                    None | Some(Payment { state: State::Declined | State::Voided, .. }) => {
                        Err(self.undone())
                    }
                    Some(payment) => Ok(payment.id),
                },
                Err(not_done) => Err(self.not_done(&not_done)),
            };
        }
        match self.ask().await {
            Ok(Payment { state: State::Declined | State::Voided, .. }) => Err(self.undone()),
            Ok(payment) => Ok(payment.id),
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
    async fn end_or_return(&self, payment: &PaymentId) -> Outcome<()> {
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
    async fn end(&self, payment: &PaymentId) -> Outcome<Ended> {
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
    async fn not_captured(&self, payment: &PaymentId, money: Money, why: Refusal) -> Action {
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
    async fn take(&self, payment: &PaymentId, money: Money) -> Outcome<Payment> {
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
    async fn return_all(&self, payment: &PaymentId) -> Outcome<()> {
        let keys = self.keys.give_back();
        self.return_once(payment, Part::Rest, keys, self.old.give_back).await
    }

    /// Gives money back under the last of these keys, unless that has been done under one of them.
    async fn return_once(
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
    fn authorised(&self, outcome: Outcome<Payment>) -> Action {
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
    fn not_done(&self, not_done: &NotDone) -> Action {
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
    fn again(&self, effect: Effect, detail: &str, trouble: Trouble) -> Action {
        let forward = self.turn.way == Way::Do && !self.turn.step.is_of_refund();
        let patient = forward || trouble == Trouble::LeftAlone;
        let most = self.payments.attempts_max();
        let attempt =
            if patient { self.attempts.min(most.saturating_sub(1)) } else { self.attempts };
        let pause = self.payments.pause(attempt);
        self.delayed(effect, detail, pause)
    }

    fn delay(&self, effect: Effect, detail: &str, pause: TimeDelta) -> Action {
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

    fn refused(&self, reason: &str, detail: &str) -> Action {
        let (reason, detail) = (reason.to_owned(), detail.to_owned());
        self.action(Command::Refused { turn: self.turn.clone(), reason, detail })
    }

    fn done(&self, payment: Option<&PaymentId>) -> Action {
        let payment = payment.map(|id| id.as_str().to_owned());
        self.action(Command::Done { turn: self.turn.clone(), payment })
    }

    fn undone(&self) -> Action {
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
