//! Calls to the outside that are lost, slow, late, or refused on the way back.

use Step::{AuthoriseCard, CaptureCard, HoldStock};
use Way::{Do, Undo};

use super::*;
use crate::purchase::event::Effect;

/// By card alone, with the goods held.
fn by_card() -> Bench {
    let mut bench = Bench::placed(place(&[(1, 100)], vec![card()]));
    assert_eq!(bench.step(), Some((HoldStock, Do)));
    bench
}

fn start(bench: &mut Bench, step: Step, way: Way) {
    let until = bench.now + TimeDelta::seconds(30);
    bench.must(Command::Start { turn: turn(step, way), until });
}

fn delay(step: Step, way: Way, effect: Effect, retry_at: Option<DateTime<Utc>>) -> Command {
    let detail = "no answer".to_owned();
    Command::Delay { turn: turn(step, way), effect, detail, retry_at }
}

fn cancel() -> Command {
    Command::Cancel { reason: None, actor: None }
}

#[test]
fn one_call_at_a_time_until_its_caller_is_given_up() {
    let mut bench = by_card();
    start(&mut bench, AuthoriseCard, Do);
    let until = bench.now + TimeDelta::seconds(30);
    assert_eq!(bench.next(), Next::Wait(Some(until)));
    let again = Command::Start { turn: turn(AuthoriseCard, Do), until };
    assert_eq!(bench.refuses(again), Error::OutOfTurn);
    bench.now = until;
    assert_eq!(bench.next(), Next::Move(AuthoriseCard, Do));
    start(&mut bench, AuthoriseCard, Do);
    assert_eq!(bench.purchase.trail().call().unwrap().attempts, 2);
}

#[test]
fn what_may_have_happened_is_undone_and_what_surely_did_not_is_not() {
    // Still out, lost, or lost once and then surely without effect.
    for (effects, undone) in [
        (vec![], true),
        (vec![Effect::Unknown], true),
        (vec![Effect::Unknown, Effect::None], true),
        (vec![Effect::None], false),
        (vec![Effect::None, Effect::None], false),
    ] {
        let mut bench = by_card();
        start(&mut bench, AuthoriseCard, Do);
        for (at, effect) in effects.iter().enumerate() {
            if at > 0 {
                start(&mut bench, AuthoriseCard, Do);
            }
            bench.must(delay(AuthoriseCard, Do, *effect, Some(bench.now)));
        }
        bench.must(cancel());
        let back = bench.run();
        let expected = if undone { vec![AuthoriseCard, HoldStock] } else { vec![HoldStock] };
        assert_eq!(back, expected.into_iter().map(|it| (it, Undo)).collect::<Vec<_>>());
        assert_eq!(bench.state(), "rejected", "{effects:?}");
    }
}

#[test]
fn a_caller_that_vanished_leaves_its_mark() {
    let mut bench = by_card();
    start(&mut bench, AuthoriseCard, Do);
    bench.now += TimeDelta::seconds(31);
    start(&mut bench, AuthoriseCard, Do);
    // The second attempt surely did nothing; the first may have.
    bench.must(delay(AuthoriseCard, Do, Effect::None, Some(bench.now)));
    bench.must(cancel());
    assert_eq!(bench.next(), Next::Move(AuthoriseCard, Undo));
}

#[test]
fn a_late_answer_only_names_what_is_to_be_undone() {
    let mut bench = by_card();
    start(&mut bench, AuthoriseCard, Do);
    bench.must(cancel());
    let done = || {
        let payment = Some("pi_late".to_owned());
        Command::Done { turn: turn(AuthoriseCard, Do), payment, spent: Vec::new() }
    };
    assert_eq!(bench.must(done()), ["PurchaseStepDone"]);
    assert_eq!(bench.must(done()), [] as [&str; 0]);
    assert_eq!(bench.purchase.trail().payment(), Some("pi_late"));
    assert_eq!(bench.run(), [(AuthoriseCard, Undo), (HoldStock, Undo)]);
    assert_eq!(bench.refuses(done()), Error::OutOfTurn, "behind the end it is not wanted");
}

#[test]
fn the_customer_is_asked_and_looked_after() {
    let mut bench = by_card();
    start(&mut bench, AuthoriseCard, Do);
    let retry_at = bench.now + TimeDelta::seconds(10);
    let url = Some("https://bank.example".to_owned());
    bench.must(Command::AskCustomer { payment: "pi_1".to_owned(), url, retry_at });
    assert_eq!((bench.state(), bench.next()), ("waiting", Next::Wait(Some(retry_at))));
    bench.now = retry_at;
    assert_eq!(bench.next(), Next::LookUp);
    let later = Some(retry_at + TimeDelta::seconds(10));
    bench.must(delay(AuthoriseCard, Do, Effect::Unknown, later));
    assert!(bench.purchase.trail().request().is_some(), "the link stays");
    bench.must(cancel());
    assert_eq!(bench.next(), Next::Move(AuthoriseCard, Undo), "the payment is to be ended");
}

#[test]
fn an_undo_that_keeps_failing_is_for_people() {
    let mut bench = by_card();
    bench.step();
    bench.must(cancel());
    start(&mut bench, AuthoriseCard, Undo);
    bench.must(delay(AuthoriseCard, Undo, Effect::Unknown, None));
    assert_eq!((bench.state(), bench.next()), ("stuck", Next::Wait(None)));
    assert_eq!(bench.purchase.next_deadline(), None);
    let start_again = Command::Start { turn: turn(AuthoriseCard, Undo), until: bench.now };
    assert_eq!(bench.refuses(start_again), Error::OutOfTurn);
    let (reason, actor) = (|| "they are back".to_owned(), || "night-desk".to_owned());
    let mut abandoned = bench.clone();
    bench.must(Command::Retry { reason: reason(), actor: actor() });
    assert_eq!(bench.run(), [(AuthoriseCard, Undo), (HoldStock, Undo)]);
    assert_eq!(bench.state(), "rejected");
    assert_eq!(bench.refuses(Command::Retry { reason: reason(), actor: actor() }), Error::NotStuck);
    abandoned.must(Command::Abandon { reason: reason(), actor: actor() });
    assert_eq!(abandoned.run(), [(HoldStock, Undo)]);
    assert_eq!(abandoned.state(), "rejected");
}

#[test]
fn a_refused_undo_is_for_people_at_once() {
    let mut bench = by_card();
    bench.step();
    bench.step();
    assert_eq!(bench.purchase.trail().done().last(), Some(&CaptureCard));
    bench.must(cancel());
    start(&mut bench, CaptureCard, Undo);
    let (reason, detail) = ("payment_refused".to_owned(), "no".to_owned());
    bench.must(Command::Refused { turn: turn(CaptureCard, Undo), reason, detail });
    assert_eq!(bench.state(), "stuck");
}

#[test]
fn a_verb_says_who_and_why() {
    let bench = by_card();
    let blank = Command::Retry { reason: " ".to_owned(), actor: "x".to_owned() };
    assert!(matches!(bench.refuses(blank), Error::InvalidText { field: "/reason", .. }));
}

#[test]
fn a_refusal_behind_an_attempt_that_was_lost_does_not_forget_it() {
    let mut bench = by_card();
    start(&mut bench, AuthoriseCard, Do);
    bench.must(delay(AuthoriseCard, Do, Effect::Unknown, Some(bench.now)));
    start(&mut bench, AuthoriseCard, Do);
    let (reason, detail) = ("payment_declined".to_owned(), "no".to_owned());
    bench.must(Command::Refused { turn: turn(AuthoriseCard, Do), reason, detail });
    assert_eq!(bench.run(), [(AuthoriseCard, Undo), (HoldStock, Undo)]);
}
