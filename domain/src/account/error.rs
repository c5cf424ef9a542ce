//! Why an account says no.

use crate::aggregate::{RefusalKind, Refuse};
use crate::id::{HoldId, LotId};
use crate::points::Points;
use crate::{expiry, text};

/// Why an account says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More was asked than can be spent now.
    #[error("insufficient points: {requested} requested, {available} available")]
    InsufficientPoints {
        /// What was asked for.
        requested: Points,
        /// What can be spent now.
        available: i64,
    },
    /// No lot of that id was ever issued.
    #[error("no lot {0} was issued to this account")]
    UnknownLot(LotId),
    /// The lot's id names other content already.
    #[error("lot {0} exists with other content")]
    LotExists(LotId),
    /// The command named no lot, and the one that is named after its id has other content.
    #[error("the lot that is named after the command, {0}, exists with other content")]
    LotOfCommandExists(LotId),
    /// All of the lot was reversed before.
    #[error("lot {0} is fully reversed")]
    AlreadyReversed(LotId),
    /// More is to be reversed than is left to reverse.
    #[error("lot {lot} has {left} points that are not reversed, {requested} requested")]
    ExceedsLot {
        /// The lot.
        lot: LotId,
        /// What was asked for.
        requested: Points,
        /// Issued and not reversed.
        left: Points,
    },
    /// The return's figures make no share of a sale.
    #[error("expected 0 <= returned <= total and total >= 1, got {returned} of {total}")]
    InvalidShare {
        /// Minor units returned.
        returned: i64,
        /// Minor units of the sale.
        total: i64,
    },
    /// No hold of that id was placed, or it ended long ago.
    #[error("no hold {0} was placed on this account")]
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
    #[error("hold {hold} has {held} points, {requested} requested")]
    ExceedsHold {
        /// The hold.
        hold: HoldId,
        /// What was asked for.
        requested: Points,
        /// What it has.
        held: Points,
    },
    /// More is to be given back than the hold spent and did not get back yet.
    #[error("hold {hold} has {left} spent points left to restore, {requested} requested")]
    ExceedsCaptured {
        /// The hold.
        hold: HoldId,
        /// What was asked for.
        requested: Points,
        /// Captured and not restored.
        left: Points,
    },
    /// The hold was not captured: nothing of it was spent.
    #[error("hold {hold} was not captured: it is {how}")]
    NotCaptured {
        /// The hold.
        hold: HoldId,
        /// How it stands.
        how: &'static str,
    },
    /// An account holds at most so many points, owes at most so many, and a hold names at most
    /// so many lots.
    #[error("{what} would exceed the limit of {max}")]
    LimitExceeded {
        /// What would.
        what: &'static str,
        /// The limit.
        max: i64,
    },
    /// A text is empty, too long or has control characters.
    #[error("{why}")]
    InvalidText {
        /// Which, as a JSON pointer.
        field: &'static str,
        /// What is wrong with it.
        why: text::Invalid,
    },
    /// A time lies outside of what the ledger writes.
    #[error("{why}")]
    InvalidTime {
        /// Which, as a JSON pointer.
        field: &'static str,
        /// What is wrong with it.
        why: expiry::Error,
    },
    /// The lot would lapse before it can be spent.
    #[error("a lot must lapse after its start: it starts at {start}, and would lapse at {expires}")]
    InvalidExpiry {
        /// When it can be spent first.
        start: String,
        /// When it would lapse.
        expires: String,
    },
    /// As [`Error::InvalidExpiry`], where the program says when lots lapse.
    #[error(
        "a lot must lapse after its start: it starts at {start}, and would lapse at {expires} by the \
         program's own expiry"
    )]
    InvalidExpiryOfProgram {
        /// When it can be spent first.
        start: String,
        /// When it would lapse.
        expires: String,
    },
    /// A hold's deadline is past, or too far away.
    #[error("a hold's deadline lies after now and at most {days} days ahead", days = crate::deadline::DAYS_MAX)]
    InvalidUntil,
    /// The account's log contradicts itself. Somebody has to look.
    #[error("the log of this account contradicts itself: {0}")]
    Damaged(String),
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::InsufficientPoints { .. } => "insufficient-points",
            Self::UnknownLot(_) => "unknown-lot",
            Self::LotExists(_) | Self::LotOfCommandExists(_) => "lot-exists",
            Self::AlreadyReversed(_) => "already-reversed",
            Self::ExceedsLot { .. } => "exceeds-lot",
            Self::InvalidShare { .. } => "invalid-share",
            Self::UnknownHold(_) => "unknown-hold",
            Self::HoldExists(_) => "hold-exists",
            Self::HoldEnded { .. } => "hold-ended",
            Self::ExceedsHold { .. } => "exceeds-hold",
            Self::ExceedsCaptured { .. } => "exceeds-captured",
            Self::NotCaptured { .. } => "hold-not-captured",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::InvalidText { .. } => "invalid-text",
            Self::InvalidTime { .. } => "invalid-time",
            Self::InvalidExpiry { .. } | Self::InvalidExpiryOfProgram { .. } => "invalid-expiry",
            Self::InvalidUntil => "invalid-until",
            Self::Damaged(_) => "damaged-account",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::UnknownLot(_) | Self::UnknownHold(_) => RefusalKind::NotFound,
            Self::InsufficientPoints { .. }
            | Self::LotExists(_)
            | Self::LotOfCommandExists(_)
            | Self::AlreadyReversed(_)
            | Self::ExceedsLot { .. }
            | Self::HoldExists(_)
            | Self::HoldEnded { .. }
            | Self::ExceedsHold { .. }
            | Self::ExceedsCaptured { .. }
            | Self::NotCaptured { .. }
            | Self::LimitExceeded { .. }
            | Self::Damaged(_) => RefusalKind::Conflict,
            Self::InvalidShare { .. }
            | Self::InvalidText { .. }
            | Self::InvalidTime { .. }
            | Self::InvalidExpiry { .. }
            | Self::InvalidExpiryOfProgram { .. }
            | Self::InvalidUntil => RefusalKind::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::InsufficientPoints { .. }
            | Self::ExceedsLot { .. }
            | Self::ExceedsHold { .. }
            | Self::ExceedsCaptured { .. }
            | Self::LimitExceeded { .. } => Some("/points"),
            Self::UnknownLot(_) | Self::LotExists(_) | Self::AlreadyReversed(_) => Some("/lot"),
            Self::InvalidShare { .. } => Some("/returned"),
            Self::UnknownHold(_)
            | Self::HoldExists(_)
            | Self::HoldEnded { .. }
            | Self::NotCaptured { .. } => Some("/hold"),
            Self::InvalidText { field, .. } | Self::InvalidTime { field, .. } => Some(field),
            Self::InvalidExpiry { .. } => Some("/expires"),
            Self::InvalidUntil => Some("/until"),
            Self::LotOfCommandExists(_)
            | Self::InvalidExpiryOfProgram { .. }
            | Self::Damaged(_) => None,
        }
    }
}
