//! Which sales the cancellations take goods back from.
//!
//! A row of a cancellation is matched with the newest earlier invoice of the same account that has
//! so many units of the product left. What one cancellation takes from one sale is one return, and
//! bears the cancellation's id.

use std::collections::{BTreeMap, HashMap, HashSet};

use accrue_domain::id::{AccountId, SaleId};
use accrue_domain::money::{Minor, Money};
use accrue_domain::sale::LineKind;

use super::super::dates::Moment;
use super::super::rows::BadRow;
use super::Refused;
use super::book::{Book, Invoice, Item};
use super::charges;

/// What one cancellation takes back from one sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Returned {
    /// The sale, by its place in the book.
    pub(super) sale: usize,
    pub(super) cancellation: SaleId,
    pub(super) at: Moment,
    /// Rows of the file, at least one.
    pub(super) rows: Vec<u64>,
    /// How many of which line, from 1.
    pub(super) lines: BTreeMap<u32, u32>,
    /// What they are worth in minor units, as the ledger reckons it.
    pub(super) amount: i64,
}

/// Every row of every cancellation is in one of the two.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// In the order of the cancellations.
    pub(super) returns: Vec<Returned>,
    pub(super) unmatched: Vec<BadRow>,
}

/// Who bought what.
type Bought<'a> = (&'a AccountId, u32);

/// Matches every cancellation.
pub(super) fn matched(book: &Book) -> Returns {
    let mut matcher = Matcher { book, earlier: earlier(book), back: HashMap::new() };
    let mut cancellations: Vec<&Invoice> = book.cancellations.iter().collect();
    cancellations.sort_by_key(|it| it.order());
    let mut found = Returns::default();
    for cancellation in cancellations {
        let mut by_sale = BTreeMap::new();
        for item in &cancellation.items {
            match matcher.sale_of(cancellation, item) {
                Ok(sale) => {
                    let returned =
                        by_sale.entry(sale).or_insert_with(|| Returned::new(sale, cancellation));
                    returned.rows.push(item.line);
                    matcher.take(returned, item);
                }
                Err(reason) => found.unmatched.push(BadRow { line: item.line, reason }),
            }
        }
        found.returns.extend(by_sale.into_values());
    }
    found
}

/// Sales of everything that is cancelled by whoever bought it, oldest first.
fn earlier(book: &Book) -> HashMap<Bought<'_>, Vec<usize>> {
    let of = |invoice: &'_ Invoice, item: &Item| Some((invoice.account.clone()?, item.product));
    let cancelled = book.cancellations.iter();
    let cancelled: HashSet<(AccountId, u32)> =
        cancelled.flat_map(|it| it.items.iter().filter_map(|item| of(it, item))).collect();
    let mut earlier: HashMap<Bought<'_>, Vec<usize>> = HashMap::new();
    for (place, sale) in book.sales.iter().enumerate() {
        let Some(account) = &sale.account else { continue };
        for item in &sale.items {
            if of(sale, item).is_some_and(|it| cancelled.contains(&it)) {
                let sales = earlier.entry((account, item.product)).or_default();
                if sales.last() != Some(&place) {
                    sales.push(place);
                }
            }
        }
    }
    for sales in earlier.values_mut() {
        sales.sort_by_key(|place| book.sales[*place].order());
    }
    earlier
}

/// What can still come back.
struct Matcher<'a> {
    book: &'a Book,
    earlier: HashMap<Bought<'a>, Vec<usize>>,
    /// Units of a line that came back, by sale and place of the line in it.
    back: HashMap<(usize, usize), u32>,
}

impl Matcher<'_> {
    /// The newest earlier sale that has it, by its place.
    fn sale_of(&self, cancellation: &Invoice, item: &Item) -> Result<usize, String> {
        let code = &self.book.product_of(item).code;
        let Some(account) = &cancellation.account else {
            return Err(format!(
                "{code} is taken back from nobody: no account, so no sale is known"
            ));
        };
        let sales = self.earlier.get(&(account, item.product)).map(Vec::as_slice);
        let sales = sales.unwrap_or_default();
        let is_earlier = |place: &usize| self.book.sales[*place].order() < cancellation.order();
        let sales = &sales[..sales.partition_point(is_earlier)];
        if sales.is_empty() {
            return Err(self.never_bought(cancellation, account, item));
        }
        let wanted = u64::from(item.quantity);
        let mut newest_first = sales.iter().rev().copied();
        newest_first.find(|place| self.left(*place, item.product) >= wanted).ok_or_else(|| {
            format!("{account} has no earlier invoice with {wanted} of {code} left to return")
        })
    }

    fn never_bought(&self, cancellation: &Invoice, account: &AccountId, item: &Item) -> String {
        let product = self.book.product_of(item);
        let money = Money { amount: item.amount, currency: cancellation.currency };
        let money = format!("{} {}", money.major(), money.currency);
        let code = &product.code;
        match product.kind {
            LineKind::Charge if charges::is_discount(code) => {
                format!("a discount of {money} to {account}: no amount of a sale is below zero")
            }
            LineKind::Charge => {
                format!("{money} of {code} given back to {account}, who was not charged it before")
            }
            LineKind::Goods => format!("{account} has no earlier invoice with {code}"),
        }
    }

    /// Units of a product that a sale still has, over all of its lines.
    fn left(&self, sale: usize, product: u32) -> u64 {
        self.lines(sale, product).map(|(at, item)| u64::from(self.left_of(sale, at, item))).sum()
    }

    fn lines(&self, sale: usize, product: u32) -> impl Iterator<Item = (usize, &Item)> {
        let items = self.book.sales[sale].items.iter().enumerate();
        items.filter(move |(_, item)| item.product == product)
    }

    fn left_of(&self, sale: usize, at: usize, item: &Item) -> u32 {
        let back = self.back.get(&(sale, at)).copied().unwrap_or_default();
        item.quantity.saturating_sub(back)
    }

    /// Takes the units from the sale's lines: from those at the same price first, since an
    /// invoice may have one product at two prices.
    fn take(&mut self, returned: &mut Returned, cancelled: &Item) {
        let sale = returned.sale;
        let mut lines: Vec<(usize, Item)> =
            self.lines(sale, cancelled.product).map(|(at, item)| (at, *item)).collect();
        lines.sort_by_key(|(_, item)| !same_price(item, cancelled));
        let mut wanted = cancelled.quantity;
        for (at, item) in lines {
            let taken = wanted.min(self.left_of(sale, at, &item));
            if taken == 0 {
                continue;
            }
            wanted -= taken;
            let back = self.back.entry((sale, at)).or_default();
            let before = worth(&item, *back);
            *back += taken;
            returned.amount = returned.amount.saturating_add(worth(&item, *back) - before);
            // A place is far below u32: one sale has a thousand lines.
            let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
            *returned.lines.entry(line).or_default() += taken;
        }
    }
}

fn same_price(one: &Item, other: &Item) -> bool {
    let cross =
        |one: &Item, other: &Item| i128::from(one.amount.get()) * i128::from(other.quantity);
    cross(one, other) == cross(other, one)
}

/// What so many units of a line give back, as the ledger reckons it where the lines of a sale sum
/// to its total.
fn worth(item: &Item, back: u32) -> i64 {
    let share = i128::from(item.amount.get()) * i128::from(back) / i128::from(item.quantity);
    i64::try_from(share).unwrap_or(Minor::ZERO.get())
}

impl Returned {
    fn new(sale: usize, cancellation: &Invoice) -> Self {
        Self {
            sale,
            cancellation: cancellation.id.clone(),
            at: cancellation.at,
            rows: Vec::new(),
            lines: BTreeMap::new(),
            amount: 0,
        }
    }

    /// The line of the file that it begins in.
    pub(super) fn first_line(&self) -> u64 {
        self.rows.first().copied().unwrap_or_default()
    }
}

/// Returns of sales that are in the ledger, and the rows of the others.
pub(super) fn of_kept_sales(
    returns: Vec<Returned>,
    book: &Book,
    refused: &Refused,
) -> (Vec<Returned>, Vec<BadRow>) {
    let is_kept = |it: &Returned| !refused.contains_key(&book.sales[it.sale].first_line());
    let (kept, lost): (Vec<_>, Vec<_>) = returns.into_iter().partition(is_kept);
    let rows = lost.iter().flat_map(|it| {
        let reason = format!("sale {}, which it takes back, was refused", book.sales[it.sale].id);
        it.rows.iter().map(move |line| BadRow { line: *line, reason: reason.clone() })
    });
    (kept, rows.collect())
}

#[cfg(test)]
mod tests;
