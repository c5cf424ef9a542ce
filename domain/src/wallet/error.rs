//! Why a wallet says no.

use crate::aggregate::{RefusalKind, Refuse};
use crate::id::HoldId;
use crate::money::{Currency, Minor, Money};
use crate::{expiry, text};

/// Why a wallet says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No money ever came in.
    #[error("there is no wallet of that id")]
    Unknown,
    /// Nothing is no amount.
    #[error("expected an amount of at least 1 minor unit")]
    ZeroAmount,
    /// More was asked than is there and set aside by no hold.
    #[error("insufficient funds: {requested} requested, {available} available")]
    InsufficientFunds {
        /// What was asked for.
        requested: Money,
        /// What is there.
        available: Money,
    },
    /// There would be more of it than can be counted.
    #[error("the balance would exceed the limit of {max} minor units", max = Minor::MAX.get())]
    LimitExceeded,
    /// The hold is in another currency.
    #[error("hold {hold} is in {held}, got {requested}")]
    CurrencyMismatch {
        /// The hold.
        hold: HoldId,
        /// What was asked for.
        requested: Currency,
        /// What it has.
        held: Currency,
    },
    /// No hold of that id was placed, or it ended long ago.
    #[error("no hold {0} was placed on this wallet")]
    UnknownHold(HoldId),
    /// The hold's id names other content already.
    #[error("hold {0} exists with other content")]
    HoldExists(HoldId),
    /// The hold was captured or released, in another way than asked for now.
    #[error("hold {hold} has ended: {how}")]
    HoldEnded {
        /// The hold.
        hold: HoldId,
        /// How it ended.
        how: &'static str,
    },
    /// More is to be captured than the hold has.
    #[error("hold {hold} has {held}, {requested} requested")]
    ExceedsHold {
        /// The hold.
        hold: HoldId,
        /// What was asked for.
        requested: Money,
        /// What it has.
        held: Money,
    },
    /// The note is empty, too long or has control characters.
    #[error("{0}")]
    InvalidReference(text::Invalid),
    /// A time lies outside of what the ledger writes.
    #[error("{0}")]
    InvalidTime(expiry::Error),
    /// A hold's deadline is past, or too far away.
    #[error("a hold's deadline lies after now and at most {days} days ahead", days = crate::deadline::DAYS_MAX)]
    InvalidUntil,
    /// The wallet's log contradicts itself. Somebody has to look.
    #[error("the log of this wallet contradicts itself: {0}")]
    Damaged(String),
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-wallet",
            Self::ZeroAmount => "invalid-amount",
            Self::InsufficientFunds { .. } => "insufficient-funds",
            Self::LimitExceeded => "limit-exceeded",
            Self::CurrencyMismatch { .. } => "currency-mismatch",
            Self::UnknownHold(_) => "unknown-hold",
            Self::HoldExists(_) => "hold-exists",
            Self::HoldEnded { .. } => "hold-ended",
            Self::ExceedsHold { .. } => "exceeds-hold",
            Self::InvalidReference(_) => "invalid-text",
            Self::InvalidTime(_) => "invalid-time",
            Self::InvalidUntil => "invalid-until",
            Self::Damaged(_) => "damaged-wallet",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown | Self::UnknownHold(_) => RefusalKind::NotFound,
            Self::InsufficientFunds { .. }
            | Self::LimitExceeded
            | Self::CurrencyMismatch { .. }
            | Self::HoldExists(_)
            | Self::HoldEnded { .. }
            | Self::ExceedsHold { .. }
            | Self::Damaged(_) => RefusalKind::Conflict,
            Self::ZeroAmount
            | Self::InvalidReference(_)
            | Self::InvalidTime(_)
            | Self::InvalidUntil => RefusalKind::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::ZeroAmount
            | Self::InsufficientFunds { .. }
            | Self::LimitExceeded
            | Self::ExceedsHold { .. } => Some("/money/amount"),
            Self::CurrencyMismatch { .. } => Some("/money/currency"),
            Self::UnknownHold(_) | Self::HoldExists(_) | Self::HoldEnded { .. } => Some("/hold"),
            Self::InvalidReference(_) => Some("/reference"),
            Self::InvalidTime(_) | Self::InvalidUntil => Some("/until"),
            Self::Unknown | Self::Damaged(_) => None,
        }
    }
}
