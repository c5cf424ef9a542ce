//! Payments by card: the port that sagas speak to.
//!
//! A payment is authorised (money is held), then captured (money moves) or voided (the hold ends);
//! what was captured can be refunded, in parts too.

pub mod names;
pub mod simulator;
pub mod stripe;

use accrue_domain::money::{Minor, Money};
use accrue_domain::payment_method::PaymentMethod;
use async_trait::async_trait;

use self::names::{IdempotencyKey, PaymentId, Reference};

/// What is known about a call when it is over.
pub type Outcome<T> = Result<T, NotDone>;

/// The ways in which a call does not end as done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The provider said no; the same call again gets the same answer.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// This attempt surely had no effect, and can be repeated. It says nothing about attempts
    /// before it: once one of them ended as unknown, the step stays unknown until one is done or
    /// refused, or a look-up shows the payment.
    #[error("had no effect: {0}")]
    NoEffect(Trouble),
    /// It may have happened. To be repeated under the same key, or looked up; never undone by
    /// assumption.
    #[error("may have happened: {0}")]
    Unknown(Trouble),
}

/// Why a provider says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The card was declined, or the provider could not return the money.
    #[error("declined ({code})")]
    Declined {
        /// The provider's word for it, such as `insufficient_funds`.
        code: String,
    },
    /// The customer must act first, as in 3-D Secure. No money is held; a payment that is not
    /// going to be finished is to be voided.
    #[error("the customer must act first")]
    CustomerAction {
        /// The payment that waits for the customer.
        payment: Option<PaymentId>,
        /// Where to send the customer, where the provider says so.
        url: Option<String>,
    },
    /// The provider does not take the call: an amount beyond what is held or captured, a payment
    /// that is not there or already over, a key used for something else.
    #[error("not a valid call ({code})")]
    Invalid {
        /// The provider's word for it.
        code: String,
    },
}

/// What went wrong on the way. For logs and metrics, not for decisions: those follow from
/// [`NotDone`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It was not made at all: the provider failed too often, and is left alone for a while.
    #[error("not called, since the provider keeps failing")]
    LeftAlone,
    /// No connection came about.
    #[error("no connection")]
    Connect,
    /// No answer within the time limit.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or the answer was cut off.
    #[error("the connection broke")]
    Broken,
    /// The provider answered with this HTTP status.
    #[error("answered with status {0}")]
    Status(u16),
    /// The provider answered with something that is not understood.
    #[error("an answer that is not understood")]
    Answer,
    /// The provider is still working on it.
    #[error("still in progress")]
    InProgress,
}

/// A new authorisation.
#[derive(Debug, Clone)]
pub struct Authorise {
    /// How much to hold.
    pub money: Money,
    /// What to hold it on.
    pub method: PaymentMethod,
    /// Our own name for the payment, found again by [`PaymentGateway::find`].
    pub reference: Reference,
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Money is held.
    Authorised,
    /// Money has moved, all or in part; the rest of the hold has ended.
    Captured,
    /// The hold has ended without any money moving.
    Voided,
    /// The customer must act; no money is held.
    CustomerAction,
    /// The method was declined; no money is held.
    Declined,
    /// The provider is still working on it.
    InProgress,
}

/// A payment as its provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The provider's name for it.
    pub id: PaymentId,
    /// Our own name for it, where we gave one.
    pub reference: Option<Reference>,
    /// Where it stands.
    pub state: State,
    /// What was asked for.
    pub money: Money,
    /// What can still be captured, in minor units.
    pub capturable: Minor,
    /// What has been captured, in minor units; refunds do not lower it.
    pub captured: Minor,
}

/// Money on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The provider's name for it.
    pub id: String,
    /// The payment it belongs to.
    pub payment: PaymentId,
    /// How much comes back.
    pub money: Money,
    /// Where it stands. What is settled may fail all the same, days later: a webhook tells.
    pub state: RefundState,
    /// The key that it was called under, where it was one of ours.
    pub key: Option<String>,
}

/// Where money on its way back stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// It has come back.
    Settled,
    /// The provider has taken it on.
    UnderWay,
    /// It cannot come back this way, and is with us again.
    Failed {
        /// The provider's word for the reason.
        code: String,
    },
}

/// How much of a payment a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All that is left of it.
    Rest,
    /// This much, which is not nothing. Money and not minor units alone, since a provider may
    /// count a currency in units of its own.
    Of(Money),
}

/// A provider of card payments.
///
/// Every call that changes something takes a key: the same call under the same key has one effect,
/// however often it is made.
#[async_trait]
pub trait PaymentGateway: Send + Sync {
    /// Holds money.
    ///
    /// # Errors
    /// [`NotDone`] says what is known instead.
    async fn authorise(&self, key: &IdempotencyKey, request: &Authorise) -> Outcome<Payment>;

    /// Takes held money, all or a part; the rest of the hold ends.
    ///
    /// # Errors
    /// [`NotDone`] says what is known instead.
    async fn capture(&self, key: &IdempotencyKey, id: &PaymentId, part: Part) -> Outcome<Payment>;

    /// Ends a hold, or a payment that waits for the customer. One that is over already is done.
    ///
    /// # Errors
    /// [`NotDone`] says what is known instead; refused when money was captured.
    async fn void(&self, key: &IdempotencyKey, id: &PaymentId) -> Outcome<Payment>;

    /// Gives captured money back, all or a part; several times, each under a key of its own.
    ///
    /// # Errors
    /// [`NotDone`] says what is known instead; refused beyond what is left of the capture.
    async fn refund(&self, key: &IdempotencyKey, id: &PaymentId, part: Part) -> Outcome<Refund>;

    /// What was given back of a payment, or is to be, or could not be; the newest first.
    ///
    /// # Errors
    /// [`NotDone`] as for other calls, though reading has no effect.
    async fn refunds(&self, id: &PaymentId) -> Outcome<Vec<Refund>>;

    /// A payment by the provider's name for it.
    ///
    /// # Errors
    /// [`NotDone`] as for other calls, though reading has no effect.
    async fn look_up(&self, id: &PaymentId) -> Outcome<Payment>;

    /// The payments under our own name, newest first, 100 at most. A provider's index may lag
    /// behind by a minute or more, so finding none does not prove that there is none.
    ///
    /// # Errors
    /// [`NotDone`] as for other calls, though reading has no effect.
    async fn find(&self, reference: &Reference) -> Outcome<Vec<Payment>>;
}
