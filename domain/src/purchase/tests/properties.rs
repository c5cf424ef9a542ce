//! What holds for every order and every way of refunding it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::discount::{amount, percent};
use super::*;

/// Lines, discounts, and the share of points and wallet in percent of the total.
fn orders() -> impl Strategy<Value = (Vec<(i64, i64)>, Vec<DiscountAsked>, i64, i64)> {
    (vec((1_i64..20, 1_i64..5_000), 1..6), discounts(), 0_i64..60, 0_i64..40)
}

fn discounts() -> impl Strategy<Value = Vec<DiscountAsked>> {
    let line = || proptest::option::of(1_u32..6);
    let share = (0_u32..=100, 0_u32..10, line());
    let share = share.prop_map(|(whole, part, line)| match whole {
        0 | 100 => percent("100", line),
        _ => percent(&format!("{whole}.{part}"), line),
    });
    let some = (1_i64..5_000, line()).prop_map(|(pence, line)| amount(pence, line));
    vec(prop_oneof![share, some], 0..4)
}

/// An order by card, with those of the discounts that it can have, and what is to be paid.
fn discounted(lines: &[(i64, i64)], discounts: Vec<DiscountAsked>) -> (Place, i64) {
    let mut order = place(lines, vec![card()]);
    let mut total = lines.iter().map(|(units, price)| units * price).sum();
    for discount in discounts {
        order.discounts.push(discount);
        match Bench::new().decide(Command::Place(Box::new(order.clone()))).as_deref() {
            Ok([Event::PurchasePlaced { total: Money { amount, .. }, .. }]) => total = amount.get(),
            Err(Error::TenderEmpty(1)) => total = 0,
            Err(Error::DiscountExceeds { .. } | Error::DiscountLine { .. }) => {
                order.discounts.pop();
            }
            other => panic!("{other:?}"),
        }
    }
    (order, total)
}

fn completed(
    lines: &[(i64, i64)],
    discounts: Vec<DiscountAsked>,
    points_percent: i64,
    wallet_percent: i64,
) -> Bench {
    let (order, total) = discounted(lines, discounts);
    let mut tenders = Vec::new();
    if let by_points @ 1.. = total * points_percent / 100 {
        tenders.push(Offer::Points { points: None, money: Some(pounds(by_points)) });
    }
    if let by_wallet @ 1.. = total * wallet_percent / 100 {
        tenders.push(wallet(Some(by_wallet)));
    }
    if total > 0 {
        tenders.push(card());
    }
    let mut bench = Bench::placed(Place { tenders, ..order });
    bench.run();
    assert_eq!(bench.state(), "completed");
    bench
}

#[derive(Debug, Clone)]
enum Piece {
    Units(usize, i64),
    Amount(i64),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let units = (0_usize..6, 1_i64..20).prop_map(|(line, units)| Piece::Units(line, units));
    let amount = (1_i64..20_000).prop_map(Piece::Amount);
    vec(prop_oneof![3 => units, 1 => amount], 0..20)
}

proptest! {
    /// By rows and by columns: each unit's shares sum to what it costs, what the units of a line
    /// cost to the line, and each tender's shares over all units to the tender.
    #[test]
    fn the_split_is_exact((lines, discounts, by_points, by_wallet) in orders()) {
        let bench = completed(&lines, discounts, by_points, by_wallet);
        let order = bench.purchase.order().unwrap();
        let mut sums = vec![0; order.tenders.len()];
        let mut before = order.split(0);
        let mut reached = 0;
        for (line, (units, price)) in lines.iter().enumerate() {
            let amount = order.lines[line].amount.get();
            prop_assert_eq!(order.lines[line].discount(), units * price - amount);
            for unit in 1..=*units {
                let cost = order.amount_before(line, unit) - reached;
                // Off its exact share by less than a minor unit.
                prop_assert!((cost * units - amount).abs() < *units, "{} of {}", cost, amount);
                prop_assert!((0..=*price).contains(&cost));
                reached += cost;
                let after = order.split(reached);
                let shares: Vec<i64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                prop_assert_eq!(shares.iter().sum::<i64>(), cost);
                prop_assert!(shares.iter().all(|share| *share >= 0));
                sums.iter_mut().zip(&shares).for_each(|(sum, share)| *sum += share);
                before = after;
            }
        }
        prop_assert_eq!(reached, order.total.amount.get());
        let off: i64 = order.discounts.iter().map(|it| it.amount.get()).sum();
        let full: i64 = lines.iter().map(|(units, price)| units * price).sum();
        prop_assert_eq!((off, reached + off), (order.discount(), full));
        let tenders: Vec<i64> = order.tenders.iter().map(|it| it.money().get()).collect();
        prop_assert_eq!(sums, tenders);
    }

    /// However it is refunded piece by piece, each tender gets back exactly what it gave.
    #[test]
    fn the_sum_of_refunds_is_what_was_paid(
        (lines, discounts, by_points, by_wallet) in orders(),
        pieces in pieces(),
    ) {
        let mut bench = completed(&lines, discounts, by_points, by_wallet);
        for (at, piece) in pieces.into_iter().enumerate() {
            let portion = match piece {
                Piece::Units(line, count) => {
                    let line = u32::try_from(line % lines.len()).unwrap() + 1;
                    Portion::Lines(vec![units(line, count)])
                }
                Piece::Amount(amount) => Portion::Amount(pounds(amount)),
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
        let order = bench.purchase.order().unwrap();
        let mut back = vec![(0, 0); order.tenders.len()];
        for part in bench.purchase.refunds().iter().flat_map(|it| &it.parts) {
            let it = &mut back[usize::try_from(part.tender).unwrap() - 1];
            *it = (it.0 + part.money.get(), it.1 + part.points.get());
        }
        let paid: Vec<(i64, i64)> = order
            .tenders
            .iter()
            .map(|it| match it {
                crate::purchase::order::Tender::Points { points, money } => {
                    (money.get(), points.get())
                }
                it => (it.money().get(), 0),
            })
            .collect();
        prop_assert_eq!(back, paid);
        prop_assert_eq!(bench.state(), "refunded");
    }

    /// Whatever is asked in whatever order: it ends once, nothing is done twice, and what was
    /// done and not kept is undone.
    #[test]
    fn every_story_ends_once(moves in vec(0_u8..8, 1..40)) {
        let mut bench = Bench::placed(place(&[(1, 500)], vec![points(2), wallet(Some(9)), card()]));
        let mut effects: Vec<Step> = Vec::new();
        for one in moves {
            match (one, bench.next()) {
                (0, _) => drop(bench.decide(Command::Cancel { reason: None, actor: None }).map(
                    |events| events.iter().for_each(|event| bench.purchase.evolve(event)),
                )),
                (1, Next::Move(step, Way::Do)) => {
                    let (reason, detail) = ("no".to_owned(), "no".to_owned());
                    bench.must(Command::Refused { turn: turn(step, Way::Do), reason, detail });
                }
                (2, Next::Move(step, way)) if step.is_outside() => {
                    let until = bench.now + TimeDelta::seconds(30);
                    bench.must(Command::Start { turn: turn(step, way), until });
                }
                (3, _) => bench.now += TimeDelta::seconds(31),
                (4, Next::TimeOut) => drop(bench.must(Command::TimeOut)),
                _ => match bench.step() {
                    Some((step, Way::Do)) => {
                        prop_assert!(!effects.contains(&step));
                        effects.push(step);
                    }
                    Some((step, Way::Undo)) => effects.retain(|it| *it != step),
                    None => {}
                },
            }
        }
        // Left alone, it comes to its end.
        for _ in 0..20 {
            bench.now += TimeDelta::seconds(31);
            if bench.next() == Next::TimeOut {
                bench.must(Command::TimeOut);
            }
            match bench.step() {
                Some((step, Way::Do)) => effects.push(step),
                Some((step, Way::Undo)) => effects.retain(|it| *it != step),
                None => {}
            }
        }
        match bench.state() {
            "completed" => prop_assert_eq!(effects.len(), 5),
            "rejected" => prop_assert_eq!(effects, []),
            other => prop_assert!(false, "{} is no end", other),
        }
    }
}
