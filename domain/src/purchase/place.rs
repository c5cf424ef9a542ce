//! Placing: what was asked for becomes an order with prices, discounts and tenders that never
//! change.

use chrono::TimeDelta;
use serde::Serialize;

use super::command::{Asked, Off, Offer, Place, Quote};
use super::discount;
use super::error::{Error, LINES_MAX, TENDERS_MAX, UNTIL_DAYS_MAX};
use super::order::{Line, Order, Tender, is_multiple};
use crate::aggregate::Context;
use crate::digest::Fingerprint;
use crate::expiry::instant;
use crate::id::{AccountId, DiscountId, ProductId};
use crate::money::{Currency, Minor, Money};
use crate::points::Amount;
use crate::program::PointsRate;
use crate::quantity::UNITS_MAX;
use crate::text;

/// How long an order may take where the client does not say.
const TIME: TimeDelta = TimeDelta::minutes(15);

/// The order that was asked for, or why it cannot be.
pub(super) fn order(place: Place, context: &Context<'_>) -> Result<Order, Error> {
    let asked = asked(&place);
    let Place { account, lines, discounts, tenders, until, reference, quotes } = place;
    text::check_optional(reference.as_deref())
        .map_err(|why| Error::InvalidText { field: "/reference", why })?;
    let until = until.map(instant).transpose().map_err(Error::InvalidTime)?;
    let last = context.now.checked_add_signed(TimeDelta::days(UNTIL_DAYS_MAX));
    let until = match until {
        Some(until) if until <= context.now || last.is_some_and(|last| until > last) => {
            return Err(Error::InvalidUntil);
        }
        Some(until) => until,
        None => context.now.checked_add_signed(TIME).unwrap_or(context.now),
    };
    let (mut lines, currency) = priced(lines, &quotes)?;
    let discounts = discount::take_off(&mut lines, currency, discounts)?;
    let total = Money { amount: sum(&lines)?, currency };
    let bill = Bill { account: account.as_ref(), total, rate: rate(context, total.currency) };
    let tenders = bill.tenders(tenders)?;
    let (occurred_at, placed_at) = (context.occurred_at, context.now);
    Ok(Order {
        account,
        lines,
        total,
        discounts,
        tenders,
        occurred_at,
        placed_at,
        until,
        reference,
        asked,
    })
}

/// Kind, source, points and money of a tender as it was offered.
type AskedTender<'a> = (&'a str, Option<&'a str>, Option<Amount>, Option<Money>);

/// Source, reason, size and line of a discount as it was asked for.
type AskedDiscount<'a> = (Option<&'a DiscountId>, &'a str, Off, Option<u32>);

/// Stands for what was asked for; what has come of it since does not count. It is kept with the
/// orders of released versions, so it never changes for what these would have taken.
pub(super) fn asked(place: &Place) -> Fingerprint {
    #[derive(Serialize)]
    struct All<'a> {
        account: Option<&'a AccountId>,
        lines: Vec<(&'a ProductId, i64, Option<Money>)>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        discounts: Vec<AskedDiscount<'a>>,
        tenders: Vec<AskedTender<'a>>,
        until: Option<chrono::DateTime<chrono::Utc>>,
        reference: Option<&'a str>,
    }
    let line = |it: &'_ Asked| (it.product.clone(), it.quantity.get(), it.price);
    let lines: Vec<_> = place.lines.iter().map(line).collect();
    Fingerprint::of(&All {
        account: place.account.as_ref(),
        lines: lines.iter().map(|(product, units, price)| (product, *units, *price)).collect(),
        discounts: place
            .discounts
            .iter()
            .map(|it| (it.id.as_ref(), it.reason.as_str(), it.off, it.line))
            .collect(),
        tenders: place
            .tenders
            .iter()
            .map(|offer| match offer {
                Offer::Points { points, money } => ("points", None, *points, *money),
                Offer::Wallet { wallet, money } => ("wallet", Some(wallet.as_str()), None, *money),
                Offer::Card { payment_method, money } => {
                    ("card", Some(payment_method.expose()), None, *money)
                }
            })
            .collect(),
        until: place.until,
        reference: place.reference.as_deref(),
    })
}

/// The lines at full price, and their currency.
fn priced(asked: Vec<Asked>, quotes: &[Option<Quote>]) -> Result<(Vec<Line>, Currency), Error> {
    if asked.is_empty() || asked.len() > LINES_MAX {
        return Err(Error::LineCount(asked.len()));
    }
    let mut lines: Vec<Line> = Vec::with_capacity(asked.len());
    let mut currency = None;
    for (number, (asked, quote)) in (1..).zip(asked.into_iter().zip(quotes)) {
        let Asked { product, quantity, price: expected } = asked;
        let quote = quote.as_ref().ok_or(Error::UnknownProduct(number))?;
        if quote.retired {
            return Err(Error::Retired(number));
        }
        let Money { amount: price, currency: got } = quote.price;
        if expected.is_some_and(|expected| expected != quote.price) {
            let price = price.get();
            return Err(Error::PriceDiffers { line: number, price, currency: got });
        }
        let expected = *currency.get_or_insert(got);
        if expected != got {
            return Err(Error::MixedCurrencies { line: number, expected, got });
        }
        let before = lines.iter().filter(|it| it.product == product).map(|it| it.quantity.get());
        if before.fold(quantity.get(), i64::saturating_add) > UNITS_MAX {
            return Err(Error::TooManyUnits(number));
        }
        let amount = price.get().checked_mul(quantity.get()).ok_or(Error::TotalTooLarge)?;
        let amount = Minor::new(amount).map_err(|_| Error::TotalTooLarge)?;
        let (name, kind) = (quote.name.clone(), quote.kind);
        lines.push(Line { product, name, kind, quantity, price, amount });
    }
    // Discounts change nothing about what an order can be at most.
    sum(&lines)?;
    Ok((lines, currency.ok_or(Error::LineCount(0))?))
}

fn sum(lines: &[Line]) -> Result<Minor, Error> {
    let sum = lines.iter().try_fold(Minor::ZERO, |sum, line| sum.checked_add(line.amount));
    sum.ok_or(Error::TotalTooLarge)
}

/// What points are worth in that currency.
fn rate<'a>(context: &Context<'a>, currency: Currency) -> Option<&'a PointsRate> {
    let settings = context.settings;
    settings
        .points_rate
        .as_ref()
        .filter(|it| settings.currency == currency && it.amount > Minor::ZERO)
}

/// What is to be paid, by whom.
struct Bill<'a> {
    account: Option<&'a AccountId>,
    total: Money,
    rate: Option<&'a PointsRate>,
}

impl Bill<'_> {
    fn tenders(&self, offers: Vec<Offer>) -> Result<Vec<Tender>, Error> {
        let nothing = self.total.amount == Minor::ZERO;
        if offers.len() > TENDERS_MAX || (offers.is_empty() && !nothing) {
            return Err(Error::TenderCount(offers.len()));
        }
        let mut left = self.total.amount.get();
        let mut tenders: Vec<Tender> = Vec::with_capacity(offers.len());
        let count = offers.len();
        for (number, offer) in (1..).zip(offers) {
            let rest = (number == count).then_some(left);
            let tender = self.tender(number, offer, rest)?;
            let money = tender.money().get();
            if money == 0 {
                return Err(Error::TenderEmpty(number));
            }
            if money > left {
                return Err(Error::TendersExceed { tender: number, left });
            }
            let (step, currency) = (self.total.currency.card_step(), self.total.currency);
            if matches!(tender, Tender::Card { .. }) && !is_multiple(money, step) {
                return Err(Error::NotByCard { tender: number, step, currency });
            }
            if tenders.iter().any(|before| is_repeated(before, &tender)) {
                return Err(Error::TenderRepeated(number));
            }
            left = left.saturating_sub(money);
            tenders.push(tender);
        }
        if left > 0 {
            return Err(Error::TendersFallShort(left));
        }
        Ok(tenders)
    }

    /// One tender; `rest` is what the last one pays where it does not say.
    fn tender(&self, number: usize, offer: Offer, rest: Option<i64>) -> Result<Tender, Error> {
        let amount = |money: Option<Money>| self.amount(number, money, rest);
        Ok(match offer {
            Offer::Points { points: Some(_), money: Some(_) } => {
                return Err(Error::TenderTwice(number));
            }
            Offer::Points { points, money } => {
                if self.account.is_none() {
                    return Err(Error::PointsWithoutAccount(number));
                }
                let rate = self.rate.ok_or(Error::NoPointsRate(number))?;
                let (points, money) = match points {
                    Some(points) => (points.points(), rate.worth(points.points())),
                    None => {
                        let money = amount(money)?;
                        (rate.points_for(money).ok_or(Error::TotalTooLarge)?, money)
                    }
                };
                Tender::Points { points, money }
            }
            Offer::Wallet { wallet, money } => Tender::Wallet { wallet, money: amount(money)? },
            Offer::Card { payment_method, money } => {
                Tender::Card { payment_method, money: amount(money)? }
            }
        })
    }

    fn amount(
        &self,
        number: usize,
        money: Option<Money>,
        rest: Option<i64>,
    ) -> Result<Minor, Error> {
        match (money, rest) {
            (Some(money), _) if money.currency != self.total.currency => {
                Err(Error::TenderCurrency { tender: number, expected: self.total.currency })
            }
            (Some(money), _) => Ok(money.amount),
            (None, Some(rest)) => Ok(Minor::new(rest).unwrap_or(Minor::ZERO)),
            (None, None) => Err(Error::TenderOpen(number)),
        }
    }
}

/// Holds are named after the purchase, and a payment provider's call after its step: a second
/// tender of the same source could not be told from the first.
fn is_repeated(before: &Tender, tender: &Tender) -> bool {
    match (before, tender) {
        (Tender::Points { .. }, Tender::Points { .. })
        | (Tender::Card { .. }, Tender::Card { .. }) => true,
        (Tender::Wallet { wallet: one, .. }, Tender::Wallet { wallet: other, .. }) => one == other,
        _ => false,
    }
}
