//! Why a sale says no.

use crate::aggregate::{RefusalKind, Refuse};
use crate::id::ReturnId;
use crate::money::{Currency, Minor};
use crate::{expiry, text};

/// Why a sale says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was never recorded.
    #[error("there is no sale of that id")]
    Unknown,
    /// Its id names another sale already.
    #[error("the sale exists with other content")]
    Exists,
    /// The return's id names another portion already.
    #[error("return {0} exists with another portion")]
    ReturnExists(ReturnId),
    /// Everything came back before.
    #[error("nothing is left to return")]
    NothingLeft,
    /// More money is to come back than is left.
    #[error("{} minor units are left to return, {requested} requested", left.get())]
    ExceedsSale {
        /// Which field asked for it.
        field: &'static str,
        /// What was asked for.
        requested: i64,
        /// What is left.
        left: Minor,
    },
    /// More of a line is to come back than is left of it.
    #[error("{left} of line {line} are left to return, {requested} requested")]
    ExceedsLine {
        /// The line, from 1.
        line: u32,
        /// What was asked for.
        requested: u64,
        /// What is left.
        left: u32,
    },
    /// The sale has no such line.
    #[error("there is no line {line} among the {count} of the sale")]
    UnknownLine {
        /// What was asked for.
        line: u32,
        /// How many there are.
        count: usize,
    },
    /// Money of another currency than the program's, or than the sale's.
    #[error("expected an amount in {expected}, got {actual}")]
    InvalidCurrency {
        /// Which, as a JSON pointer.
        field: &'static str,
        /// What is expected.
        expected: Currency,
        /// What came.
        actual: Currency,
    },
    /// A return of nothing.
    #[error("expected an amount of at least 1 minor unit")]
    InvalidAmount,
    /// A line of none, no line at all, or too many.
    #[error("{0}")]
    InvalidLines(&'static str),
    /// A text is empty, too long or has control characters.
    #[error("{why}")]
    InvalidText {
        /// Which, as a JSON pointer.
        field: &'static str,
        /// What is wrong with it.
        why: text::Invalid,
    },
    /// The business time lies outside of what the ledger writes.
    #[error("{0}")]
    InvalidTime(#[from] expiry::Error),
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-sale",
            Self::Exists => "sale-exists",
            Self::ReturnExists(_) => "return-exists",
            Self::NothingLeft => "nothing-left",
            Self::ExceedsSale { .. } => "exceeds-sale",
            Self::ExceedsLine { .. } => "exceeds-line",
            Self::UnknownLine { .. } => "unknown-line",
            Self::InvalidCurrency { .. } => "invalid-currency",
            Self::InvalidAmount => "invalid-amount",
            Self::InvalidLines(_) => "invalid-lines",
            Self::InvalidText { .. } => "invalid-text",
            Self::InvalidTime(_) => "invalid-time",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown => RefusalKind::NotFound,
            Self::Exists
            | Self::ReturnExists(_)
            | Self::NothingLeft
            | Self::ExceedsSale { .. }
            | Self::ExceedsLine { .. } => RefusalKind::Conflict,
            Self::UnknownLine { .. }
            | Self::InvalidCurrency { .. }
            | Self::InvalidAmount
            | Self::InvalidLines(_)
            | Self::InvalidText { .. }
            | Self::InvalidTime(_) => RefusalKind::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Exists | Self::NothingLeft => None,
            Self::ReturnExists(_) => Some("/id"),
            Self::ExceedsLine { .. } | Self::UnknownLine { .. } | Self::InvalidLines(_) => {
                Some("/lines")
            }
            Self::ExceedsSale { field, .. }
            | Self::InvalidCurrency { field, .. }
            | Self::InvalidText { field, .. } => Some(field),
            Self::InvalidAmount => Some("/amount"),
            Self::InvalidTime(_) => Some("/occurred_at"),
        }
    }
}
