//! How an import of lines went.
//!
//! Every row is counted once: `rows = lines + taken_back + unmatched + refused`.

use std::fmt;
use std::time::Duration;

use accrue_domain::money::Currency;
use accrue_domain::sale::LineKind;

use super::super::Tally;
use super::Refused;
use super::book::{Book, Invoice};
use super::returns::Returned;
use crate::output::{self, grouped};

/// Rows, sales and money by what became of them. Sales and returns that were there before this
/// import count like those that it recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(super) rows: u64,
    /// Ids of sales and cancellations that have at least one good row.
    pub(super) invoices: u64,
    sales: u64,
    anonymous: u64,
    /// Rows that are lines of sales.
    lines: u64,
    charges: u64,
    returns: u64,
    /// Rows of cancellations that are in returns.
    taken_back: u64,
    /// Rows of cancellations without a sale.
    pub(super) unmatched: u64,
    /// Rows that are none of these.
    pub(super) refused: u64,
    recorded: u64,
    already: u64,
    repeated: u64,
    currency: Currency,
    sold: i64,
    returned: i64,
    pub(super) took: Duration,
}

impl Summary {
    pub(super) const fn new(currency: Currency) -> Self {
        Self {
            rows: 0,
            invoices: 0,
            sales: 0,
            anonymous: 0,
            lines: 0,
            charges: 0,
            returns: 0,
            taken_back: 0,
            unmatched: 0,
            refused: 0,
            recorded: 0,
            already: 0,
            repeated: 0,
            currency,
            sold: 0,
            returned: 0,
            took: Duration::ZERO,
        }
    }

    /// Nothing became a command that was taken.
    pub(crate) const fn nothing_fits(&self) -> bool {
        self.rows > 0 && self.sales == 0 && self.returns == 0
    }

    pub(super) const fn count_row(&mut self) {
        self.rows = self.rows.saturating_add(1);
    }

    /// Counts what became of the sales.
    pub(super) fn sales(&mut self, book: &Book, refused: &Refused) {
        for sale in &book.sales {
            if refused.contains_key(&sale.first_line()) {
                self.refused += count(sale.items.len());
            } else {
                self.sale(sale, book);
            }
        }
    }

    fn sale(&mut self, sale: &Invoice, book: &Book) {
        // A program has one currency, and the server refuses sales in another.
        self.currency = sale.currency;
        self.sales += 1;
        self.anonymous += u64::from(sale.account.is_none());
        self.lines += count(sale.items.len());
        let is_charge = |kind| kind == LineKind::Charge;
        let charges = sale.items.iter().filter(|item| is_charge(book.product_of(item).kind));
        self.charges += count(charges.count());
        self.sold = self.sold.saturating_add(sale.total.get());
    }

    /// Counts what became of the returns, and of the rows whose sale was refused.
    pub(super) fn returns(
        &mut self,
        returns: &[Returned],
        refused: &Refused,
        lost: usize,
        tally: &Tally,
    ) {
        self.refused += count(lost);
        for returned in returns {
            let rows = count(returned.rows.len());
            if refused.contains_key(&returned.first_line()) {
                self.refused += rows;
            } else {
                self.returns += 1;
                self.taken_back += rows;
                self.returned = self.returned.saturating_add(returned.amount);
            }
        }
        (self.recorded, self.already) = (tally.recorded, tally.already);
        self.repeated = tally.repeated;
    }

    fn money(&self, units: i64) -> String {
        let digits = usize::try_from(self.currency.exponent()).unwrap_or_default();
        let scale = 10_i64.pow(self.currency.exponent());
        if digits == 0 {
            return grouped(units);
        }
        format!("{}.{:0digits$}", grouped(units / scale), units % scale)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, number: u64| vec![name.to_owned(), shown(number)];
        let money =
            |name: &str, units| vec![format!("{name}, {}", self.currency), self.money(units)];
        let rows = [
            row("invoices", self.invoices),
            row("sales", self.sales),
            row("  anonymous", self.anonymous),
            row("  lines", self.lines),
            row("  charges among the lines", self.charges),
            row("returns", self.returns),
            row("  rows matched", self.taken_back),
            row("  rows unmatched", self.unmatched),
            row("rows refused", self.refused),
            row("rows", self.rows),
            money("sold", self.sold),
            money("returned", self.returned),
        ];
        f.write_str(&output::table(&rows))?;
        let (seconds, tenths) = (self.took.as_secs(), self.took.subsec_millis() / 100);
        let (recorded, already) = (shown(self.recorded), shown(self.already));
        write!(f, "{recorded} recorded, {already} already there, in {seconds}.{tenths} s")?;
        if self.repeated > 0 {
            write!(f, ", {} deliveries repeated", shown(self.repeated))?;
        }
        f.write_str("\n")
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn shown(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}
