//! The invoices of a file, each with its rows together.

use std::collections::HashMap;

use accrue_domain::id::{AccountId, SaleId};
use accrue_domain::money::{Currency, Minor};
use accrue_domain::sale::LineKind;
use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};

use super::super::dates::Moment;
use super::super::rows::BadRow;
use super::charges::Charges;
use super::row::Entry;
use crate::output::grouped;

/// Most rows of one file: with 24 bytes a row, and some 200 more an invoice, about half a
/// gigabyte.
pub(super) const ROWS_MAX: u64 = 10_000_000;

/// The file as far as it was read: sales and cancellations in the order of their first rows.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sales: Vec<Invoice>,
    pub(super) cancellations: Vec<Invoice>,
    /// Where each invoice is, in one of the two.
    places: HashMap<SaleId, usize>,
    products: Vec<Product>,
    numbers: HashMap<String, u32>,
}

/// Several rows of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invoice {
    pub(super) id: SaleId,
    pub(super) account: Option<AccountId>,
    pub(super) currency: Currency,
    pub(super) at: Moment,
    pub(super) instant: DateTime<Utc>,
    /// What its lines sum to.
    pub(super) total: Minor,
    pub(super) items: Vec<Item>,
}

/// One row of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) line: u64,
    /// The number of its product in the book.
    pub(super) product: u32,
    pub(super) quantity: u32,
    pub(super) amount: Minor,
}

/// What a file calls one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) code: String,
    pub(super) kind: LineKind,
}

/// Is there room for so many rows?
pub(super) fn check_size(rows: u64) -> Result<()> {
    let most = grouped(i64::try_from(ROWS_MAX).unwrap_or(i64::MAX));
    ensure!(rows <= ROWS_MAX, "the file has more than {most} rows: split it by its dates");
    Ok(())
}

impl Book {
    /// Puts a row to its invoice.
    pub(super) fn add(&mut self, entry: Entry, charges: &Charges) -> Result<(), BadRow> {
        let line = entry.line;
        self.put(entry, charges).map_err(|reason| BadRow { line, reason })
    }

    fn put(&mut self, entry: Entry, charges: &Charges) -> Result<(), String> {
        let product = self.product(&entry.product, charges)?;
        let Entry { line, quantity, .. } = entry;
        let item = Item { line, product, quantity, amount: entry.amount.amount };
        let invoices = if entry.cancels { &mut self.cancellations } else { &mut self.sales };
        match self.places.get(&entry.invoice) {
            Some(place) => invoices[*place].add(item, &entry),
            None => {
                self.places.insert(entry.invoice.clone(), invoices.len());
                invoices.push(Invoice::new(item, entry));
                Ok(())
            }
        }
    }

    fn product(&mut self, code: &str, charges: &Charges) -> Result<u32, String> {
        if let Some(number) = self.numbers.get(code) {
            return Ok(*number);
        }
        let number = u32::try_from(self.products.len()).map_err(|_| "product: too many of them")?;
        self.products.push(Product { code: code.to_owned(), kind: charges.kind(code) });
        self.numbers.insert(code.to_owned(), number);
        Ok(number)
    }

    /// What an item is of.
    pub(super) fn product_of(&self, item: &Item) -> &Product {
        // A u32 is an index on every machine that this is built for.
        &self.products[usize::try_from(item.product).unwrap_or(usize::MAX)]
    }

    /// How many invoices there are, cancellations among them.
    pub(super) fn invoices(&self) -> u64 {
        let invoices = self.sales.len().saturating_add(self.cancellations.len());
        u64::try_from(invoices).unwrap_or(u64::MAX)
    }

    /// Takes out what nobody bought and nothing was paid for: shops correct their stock so.
    /// Called once, when all rows are there: places are not true after it.
    pub(super) fn take_out_corrections(&mut self) -> Vec<BadRow> {
        self.places = HashMap::new();
        let is_correction = |it: &mut Invoice| it.account.is_none() && it.total == Minor::ZERO;
        let corrections = self.sales.extract_if(.., is_correction);
        let rows = corrections.flat_map(|invoice| {
            let reason = format!(
                "invoice {} has no account and no price: a correction of stock",
                invoice.id
            );
            invoice
                .items
                .into_iter()
                .map(move |it| BadRow { line: it.line, reason: reason.clone() })
        });
        rows.collect()
    }
}

impl Invoice {
    fn new(item: Item, entry: Entry) -> Self {
        Self {
            id: entry.invoice,
            account: entry.account,
            currency: entry.amount.currency,
            at: entry.at,
            instant: entry.instant,
            total: item.amount,
            items: vec![item],
        }
    }

    fn add(&mut self, item: Item, entry: &Entry) -> Result<(), String> {
        let first = self.first_line();
        if self.account != entry.account {
            let whose = self.account.as_ref().map_or("nobody", AccountId::as_str);
            return Err(format!("account: invoice {} is {whose}'s since line {first}", self.id));
        }
        if self.currency != entry.amount.currency {
            let currency = self.currency;
            return Err(format!(
                "currency: invoice {} is in {currency} since line {first}",
                self.id
            ));
        }
        let total = self.total.get().saturating_add(item.amount.get());
        self.total = Minor::new(total).map_err(|_| "price: the invoice's total is too large")?;
        // Tills write long invoices over several minutes: it took place when it began.
        if entry.instant < self.instant {
            (self.at, self.instant) = (entry.at, entry.instant);
        }
        self.items.push(item);
        Ok(())
    }

    /// The line of the file that it begins in.
    pub(super) fn first_line(&self) -> u64 {
        self.items.first().map_or(0, |item| item.line)
    }

    /// What came first: by time, and by the file where that is the same.
    pub(super) fn order(&self) -> (DateTime<Utc>, u64) {
        (self.instant, self.first_line())
    }
}

#[cfg(test)]
pub(super) mod tests;
