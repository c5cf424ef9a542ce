//! Cancellations and what they take back.

use proptest::prelude::*;

use super::super::book::tests::read;
use super::*;

/// Every return as `cancellation <- sale: line x quantity …= pence`, then what was not matched.
fn told(rows: &'static str) -> Vec<String> {
    let (book, refused) = read(rows);
    assert_eq!(refused, Vec::<String>::new());
    let Returns { returns, unmatched } = matched(&book);
    let returned = returns.iter().map(|it| {
        let lines = it.lines.iter().map(|(line, units)| format!("{line}x{units}"));
        let lines = lines.collect::<Vec<_>>().join(" ");
        format!("{} <- {}: {lines} = {}", it.cancellation, book.sales[it.sale].id, it.amount)
    });
    let unmatched = unmatched.iter().map(|it| format!("line {}: {}", it.line, it.reason));
    returned.chain(unmatched).collect()
}

#[test]
fn the_newest_earlier_invoice_with_enough_left_is_taken() {
    let seen = told(
        "1,2010-12-01,ann,A,5,1\n\
         2,2010-12-02,ann,A,3,1\n\
         3,2010-12-03,ann,A,2,1\n\
         4,2010-12-09,ann,A,9,1\n\
         5,2010-12-03,bob,A,9,1\n\
         C6,2010-12-04,ann,A,-2,1\n\
         C7,2010-12-05,ann,A,-2,1\n\
         C8,2010-12-06,ann,A,-4,1\n\
         C9,2010-12-07,ann,A,-2,1\n",
    );
    let expected = [
        "C6 <- 3: 1x2 = 200",
        "C7 <- 2: 1x2 = 200",
        "C8 <- 1: 1x4 = 400",
        "line 10: ann has no earlier invoice with 2 of A left to return",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn lines_of_one_sale_that_one_cancellation_takes_back_are_one_return() {
    let seen = told(
        "C3,2010-12-04,ann,A,-2,1\n\
         1,2010-12-01,ann,A,2,1\n\
         1,2010-12-01,ann,B,3,1\n\
         2,2010-12-02,ann,D9,1,7\n\
         C3,2010-12-04,ann,D9,-1,7\n\
         C3,2010-12-04,ann,B,-1,1\n\
         C3,2010-12-04,ann,B,-1,1\n",
    );
    assert_eq!(seen, ["C3 <- 1: 1x2 2x2 = 400", "C3 <- 2: 1x1 = 700"]);
}

#[test]
fn units_come_from_several_lines_of_the_product_and_first_from_those_at_the_same_price() {
    let seen = told(
        "1,2010-12-01,ann,A,3,2\n\
         1,2010-12-01,ann,A,3,1\n\
         C2,2010-12-02,ann,A,-2,1\n\
         C3,2010-12-03,ann,A,-3,1\n\
         C4,2010-12-04,ann,A,-2,1\n",
    );
    let left = "line 6: ann has no earlier invoice with 2 of A left to return";
    assert_eq!(seen, ["C2 <- 1: 2x2 = 200", "C3 <- 1: 1x2 2x1 = 500", left]);
}

#[test]
fn a_return_is_worth_its_share_of_the_line_to_the_last_penny() {
    let seen = told(
        "1,2010-12-01,ann,A,3,0.333\n\
         2,2010-12-01,ann,B,3,0.335\n\
         C2,2010-12-02,ann,B,-1,0.335\n\
         C3,2010-12-03,ann,B,-1,0.335\n\
         C4,2010-12-04,ann,B,-1,0.335\n",
    );
    // Three at 33.5 pence are 101 in all.
    assert_eq!(seen, ["C2 <- 2: 1x1 = 33", "C3 <- 2: 1x1 = 34", "C4 <- 2: 1x1 = 34"]);
}

#[test]
fn what_cannot_be_matched_says_why() {
    let seen = told(
        "1,2010-12-02 10:00,ann,A,1,1\n\
         C2,2010-12-02 09:59,ann,A,-1,1\n\
         C3,2010-12-03,,A,-1,1\n\
         C4,2010-12-03,ann,D,-1,27.5\n\
         C5,2010-12-03,ann,POST,-1,18\n\
         C6,2010-12-03,bob,A,-1,1\n\
         2,2010-12-02,,A,1,1\n\
         3,2010-12-02,bob,POST,2,18\n\
         C7,2010-12-03,bob,POST,-1,18\n",
    );
    let expected = [
        "C7 <- 3: 1x1 = 1800",
        "line 3: ann has no earlier invoice with A",
        "line 4: A is taken back from nobody: no account, so no sale is known",
        "line 5: a discount of 27.50 GBP to ann: no amount of a sale is below zero",
        "line 6: 18.00 GBP of POST given back to ann, who was not charged it before",
        "line 7: bob has no earlier invoice with A",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn within_one_minute_the_file_says_what_was_first() {
    let sale = "1,2010-12-02,ann,A,1,1\nC2,2010-12-02,ann,A,-1,1\n";
    assert_eq!(told(sale), ["C2 <- 1: 1x1 = 100"]);
    let before = "C2,2010-12-02,ann,A,-1,1\n1,2010-12-02,ann,A,1,1\n";
    assert_eq!(told(before), ["line 2: ann has no earlier invoice with A"]);
}

#[test]
fn a_history_that_goes_on_keeps_its_returns() {
    let before = "1,2010-12-01,ann,A,5,1\nC2,2010-12-04,ann,A,-2,1\n";
    let after = "1,2010-12-01,ann,A,5,1\nC2,2010-12-04,ann,A,-2,1\n\
                 3,2010-12-05,ann,A,5,1\nC4,2010-12-06,ann,A,-5,1\n";
    assert_eq!(told(before), ["C2 <- 1: 1x2 = 200"]);
    assert_eq!(told(after), ["C2 <- 1: 1x2 = 200", "C4 <- 3: 1x5 = 500"]);
}

#[test]
fn returns_of_a_refused_sale_are_not_sent() {
    let (book, _) = read("1,2010-12-01,ann,A,5,1\nC2,2010-12-04,ann,A,-2,1\n");
    let returns = matched(&book).returns;
    let (kept, lost) = of_kept_sales(returns.clone(), &book, &Refused::new());
    assert_eq!((kept.len(), lost.len()), (1, 0));
    let refused = BadRow { line: 2, reason: "no".to_owned() };
    let (kept, lost) = of_kept_sales(returns, &book, &Refused::from([(2, refused)]));
    assert_eq!((kept.len(), lost.len()), (0, 1));
    assert_eq!((lost[0].line, lost[0].reason.contains("sale 1,")), (3, true));
}

/// Rows of a few invoices, accounts and products, in any order.
fn rows() -> impl Strategy<Value = String> {
    let row = (0..8_u32, 1..20_u32, 0..3_u32, 1..6_u32, any::<bool>(), 0..300_u32);
    proptest::collection::vec(row, 1..60).prop_map(|rows| {
        let rows = rows.iter().map(|(invoice, day, product, units, cancels, pence)| {
            let (cancel, sign) = if *cancels { ("C", "-") } else { ("", "") };
            let account = ["ann", "bob", ""][*invoice as usize % 3];
            format!(
                "{cancel}{invoice},2010-12-{day:02},{account},P{product},{sign}{units},0.{pence:03}"
            )
        });
        rows.collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    #[test]
    fn every_cancelled_row_is_matched_once_or_not_and_no_line_gives_more_than_it_has(rows in rows()) {
        let (book, refused) = read(&rows);
        prop_assert!(refused.is_empty(), "{:?}", refused);
        let Returns { returns, unmatched } = matched(&book);
        let cancelled = book.cancellations.iter().flat_map(|it| it.items.iter().map(|it| it.line));
        let told = returns.iter().flat_map(|it| it.rows.iter().copied());
        let told = told.chain(unmatched.iter().map(|it| it.line));
        let sorted = |lines: &mut dyn Iterator<Item = u64>| {
            let mut lines: Vec<u64> = lines.collect();
            lines.sort_unstable();
            lines
        };
        prop_assert_eq!(sorted(&mut cancelled.into_iter()), sorted(&mut told.into_iter()));
        let mut back = HashMap::new();
        for it in &returns {
            let sale = &book.sales[it.sale];
            let by = book.cancellations.iter().find(|by| by.id == it.cancellation).unwrap();
            prop_assert!(sale.account.is_some() && sale.account == by.account);
            prop_assert!(sale.order() < by.order());
            for (line, units) in &it.lines {
                *back.entry((it.sale, *line)).or_insert(0) += units;
            }
        }
        let mut worth_in_all = 0;
        for ((sale, line), units) in back {
            let item = book.sales[sale].items[line as usize - 1];
            prop_assert!(units <= item.quantity);
            worth_in_all += worth(&item, units);
        }
        prop_assert_eq!(returns.iter().map(|it| it.amount).sum::<i64>(), worth_in_all);
    }
}
