//! The steps that a purchase takes, and which way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::RefundId;

/// A step. What is done in each, and how it is undone, stands in the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Set the goods aside.
    HoldStock,
    /// Set points and wallet money aside.
    HoldTenders,
    /// Have the card's money held by the payment provider.
    AuthoriseCard,
    /// Take the card's money.
    CaptureCard,
    /// Take points, wallet money and goods, all at once: behind this there is no way back.
    Settle,
    /// Of a refund: give the card's share back.
    RefundCard,
    /// Of a refund: give points, wallet money and goods back, all at once.
    SettleRefund,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 7] = [
        Self::HoldStock,
        Self::HoldTenders,
        Self::AuthoriseCard,
        Self::CaptureCard,
        Self::Settle,
        Self::RefundCard,
        Self::SettleRefund,
    ];

    /// The name in JSON, in command ids and in idempotency keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HoldStock => "hold_stock",
            Self::HoldTenders => "hold_tenders",
            Self::AuthoriseCard => "authorise_card",
            Self::CaptureCard => "capture_card",
            Self::Settle => "settle",
            Self::RefundCard => "refund_card",
            Self::SettleRefund => "settle_refund",
        }
    }

    /// Is it a step of a refund?
    #[must_use]
    pub const fn is_of_refund(self) -> bool {
        matches!(self, Self::RefundCard | Self::SettleRefund)
    }

    /// Does it happen outside of the ledger? Its outcome is then told in an event of its own;
    /// that of the others commits with their effect.
    #[must_use]
    pub const fn is_outside(self) -> bool {
        matches!(self, Self::AuthoriseCard | Self::CaptureCard | Self::RefundCard)
    }
}

/// Which way a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Do it.
    Do,
    /// Undo it.
    Undo,
}

impl Way {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Undo => "undo",
        }
    }
}

/// Which of the keys of a call: a provider answers a call under the key of one that it has refused
/// with the same refusal for ever, so a call that people ask for anew has a key of its own.
///
/// Invariant: from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct KeyNumber(u32);

impl Default for KeyNumber {
    fn default() -> Self {
        Self(1)
    }
}

impl KeyNumber {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// That of the next key.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// All keys up to this one, the first first.
    pub fn until(self) -> impl Iterator<Item = Self> {
        (1..=self.0).map(Self)
    }
}

/// One move of one purchase, so exact that it comes only once: a refund's steps name the refund,
/// or who is late with one of them would be taken to speak of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Which step.
    pub step: Step,
    /// Which way.
    pub way: Way,
    /// Of which refund, where it is a refund's step.
    pub refund: Option<RefundId>,
}
