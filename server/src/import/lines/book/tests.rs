//! Rows into invoices.

use super::super::super::{DateReader, Format, Plan, Source};
use super::super::charges::USUAL;
use super::super::{Lines, row};
use super::*;

const MAP: &str = "id=No,occurred_at=When,account=Who,product=What,quantity=Many,price=Each";

/// A book of rows `No,When,Who,What,Many,Each`, and what was refused of them.
pub(in crate::import::lines) fn read(rows: &str) -> (Book, Vec<String>) {
    let text = format!("No,When,Who,What,Many,Each\n{rows}");
    let plan = Lines {
        file: Plan {
            source: Source::BuiltIn(Box::leak(text.into_boxed_str()).as_bytes()),
            format: Format::Csv,
            delimiter: b',',
            mapping: MAP.parse().unwrap(),
            dates: DateReader::new(None, chrono_tz::Tz::UTC).unwrap(),
            currency: Currency::GBP,
            shift_to_today: false,
            retry_for: std::time::Duration::ZERO,
        },
        charges: USUAL.parse().unwrap(),
        cancels: "C".to_owned(),
    };
    let mut rows = plan.file.rows_of(plan.file.mapping.columns()).unwrap();
    let (mut book, mut refused) = (Book::default(), Vec::new());
    while let Some(row) = rows.next().unwrap() {
        let entry = row.and_then(|row| row::entry(row, &plan));
        if let Err(bad) = entry.and_then(|entry| book.add(entry, &plan.charges)) {
            refused.push(format!("{}: {}", bad.line, bad.reason));
        }
    }
    (book, refused)
}

fn told(invoice: &Invoice, book: &Book) -> String {
    let account = invoice.account.as_ref().map_or("-", AccountId::as_str);
    let items = invoice.items.iter().map(|item| {
        let Product { code, kind } = book.product_of(item);
        let kind = if kind.is_goods() { "" } else { "!" };
        format!("{kind}{}x{code}={}", item.quantity, item.amount.get())
    });
    let items: Vec<_> = items.collect();
    format!("{} {account} {} {}", invoice.id, invoice.total.get(), items.join(" "))
}

#[test]
fn rows_of_one_invoice_are_one_sale_wherever_they_stand() {
    let (book, refused) = read(
        "1,2010-12-01 08:28,ann,A,6,2.55\n\
         2,2010-12-01 08:27,bob,A,1,0.335\n\
         1,2010-12-01 08:26,ann,POST,1,18\n\
         C3,2010-12-02,ann,A,-2,2.55\n\
         1,2010-12-01 08:28,ann,A,6,2.55\n\
         4,2010-12-02,,E,1,0\n\
         C3,2010-12-02,ann,E,-1,1\n",
    );
    assert_eq!(refused, Vec::<String>::new());
    let sales: Vec<_> = book.sales.iter().map(|it| told(it, &book)).collect();
    let expected = ["1 ann 4860 6xA=1530 !1xPOST=1800 6xA=1530", "2 bob 34 1xA=34", "4 - 0 1xE=0"];
    assert_eq!(sales, expected);
    assert_eq!(book.sales[0].instant.to_rfc3339(), "2010-12-01T08:26:00+00:00");
    let cancelled: Vec<_> = book.cancellations.iter().map(|it| told(it, &book)).collect();
    assert_eq!(cancelled, ["C3 ann 610 2xA=510 1xE=100"]);
    assert_eq!(book.invoices(), 4);
}

#[test]
fn a_bad_row_is_left_out_and_the_rest_of_its_invoice_is_not() {
    let (book, refused) = read(
        "1,2010-12-01,ann,A,6,2.55\n\
         1,2010-12-01,bob,A,1,1\n\
         1,2010-12-01,ann,B,-1,1\n\
         1,2010-12-01,ann,B,1,-1\n\
         1,never,ann,B,1,1\n\
         1,2010-12-01,ann,,1,1\n\
         1,2010-12-01,ann,B,1,10000000000000\n\
         C2,2010-12-01,ann,A,1,1\n\
         1,2010-12-01,ann,B\n\
         1,2010-12-01,ann,C,1,1\n",
    );
    let starts = [
        "3: account: invoice 1 is ann's since line 2",
        "4: quantity: -1 in an invoice that is no cancellation",
        "5: price: -1 is negative",
        "6: occurred_at: expected a date",
        "7: product: expected a text",
        "8: price: the invoice's total is too large",
        "9: quantity: 1 in a cancellation",
        "10: expected 6 columns, got 4",
    ];
    assert_eq!(refused.len(), starts.len(), "{refused:#?}");
    for (refused, start) in refused.iter().zip(starts) {
        assert!(refused.starts_with(start), "{refused} instead of {start}");
    }
    let sales: Vec<_> = book.sales.iter().map(|it| told(it, &book)).collect();
    assert_eq!(sales, ["1 ann 1630 6xA=1530 1xC=100"]);
}

#[test]
fn what_nobody_bought_and_nothing_was_paid_for_is_a_correction_of_stock() {
    let (mut book, _) = read(
        "1,2010-12-01,,A,56,0\n\
         2,2010-12-01,ann,A,1,0\n\
         3,2010-12-01,,A,1,0\n\
         3,2010-12-01,,E,1,0.01\n\
         1,2010-12-01,,E,1,0\n",
    );
    let bad = book.take_out_corrections();
    assert_eq!(bad.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 6]);
    assert_eq!(bad[0].reason, "invoice 1 has no account and no price: a correction of stock");
    let sales: Vec<_> = book.sales.iter().map(|it| told(it, &book)).collect();
    assert_eq!(sales, ["2 ann 0 1xA=0", "3 - 1 1xA=0 1xE=1"]);
}

#[test]
fn a_file_has_at_most_so_many_rows() {
    assert!(check_size(ROWS_MAX).is_ok());
    let error = check_size(ROWS_MAX + 1).unwrap_err().to_string();
    assert_eq!(error, "the file has more than 10,000,000 rows: split it by its dates");
}

#[test]
fn a_row_takes_few_bytes() {
    assert_eq!(size_of::<Item>(), 24, "ROWS_MAX says how much memory a file may take");
}
