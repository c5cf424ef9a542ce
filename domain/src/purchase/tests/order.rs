//! What is frozen when an order is placed, and what cannot be ordered.

use super::*;
use crate::aggregate::Refuse as _;
use crate::money::Currency;
use crate::purchase::order::Tender;

fn tenders(place: Place) -> Result<Vec<(&'static str, i64)>, Error> {
    let mut bench = Bench::new();
    let events = bench.decide(Command::Place(Box::new(place)))?;
    events.iter().for_each(|event| bench.purchase.evolve(event));
    let order = bench.purchase.order().unwrap();
    Ok(order.tenders.iter().map(|it| (it.kind(), it.money().get())).collect())
}

#[test]
fn the_last_tender_takes_the_rest() {
    let mixed = vec![points(300), wallet(Some(230)), card()];
    let shares = tenders(place(&[(6, 255)], mixed)).unwrap();
    assert_eq!(shares, [("points", 150), ("wallet", 230), ("card", 1_150)]);
}

#[test]
fn points_pay_rounded_down_and_are_taken_rounded_up() {
    let odd = vec![points(3), wallet(None)];
    assert_eq!(tenders(place(&[(1, 100)], odd)).unwrap(), [("points", 1), ("wallet", 99)]);
    let money = Offer::Points { points: None, money: None };
    let bench = Bench::placed(place(&[(1, 101)], vec![money]));
    let order = bench.purchase.order().unwrap();
    let Tender::Points { points, money } = &order.tenders[0] else { panic!("{order:?}") };
    assert_eq!((points.get(), money.get()), (202, 101));
}

#[test]
fn tenders_that_do_not_add_up_are_refused() {
    let wrong = |tenders_of: Vec<Offer>| tenders(place(&[(1, 100)], tenders_of)).unwrap_err();
    assert_eq!(wrong(Vec::new()), Error::TenderCount(0));
    assert_eq!(wrong(vec![wallet(Some(99))]), Error::TendersFallShort(1));
    assert_eq!(wrong(vec![wallet(Some(101))]), Error::TendersExceed { tender: 1, left: 100 });
    assert_eq!(wrong(vec![wallet(None), card()]), Error::TenderOpen(1));
    assert_eq!(wrong(vec![wallet(Some(100)), card()]), Error::TenderEmpty(2));
    assert_eq!(wrong(vec![wallet(Some(50)), wallet(None)]), Error::TenderRepeated(2));
    assert_eq!(wrong(vec![points(1)]), Error::TenderEmpty(1));
    let dollars = Money { amount: minor(100), currency: "USD".parse::<Currency>().unwrap() };
    let in_dollars = Offer::Wallet { wallet: WalletId::new("w").unwrap(), money: Some(dollars) };
    let expected = Currency::GBP;
    assert_eq!(wrong(vec![in_dollars]), Error::TenderCurrency { tender: 1, expected });
}

#[test]
fn points_need_an_account_and_a_rate() {
    let guest = Place { account: None, ..place(&[(1, 100)], vec![points(200)]) };
    assert_eq!(tenders(guest).unwrap_err(), Error::PointsWithoutAccount(1));
    let mut bench = Bench::new();
    bench.settings.points_rate = None;
    let order = Command::Place(Box::new(place(&[(1, 100)], vec![points(200)])));
    assert_eq!(bench.refuses(order), Error::NoPointsRate(1));
}

#[test]
fn a_price_that_the_client_sends_is_only_compared() {
    let mut order = place(&[(1, 100)], vec![card()]);
    order.lines[0].price = Some(pounds(99));
    let (price, currency) = (100, Currency::GBP);
    assert_eq!(
        tenders(order.clone()).unwrap_err(),
        Error::PriceDiffers { line: 1, price, currency }
    );
    order.lines[0].price = Some(pounds(100));
    assert_eq!(tenders(order).unwrap(), [("card", 100)]);
}

#[test]
fn what_is_not_for_sale_is_refused_by_its_line() {
    let mut order = place(&[(1, 100), (1, 100)], vec![card()]);
    order.quotes[1].as_mut().unwrap().retired = true;
    assert_eq!(tenders(order.clone()).unwrap_err(), Error::Retired(2));
    order.quotes[1] = None;
    assert_eq!(tenders(order).unwrap_err(), Error::UnknownProduct(2));
}

#[test]
fn sums_have_a_limit() {
    let large = place(&[(1_000_000_000, 1_000_001)], vec![card()]);
    assert_eq!(tenders(large).unwrap_err(), Error::TotalTooLarge);
    let mut twice = place(&[(1_000_000_000, 1), (1, 1)], vec![card()]);
    twice.lines[1].product = twice.lines[0].product.clone();
    assert_eq!(tenders(twice).unwrap_err(), Error::TooManyUnits(2));
    assert_eq!(tenders(place(&[], vec![card()])).unwrap_err(), Error::LineCount(0));
}

#[test]
fn a_gift_needs_no_tender_and_takes_none() {
    let mut bench = Bench::placed(place(&[(1, 0)], Vec::new()));
    bench.run();
    assert_eq!(bench.state(), "completed");
    bench.must(refund("r", Portion::All { restock: true }));
    assert_eq!(bench.state(), "completed", "it is on its way");
    bench.run();
    assert_eq!(bench.state(), "refunded");
    let mut two = Bench::placed(place(&[(2, 0)], Vec::new()));
    two.run();
    two.must(refund("r", Portion::Lines(vec![units(1, 1)])));
    two.run();
    assert_eq!(two.state(), "completed", "one is left");
    assert_eq!(tenders(place(&[(1, 0)], vec![card()])).unwrap_err(), Error::TenderEmpty(1));
}

#[test]
fn its_time_lies_ahead_and_is_not_long() {
    for (days, fits) in [(-1, false), (0, false), (1, true), (6, true), (7, false)] {
        let until = Some(DateTime::UNIX_EPOCH + TimeDelta::days(days));
        let order = Place { until, ..place(&[(1, 100)], vec![card()]) };
        assert_eq!(tenders(order).is_ok(), fits, "{days} days");
    }
}

#[test]
fn the_same_order_again_changes_nothing_and_another_is_refused() {
    let order = place(&[(1, 100)], vec![card()]);
    let mut bench = Bench::placed(order.clone());
    bench.run();
    assert_eq!(bench.must(Command::Place(Box::new(order.clone()))), [] as [&str; 0]);
    // The price has changed since: what was asked for is still the same.
    let mut dearer = order.clone();
    dearer.quotes[0].as_mut().unwrap().price = pounds(200);
    assert_eq!(bench.must(Command::Place(Box::new(dearer))), [] as [&str; 0]);
    let other = Place { reference: Some("x".to_owned()), ..order };
    assert_eq!(bench.refuses(Command::Place(Box::new(other))), Error::Exists);
}

#[test]
fn a_refusal_points_at_its_line_or_tender() {
    let currency = Currency::GBP;
    for (error, pointer) in [
        (Error::Retired(2), "/lines/1/product"),
        (Error::PriceDiffers { line: 500, price: 1, currency }, "/lines/499/price"),
        (Error::TooManyUnits(1), "/lines/0/quantity"),
        (Error::LineTwice { line: 7, at: 3 }, "/lines/2/line"),
        (Error::ExceedsLine { line: 7, at: 1, left: 0 }, "/lines/0/quantity"),
        (Error::TenderOpen(1), "/tenders/0/money"),
        (Error::TenderCurrency { tender: 3, expected: currency }, "/tenders/2/money/currency"),
        (Error::TendersExceed { tender: 2, left: 5 }, "/tenders/1"),
        (Error::LineCount(0), "/lines"),
    ] {
        assert_eq!(error.pointer().as_deref(), Some(pointer), "{error}");
    }
}
