//! Commands of sales and returns, as lines of `POST /v1/commands`.

use accrue_domain::money::Money;
use accrue_domain::sale::{Line, ReturnedLine};
use chrono::SecondsFormat;
use serde_json::json;

use super::super::dates::{DateReader, Moment, Shift};
use super::super::rows::BadRow;
use super::super::send::Command;
use super::book::{Book, Invoice, Item};
use super::returns::Returned;

/// Makes commands of a history that is moved by some days.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    pub(super) dates: DateReader,
    pub(super) shift: Shift,
}

impl Maker {
    /// One sale with all of its lines. Its key is that of the same sale without lines, so that a
    /// shop cannot import both under one id.
    pub(super) fn sale(&self, sale: &Invoice, book: &Book) -> Result<Command, BadRow> {
        let line = sale.first_line();
        let lines: Vec<Line> = sale.items.iter().map(|item| line_of(item, book)).collect();
        let mut envelope = json!({
            "id": format!("import/sale/{}", sale.id),
            "type": "record_sale",
            "sale": sale.id,
            "total": Money { amount: sale.total, currency: sale.currency },
            "lines": lines,
            "occurred_at": self.instant(sale.at, line)?,
        });
        if let Some(account) = &sale.account {
            envelope["account"] = json!(account);
        }
        Ok(Command { line, text: envelope.to_string() })
    }

    /// One return. Its id is the cancellation's: the same again is the same return.
    pub(super) fn returned(&self, returned: &Returned, book: &Book) -> Result<Command, BadRow> {
        let (line, sale) = (returned.first_line(), &book.sales[returned.sale].id);
        let lines = returned.lines.iter();
        let lines: Vec<ReturnedLine> = lines
            .map(|(line, quantity)| ReturnedLine { line: *line, quantity: *quantity })
            .collect();
        let envelope = json!({
            "id": format!("import/return/{sale}/{}", returned.cancellation),
            "type": "return_sale",
            "sale": sale,
            "return": returned.cancellation,
            "lines": lines,
            "occurred_at": self.instant(returned.at, line)?,
        });
        Ok(Command { line, text: envelope.to_string() })
    }

    fn instant(&self, at: Moment, line: u64) -> Result<String, BadRow> {
        let at = self.dates.instant(at, self.shift);
        let at =
            at.ok_or_else(|| BadRow { line, reason: "occurred_at: out of range".to_owned() })?;
        Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

fn line_of(item: &Item, book: &Book) -> Line {
    let product = book.product_of(item);
    Line {
        product: product.code.clone(),
        quantity: item.quantity,
        amount: item.amount,
        kind: product.kind,
    }
}
