//! The order: what is bought, at which price, and how it is paid. All of it is frozen when the
//! order is placed.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::discount::Discount;
use super::step::Step;
use crate::digest::Fingerprint;
use crate::id::{AccountId, ProductId, WalletId};
use crate::money::{Minor, Money};
use crate::payment_method::PaymentMethod;
use crate::points::Points;
use crate::product::Offering;
use crate::quantity::{Quantity, UNITS_MAX};

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What is bought.
    pub product: ProductId,
    /// Its name when the order was placed.
    pub name: String,
    /// Goods or a service.
    pub kind: Offering,
    /// How many.
    pub quantity: Quantity,
    /// Of one unit, when the order was placed; minor units in the order's currency.
    pub price: Minor,
    /// Of the whole line, discounts taken off.
    pub amount: Minor,
}

impl Line {
    /// What discounts take off it, in minor units.
    #[must_use]
    pub const fn discount(&self) -> i64 {
        let full = self.price.get().saturating_mul(self.quantity.get());
        full.saturating_sub(self.amount.get())
    }

    /// Minor units of the first `units` of it. Of a line with a discount the share of a unit is the
    /// difference of two such amounts, and the shares of all units sum to the line.
    fn amount_of(&self, units: i64) -> i64 {
        proportion(self.amount.get(), units, self.quantity.get())
    }
}

/// One way of paying, with its share of the total in minor units of the order's currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tender {
    /// Points of the order's account, at the program's rate of that moment.
    Points {
        /// How many.
        points: Points,
        /// What they pay.
        money: Minor,
    },
    /// Stored value.
    Wallet {
        /// Whose.
        wallet: WalletId,
        /// How much.
        money: Minor,
    },
    /// A card, by way of a payment provider.
    Card {
        /// The provider's token.
        payment_method: PaymentMethod,
        /// How much.
        money: Minor,
    },
}

impl Tender {
    /// Its share of the total.
    #[must_use]
    pub const fn money(&self) -> Minor {
        match self {
            Self::Points { money, .. } | Self::Wallet { money, .. } | Self::Card { money, .. } => {
                *money
            }
        }
    }

    /// Is it money, and not points?
    #[must_use]
    pub const fn is_money(&self) -> bool {
        matches!(self, Self::Wallet { .. } | Self::Card { .. })
    }

    /// The name in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Points { .. } => "points",
            Self::Wallet { .. } => "wallet",
            Self::Card { .. } => "card",
        }
    }
}

/// An order as it was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Who buys; absent for a guest, who earns nothing.
    pub account: Option<AccountId>,
    /// What is bought. Never empty.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Money,
    /// What was taken off the prices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// How it is paid; they sum to the total. Empty only where that is nothing.
    pub tenders: Vec<Tender>,
    /// Business time.
    pub occurred_at: DateTime<Utc>,
    /// By the server's clock.
    pub placed_at: DateTime<Utc>,
    /// What is not completed by then is undone.
    pub until: DateTime<Utc>,
    /// The client's own note.
    pub reference: Option<String>,
    /// What was asked for, to tell a retry from another order.
    pub(super) asked: Fingerprint,
}

impl Order {
    /// Units by product, each product once: what is held is the sum over the lines.
    #[must_use]
    pub fn units(&self) -> Vec<(&ProductId, Quantity)> {
        let mut units: Vec<(&ProductId, i64)> = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            match units.iter_mut().find(|(product, _)| *product == &line.product) {
                Some((_, sum)) => *sum = sum.saturating_add(line.quantity.get()),
                None => units.push((&line.product, line.quantity.get())),
            }
        }
        // Placing has checked that the sums are in range.
        let quantity = |sum: i64| Quantity::new(sum.clamp(1, UNITS_MAX)).ok();
        units.into_iter().filter_map(|(id, sum)| Some((id, quantity(sum)?))).collect()
    }

    /// What discounts take off in all, in minor units.
    #[must_use]
    pub fn discount(&self) -> i64 {
        self.lines.iter().map(Line::discount).fold(0, i64::saturating_add)
    }

    /// What is paid in money: wallets and cards, not points.
    #[must_use]
    pub fn paid(&self) -> Minor {
        let money = self.tenders.iter().filter(|it| it.is_money()).map(|it| it.money().get());
        Minor::new(money.fold(0, i64::saturating_add)).unwrap_or(Minor::MAX)
    }

    /// The card's share, where a card is among the tenders.
    #[must_use]
    pub fn card(&self) -> Option<(&PaymentMethod, Minor)> {
        self.tenders.iter().find_map(|tender| match tender {
            Tender::Card { payment_method, money } => Some((payment_method, *money)),
            Tender::Points { .. } | Tender::Wallet { .. } => None,
        })
    }

    /// The steps that this order needs, in their order.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let held = self.tenders.iter().any(|it| !matches!(it, Tender::Card { .. }));
        let card = self.card().is_some();
        [
            (Step::HoldStock, true),
            (Step::HoldTenders, held),
            (Step::AuthoriseCard, card),
            (Step::CaptureCard, card),
            (Step::Settle, true),
        ]
        .into_iter()
        .filter_map(|(step, needed)| needed.then_some(step))
    }

    /// How the tenders share the first `amount` minor units of the order, lines and their units
    /// in order: the shares sum to `amount`, and for the whole total they are the tenders
    /// themselves. So the share of any unit is the difference of two such splits, and the shares
    /// of all units sum to each tender exactly.
    ///
    /// Cumulative rounding, one tender after another over what the ones before leave: the
    /// largest part of a minor unit that a unit is off its exact share is below one.
    #[must_use]
    pub fn split(&self, amount: i64) -> Vec<i64> {
        let (mut left, mut whole) = (amount, self.total.amount.get());
        let mut shares = Vec::with_capacity(self.tenders.len());
        for tender in &self.tenders {
            let money = tender.money().get();
            let share = proportion(left, money, whole);
            shares.push(share);
            left = left.saturating_sub(share);
            whole = whole.saturating_sub(money);
        }
        shares
    }

    /// Minor units of the lines before `line` (from 0), and of the first `units` of it.
    #[must_use]
    pub fn amount_before(&self, line: usize, units: i64) -> i64 {
        let before = self.lines.iter().take(line).map(|it| it.amount.get());
        let before = before.fold(0, i64::saturating_add);
        let of_line = self.lines.get(line).map_or(0, |it| it.amount_of(units));
        before.saturating_add(of_line)
    }
}

/// Is it so many whole steps?
pub(super) fn is_multiple(amount: i64, step: i64) -> bool {
    amount.checked_rem(step) == Some(0)
}

/// `floor(part * share / whole)`; nothing of nothing.
pub(super) fn proportion(part: i64, share: i64, whole: i64) -> i64 {
    i128::from(part)
        .checked_mul(i128::from(share))
        .and_then(|product| product.checked_div(i128::from(whole)))
        .and_then(|quotient| i64::try_from(quotient).ok())
        .unwrap_or(0)
}
