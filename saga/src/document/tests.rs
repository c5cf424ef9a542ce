use accrue_campaign_engine::rules::Rules;
use accrue_domain::aggregate::Kind;
use accrue_domain::id::ProgramId;
use accrue_domain::samples;
use insta::assert_snapshot;
use rust_decimal::Decimal;

use super::*;

fn stream(kind: Kind, id: &str) -> StreamKey {
    StreamKey::new(kind, &ProgramId::default(), id)
}

fn money(amount: i64, currency: &str) -> Money {
    Money { amount: Minor::new(amount).unwrap(), currency: currency.parse().unwrap() }
}

/// As the engine reads a number: by its text.
fn read(number: &Number) -> Decimal {
    let text = number.to_string();
    let exact = if text.contains('e') { Decimal::from_scientific } else { Decimal::from_str_exact };
    exact(&text).unwrap()
}

#[test]
fn a_sale_is_a_document_with_money_in_major_units() {
    let events = samples::events();
    let sale = events.iter().find(|event| event.name().0 == "SaleRecorded").unwrap();
    let occasion = occasion(&stream(Kind::Sale, "536365"), sale).unwrap();
    assert_eq!(occasion.account.as_str(), "17850");
    assert_eq!(occasion.sale.unwrap().as_str(), "536365");
    assert_snapshot!(occasion.document, @r#"{"account":"17850","amount":139.12,"currency":"GBP","lines":[{"amount":139.12,"kind":"goods","product":"85123A","quantity":6}],"occurred_at":"2010-12-01T08:26:00Z","reference":"till 4","sale":"536365","type":"SaleRecorded"}"#);
}

#[test]
fn a_sale_without_a_note_has_no_field_for_it() {
    let event = Event::Sale(sale::Event::SaleRecorded {
        account: Some(AccountId::new("a").unwrap()),
        total: money(500, "JPY"),
        lines: Vec::new(),
        occurred_at: DateTime::from_timestamp(1, 0).unwrap(),
        reference: None,
    });
    let occasion = occasion(&stream(Kind::Sale, "s"), &event).unwrap();
    assert_snapshot!(occasion.document, @r#"{"account":"a","amount":500,"currency":"JPY","lines":[],"occurred_at":"1970-01-01T00:00:01Z","sale":"s","type":"SaleRecorded"}"#);
}

#[test]
fn a_purchase_is_a_document_of_what_was_paid_and_what_was_taken_off() {
    let events = samples::events();
    let completed = events.iter().find(|event| event.name().0 == "PurchaseCompleted").unwrap();
    let occasion = occasion(&stream(Kind::Purchase, "p-1"), completed).unwrap();
    assert_eq!(occasion.sale.unwrap().as_str(), "purchase:p-1");
    assert_snapshot!(occasion.document, @r#"{"account":"17850","amount":12.3,"currency":"GBP","discount":2.7,"discounts":[{"amount":2.7,"id":"summer","reason":"summer sale"}],"lines":[{"amount":15.3,"price":3.0,"product":"85123A","quantity":6}],"occurred_at":"2010-12-01T08:26:00Z","purchase":"p-1","reference":"basket 17","total":15.3,"type":"PurchaseCompleted"}"#);
}

#[test]
fn only_what_somebody_bought_is_an_occasion() {
    let mut names: Vec<_> = samples::events()
        .iter()
        .filter(|event| occasion(&stream(event.kind(), "x"), event).is_some())
        .map(|event| event.name().0)
        .collect();
    names.dedup();
    assert_eq!(names, ["PurchaseCompleted", "SaleRecorded"]);
    let anonymous = Event::Sale(sale::Event::SaleRecorded {
        account: None,
        total: money(500, "GBP"),
        lines: Vec::new(),
        occurred_at: DateTime::UNIX_EPOCH,
        reference: None,
    });
    assert_eq!(occasion(&stream(Kind::Sale, "s"), &anonymous), None);
}

#[test]
fn money_survives_the_number_whatever_the_currency() {
    // Exponents 0, 2, 3 and 4.
    for currency in ["JPY", "GBP", "KWD", "CLF"] {
        let exponent = money(0, currency).currency.exponent();
        let spread = (0..=15).flat_map(|power| {
            let ten = 10_i64.pow(power);
            [ten - 1, ten, ten + 1, ten / 9, ten / 7, ten / 3 * 2]
        });
        for amount in spread.filter(|amount| *amount <= Minor::MAX.get()) {
            let number = major(money(amount, currency));
            assert_eq!(read(&number), Decimal::new(amount, exponent), "{amount} {currency}");
        }
    }
}

#[test]
fn rules_see_every_penny() {
    for (currency, scale) in [("JPY", 1), ("GBP", 100), ("KWD", 1_000), ("CLF", 10_000)] {
        let rules = Rules::compile(&json!([{
            "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than_equals", "value": 0},
            "action": {"command": "issue", "formula": format!("$.amount * {scale}")},
        }]))
        .unwrap();
        for amount in [1, 7, 99, 100, 101, 13_912, 99_999_999_999, 999_999_999_999] {
            let outcome = rules.evaluate(&json!({"amount": major(money(amount, currency))}));
            let points: Vec<_> = outcome.awards.iter().map(|award| award.points).collect();
            assert_eq!(points, [amount], "{currency}");
        }
    }
}
