//! Money that the provider refuses to give back, or takes on to give back and then cannot.

use Step::{AuthoriseCard, CaptureCard, HoldStock, RefundCard, SettleRefund};
use Way::{Do, Undo};

use super::*;
use crate::purchase::event::Effect;
use crate::purchase::step::KeyNumber;

/// 1,000 by card; completed.
fn completed() -> Bench {
    let mut bench = Bench::placed(place(&[(2, 500)], vec![card()]));
    bench.run();
    bench
}

/// Cancelled with the card's money taken, and back at its beginning.
fn rejected() -> Bench {
    let mut bench = Bench::placed(place(&[(2, 500)], vec![card()]));
    (0..3).for_each(|_| assert!(bench.step().is_some()));
    bench.must(Command::Cancel { reason: None, actor: None });
    assert_eq!(bench.run(), [(CaptureCard, Undo), (AuthoriseCard, Undo), (HoldStock, Undo)]);
    assert_eq!(bench.state(), "rejected");
    bench
}

fn id(id: &str) -> RefundId {
    RefundId::new(id).unwrap()
}

fn key(number: u32) -> KeyNumber {
    (1..number).fold(KeyNumber::default(), |it, _| it.next())
}

fn failed(refund: Option<&str>, number: u32) -> Command {
    let (refund, detail) = (refund.map(id), "lost_or_stolen_card".to_owned());
    Command::RefundFailed { refund, key: key(number), detail }
}

fn retry() -> Command {
    Command::Retry { reason: "a new card".to_owned(), actor: "desk".to_owned() }
}

fn abandon() -> Command {
    Command::Abandon { reason: "by cheque".to_owned(), actor: "desk".to_owned() }
}

fn start(bench: &mut Bench, step: Step, way: Way) {
    let (turn, until) = (bench.purchase.turn(step, way), bench.now + TimeDelta::seconds(30));
    bench.must(Command::Start { turn, until });
}

fn refused(bench: &mut Bench, step: Step, way: Way) {
    start(bench, step, way);
    let turn = bench.purchase.turn(step, way);
    let (reason, detail) = ("payment_declined".to_owned(), "no".to_owned());
    bench.must(Command::Refused { turn, reason, detail });
    assert_eq!(bench.state(), "stuck");
}

#[test]
fn a_refused_refund_is_called_anew_under_another_key_and_a_lost_one_under_its_own() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: false }));
    assert_eq!(bench.purchase.key(RefundCard), key(1));
    refused(&mut bench, RefundCard, Do);
    bench.must(retry());
    assert_eq!(bench.purchase.key(RefundCard), key(2));
    // Of the next one nobody knows what came of it, however often it is tried.
    for _ in 0..2 {
        start(&mut bench, RefundCard, Do);
        let turn = bench.purchase.turn(RefundCard, Do);
        let (effect, detail) = (Effect::Unknown, "no answer".to_owned());
        bench.must(Command::Delay { turn, effect, detail, retry_at: None });
        assert_eq!(bench.state(), "stuck");
        bench.must(retry());
        assert_eq!(bench.purchase.key(RefundCard), key(2));
    }
    refused(&mut bench, RefundCard, Do);
    bench.must(retry());
    assert_eq!(bench.purchase.key(RefundCard), key(3));
    assert_eq!(bench.run(), [(RefundCard, Do), (SettleRefund, Do)]);
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn each_refund_has_its_own_keys() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(10))));
    refused(&mut bench, RefundCard, Do);
    bench.must(retry());
    bench.run();
    bench.must(refund("s", Portion::Amount(pounds(10))));
    assert_eq!(bench.purchase.key(RefundCard), key(1));
}

#[test]
fn what_is_refused_on_the_way_back_is_called_anew_under_another_key() {
    let mut bench = Bench::placed(place(&[(2, 500)], vec![card()]));
    (0..3).for_each(|_| assert!(bench.step().is_some()));
    bench.must(Command::Cancel { reason: None, actor: None });
    refused(&mut bench, CaptureCard, Undo);
    bench.must(retry());
    assert_eq!(bench.purchase.key(CaptureCard), key(2));
    assert_eq!(bench.run(), [(CaptureCard, Undo), (AuthoriseCard, Undo), (HoldStock, Undo)]);
    assert_eq!(bench.state(), "rejected");
}

#[test]
fn a_refund_that_fails_later_is_stuck_until_people_have_it_made_anew() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: true }));
    bench.run();
    assert_eq!(bench.must(failed(Some("r"), 1)), ["PurchaseRefundFailed"]);
    assert_eq!((bench.state(), bench.next()), ("stuck", Next::Wait(None)));
    assert_eq!(bench.purchase.next_deadline(), None);
    let open = bench.purchase.open().unwrap();
    assert_eq!((open.step, open.detail), (RefundCard, Some("lost_or_stolen_card")));
    assert_eq!(bench.must(failed(Some("r"), 1)), [] as [&str; 0], "told again");
    bench.must(retry());
    assert_eq!((bench.state(), bench.purchase.key(RefundCard)), ("completed", key(2)));
    assert!(bench.purchase.next_deadline().is_some());
    // Goods, points and wallet money have been given back: that is not done twice.
    assert_eq!(bench.run(), [(RefundCard, Do)]);
    assert_eq!(bench.state(), "refunded");
    assert_eq!(bench.must(failed(Some("r"), 1)), [] as [&str; 0], "old news");
    assert_eq!(bench.must(failed(Some("r"), 2)), ["PurchaseRefundFailed"], "and once more");
    bench.must(abandon());
    assert_eq!((bench.state(), bench.next()), ("refunded", Next::Wait(None)));
    assert_eq!(bench.must(failed(Some("r"), 2)), [] as [&str; 0], "it is people's now");
}

#[test]
fn a_refund_that_fails_before_the_rest_of_it_is_settled_goes_on_with_that() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: true }));
    bench.step();
    bench.must(failed(Some("r"), 1));
    let mut abandoned = bench.clone();
    bench.must(retry());
    assert_eq!(bench.run(), [(RefundCard, Do), (SettleRefund, Do)]);
    abandoned.must(abandon());
    assert_eq!(abandoned.run(), [(SettleRefund, Do)]);
    assert_eq!((bench.state(), abandoned.state()), ("refunded", "refunded"));
}

#[test]
fn a_failure_that_is_told_before_the_answer_counts_and_the_answer_does_not() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: true }));
    assert_eq!(bench.must(failed(Some("r"), 1)), [] as [&str; 0], "nothing has been called");
    start(&mut bench, RefundCard, Do);
    let turn = bench.purchase.turn(RefundCard, Do);
    assert_eq!(bench.must(failed(Some("r"), 1)), ["PurchaseRefundFailed"]);
    assert_eq!(
        bench.refuses(Command::Done { turn, payment: None, spent: Vec::new() }),
        Error::OutOfTurn
    );
    bench.must(retry());
    bench.run();
    assert_eq!(bench.state(), "refunded");
}

#[test]
fn refunds_that_fail_in_another_order_than_they_were_made_are_each_looked_at() {
    let mut bench = completed();
    for name in ["r", "s"] {
        bench.must(refund(name, Portion::Amount(pounds(100))));
        bench.run();
    }
    bench.must(failed(Some("s"), 1));
    bench.must(failed(Some("r"), 1));
    bench.must(retry());
    assert_eq!(bench.run(), [(RefundCard, Do)]);
    assert_eq!(bench.state(), "stuck", "s waits for its own retry");
    bench.must(retry());
    assert_eq!(bench.run(), [(RefundCard, Do)]);
    assert_eq!((bench.state(), bench.purchase.refunds().refunded()), ("completed", 200));
}

#[test]
fn a_failure_does_not_confuse_the_refund_whose_call_is_out() {
    let mut bench = completed();
    bench.must(refund("r", Portion::Amount(pounds(100))));
    bench.run();
    bench.must(refund("s", Portion::Amount(pounds(100))));
    start(&mut bench, RefundCard, Do);
    let turn = bench.purchase.turn(RefundCard, Do);
    bench.must(failed(Some("r"), 1));
    assert_eq!(
        bench.refuses(Command::Done { turn, payment: None, spent: Vec::new() }),
        Error::OutOfTurn
    );
    bench.must(abandon());
    assert_eq!(bench.purchase.first_call(RefundCard, Do), Some(bench.now + TimeDelta::seconds(30)));
    assert_eq!(bench.run(), [(RefundCard, Do), (SettleRefund, Do)], "under the same key");
    assert_eq!(bench.purchase.key(RefundCard), key(1));
}

#[test]
fn what_was_given_back_on_the_way_back_and_failed_is_given_back_once_more() {
    let mut bench = rejected();
    assert!(!bench.purchase.is_over_for_good());
    assert_eq!(bench.must(failed(None, 1)), ["PurchaseRefundFailed"]);
    assert_eq!((bench.state(), bench.next()), ("stuck", Next::Wait(None)));
    assert_eq!(bench.must(failed(None, 1)), [] as [&str; 0]);
    let mut abandoned = bench.clone();
    bench.must(retry());
    assert_eq!(bench.purchase.key(CaptureCard), key(2));
    assert_eq!(bench.run(), [(CaptureCard, Undo)]);
    assert_eq!(bench.state(), "rejected");
    assert_eq!(bench.must(failed(None, 2)), ["PurchaseRefundFailed"]);
    abandoned.must(abandon());
    assert_eq!((abandoned.state(), abandoned.next()), ("rejected", Next::Wait(None)));
    assert_eq!(abandoned.must(failed(None, 1)), [] as [&str; 0]);
}

#[test]
fn the_first_call_is_remembered_until_the_key_is_another() {
    let mut bench = completed();
    bench.must(refund("r", Portion::All { restock: true }));
    assert_eq!(bench.purchase.first_call(RefundCard, Do), None);
    let first = bench.now + TimeDelta::seconds(30);
    for _ in 0..2 {
        start(&mut bench, RefundCard, Do);
        let turn = bench.purchase.turn(RefundCard, Do);
        let (effect, detail) = (Effect::Unknown, "no answer".to_owned());
        bench.now += TimeDelta::hours(20);
        bench.must(Command::Delay { turn, effect, detail, retry_at: None });
        bench.must(retry());
        assert_eq!(bench.purchase.first_call(RefundCard, Do), Some(first));
    }
    refused(&mut bench, RefundCard, Do);
    bench.must(retry());
    assert_eq!(bench.purchase.first_call(RefundCard, Do), None);
}

#[test]
fn events_of_before_keys_had_numbers_are_read() {
    for (json, name) in [
        (r#"{"PurchaseRetried": {"reason": "they are back", "actor": "desk"}}"#, "retried"),
        (
            r#"{"PurchaseStuck": {"step": "refund_card", "way": "do", "detail": "no answer"}}"#,
            "stuck",
        ),
    ] {
        let event: Event = serde_json::from_str(json).unwrap_or_else(|it| panic!("{name}: {it}"));
        let written = serde_json::to_value(&event).unwrap();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(written, read, "{name}: what is absent means what it meant");
    }
}
