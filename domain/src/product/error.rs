//! Why a product says no.

use crate::aggregate::{RefusalKind, Refuse};
use crate::id::HoldId;
use crate::quantity::{Delta, Quantity, UNITS_MAX, Units};
use crate::{expiry, text};

/// Longest address of an image in characters.
pub const IMAGE_CHARS_MAX: usize = 2_000;

/// Why a product says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was never created.
    #[error("there is no product of that id")]
    Unknown,
    /// Its id names another product already.
    #[error("the product was created with other content")]
    Exists,
    /// It is no longer for sale.
    #[error("the product is retired")]
    Retired,
    /// More was asked than is there and promised to nobody.
    #[error("insufficient stock: {requested} requested, {available} available")]
    InsufficientStock {
        /// What was asked for.
        requested: Quantity,
        /// What is there.
        available: Units,
    },
    /// The stock would fall below what is held, or below nothing.
    #[error("insufficient stock: a change by {delta} requested, {available} available")]
    BelowHeld {
        /// The change that was asked for.
        delta: Delta,
        /// What is there and promised to nobody.
        available: Units,
    },
    /// Services are not counted.
    #[error("a service has no stock")]
    NoStock,
    /// There would be more of it than can be counted.
    #[error("the stock would exceed the limit of {UNITS_MAX} units")]
    LimitExceeded,
    /// No hold of that id was placed, or it ended long ago.
    #[error("no hold {0} was placed on this product")]
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
    #[error("hold {hold} has {held} units, {requested} requested")]
    ExceedsHold {
        /// The hold.
        hold: HoldId,
        /// What was asked for.
        requested: Quantity,
        /// What it has.
        held: Quantity,
    },
    /// A text is empty, too long or has control characters.
    #[error("{why}")]
    InvalidText {
        /// Which, as a JSON pointer.
        field: &'static str,
        /// What is wrong with it.
        why: text::Invalid,
    },
    /// The image is no address that a browser may be given.
    #[error(
        "expected an address that begins with https://, http:// or one /, \
         of at most {IMAGE_CHARS_MAX} visible ASCII characters"
    )]
    InvalidImage,
    /// A time lies outside of what the ledger writes.
    #[error("{0}")]
    InvalidTime(expiry::Error),
    /// A hold's deadline is past, or too far away.
    #[error("a hold's deadline lies after now and at most {days} days ahead", days = crate::deadline::DAYS_MAX)]
    InvalidUntil,
    /// The product's log contradicts itself. Somebody has to look.
    #[error("the log of this product contradicts itself: {0}")]
    Damaged(String),
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-product",
            Self::Exists => "product-exists",
            Self::Retired => "product-retired",
            Self::InsufficientStock { .. } | Self::BelowHeld { .. } => "insufficient-stock",
            Self::NoStock => "no-stock",
            Self::LimitExceeded => "limit-exceeded",
            Self::UnknownHold(_) => "unknown-hold",
            Self::HoldExists(_) => "hold-exists",
            Self::HoldEnded { .. } => "hold-ended",
            Self::ExceedsHold { .. } => "exceeds-hold",
            Self::InvalidText { .. } => "invalid-text",
            Self::InvalidImage => "invalid-image",
            Self::InvalidTime(_) => "invalid-time",
            Self::InvalidUntil => "invalid-until",
            Self::Damaged(_) => "damaged-product",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown | Self::UnknownHold(_) => RefusalKind::NotFound,
            Self::Exists
            | Self::Retired
            | Self::InsufficientStock { .. }
            | Self::BelowHeld { .. }
            | Self::NoStock
            | Self::LimitExceeded
            | Self::HoldExists(_)
            | Self::HoldEnded { .. }
            | Self::ExceedsHold { .. }
            | Self::Damaged(_) => RefusalKind::Conflict,
            Self::InvalidText { .. }
            | Self::InvalidImage
            | Self::InvalidTime(_)
            | Self::InvalidUntil => RefusalKind::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::InsufficientStock { .. } | Self::ExceedsHold { .. } => Some("/quantity"),
            Self::BelowHeld { .. } | Self::LimitExceeded => Some("/delta"),
            Self::UnknownHold(_) | Self::HoldExists(_) | Self::HoldEnded { .. } => Some("/hold"),
            Self::InvalidText { field, .. } => Some(field),
            Self::InvalidImage => Some("/image"),
            Self::InvalidTime(_) | Self::InvalidUntil => Some("/until"),
            Self::Unknown | Self::Exists | Self::Retired | Self::NoStock | Self::Damaged(_) => None,
        }
    }
}
