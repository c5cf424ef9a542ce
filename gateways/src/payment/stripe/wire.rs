//! What of Stripe's JSON is read. Unknown fields are let pass: Stripe adds some all the time.

use std::collections::BTreeMap;

use accrue_domain::money::{Currency, Money};
use serde::Deserialize;

use super::amount;
use super::verdict::not_understood;
use crate::payment::names::{PaymentId, Reference};
use crate::payment::{NotDone, Outcome, Payment, RefundState, State};

/// A payment intent.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) amount: i64,
    #[serde(default)]
    pub(super) amount_capturable: i64,
    #[serde(default)]
    pub(super) amount_received: i64,
    pub(super) currency: String,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) next_action: Option<NextAction>,
}

/// The states of an intent. One that is not listed makes the answer one that is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Canceled,
    Succeeded,
}

#[derive(Debug, Deserialize)]
pub(super) struct NextAction {
    #[serde(default)]
    pub(super) redirect_to_url: Option<Redirect>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Redirect {
    #[serde(default)]
    pub(super) url: Option<String>,
}

/// A page of a search.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) data: Vec<Intent>,
}

/// A refund.
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    /// Not an enumeration: what is neither failed nor succeeded is under way.
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) failure_reason: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

/// A page of refunds.
#[derive(Debug, Deserialize)]
pub(super) struct Refunds {
    pub(super) data: Vec<Refund>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// The body of an answer that is no success.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: Error,
}

#[derive(Debug, Deserialize)]
pub(super) struct Error {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
    #[serde(default)]
    pub(super) payment_intent: Option<Intent>,
}

impl Intent {
    pub(super) fn url(&self) -> Option<String> {
        self.next_action.as_ref()?.redirect_to_url.as_ref()?.url.clone()
    }

    /// The payment that it stands for.
    pub(super) fn payment(self) -> Outcome<Payment> {
        let money = money(self.amount, &self.currency)?;
        let minor =
            |units| amount::from_stripe(units, money.currency).map_err(|_| not_understood());
        Ok(Payment {
            id: PaymentId::parse(&self.id).map_err(|_| not_understood())?,
            // A reference that we could not have written is not ours.
            reference: self.metadata.get("reference").and_then(|it| Reference::parse(it).ok()),
            state: self.status.state(),
            money,
            capturable: minor(self.amount_capturable)?,
            captured: minor(self.amount_received)?,
        })
    }
}

impl Refund {
    /// The refund that it stands for.
    pub(super) fn refund(mut self, payment: &PaymentId) -> Outcome<super::Refund> {
        let state = match self.status.as_deref() {
            Some("succeeded") => RefundState::Settled,
            Some("failed" | "canceled") => {
                let code = self.failure_reason.unwrap_or_else(|| "refund_failed".to_owned());
                RefundState::Failed { code }
            }
            _ => RefundState::UnderWay,
        };
        let money = money(self.amount, &self.currency)?;
        let (payment, key) = (payment.clone(), self.metadata.remove("key"));
        Ok(super::Refund { id: self.id, payment, money, state, key })
    }
}

impl Status {
    fn state(self) -> State {
        match self {
            Self::RequiresCapture => State::Authorised,
            Self::Succeeded => State::Captured,
            Self::Canceled => State::Voided,
            Self::RequiresAction => State::CustomerAction,
            Self::RequiresPaymentMethod => State::Declined,
            Self::Processing | Self::RequiresConfirmation => State::InProgress,
        }
    }
}

/// An amount as Stripe writes it.
pub(super) fn money(units: i64, currency: &str) -> Result<Money, NotDone> {
    let currency: Currency = currency.to_ascii_uppercase().parse().map_err(|_| not_understood())?;
    let amount = amount::from_stripe(units, currency).map_err(|_| not_understood())?;
    Ok(Money { amount, currency })
}
