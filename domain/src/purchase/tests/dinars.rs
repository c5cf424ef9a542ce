//! Currencies of which a card takes tens of minor units only.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::aggregate::Refuse as _;
use crate::purchase::order::Tender;

fn dinars(units: i64) -> Money {
    Money { amount: minor(units), currency: "KWD".parse().unwrap() }
}

/// The same in dinars, by their thousandths.
fn in_dinars(mut place: Place) -> Place {
    let mend = |money: &mut Option<Money>| *money = money.map(|it| dinars(it.amount.get()));
    for quote in place.quotes.iter_mut().flatten() {
        quote.price = dinars(quote.price.amount.get());
    }
    for offer in &mut place.tenders {
        match offer {
            Offer::Points { money, .. }
            | Offer::Wallet { money, .. }
            | Offer::Card { money, .. } => mend(money),
        }
    }
    place
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.settings.currency = dinars(0).currency;
    bench
}

fn completed(place: Place) -> Bench {
    let mut bench = bench();
    bench.must(Command::Place(Box::new(in_dinars(place))));
    bench.run();
    assert_eq!(bench.state(), "completed");
    bench
}

/// Minor units of each tender in the newest refund, and the sum.
fn parts(bench: &Bench) -> (Vec<(u32, i64)>, i64) {
    let newest = bench.purchase.refunds().iter().last().unwrap();
    let parts = newest.parts.iter().map(|it| (it.tender, it.money.get())).collect();
    (parts, newest.amount.get())
}

fn lines(line: u32, count: i64) -> Portion {
    Portion::Lines(vec![units(line, count)])
}

#[test]
fn an_order_whose_share_no_card_takes_is_refused_by_its_tender() {
    let order = |price, by_wallet| {
        let order = place(&[(1, price)], vec![wallet(Some(by_wallet)), card()]);
        bench().decide(Command::Place(Box::new(in_dinars(order))))
    };
    let error = order(1_235, 100).unwrap_err();
    let currency = dinars(0).currency;
    assert_eq!(error, Error::NotByCard { tender: 2, step: 10, currency });
    assert_eq!(error.pointer().as_deref(), Some("/tenders/1/money"));
    assert!(order(1_235, 105).is_ok() && order(1_230, 100).is_ok());
}

#[test]
fn other_tenders_give_what_no_card_takes() {
    // Of each unit's 335 the wallet pays 101 or 102, the card the rest.
    let mut bench = completed(place(&[(3, 335)], vec![wallet(Some(305)), card()]));
    bench.must(refund("r", lines(1, 1)));
    assert_eq!(parts(&bench), (vec![(1, 105), (2, 230)], 335));
    bench.run();
    bench.must(refund("s", Portion::Amount(dinars(15))));
    assert_eq!(parts(&bench), (vec![(1, 5), (2, 10)], 15));
    bench.run();
    bench.must(refund("t", Portion::All { restock: false }));
    assert_eq!(parts(&bench), (vec![(1, 195), (2, 460)], 655));
    bench.run();
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn what_nobody_can_give_waits_for_the_last_units() {
    let mut bench = completed(place(&[(2, 1_005)], vec![card()]));
    let currency = dinars(0).currency;
    let odd = bench.refuses(refund("x", Portion::Amount(dinars(1_005))));
    assert_eq!(odd, Error::NotToCard { step: 10, currency });
    bench.must(refund("r", lines(1, 1)));
    assert_eq!(parts(&bench), (vec![(1, 1_000)], 1_000));
    bench.run();
    bench.must(refund("s", lines(1, 1)));
    assert_eq!(parts(&bench), (vec![(1, 1_010)], 1_010));
    bench.run();
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn units_that_cost_less_than_any_card_takes_are_refunded_in_the_end() {
    let mut bench = completed(place(&[(10, 1)], vec![card()]));
    for at in 0..10 {
        bench.must(refund(&format!("r{at}"), lines(1, 1)));
        bench.run();
    }
    assert_eq!((parts(&bench), bench.state()), ((vec![(1, 10)], 10), "refunded"));
}

#[test]
fn units_that_cost_nothing_keep_nothing_back() {
    let free = [discount::percent("100", Some(2))];
    let order = discount::discounted(&[(2, 1_005), (1, 500)], &free, vec![card()]);
    let mut bench = completed(order);
    for (id, back) in [("r", 1_000), ("s", 1_010)] {
        bench.must(refund(id, lines(1, 1)));
        bench.run();
        assert_eq!(parts(&bench), (vec![(1, back)], back));
    }
    assert_eq!(bench.state(), "refunded");
    bench.must(refund("t", lines(2, 1)));
    bench.run();
    assert_eq!((parts(&bench), bench.state()), ((vec![], 0), "refunded"));
}

proptest! {
    /// However it is refunded, the card gives what cards take, and each tender in the end exactly
    /// what it gave.
    #[test]
    fn refunds_sum_to_what_was_paid_and_fit_the_card(
        goods in vec((1_i64..6, 1_i64..500), 1..5),
        discounts in vec(("[1-9][0-9]?|100", proptest::option::of(1_u32..5)), 0..3),
        by_wallet in 0_i64..100,
        by_points in 0_i64..100,
        pieces in vec((0_u32..6, 1_i64..400), 0..20),
    ) {
        let count = u32::try_from(goods.len()).unwrap();
        let discount = |(share, line): (String, Option<u32>)| {
            discount::percent(&share, line.map(|line| (line - 1) % count + 1))
        };
        let discounts: Vec<_> = discounts.into_iter().map(discount).collect();
        let total: i64 = discount::left(&goods, &discounts).0.iter().sum();
        let mut offers = Vec::new();
        let points = total * by_points / 200;
        if points > 0 {
            offers.push(Offer::Points { points: None, money: Some(pounds(points)) });
        }
        // The card's share is made to fit.
        let by_wallet = (total - points) * by_wallet / 100;
        let by_wallet = by_wallet + (total - points - by_wallet) % 10;
        if by_wallet > 0 {
            offers.push(wallet(Some(by_wallet)));
        }
        if total - points - by_wallet > 0 {
            offers.push(card());
        }
        let mut bench = completed(discount::discounted(&goods, &discounts, offers));
        for (at, (line, count)) in pieces.into_iter().enumerate() {
            let portion = match usize::try_from(line).unwrap() {
                0 => Portion::Amount(dinars(count)),
                at => lines(u32::try_from((at - 1) % goods.len()).unwrap() + 1, 1 + count % 5),
            };
            let command = refund(&format!("r{at}"), portion);
            if bench.decide(command.clone()).is_ok() {
                bench.must(command);
                bench.run();
            }
        }
        let rest = refund("rest", Portion::All { restock: false });
        if bench.decide(rest.clone()).is_ok() {
            bench.must(rest);
            bench.run();
        }
        prop_assert_eq!(bench.state(), "refunded");
        let order = bench.purchase.order().unwrap();
        let mut back = vec![0; order.tenders.len()];
        for refund in bench.purchase.refunds().iter() {
            let sum: i64 = refund.parts.iter().map(|it| it.money.get()).sum();
            prop_assert_eq!(sum, refund.amount.get());
            for part in &refund.parts {
                let at = usize::try_from(part.tender).unwrap() - 1;
                if matches!(order.tenders[at], Tender::Card { .. }) {
                    prop_assert_eq!(part.money.get() % 10, 0);
                }
                back[at] += part.money.get();
            }
        }
        let paid: Vec<i64> = order.tenders.iter().map(|it| it.money().get()).collect();
        prop_assert_eq!(back, paid);
    }
}
