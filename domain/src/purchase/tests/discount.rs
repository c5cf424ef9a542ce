//! What discounts take off, and what of it comes back.

use super::*;
use crate::aggregate::Refuse as _;
use crate::id::DiscountId;
use crate::purchase::error::{DISCOUNTS_MAX, ORDER_DISCOUNTS_MAX};

pub(super) fn percent(percent: &str, line: Option<u32>) -> DiscountAsked {
    let (id, reason) = (None, "sale".to_owned());
    DiscountAsked { id, reason, off: Off::Percent(percent.parse().unwrap()), line }
}

pub(super) fn amount(pence: i64, line: Option<u32>) -> DiscountAsked {
    DiscountAsked { off: Off::Amount(pounds(pence)), ..percent("1", line) }
}

pub(super) fn discounted(
    lines: &[(i64, i64)],
    discounts: &[DiscountAsked],
    tenders: Vec<Offer>,
) -> Place {
    Place { discounts: discounts.to_vec(), ..place(lines, tenders) }
}

/// What is left of each line, and what each discount takes off.
pub(super) fn left(lines: &[(i64, i64)], discounts: &[DiscountAsked]) -> (Vec<i64>, Vec<i64>) {
    let bench = Bench::placed(discounted(lines, discounts, by_card(lines, discounts)));
    let order = bench.purchase.order().unwrap();
    let lines: Vec<i64> = order.lines.iter().map(|it| it.amount.get()).collect();
    assert_eq!(order.total.amount.get(), lines.iter().sum::<i64>());
    let off: Vec<i64> = order.discounts.iter().map(|it| it.amount.get()).collect();
    assert_eq!(order.discount(), off.iter().sum::<i64>());
    (lines, off)
}

/// By card, where something is left to pay.
fn by_card(lines: &[(i64, i64)], discounts: &[DiscountAsked]) -> Vec<Offer> {
    let free = discounted(lines, discounts, Vec::new());
    match Bench::new().decide(Command::Place(Box::new(free))) {
        Ok(_) => Vec::new(),
        Err(_) => vec![card()],
    }
}

fn wrong(lines: &[(i64, i64)], discounts: &[DiscountAsked]) -> (Error, String) {
    let order = discounted(lines, discounts, vec![card()]);
    let error = Bench::new().refuses(Command::Place(Box::new(order)));
    let pointer = error.pointer().unwrap().into_owned();
    (error, pointer)
}

#[test]
fn each_discount_takes_off_what_those_before_it_have_left() {
    let lines = [(2, 500), (1, 333)];
    assert_eq!(left(&lines, &[percent("10", None)]), (vec![901, 299], vec![133]));
    assert_eq!(left(&lines, &[percent("10", Some(2))]), (vec![1_000, 300], vec![33]));
    assert_eq!(left(&lines, &[amount(33, Some(2))]), (vec![1_000, 300], vec![33]));
    let both = [percent("50", Some(1)), amount(83, None), percent("50", Some(1))];
    assert_eq!(left(&lines, &both), (vec![225, 299], vec![500, 83, 226]));
    // The other way round there is more for the percentage.
    let both = [amount(83, None), percent("50", Some(1))];
    assert_eq!(left(&lines, &both), (vec![469, 312], vec![83, 469]));
}

#[test]
fn the_lines_bear_an_order_s_discount_in_proportion_however_many_there_are() {
    let mut lines = vec![(1, 1); 100];
    lines.push((1, 100));
    let (left, off) = left(&lines, &[amount(100, None)]);
    assert_eq!(off, [100]);
    assert_eq!((left[..100].iter().sum::<i64>(), left[100]), (50, 50));
    assert!(left[..100].chunks(2).all(|pair| pair.iter().sum::<i64>() == 1), "{left:?}");
}

#[test]
fn a_discount_may_be_all_that_is_left_and_not_more() {
    let lines = [(1, 100), (1, 50)];
    let (mut bench, all) = (Bench::new(), [amount(150, None)]);
    bench.must(Command::Place(Box::new(discounted(&lines, &all, Vec::new()))));
    for (discounts, error, pointer) in [
        (vec![amount(151, None)], (1, 150), "/discounts/0/amount/amount"),
        (vec![amount(51, Some(2))], (1, 50), "/discounts/0/amount/amount"),
        (vec![percent("50", None), amount(76, None)], (2, 75), "/discounts/1/amount/amount"),
        (vec![percent("100", Some(1)), amount(1, Some(1))], (2, 0), "/discounts/1/amount/amount"),
    ] {
        let (discount, left) = error;
        let error = Error::DiscountExceeds { discount, left };
        assert_eq!(wrong(&lines, &discounts), (error, pointer.to_owned()));
    }
}

#[test]
fn what_no_discount_can_be_is_refused_by_its_place() {
    let lines = [(1, 100)];
    let at = |field: &str| format!("/discounts/0/{field}");
    for line in [0, 2, u32::MAX] {
        let error = Error::DiscountLine { discount: 1, line };
        assert_eq!(wrong(&lines, &[amount(1, Some(line))]), (error, at("line")));
    }
    assert_eq!(wrong(&lines, &[amount(0, None)]), (Error::DiscountEmpty(1), at("amount/amount")));
    let dollars = Money { amount: minor(1), currency: "USD".parse().unwrap() };
    let in_dollars = DiscountAsked { off: Off::Amount(dollars), ..amount(1, None) };
    let error = Error::DiscountCurrency { discount: 1, expected: Currency::GBP };
    assert_eq!(wrong(&lines, &[in_dollars]), (error, at("amount/currency")));
    let nameless = DiscountAsked { reason: String::new(), ..amount(1, None) };
    let (error, pointer) = wrong(&lines, &[nameless]);
    assert!(matches!(error, Error::DiscountReason { discount: 1, .. }), "{error}");
    assert_eq!(pointer, at("reason"));
    let many = vec![percent("1", Some(1)); DISCOUNTS_MAX + 1];
    let error = Error::DiscountCount(DISCOUNTS_MAX + 1);
    assert_eq!(wrong(&lines, &many), (error, "/discounts".to_owned()));
    left(&[(1, 1_000_000)], &many[1..]);
    let many = vec![percent("1", None); ORDER_DISCOUNTS_MAX + 1];
    let error = Error::OrderDiscountCount(ORDER_DISCOUNTS_MAX + 1);
    assert_eq!(wrong(&lines, &many), (error, "/discounts".to_owned()));
    left(&[(1, 1_000_000)], &many[1..]);
}

#[test]
fn a_percentage_of_next_to_nothing_takes_nothing_off() {
    assert_eq!(left(&[(1, 4)], &[percent("12.4", None)]), (vec![4], vec![0]));
    let free = [percent("100", Some(1)), percent("5", Some(1))];
    assert_eq!(left(&[(1, 4), (1, 1)], &free), (vec![0, 1], vec![4, 0]));
}

#[test]
fn the_price_is_compared_as_it_is_without_discounts() {
    let mut order = discounted(&[(1, 100)], &[percent("10", None)], vec![card()]);
    order.lines[0].price = Some(pounds(90));
    let (price, currency) = (100, Currency::GBP);
    let differs = Error::PriceDiffers { line: 1, price, currency };
    assert_eq!(Bench::new().refuses(Command::Place(Box::new(order.clone()))), differs);
    order.lines[0].price = Some(pounds(100));
    Bench::placed(order);
}

#[test]
fn prices_that_are_too_much_are_so_whatever_is_taken_off() {
    let large = discounted(&[(1_000_000_000, 1_000_001)], &[percent("99", None)], vec![card()]);
    assert_eq!(Bench::new().refuses(Command::Place(Box::new(large))), Error::TotalTooLarge);
}

#[test]
fn an_order_that_discounts_leave_nothing_of_needs_no_tender_and_takes_none() {
    let free = |tenders| discounted(&[(2, 500)], &[percent("100", None)], tenders);
    let refused = Bench::new().refuses(Command::Place(Box::new(free(vec![card()]))));
    assert_eq!(refused, Error::TenderEmpty(1));
    let mut bench = Bench::placed(free(Vec::new()));
    assert_eq!(bench.run(), [(Step::HoldStock, Way::Do), (Step::Settle, Way::Do)]);
    assert_eq!(bench.state(), "completed");
    bench.must(refund("r", Portion::Lines(vec![units(1, 2)])));
    bench.run();
    assert_eq!((bench.state(), bench.purchase.refunds().refunded()), ("refunded", 0));
}

#[test]
fn units_come_back_at_what_they_cost_and_together_at_what_was_paid() {
    // 3 at 333 are 999, and a third off is 666.
    let order = discounted(&[(3, 333), (1, 100)], &[amount(333, Some(1))], vec![wallet(None)]);
    let mut bench = Bench::placed(order);
    bench.run();
    for (at, (line, back)) in [(1, 222), (1, 222), (2, 100), (1, 222)].into_iter().enumerate() {
        let before = bench.purchase.refunds().refunded();
        bench.must(refund(&format!("r{at}"), Portion::Lines(vec![units(line, 1)])));
        bench.run();
        assert_eq!(bench.purchase.refunds().refunded() - before, back);
    }
    assert_eq!(bench.state(), "refunded");
    // 3 at 100 with one penny off: the penny is that of the first.
    let mut bench = Bench::placed(discounted(&[(3, 100)], &[amount(1, None)], vec![card()]));
    bench.run();
    let beyond = bench.refuses(refund("r", Portion::Amount(pounds(300))));
    assert_eq!(beyond, Error::ExceedsPaid { requested: 300, left: 299 });
    for (id, sum) in [("a", 99), ("b", 199), ("c", 299)] {
        bench.must(refund(id, Portion::Lines(vec![units(1, 1)])));
        bench.run();
        assert_eq!(bench.purchase.refunds().refunded(), sum);
    }
}

#[test]
fn an_order_with_other_discounts_is_another_order() {
    let order = |discounts: &[DiscountAsked]| {
        Command::Place(Box::new(discounted(&[(1, 100)], discounts, vec![card()])))
    };
    let mut bench = Bench::new();
    bench.must(order(&[percent("10", None)]));
    assert_eq!(bench.must(order(&[percent("10.0", None)])), [] as [&str; 0]);
    let named = DiscountAsked { id: Some(DiscountId::new("x").unwrap()), ..percent("10", None) };
    for other in [&[][..], &[percent("10", Some(1))], &[amount(10, None)], &[named]] {
        assert_eq!(bench.refuses(order(other)), Error::Exists);
    }
}

#[test]
fn an_order_of_a_release_without_discounts_is_still_the_same_order() {
    let asked = super::super::place::asked(&place(&[(1, 100)], vec![card()]));
    insta::assert_snapshot!(serde_json::to_string(&asked).unwrap(), @r#""8f533969a8cc5a01""#);
}
