//! The way there, and the way back.

use Step::{AuthoriseCard, CaptureCard, HoldStock, HoldTenders, Settle};
use Way::{Do, Undo};

use super::*;
use crate::account::event::Part;
use crate::id::LotId;
use crate::points::Points;

fn mixed() -> Place {
    place(&[(2, 500)], vec![points(200), wallet(Some(300)), card()])
}

fn refused(step: Step) -> Command {
    let (reason, detail) = ("no_luck".to_owned(), "none".to_owned());
    Command::Refused { turn: turn(step, Do), reason, detail }
}

#[test]
fn each_tender_adds_its_steps() {
    let steps = |tenders| Bench::placed(place(&[(1, 100)], tenders)).run();
    assert_eq!(steps(vec![wallet(None)]), [(HoldStock, Do), (HoldTenders, Do), (Settle, Do)]);
    let by_card = [(HoldStock, Do), (AuthoriseCard, Do), (CaptureCard, Do), (Settle, Do)];
    assert_eq!(steps(vec![card()]), by_card);
    let mut bench = Bench::placed(mixed());
    let steps = bench.run();
    let all = [HoldStock, HoldTenders, AuthoriseCard, CaptureCard, Settle];
    assert_eq!(steps, all.map(|step| (step, Do)));
    assert_eq!((bench.state(), bench.next()), ("completed", Next::Wait(None)));
}

#[test]
fn a_refusal_undoes_exactly_what_was_done_newest_first() {
    for (count, undone) in [
        (0, vec![]),
        (1, vec![HoldStock]),
        (2, vec![HoldTenders, HoldStock]),
        (3, vec![AuthoriseCard, HoldTenders, HoldStock]),
        (4, vec![CaptureCard, AuthoriseCard, HoldTenders, HoldStock]),
    ] {
        let mut bench = Bench::placed(mixed());
        (0..count).for_each(|_| assert!(bench.step().is_some()));
        let Next::Move(step, Do) = bench.next() else { panic!("{:?}", bench.next()) };
        bench.must(refused(step));
        let back = bench.run();
        assert_eq!(back, undone.iter().map(|step| (*step, Undo)).collect::<Vec<_>>());
        assert_eq!(bench.state(), "rejected");
        let reason = bench.purchase.trail().reason().unwrap();
        assert_eq!((&*reason.code, bench.next()), ("no_luck", Next::Wait(None)));
    }
}

#[test]
fn a_settled_purchase_keeps_of_which_lots_its_points_were_and_how_many_came_back() {
    let mut bench = Bench::placed(mixed());
    while !matches!(bench.next(), Next::Move(Settle, Do)) {
        assert!(bench.step().is_some());
    }
    assert_eq!(bench.purchase.spent(), None);
    let part = |lot: &str, points| Part {
        lot: LotId::new(lot).unwrap(),
        points: Points::new(points).unwrap(),
    };
    let lots = vec![part("a", 120), part("b", 80)];
    bench.must(Command::Done { turn: turn(Settle, Do), payment: None, spent: lots.clone() });
    let spent = bench.purchase.spent().unwrap();
    assert_eq!(
        (spent.points, &spent.lots, spent.restored.get()),
        (Points::new(200).unwrap(), &lots, 0)
    );
    bench.must(refund("r", Portion::All { restock: true }));
    assert_eq!(bench.purchase.spent().unwrap().restored.get(), 0, "it is on its way");
    bench.run();
    assert_eq!(bench.purchase.spent().unwrap().restored.get(), 200);
}

#[test]
fn a_step_is_taken_in_its_turn_and_once() {
    let mut bench = Bench::placed(mixed());
    let done = |step| Command::Done { turn: turn(step, Do), payment: None, spent: Vec::new() };
    assert_eq!(bench.refuses(done(Settle)), Error::OutOfTurn);
    assert_eq!(bench.refuses(Command::Undone { step: HoldStock }), Error::OutOfTurn);
    bench.must(done(HoldStock));
    assert_eq!(bench.refuses(done(HoldStock)), Error::OutOfTurn);
    bench.must(refused(HoldTenders));
    assert_eq!(bench.refuses(done(HoldTenders)), Error::OutOfTurn);
    bench.must(Command::Undone { step: HoldStock });
    assert_eq!(bench.refuses(Command::Undone { step: HoldStock }), Error::OutOfTurn);
}

#[test]
fn cancelling_turns_round_until_it_is_completed() {
    let cancel = || Command::Cancel { reason: Some("no".to_owned()), actor: None };
    for count in 0..5 {
        let mut bench = Bench::placed(mixed());
        (0..count).for_each(|_| assert!(bench.step().is_some()));
        bench.must(cancel());
        assert_eq!(bench.must(cancel()), [] as [&str; 0], "once is enough");
        bench.run();
        assert_eq!(bench.state(), "rejected");
        assert_eq!(bench.purchase.trail().reason().unwrap().code, "cancelled");
        assert_eq!(bench.must(cancel()), [] as [&str; 0]);
    }
    let mut bench = Bench::placed(mixed());
    bench.run();
    assert_eq!(bench.refuses(cancel()), Error::Over("completed"));
    assert_eq!(Bench::new().refuses(cancel()), Error::Unknown);
}

#[test]
fn its_time_turns_it_round_but_not_once_the_money_is_taken() {
    for (count, next) in
        [(0, Next::TimeOut), (1, Next::TimeOut), (3, Next::TimeOut), (4, Next::Move(Settle, Do))]
    {
        let mut bench = Bench::placed(mixed());
        assert_eq!(bench.refuses(Command::TimeOut), Error::OutOfTurn);
        (0..count).for_each(|_| assert!(bench.step().is_some()));
        bench.now += TimeDelta::hours(1);
        assert_eq!(bench.next(), next, "after {count} steps");
    }
    let mut bench = Bench::placed(mixed());
    bench.now += TimeDelta::hours(1);
    assert_eq!(bench.must(Command::TimeOut), ["PurchaseTimedOut", "PurchaseRejected"]);
}

#[test]
fn a_timer_looks_after_it_until_it_is_over() {
    let mut bench = Bench::placed(mixed());
    while let Next::Move(..) = bench.next() {
        assert!(bench.purchase.next_deadline().is_some(), "{:?}", bench.purchase);
        bench.step();
    }
    assert_eq!((bench.state(), bench.purchase.next_deadline()), ("completed", None));
    bench.must(refund("r", Portion::All { restock: true }));
    assert!(bench.purchase.next_deadline().is_some());
    bench.run();
    assert_eq!((bench.state(), bench.purchase.next_deadline()), ("refunded", None));
}
