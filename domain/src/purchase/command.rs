//! What a purchase can be asked.

use chrono::{DateTime, Utc};

use super::event::Effect;
use super::step::{KeyNumber, Step, Turn};
use crate::account::event::Part;
use crate::id::{AccountId, DiscountId, ProductId, RefundId, WalletId};
use crate::money::Money;
use crate::payment_method::PaymentMethod;
use crate::percent::Percent;
use crate::points::Amount;
use crate::product::Offering;
use crate::quantity::Quantity;

/// A request to a purchase. Clients send the first three, operators the next two; all others are
/// the saga's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Place the order.
    Place(Box<Place>),
    /// Stop it, if it is not completed yet.
    Cancel {
        /// Why.
        reason: Option<String>,
        /// Who.
        actor: Option<String>,
    },
    /// Give back what was paid, all or a part.
    Refund(Refund),
    /// Try again what is stuck.
    Retry {
        /// Why.
        reason: String,
        /// Who.
        actor: String,
    },
    /// Leave the stuck step to people, and go on without it.
    Abandon {
        /// Why.
        reason: String,
        /// Who.
        actor: String,
    },
    /// A call to the outside is about to be made; nobody else is to make it before `until`.
    Start {
        /// Which.
        turn: Turn,
        /// When its caller is given up.
        until: DateTime<Utc>,
    },
    /// A step is done.
    Done {
        /// Which.
        turn: Turn,
        /// The payment provider's name for the payment, once there is one.
        payment: Option<String>,
        /// Of settling: the lots of the points that this takes, in the order of use. Filled in by
        /// whoever decides that together with this.
        spent: Vec<Part>,
    },
    /// A step is undone, or there was nothing to undo.
    Undone {
        /// Which.
        step: Step,
    },
    /// A step was refused and had no effect.
    Refused {
        /// Which.
        turn: Turn,
        /// A stable name of the reason, such as `insufficient_stock`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// A call to the outside came to nothing yet; it is made again.
    Delay {
        /// Which.
        turn: Turn,
        /// What the attempt may have done.
        effect: Effect,
        /// For people.
        detail: String,
        /// When to try again; none when it was tried often enough.
        retry_at: Option<DateTime<Utc>>,
    },
    /// The customer must act before the card's money is held.
    AskCustomer {
        /// The payment provider's name for the payment.
        payment: String,
        /// Where to send the customer.
        url: Option<String>,
        /// When to look whether they have.
        retry_at: DateTime<Utc>,
    },
    /// Stop it if its time is over.
    TimeOut,
    /// The payment provider could not give money back that it had taken on to give back.
    RefundFailed {
        /// Of which refund; none: of what was captured, on the way back.
        refund: Option<RefundId>,
        /// Under which key it was called.
        key: KeyNumber,
        /// What the provider says about it.
        detail: String,
    },
}

/// An order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who buys; absent for a guest.
    pub account: Option<AccountId>,
    /// What.
    pub lines: Vec<Asked>,
    /// What is taken off the prices, one after another.
    pub discounts: Vec<DiscountAsked>,
    /// How it is paid.
    pub tenders: Vec<Offer>,
    /// What is not completed by then is undone.
    pub until: Option<DateTime<Utc>>,
    /// The client's own note.
    pub reference: Option<String>,
    /// What the lines' products are and cost when this is decided, in the order of the lines:
    /// filled in by whoever holds their states. None for a product that does not exist.
    pub quotes: Vec<Option<Quote>>,
}

/// A line as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub product: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// What the client believes one unit costs. Only compared.
    pub price: Option<Money>,
}

/// A discount as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscountAsked {
    /// What it comes from.
    pub id: Option<DiscountId>,
    /// For people.
    pub reason: String,
    /// How much.
    pub off: Off,
    /// The number of the line that it applies to, from 1; none: the whole order.
    pub line: Option<u32>,
}

/// How much a discount takes off what is left of what it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Off {
    /// A share of it.
    Percent(Percent),
    /// So much.
    Amount(Money),
}

/// What a product is and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// For people.
    pub name: String,
    /// Goods or a service.
    pub kind: Offering,
    /// Of one unit.
    pub price: Money,
    /// Is it no longer for sale?
    pub retired: bool,
}

/// A tender as it was offered; the last one may leave its amount open and takes the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Points, by their number or by the money that they are to pay.
    Points {
        /// How many.
        points: Option<Amount>,
        /// How much they are to pay.
        money: Option<Money>,
    },
    /// Stored value.
    Wallet {
        /// Whose.
        wallet: WalletId,
        /// How much.
        money: Option<Money>,
    },
    /// A card.
    Card {
        /// The provider's token.
        payment_method: PaymentMethod,
        /// How much.
        money: Option<Money>,
    },
}

/// What is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The refund's id; derived from the command where absent.
    pub id: Option<RefundId>,
    /// How much.
    pub portion: Portion,
    /// The client's own note.
    pub reference: Option<String>,
}

/// How much is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Portion {
    /// All that is left.
    All {
        /// Do the goods come back too?
        restock: bool,
    },
    /// Some units of some lines.
    Lines(Vec<RefundedLine>),
    /// A part of the total, without goods.
    Amount(Money),
}

/// How many of which line are refunded. Lines count from 1.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct RefundedLine {
    /// The line's number, from 1.
    pub line: u32,
    /// How many units, from 1.
    pub quantity: Quantity,
    /// Do they go back into stock?
    pub restock: bool,
}
