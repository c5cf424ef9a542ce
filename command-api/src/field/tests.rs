use std::fmt::Write as _;

use accrue_http::extract::from_json;
use accrue_http::problem::Problem;
use insta::assert_snapshot;

use crate::campaigns::CreateCampaign;
use crate::holds::{CaptureHold, PlaceHold};
use crate::points::{AdjustPoints, IssuePoints, ReversePoints};
use crate::sales::{RecordSale, ReturnSale};

fn show(out: &mut String, asked: &str, problem: Option<Problem>) {
    let asked: String = asked.chars().take(60).collect();
    let Some(problem) = problem else { return writeln!(out, "{asked} => taken").unwrap() };
    let fields: Vec<_> = problem.errors.iter().map(|error| &*error.pointer).collect();
    writeln!(out, "{asked} => {} {} [{}]", problem.status, problem.detail, fields.join(" "))
        .unwrap();
}

fn each<T: serde::de::DeserializeOwned>(template: &str, values: &[&str]) -> String {
    let mut out = String::new();
    for value in values {
        show(&mut out, value, from_json::<T>(template.replace('*', value).as_bytes()).err());
    }
    out
}

const NUMBERS: [&str; 21] = [
    "1",
    "1000000000000",
    "0",
    "-1",
    "-0",
    "1000000000001",
    "13.5",
    "13.0",
    "1e3",
    "1e400",
    "-1e400",
    "99999999999999999999",
    "9223372036854775808",
    "\"100\"",
    "\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee\"",
    "null",
    "true",
    "[1]",
    "{}",
    "01",
    "NaN",
];

#[test]
fn points_are_whole_and_every_other_value_is_told_so() {
    assert_snapshot!(each::<IssuePoints>(r#"{"points":*}"#, &NUMBERS));
}

#[test]
fn points_that_may_be_left_out_may_be_null() {
    assert_snapshot!(each::<ReversePoints>(
        r#"{"lot":"l","points":*}"#,
        &["1", "null", "0", "1.5"]
    ));
    assert!(from_json::<CaptureHold>(b"{}").is_ok());
}

#[test]
fn an_adjustment_has_a_sign_and_is_never_nothing() {
    let values =
        ["1", "-1", "0", "-0", "-1000000000000", "-1000000000001", "1.5", "\"5\"", "1e400"];
    let template = r#"{"points":*,"reason":"r","actor":"a"}"#;
    assert_snapshot!(each::<AdjustPoints>(template, &values));
}

#[test]
fn money_is_whole_minor_units_in_a_currency() {
    let totals = [
        r#"{"amount":0,"currency":"GBP"}"#,
        r#"{"amount":1000000000000000,"currency":"GBP"}"#,
        r#"{"amount":1000000000000001,"currency":"GBP"}"#,
        r#"{"amount":-1,"currency":"GBP"}"#,
        r#"{"amount":139.12,"currency":"GBP"}"#,
        r#"{"amount":"139","currency":"GBP"}"#,
        r#"{"amount":1,"currency":"gbp"}"#,
        r#"{"amount":1,"currency":7}"#,
        r#"{"amount":1}"#,
        r#"{"amount":1,"currency":"GBP","x":1}"#,
        r#"[1,"GBP"]"#,
        "1",
        "null",
    ];
    assert_snapshot!(each::<RecordSale>(r#"{"id":"s","total":*}"#, &totals));
}

#[test]
fn lines_name_the_place_of_what_is_wrong() {
    let lines = [
        "[]",
        "null",
        r#"[{"product":"x","quantity":1,"amount":1}]"#,
        r#"[{"product":"x","quantity":1,"amount":1},{"product":"x","quantity":0,"amount":1}]"#,
        r#"[{"product":"","quantity":1,"amount":1}]"#,
        r#"[{"product":"x","quantity":4294967296,"amount":1}]"#,
        r#"[{"product":"x","quantity":1,"amount":1,"y":1}]"#,
        r#"[{"product":"x","quantity":1,"amount":1,"kind":"charge"}]"#,
        r#"[{"product":"x","quantity":1,"amount":1,"kind":null}]"#,
        r#"[{"product":"x","quantity":1,"amount":1,"kind":"fee"}]"#,
        r#"[{"product":"x","quantity":1,"kind":"charge"}]"#,
        r#"[["x",1,1]]"#,
        "{}",
    ];
    let template = r#"{"id":"s","total":{"amount":1,"currency":"GBP"},"lines":*}"#;
    assert_snapshot!(each::<RecordSale>(template, &lines));
}

#[test]
fn instants_are_rfc_3339_and_texts_one_line() {
    let values = [
        r#""occurred_at":"2026-01-01T00:00:00Z""#,
        r#""occurred_at":"2026-01-01T00:00:60+01:00""#,
        r#""occurred_at":"2026-01-01""#,
        r#""occurred_at":"2026-02-30T00:00:00Z""#,
        r#""occurred_at":"0000-01-01T00:00:00Z""#,
        r#""occurred_at":"9999-12-31T23:59:60Z""#,
        r#""occurred_at":1767225600"#,
        r#""occurred_at":"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee""#,
        r#""reference":"a\u0000b""#,
        r#""reference":"a\nb""#,
        r#""reference":"""#,
        r#""reference":"\ud800""#,
        r#""reference":7"#,
        r#""id":"a b""#,
        r#""id":"..""#,
        r#""id":"""#,
        r#""id":7"#,
        r#""x":1"#,
        r#""a/b~c":1"#,
        r#""points":2"#,
    ];
    assert_snapshot!(each::<PlaceHold>(r#"{"points":1,*,"id":"h"}"#, &values));
}

#[test]
fn what_is_no_json_object_is_told_so() {
    let bodies =
        ["", " \n ", "null", "7", "[13]", "{", "{}", "{\"points\":7}}", "{points:7}", "\u{feff}{}"];
    assert_snapshot!(each::<IssuePoints>("*", &bodies));
    let deep = "[".repeat(100_000);
    assert_eq!(from_json::<IssuePoints>(deep.as_bytes()).unwrap_err().status, 422);
    let deep = format!("{{\"rules\":{deep}");
    assert_eq!(from_json::<CreateCampaign>(deep.as_bytes()).unwrap_err().status, 400);
    assert_eq!(from_json::<IssuePoints>(b"{\"lot\":\"\xff\"}").unwrap_err().status, 400);
}

#[test]
fn rules_name_no_key_twice_at_any_depth() {
    let rules = [
        r#"[{"a":1,"b":{"c":1}}]"#,
        r#"[{"a":1,"a":2}]"#,
        r#"[{},{"b":[{"c":1,"c":1}]}]"#,
        r#"[1e400]"#,
    ];
    assert_snapshot!(each::<CreateCampaign>(r#"{"id":"c","name":"n","rules":*}"#, &rules));
}

#[test]
fn a_return_says_one_thing() {
    use crate::command::Command;
    use crate::target::OfSale;
    let mut out = String::new();
    for body in [
        r#"{"all":true}"#,
        r#"{"lines":[{"line":1,"quantity":2}]}"#,
        r#"{"amount":{"amount":1,"currency":"GBP"}}"#,
        r#"{}"#,
        r#"{"all":false}"#,
        r#"{"all":true,"lines":[]}"#,
        r#"{"lines":[],"amount":{"amount":1,"currency":"GBP"}}"#,
    ] {
        let sale = OfSale { sale: "s".parse().unwrap() };
        let parsed: ReturnSale = from_json(body.as_bytes()).unwrap();
        show(&mut out, body, parsed.actions(sale).err());
    }
    assert_snapshot!(out);
}
