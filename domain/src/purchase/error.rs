//! Why a purchase says no.

use std::borrow::Cow;

use crate::aggregate::{RefusalKind, Refuse};
use crate::expiry;
use crate::id::RefundId;
use crate::money::{Currency, Minor};
use crate::text;

/// Most lines of one order.
pub const LINES_MAX: usize = 500;

/// Most tenders of one order.
pub const TENDERS_MAX: usize = 20;

/// Most discounts of one order: one for each line.
pub const DISCOUNTS_MAX: usize = LINES_MAX;

/// Most of them that are of the whole order, since every line bears a part of each.
pub const ORDER_DISCOUNTS_MAX: usize = 20;

/// Longest time to complete in days: what card networks hold money for at most.
pub const UNTIL_DAYS_MAX: i64 = 6;

/// A typed refusal. Numbers of lines, discounts and tenders count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The purchase was never placed.
    #[error("there is no such purchase")]
    Unknown,
    /// The id names an order of other content.
    #[error("a purchase with this id exists, with other content")]
    Exists,
    /// There is nothing in the order.
    #[error("expected 1 to {LINES_MAX} lines, got {0}")]
    LineCount(usize),
    /// Too many tenders, or none.
    #[error("expected 1 to {TENDERS_MAX} tenders, got {0}")]
    TenderCount(usize),
    /// A line's product does not exist.
    #[error("line {0}: there is no such product")]
    UnknownProduct(usize),
    /// A line's product is no longer for sale.
    #[error("line {0}: the product is retired")]
    Retired(usize),
    /// The client expected another price.
    #[error("line {line}: the price is {price} minor units of {currency}, not what was expected")]
    PriceDiffers {
        /// The line.
        line: usize,
        /// Of one unit.
        price: i64,
        /// Its currency.
        currency: Currency,
    },
    /// The lines' prices are in several currencies.
    #[error("line {line}: the price is in {got}, that of the lines before in {expected}")]
    MixedCurrencies {
        /// The line.
        line: usize,
        /// Of the first line.
        expected: Currency,
        /// Of this one.
        got: Currency,
    },
    /// A sum is too large.
    #[error("expected a total of at most {max} minor units", max = Minor::MAX.get())]
    TotalTooLarge,
    /// More units of a product than can exist.
    #[error("line {0}: more units of this product than there can be")]
    TooManyUnits(usize),
    /// Too many discounts.
    #[error("expected at most {DISCOUNTS_MAX} discounts, got {0}")]
    DiscountCount(usize),
    /// Too many discounts of the whole order.
    #[error("expected at most {ORDER_DISCOUNTS_MAX} discounts of the whole order, got {0}")]
    OrderDiscountCount(usize),
    /// A discount's reason is not taken.
    #[error("discount {discount}: {why}")]
    DiscountReason {
        /// The discount.
        discount: usize,
        /// What is wrong with it.
        why: text::Invalid,
    },
    /// A discount is of a line that the order has not.
    #[error("discount {discount}: the order has no line {line}")]
    DiscountLine {
        /// The discount.
        discount: usize,
        /// The line.
        line: u32,
    },
    /// A discount is in another currency.
    #[error("discount {discount}: expected {expected}, the currency of the order")]
    DiscountCurrency {
        /// The discount.
        discount: usize,
        /// Of the order.
        expected: Currency,
    },
    /// A discount of nothing.
    #[error("discount {0}: it would take nothing off")]
    DiscountEmpty(usize),
    /// A discount is more than what is left of what it applies to.
    #[error("discount {discount}: only {left} minor units are left of what it applies to")]
    DiscountExceeds {
        /// The discount.
        discount: usize,
        /// What is left behind the discounts before it.
        left: i64,
    },
    /// A tender is in another currency.
    #[error("tender {tender}: expected {expected}, the currency of the order")]
    TenderCurrency {
        /// The tender.
        tender: usize,
        /// Of the order.
        expected: Currency,
    },
    /// A tender that is not the last does not say how much.
    #[error("tender {0}: expected an amount; only the last tender takes the rest")]
    TenderOpen(usize),
    /// A tender says how much in two ways.
    #[error("tender {0}: expected points or money, got both")]
    TenderTwice(usize),
    /// A tender pays nothing.
    #[error("tender {0}: it would pay nothing")]
    TenderEmpty(usize),
    /// A second tender of a kind, or from a wallet, of which there can be one.
    #[error("tender {0}: expected one tender of points, one card, and each wallet once")]
    TenderRepeated(usize),
    /// Points without an account.
    #[error("tender {0}: expected an account to take the points from")]
    PointsWithoutAccount(usize),
    /// The program does not say what points are worth.
    #[error("tender {0}: the program has no points rate in the order's currency")]
    NoPointsRate(usize),
    /// A card's share that no card takes.
    #[error("tender {tender}: by card expected a multiple of {step} minor units of {currency}")]
    NotByCard {
        /// The tender.
        tender: usize,
        /// What it has to be a multiple of.
        step: i64,
        /// Of the order.
        currency: Currency,
    },
    /// The tenders are more than the total.
    #[error("tender {tender}: only {left} minor units are left to pay")]
    TendersExceed {
        /// The tender.
        tender: usize,
        /// What was left before it.
        left: i64,
    },
    /// The tenders are less than the total.
    #[error("the tenders leave {0} minor units unpaid")]
    TendersFallShort(i64),
    /// A deadline that is past or too far.
    #[error("expected an instant after now and at most {UNTIL_DAYS_MAX} days ahead")]
    InvalidUntil,
    /// An instant that cannot be kept.
    #[error("{0}")]
    InvalidTime(expiry::Error),
    /// A text that is not taken.
    #[error("{why}")]
    InvalidText {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: text::Invalid,
    },
    /// It is over: completed or rejected.
    #[error("the purchase is already {0}")]
    Over(&'static str),
    /// Only what is completed can be refunded.
    #[error("the purchase is not completed")]
    NotCompleted,
    /// All of it was given back.
    #[error("nothing is left to give back")]
    NothingLeft,
    /// A refund of no lines.
    #[error("expected something to give back")]
    NoLines,
    /// A refund of no money.
    #[error("expected something to give back")]
    NoAmount,
    /// More than is left of what was paid.
    #[error("{requested} minor units were asked for, {left} are left")]
    ExceedsPaid {
        /// What was asked for.
        requested: i64,
        /// What is left.
        left: i64,
    },
    /// Lines that cost more than is left of what was paid, since parts of it went back without lines.
    #[error("these units cost {requested} minor units, {left} are left of what was paid")]
    LinesExceedPaid {
        /// What they cost.
        requested: i64,
        /// What is left.
        left: i64,
    },
    /// An amount of which the card would give back what no card takes, and no other tender can.
    #[error("expected a multiple of {step} minor units of {currency}, which a card can give back")]
    NotToCard {
        /// What it has to be a multiple of.
        step: i64,
        /// Of the order.
        currency: Currency,
    },
    /// A refund in another currency.
    #[error("expected {0}, the currency of the order")]
    OtherCurrency(Currency),
    /// The order has no such line.
    #[error("the order has no line {line}")]
    UnknownLine {
        /// The line.
        line: u32,
        /// Its place in the refund.
        at: usize,
    },
    /// A line stands twice in a refund.
    #[error("line {line} stands twice in the refund")]
    LineTwice {
        /// The line.
        line: u32,
        /// Its second place in the refund.
        at: usize,
    },
    /// More units than are left of a line.
    #[error("of line {line}, {left} units are left")]
    ExceedsLine {
        /// The line.
        line: u32,
        /// Its place in the refund.
        at: usize,
        /// What is left.
        left: i64,
    },
    /// The id names a refund of other content.
    #[error("a refund {0} of this purchase exists, with other content")]
    RefundExists(RefundId),
    /// Too many refunds.
    #[error("the purchase has had as many refunds as it can have")]
    TooManyRefunds,
    /// Nothing is stuck.
    #[error("the purchase is not stuck")]
    NotStuck,
    /// Not what is to be done now: somebody else was faster.
    #[error("this step is not to be taken now")]
    OutOfTurn,
    /// An event does not follow from those before it.
    #[error("the purchase's history is damaged: {0}")]
    Damaged(String),
}

/// The code of [`Error::OutOfTurn`], which tells a saga to look again.
pub const OUT_OF_TURN: &str = "out-of-turn";

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-purchase",
            Self::Exists => "purchase-exists",
            Self::LineCount(_) => "invalid-lines",
            Self::UnknownProduct(_) => "unknown-product",
            Self::Retired(_) => "product-retired",
            Self::PriceDiffers { .. } => "price-differs",
            Self::MixedCurrencies { .. } => "mixed-currencies",
            Self::TotalTooLarge | Self::TooManyUnits(_) => "total-too-large",
            Self::DiscountCount(_)
            | Self::OrderDiscountCount(_)
            | Self::DiscountReason { .. }
            | Self::DiscountLine { .. }
            | Self::DiscountCurrency { .. }
            | Self::DiscountEmpty(_)
            | Self::DiscountExceeds { .. } => "invalid-discounts",
            Self::TenderCount(_)
            | Self::TenderCurrency { .. }
            | Self::TenderOpen(_)
            | Self::TenderTwice(_)
            | Self::TenderEmpty(_)
            | Self::TenderRepeated(_)
            | Self::PointsWithoutAccount(_)
            | Self::NoPointsRate(_)
            | Self::NotByCard { .. }
            | Self::TendersExceed { .. }
            | Self::TendersFallShort(_) => "invalid-tenders",
            Self::InvalidUntil => "invalid-until",
            Self::InvalidTime(_) => "invalid-time",
            Self::InvalidText { .. } => "invalid-text",
            Self::Over(_) => "purchase-over",
            Self::NotCompleted => "not-completed",
            Self::NothingLeft
            | Self::ExceedsPaid { .. }
            | Self::LinesExceedPaid { .. }
            | Self::ExceedsLine { .. } => "exceeds-paid",
            Self::NoLines | Self::NoAmount => "nothing-asked",
            Self::NotToCard { .. } => "invalid-amount",
            Self::OtherCurrency(_) => "currency-mismatch",
            Self::UnknownLine { .. } => "unknown-line",
            Self::LineTwice { .. } => "line-twice",
            Self::RefundExists(_) => "refund-exists",
            Self::TooManyRefunds => "limit-exceeded",
            Self::NotStuck => "not-stuck",
            Self::OutOfTurn => OUT_OF_TURN,
            Self::Damaged(_) => "damaged-purchase",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown => RefusalKind::NotFound,
            Self::Exists
            | Self::Retired(_)
            | Self::PriceDiffers { .. }
            | Self::Over(_)
            | Self::NotCompleted
            | Self::NothingLeft
            | Self::ExceedsPaid { .. }
            | Self::LinesExceedPaid { .. }
            | Self::ExceedsLine { .. }
            | Self::RefundExists(_)
            | Self::TooManyRefunds
            | Self::NotStuck
            | Self::OutOfTurn
            | Self::Damaged(_) => RefusalKind::Conflict,
            Self::LineCount(_)
            | Self::TenderCount(_)
            | Self::UnknownProduct(_)
            | Self::MixedCurrencies { .. }
            | Self::TotalTooLarge
            | Self::TooManyUnits(_)
            | Self::DiscountCount(_)
            | Self::OrderDiscountCount(_)
            | Self::DiscountReason { .. }
            | Self::DiscountLine { .. }
            | Self::DiscountCurrency { .. }
            | Self::DiscountEmpty(_)
            | Self::DiscountExceeds { .. }
            | Self::TenderCurrency { .. }
            | Self::TenderOpen(_)
            | Self::TenderTwice(_)
            | Self::TenderEmpty(_)
            | Self::TenderRepeated(_)
            | Self::PointsWithoutAccount(_)
            | Self::NoPointsRate(_)
            | Self::NotByCard { .. }
            | Self::NotToCard { .. }
            | Self::TendersExceed { .. }
            | Self::TendersFallShort(_)
            | Self::InvalidUntil
            | Self::InvalidTime(_)
            | Self::InvalidText { .. }
            | Self::NoLines
            | Self::NoAmount
            | Self::OtherCurrency(_)
            | Self::UnknownLine { .. }
            | Self::LineTwice { .. } => RefusalKind::Invalid,
        }
    }

    fn pointer(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::UnknownProduct(line) | Self::Retired(line) => of_line(*line, "product"),
            Self::PriceDiffers { line, .. } => of_line(*line, "price"),
            Self::MixedCurrencies { line, .. } => of_line(*line, "product"),
            Self::TooManyUnits(line) => of_line(*line, "quantity"),
            Self::LineCount(_)
            | Self::TotalTooLarge
            | Self::NoLines
            | Self::LinesExceedPaid { .. } => "/lines".into(),
            Self::UnknownLine { at, .. } | Self::LineTwice { at, .. } => of_line(*at, "line"),
            Self::ExceedsLine { at, .. } => of_line(*at, "quantity"),
            Self::DiscountCount(_) | Self::OrderDiscountCount(_) => "/discounts".into(),
            Self::DiscountReason { discount, .. } => of_discount(*discount, "reason"),
            Self::DiscountLine { discount, .. } => of_discount(*discount, "line"),
            Self::DiscountCurrency { discount, .. } => of_discount(*discount, "amount/currency"),
            Self::DiscountEmpty(discount) | Self::DiscountExceeds { discount, .. } => {
                of_discount(*discount, "amount/amount")
            }
            Self::TenderTwice(tender) => of_tender(*tender, "points"),
            Self::TenderOpen(tender) | Self::NotByCard { tender, .. } => {
                of_tender(*tender, "money")
            }
            Self::TenderCurrency { tender, .. } => of_tender(*tender, "money/currency"),
            Self::TenderRepeated(tender)
            | Self::PointsWithoutAccount(tender)
            | Self::NoPointsRate(tender) => of_tender(*tender, "kind"),
            // Its amount may be that of its money or that of its points.
            Self::TenderEmpty(tender) | Self::TendersExceed { tender, .. } => {
                numbered("/tenders", *tender)
            }
            Self::TenderCount(_) | Self::TendersFallShort(_) => "/tenders".into(),
            Self::InvalidUntil | Self::InvalidTime(_) => "/until".into(),
            Self::InvalidText { field, .. } => (*field).into(),
            Self::OtherCurrency(_) => "/amount/currency".into(),
            Self::NotToCard { .. } | Self::NoAmount => "/amount/amount".into(),
            Self::ExceedsPaid { .. } => "/amount".into(),
            Self::RefundExists(_) => "/refund".into(),
            Self::Exists => "/purchase".into(),
            Self::Unknown
            | Self::Over(_)
            | Self::NotCompleted
            | Self::NothingLeft
            | Self::TooManyRefunds
            | Self::NotStuck
            | Self::OutOfTurn
            | Self::Damaged(_) => return None,
        })
    }
}

/// The JSON pointer of an element by its number, from 1.
fn numbered(list: &str, number: usize) -> Cow<'static, str> {
    format!("{list}/{}", number.saturating_sub(1)).into()
}

fn of_line(number: usize, field: &str) -> Cow<'static, str> {
    format!("{}/{field}", numbered("/lines", number)).into()
}

fn of_discount(number: usize, field: &str) -> Cow<'static, str> {
    format!("{}/{field}", numbered("/discounts", number)).into()
}

fn of_tender(number: usize, field: &str) -> Cow<'static, str> {
    format!("{}/{field}", numbered("/tenders", number)).into()
}
