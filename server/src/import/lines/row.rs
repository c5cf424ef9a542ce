//! One row of a file of lines: what it says, checked.

use std::str::FromStr;

use accrue_domain::id::{AccountId, SaleId};
use accrue_domain::money::Money;
use accrue_domain::text;
use chrono::{DateTime, Utc};

use super::super::dates::{Moment, Shift};
use super::super::mapping;
use super::super::money;
use super::super::rows::{self, BadRow, Row};
use super::Lines;

/// What a line is made of: a name here, whether it is needed.
const FIELDS: [(&str, bool); 7] = [
    ("id", true),
    ("occurred_at", true),
    ("product", true),
    ("quantity", true),
    ("price", true),
    ("account", false),
    ("currency", false),
];

/// The columns of a line's fields, in the order of [`FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping([Option<String>; FIELDS.len()]);

impl FromStr for Mapping {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        mapping::columns(text, FIELDS).map(Self)
    }
}

impl Mapping {
    pub(super) fn columns(&self) -> [Option<String>; FIELDS.len()] {
        self.0.clone()
    }
}

/// A row as a line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) invoice: SaleId,
    /// Does the invoice take goods back?
    pub(super) cancels: bool,
    pub(super) at: Moment,
    /// The same, not moved.
    pub(super) instant: DateTime<Utc>,
    pub(super) account: Option<AccountId>,
    pub(super) product: String,
    /// How many were sold, or are taken back.
    pub(super) quantity: u32,
    /// Of the whole line.
    pub(super) amount: Money,
}

/// Checks the texts of a row.
pub(super) fn entry(row: Row<{ FIELDS.len() }>, plan: &Lines) -> Result<Entry, BadRow> {
    let (line, last) = (row.line, row.last);
    checked(row, plan).map_err(|reason| BadRow::over(line, last, &reason))
}

fn checked(row: Row<{ FIELDS.len() }>, plan: &Lines) -> Result<Entry, String> {
    let [id, occurred_at, product, quantity, price, account, currency] = row.texts;
    let invoice = SaleId::new(&id).map_err(|error| format!("id: {error}"))?;
    let cancels = !plan.cancels.is_empty() && id.starts_with(&plan.cancels);
    let at = plan.file.dates.read(&occurred_at)?;
    let instant = plan.file.dates.instant(at, Shift::default());
    text::check(&product).map_err(|error| format!("product: {error}"))?;
    let quantity = units(&quantity, cancels)?;
    let currency = rows::currency_of(&currency, plan.file.currency)?;
    Ok(Entry {
        line: row.line,
        invoice,
        cancels,
        at,
        instant: instant.ok_or("occurred_at: out of range")?,
        account: rows::account_of(&account)?,
        product,
        quantity,
        amount: money::amount(&price, quantity, currency)?,
    })
}

/// A cancellation has quantities below zero, an invoice has them above.
fn units(text: &str, cancels: bool) -> Result<u32, String> {
    let expected = || format!("quantity: expected a whole number other than 0, got {text:?}");
    let units: i64 = text.parse().map_err(|_| expected())?;
    match (cancels, units) {
        (_, 0) => Err(expected()),
        (false, ..0) => Err(format!(
            "quantity: {text} in an invoice that is no cancellation: a correction of stock, no sale"
        )),
        (true, 1..) => Err(format!("quantity: {text} in a cancellation, which only takes back")),
        (_, units) => u32::try_from(units.unsigned_abs())
            .map_err(|_| format!("quantity: {text} is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_and_of_their_invoices_sign() {
        assert_eq!((units("6", false), units("-6", true)), (Ok(6), Ok(6)));
        assert_eq!(units("4294967295", false), Ok(u32::MAX));
        let refused = [("0", false), ("-0", true), ("", false), ("1.5", false), ("6", true)];
        for (text, cancels) in refused {
            assert!(units(text, cancels).unwrap_err().starts_with("quantity: "), "{text}");
        }
        assert!(units("-10", false).unwrap_err().ends_with("a correction of stock, no sale"));
        assert!(units("4294967296", false).unwrap_err().ends_with("is too large"));
        assert!(units("-9223372036854775808", true).unwrap_err().ends_with("is too large"));
    }

    #[test]
    fn lines_are_mapped_without_a_total() {
        let map = |text: &str| text.parse::<Mapping>();
        let needed = "missing: occurred_at=COLUMN,product=COLUMN,quantity=COLUMN,price=COLUMN";
        assert_eq!(map("id=n").unwrap_err(), needed);
        assert!(map("id=n,total=t").unwrap_err().starts_with("unknown field \"total\""));
        assert!(map("id=n,occurred_at=d,product=p,quantity=q,price=u,account=a").is_ok());
    }
}
