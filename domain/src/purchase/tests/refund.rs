//! What is given back, to which tender.

use super::*;
use crate::purchase::event::RefundPart;

/// 2 of one thing at 500, 3 of another at 333: 1,999 in all; 200 points for 100, 300 from a
/// wallet, 1,599 by card. Completed.
fn completed() -> Bench {
    let tenders = vec![points(200), wallet(Some(300)), card()];
    let mut bench = Bench::placed(place(&[(2, 500), (3, 333)], tenders));
    bench.run();
    assert_eq!(bench.state(), "completed");
    bench
}

/// Money and points of each part of the newest refund.
fn parts(bench: &Bench) -> Vec<(u32, i64, i64)> {
    let newest = bench.purchase.refunds().iter().last().unwrap();
    let part = |it: &RefundPart| (it.tender, it.money.get(), it.points.get());
    newest.parts.iter().map(part).collect()
}

#[test]
fn all_goes_back_where_it_came_from() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: true }));
    assert_eq!(parts(&bench), [(1, 100, 200), (2, 300, 0), (3, 1_599, 0)]);
    assert_eq!(bench.run(), [(Step::RefundCard, Way::Do), (Step::SettleRefund, Way::Do)]);
    assert_eq!((bench.state(), bench.purchase.refunds().refunded()), ("refunded", 1_999));
    let more = refund("s", Portion::All { restock: true });
    assert_eq!(bench.refuses(more), Error::NothingLeft);
}

#[test]
fn units_have_frozen_shares_that_sum_to_the_tenders() {
    let mut one_by_one = completed();
    let mut sums = [(0, 0); 3];
    for (at, line) in [1, 2, 2, 1, 2].into_iter().enumerate() {
        one_by_one.must(refund(&format!("r{at}"), Portion::Lines(vec![units(line, 1)])));
        for (tender, money, points) in parts(&one_by_one) {
            let sum = &mut sums[usize::try_from(tender).unwrap() - 1];
            *sum = (sum.0 + money, sum.1 + points);
        }
        one_by_one.run();
    }
    assert_eq!(sums, [(100, 200), (300, 0), (1_599, 0)]);
    assert_eq!(one_by_one.state(), "refunded");
}

#[test]
fn a_part_of_the_total_is_shared_in_proportion_to_what_is_left() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(1_000))));
    assert_eq!(parts(&bench), [(1, 50, 100), (2, 150, 0), (3, 800, 0)]);
    bench.run();
    bench.must(refund("s", Portion::All { restock: false }));
    assert_eq!(parts(&bench), [(1, 50, 100), (2, 150, 0), (3, 799, 0)]);
    bench.run();
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn no_more_than_is_left() {
    let mut bench = completed();
    let lines = |all: &[(u32, i64)]| {
        Portion::Lines(all.iter().map(|(line, count)| units(*line, *count)).collect())
    };
    let wrong = |bench: &Bench, portion| bench.refuses(refund("x", portion));
    assert_eq!(wrong(&bench, lines(&[(1, 3)])), Error::ExceedsLine { line: 1, at: 1, left: 2 });
    assert_eq!(wrong(&bench, lines(&[(3, 1)])), Error::UnknownLine { line: 3, at: 1 });
    assert_eq!(wrong(&bench, lines(&[(0, 1)])), Error::UnknownLine { line: 0, at: 1 });
    assert_eq!(wrong(&bench, lines(&[(1, 1), (1, 1)])), Error::LineTwice { line: 1, at: 2 });
    assert_eq!(wrong(&bench, lines(&[])), Error::NoLines);
    assert_eq!(wrong(&bench, Portion::Amount(pounds(0))), Error::NoAmount);
    let (requested, left) = (2_000, 1_999);
    let beyond = wrong(&bench, Portion::Amount(pounds(requested)));
    assert_eq!(beyond, Error::ExceedsPaid { requested, left });
    bench.must(refund("r", lines(&[(1, 2)])));
    // Asked for is as good as given back.
    assert_eq!(wrong(&bench, lines(&[(1, 1)])), Error::ExceedsLine { line: 1, at: 1, left: 0 });
    let left = 999;
    assert_eq!(
        wrong(&bench, Portion::Amount(pounds(1_000))),
        Error::ExceedsPaid { requested: 1_000, left }
    );
}

#[test]
fn units_whose_money_went_back_otherwise_are_not_paid_twice() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(1_500))));
    bench.run();
    let beyond = bench.refuses(refund("s", Portion::Lines(vec![units(1, 1)])));
    assert_eq!(beyond, Error::LinesExceedPaid { requested: 500, left: 499 });
    bench.must(refund("t", Portion::Lines(vec![units(2, 1)])));
    bench.run();
    assert_eq!(bench.purchase.refunds().refunded(), 1_833);
}

#[test]
fn only_what_is_completed_is_refunded_and_the_same_refund_once() {
    let all = || refund("r", Portion::All { restock: false });
    let open = Bench::placed(place(&[(1, 100)], vec![card()]));
    assert_eq!(open.refuses(all()), Error::NotCompleted);
    let mut bench = completed();
    bench.must(all());
    assert_eq!(bench.must(all()), [] as [&str; 0]);
    let other = refund("r", Portion::All { restock: true });
    assert!(matches!(bench.refuses(other), Error::RefundExists(_)));
}

#[test]
fn a_refund_that_the_provider_refuses_is_for_people_and_goes_on_without_the_card() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: false }));
    let turn = bench.purchase.turn(Step::RefundCard, Way::Do);
    bench.must(Command::Start { turn: turn.clone(), until: bench.now + TimeDelta::seconds(30) });
    let (reason, detail) = ("payment_refused".to_owned(), "charge disputed".to_owned());
    bench.must(Command::Refused { turn, reason, detail });
    assert_eq!(bench.state(), "stuck");
    let (reason, actor) = ("paid by cheque".to_owned(), "desk".to_owned());
    bench.must(Command::Abandon { reason, actor });
    assert_eq!((bench.state(), bench.purchase.refunds().refunded()), ("completed", 0));
    assert_eq!(bench.run(), [(Step::SettleRefund, Way::Do)]);
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn a_settlement_that_people_take_upon_themselves_ends_the_refund() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(100))));
    bench.step();
    let turn = bench.purchase.turn(Step::SettleRefund, Way::Do);
    let (reason, detail) = ("limit_exceeded".to_owned(), "the wallet is full".to_owned());
    bench.must(Command::Refused { turn, reason, detail });
    assert_eq!(bench.state(), "stuck");
    let (reason, actor) = ("paid in cash".to_owned(), "desk".to_owned());
    let events = bench.must(Command::Abandon { reason, actor });
    assert_eq!(events, ["PurchaseStepAbandoned", "PurchaseRefunded"]);
    assert_eq!((bench.state(), bench.purchase.refunds().refunded()), ("completed", 100));
    bench.must(refund("s", Portion::All { restock: false }));
    bench.run();
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn refunds_are_carried_out_one_after_another() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(10))));
    bench.must(refund("s", Portion::Amount(pounds(20))));
    let steps = bench.run();
    let one = [(Step::RefundCard, Way::Do), (Step::SettleRefund, Way::Do)];
    assert_eq!(steps, [one, one].concat());
    assert_eq!(bench.purchase.refunds().refunded(), 30);
}

#[test]
fn who_is_late_with_one_refund_is_not_taken_to_speak_of_the_next() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(10))));
    bench.must(refund("s", Portion::Amount(pounds(20))));
    let late = |bench: &Bench, step| bench.purchase.turn(step, Way::Do);
    let (card, settle) = (late(&bench, Step::RefundCard), late(&bench, Step::SettleRefund));
    bench.step();
    bench.step();
    for turn in [card, settle] {
        assert_eq!(turn.refund, Some(RefundId::new("r").unwrap()));
        let done = Command::Done { turn: turn.clone(), payment: None, spent: Vec::new() };
        assert_eq!(bench.refuses(done), Error::OutOfTurn);
        let until = bench.now + TimeDelta::seconds(30);
        assert_eq!(bench.refuses(Command::Start { turn, until }), Error::OutOfTurn);
    }
    bench.run();
    assert_eq!(bench.purchase.refunds().refunded(), 30);
}
