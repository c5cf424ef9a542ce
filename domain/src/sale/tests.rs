//! Given, when, then; and random splits into returns.

use chrono::TimeDelta;
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::aggregate::Refuse;
use crate::id::CommandId;
use crate::program::Settings;

const SOLD_AT: i64 = 1_291_191_960;

fn decide(sale: &Sale, command: Command, id: &str) -> Result<Vec<Event>, Error> {
    let command_id = CommandId::new(id).unwrap();
    let occurred_at = DateTime::from_timestamp(SOLD_AT, 0).unwrap();
    let (now, settings) = (occurred_at + TimeDelta::days(1), Settings::default());
    let context = Context { now, occurred_at, command_id: &command_id, settings: &settings };
    sale.decide(command, &context)
}

fn told(result: Result<Vec<Event>, Error>) -> String {
    match result {
        Ok(events) => events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap())
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => {
            format!("{} {} {:?}: {error}", error.code(), error.field().unwrap_or("-"), error.kind())
        }
    }
}

fn pounds(units: i64) -> Money {
    Money { amount: Minor::new(units).unwrap(), currency: "GBP".parse().unwrap() }
}

fn euros(units: i64) -> Money {
    Money { currency: "EUR".parse().unwrap(), ..pounds(units) }
}

fn line(quantity: u32, units: i64) -> Line {
    Line {
        product: "85123A".into(),
        quantity,
        amount: Minor::new(units).unwrap(),
        kind: LineKind::Goods,
    }
}

fn record(total: Money, lines: Vec<Line>) -> Command {
    Command::Record { account: None, total, lines, occurred_at: None, reference: None }
}

fn back(id: &str, portion: Portion) -> Command {
    Command::Return { id: Some(ReturnId::new(id).unwrap()), portion, reference: None }
}

fn lines(lines: &[(u32, u32)]) -> Portion {
    let lines =
        lines.iter().map(|(line, quantity)| ReturnedLine { line: *line, quantity: *quantity });
    Portion::Lines(lines.collect())
}

fn sale(total: i64, lines: Vec<Line>) -> Sale {
    after(&Sale::default(), record(pounds(total), lines))
}

fn after(sale: &Sale, command: Command) -> Sale {
    let mut sale = sale.clone();
    for event in decide(&sale, command, "c").unwrap() {
        sale.evolve(&event);
    }
    sale
}

/// What a return gives back, and in all.
fn gives(sale: &Sale, portion: Portion) -> String {
    match decide(sale, back("new", portion), "c") {
        Ok(events) => match &events[..] {
            [Event::SaleReturned { amount, returned, .. }] => {
                format!("{} of {}", amount.amount.get(), returned.get())
            }
            other => format!("{other:?}"),
        },
        refused => told(refused),
    }
}

#[test]
fn a_sale_is_recorded_once() {
    let command = record(pounds(300), vec![line(3, 300)]);
    assert_snapshot!(told(decide(&Sale::default(), command.clone(), "c")), @r#"{"SaleRecorded":{"total":{"amount":300,"currency":"GBP"},"lines":[{"product":"85123A","quantity":3,"amount":300}],"occurred_at":"2010-12-01T08:26:00Z"}}"#);
    let sale = sale(300, vec![line(3, 300)]);
    assert_eq!(decide(&sale, command, "another"), Ok(vec![]));
    let refused = "sale-exists - Conflict: the sale exists with other content";
    assert_eq!(told(decide(&sale, record(pounds(301), vec![line(3, 300)]), "c")), refused);
    assert_eq!(told(decide(&sale, record(pounds(300), vec![]), "c")), refused);
}

#[test]
fn a_charge_says_so_and_a_line_that_says_nothing_is_goods() {
    let charge = Line { product: "POST".into(), kind: LineKind::Charge, ..line(1, 1_800) };
    let text = r#"{"product":"POST","quantity":1,"amount":1800,"kind":"charge"}"#;
    assert_eq!(serde_json::to_string(&charge).unwrap(), text);
    assert_eq!(serde_json::from_str::<Line>(text).unwrap(), charge);
    let before = r#"{"product":"85123A","quantity":6,"amount":1530}"#;
    assert_eq!(serde_json::from_str::<Line>(before).unwrap(), line(6, 1_530));
    assert_eq!(serde_json::to_string(&line(6, 1_530)).unwrap(), before);
    let other = text.replace("charge", "refund");
    assert!(serde_json::from_str::<Line>(&other).is_err());
    // It comes back like any other line.
    let sold = sale(2_100, vec![line(1, 300), charge]);
    assert_snapshot!(gives(&sold, lines(&[(2, 1)])), @"1800 of 1800");
}

#[test]
fn a_sale_is_recorded_again_at_the_time_that_was_told_or_at_any_where_none_was() {
    let time = |seconds| DateTime::from_timestamp(SOLD_AT + seconds, 0).unwrap();
    let record = |sale: &Sale, now, told: Option<i64>| {
        let (command_id, settings) = (CommandId::new("c").unwrap(), Settings::default());
        let now = time(now);
        let occurred_at = told.map_or(now, |at| time(at).min(now));
        let context = Context { now, occurred_at, command_id: &command_id, settings: &settings };
        let (total, lines, occurred_at) = (pounds(300), vec![], told.map(time));
        let command = Command::Record { account: None, total, lines, occurred_at, reference: None };
        sale.decide(command, &context)
    };
    let refused = Err(Error::Exists);
    // Behind our clock, none, and ahead of it.
    for (first, again) in [(Some(-9), Some(-9)), (None, None), (Some(60), Some(60))] {
        let recorded = record(&Sale::default(), 0, first).unwrap();
        let mut sale = Sale::default();
        recorded.iter().for_each(|event| sale.evolve(event));
        assert_eq!(sale.recorded().unwrap().occurred_at, time(first.unwrap_or(0)));
        for now in [0, 30, 90] {
            assert_eq!(record(&sale, now, again), Ok(vec![]), "{first:?} at {now}");
            assert_eq!(record(&sale, now, None), Ok(vec![]), "{first:?} at {now}");
            assert_eq!(record(&sale, now, Some(1)), refused, "{first:?} at {now}");
        }
    }
}

#[test]
fn a_sale_is_checked_with_the_field_named() {
    let try_record = |total, lines| told(decide(&Sale::default(), record(total, lines), "c"));
    assert_snapshot!(try_record(euros(1), vec![]), @"invalid-currency /total/currency Invalid: expected an amount in GBP, got EUR");
    assert_snapshot!(try_record(pounds(1), vec![line(0, 1)]), @"invalid-lines /lines Invalid: a line has a quantity of at least 1");
    assert_snapshot!(try_record(pounds(1), vec![line(1, 0); 1001]), @"invalid-lines /lines Invalid: a sale has at most 1000 lines");
    assert!(try_record(pounds(0), vec![line(1, 0); 1000]).starts_with("{"));
    let nameless = Line { product: String::new(), ..line(1, 1) };
    assert_snapshot!(try_record(pounds(1), vec![nameless]), @"invalid-text /lines Invalid: expected a text of 1 to 200 characters, got an empty one");
}

#[test]
fn a_return_says_what_came_back_and_how_much_in_all() {
    let sale = sale(300, vec![line(3, 200), line(1, 100)]);
    let sale = after(&sale, back("r1", lines(&[(1, 1)])));
    assert_snapshot!(told(decide(&sale, back("r2", Portion::All), "c")), @r#"{"SaleReturned":{"return_id":"r2","amount":{"amount":234,"currency":"GBP"},"returned":300,"total":300,"lines":[{"line":1,"quantity":2},{"line":2,"quantity":1}]}}"#);
    let named = Command::Return { id: None, portion: Portion::All, reference: None };
    assert!(told(decide(&sale, named, "key-9")).contains(r#""return_id":"key-9""#));
}

#[test]
fn a_line_comes_back_by_quantity_to_the_last_penny() {
    let one = sale(100, vec![line(3, 100)]);
    assert_snapshot!(gives(&one, lines(&[(1, 1)])), @"33 of 33");
    let two = after(&one, back("r1", lines(&[(1, 1)])));
    assert_snapshot!(gives(&two, lines(&[(1, 1)])), @"33 of 66");
    assert_snapshot!(gives(&two, lines(&[(1, 2)])), @"67 of 100");
    let three = after(&two, back("r2", lines(&[(1, 1)])));
    assert_snapshot!(gives(&three, lines(&[(1, 1)])), @"34 of 100");
    assert_snapshot!(gives(&three, lines(&[(1, 2)])), @"exceeds-line /lines Conflict: 1 of line 1 are left to return, 2 requested");
    assert_snapshot!(gives(&one, lines(&[(1, 2), (1, 2)])), @"exceeds-line /lines Conflict: 3 of line 1 are left to return, 4 requested");
    assert_snapshot!(gives(&one, lines(&[(2, 1)])), @"unknown-line /lines Invalid: there is no line 2 among the 1 of the sale");
    assert_snapshot!(gives(&one, lines(&[(0, 1)])), @"unknown-line /lines Invalid: there is no line 0 among the 1 of the sale");
    assert_snapshot!(gives(&one, lines(&[(1, 0)])), @"invalid-lines /lines Invalid: a returned line has a quantity of at least 1");
    assert_snapshot!(gives(&one, lines(&[])), @"invalid-lines /lines Invalid: a return names 1 to 1000 lines");
}

#[test]
fn a_discount_is_shared_by_the_lines() {
    let discounted = sale(90, vec![line(1, 60), line(1, 40)]);
    assert_snapshot!(gives(&discounted, lines(&[(1, 1)])), @"54 of 54");
    assert_snapshot!(gives(&discounted, lines(&[(1, 1), (2, 1)])), @"90 of 90");
    let free = sale(10, vec![line(1, 0), line(3, 0)]);
    assert_snapshot!(gives(&free, lines(&[(2, 1)])), @"2 of 2");
    assert_snapshot!(gives(&free, lines(&[(1, 1), (2, 3)])), @"10 of 10");
}

#[test]
fn an_amount_comes_back_up_to_what_is_left() {
    let sold = sale(100, vec![]);
    assert_snapshot!(gives(&sold, Portion::Amount(pounds(100))), @"100 of 100");
    assert_snapshot!(gives(&sold, Portion::Amount(pounds(101))), @"exceeds-sale /amount Conflict: 100 minor units are left to return, 101 requested");
    assert_snapshot!(gives(&sold, Portion::Amount(pounds(0))), @"invalid-amount /amount Invalid: expected an amount of at least 1 minor unit");
    assert_snapshot!(gives(&sold, Portion::Amount(euros(1))), @"invalid-currency /amount/currency Invalid: expected an amount in GBP, got EUR");
    let sold = after(&sold, back("r1", Portion::Amount(pounds(60))));
    assert_snapshot!(gives(&sold, Portion::Amount(pounds(41))), @"exceeds-sale /amount Conflict: 40 minor units are left to return, 41 requested");
    assert_snapshot!(gives(&sold, Portion::All), @"40 of 100");
}

#[test]
fn lines_after_an_amount_are_refused_where_exact_and_capped_where_estimated() {
    let exact = after(&sale(100, vec![line(1, 100)]), back("r1", Portion::Amount(pounds(60))));
    assert_snapshot!(gives(&exact, lines(&[(1, 1)])), @"exceeds-sale /lines Conflict: 40 minor units are left to return, 100 requested");
    let discounted = after(&sale(90, vec![line(1, 100)]), back("r1", Portion::Amount(pounds(60))));
    assert_snapshot!(gives(&discounted, lines(&[(1, 1)])), @"30 of 90");
}

#[test]
fn nothing_is_left_of_a_sale_that_came_back() {
    let refused = "nothing-left - Conflict: nothing is left to return";
    let free = sale(0, vec![line(2, 0), line(1, 0)]);
    assert_snapshot!(gives(&free, Portion::All), @"0 of 0");
    let free = after(&free, back("r1", lines(&[(1, 1)])));
    assert_snapshot!(gives(&free, Portion::All), @"0 of 0");
    assert_eq!(gives(&after(&free, back("r2", Portion::All)), Portion::All), refused);
    let asks = |sale: &Sale, id: &str| told(decide(sale, back(id, Portion::All), "c"));
    assert_snapshot!(asks(&free, "r1"), @"return-exists /id Conflict: return r1 exists with another portion");
    assert_eq!(asks(&after(&free, back("r2", Portion::All)), "r2"), "", "a retry");
    let bare = sale(0, vec![]);
    assert_snapshot!(gives(&bare, Portion::All), @"0 of 0");
    assert_eq!(gives(&after(&bare, back("r1", Portion::All)), Portion::All), refused);
    let gone = after(&sale(100, vec![line(2, 100)]), back("r1", Portion::All));
    assert_eq!(gives(&gone, Portion::All), refused);
    assert_snapshot!(gives(&gone, lines(&[(1, 1)])), @"exceeds-line /lines Conflict: 0 of line 1 are left to return, 1 requested");
    let unknown = decide(&Sale::default(), back("r", Portion::All), "c");
    assert_snapshot!(told(unknown), @"unknown-sale - NotFound: there is no sale of that id");
}

#[test]
fn the_same_return_again_is_a_no_op_and_another_portion_is_refused() {
    let sold = sale(300, vec![line(3, 300)]);
    let refused = "return-exists /id Conflict: return r exists with another portion";
    for (portion, others) in [
        (lines(&[(1, 2)]), vec![lines(&[(1, 1)]), Portion::All, Portion::Amount(pounds(200))]),
        (Portion::Amount(pounds(200)), vec![lines(&[(1, 2)]), Portion::Amount(pounds(100))]),
        (Portion::All, vec![lines(&[(1, 2)]), Portion::Amount(pounds(300))]),
    ] {
        let returned = after(&sold, back("r", portion.clone()));
        assert_eq!(decide(&returned, back("r", portion), "c"), Ok(vec![]));
        for other in others {
            assert_eq!(told(decide(&returned, back("r", other), "c")), refused);
        }
    }
    let twice = after(&sold, back("r", lines(&[(1, 1), (1, 1)])));
    assert_eq!(decide(&twice, back("r", lines(&[(1, 2)])), "c"), Ok(vec![]));
}

/// A sale and an order in which all of its pieces come back.
fn pieces() -> impl Strategy<Value = (i64, Vec<Line>, Vec<u32>)> {
    let lines = proptest::collection::vec((1..6_u32, 0..500_i64), 1..5);
    (0..2_000_i64, lines).prop_flat_map(|(total, lines)| {
        let pieces = (1_u32..).zip(&lines).flat_map(|(n, (q, _))| vec![n; *q as usize]);
        let pieces = Just(pieces.collect::<Vec<u32>>()).prop_shuffle();
        let lines: Vec<Line> = lines.iter().map(|(q, units)| line(*q, *units)).collect();
        (Just(total), Just(lines), pieces)
    })
}

proptest! {
    #[test]
    fn returns_of_all_pieces_are_the_whole_in_any_order((total, lines_sold, order) in pieces()) {
        let mut sale = sale(total, lines_sold);
        let mut sum = 0;
        for (n, piece) in order.iter().enumerate() {
            let events = decide(&sale, back(&format!("r{n}"), lines(&[(*piece, 1)])), "c").unwrap();
            let [Event::SaleReturned { amount, returned, .. }] = &events[..] else {
                panic!("one event expected")
            };
            sum += amount.amount.get();
            prop_assert_eq!(returned.get(), sum);
            prop_assert!(sum <= total);
            sale.evolve(&events[0]);
            let json = serde_json::to_string(&sale).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Sale>(&json).unwrap(), &sale);
        }
        prop_assert_eq!(sum, total);
    }

    #[test]
    fn whatever_came_back_before_all_brings_the_rest(
        (total, lines_sold, order) in pieces(),
        amounts in proptest::collection::vec(1..300_i64, 0..6),
    ) {
        let mut sale = sale(total, lines_sold);
        let mut portions: Vec<Portion> = order.iter().take(3).map(|n| lines(&[(*n, 1)])).collect();
        portions.extend(amounts.iter().map(|units| Portion::Amount(pounds(*units))));
        portions.push(Portion::All);
        let mut sum = 0;
        for (n, portion) in portions.into_iter().enumerate() {
            for event in decide(&sale, back(&format!("r{n}"), portion), "c").unwrap_or_default() {
                if let Event::SaleReturned { amount, .. } = &event {
                    sum += amount.amount.get();
                }
                sale.evolve(&event);
            }
        }
        prop_assert_eq!(sum, total);
    }
}
