use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::explanation::RuleResult;

fn compiled(rules: &Value) -> Rules {
    Rules::compile(rules).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn rule(comparator: &str, value: impl Into<Value>, formula: &str) -> Value {
    json!({
        "variable": "$.amount",
        "condition": {"rule": comparator, "value": value.into()},
        "action": {"command": "issue", "formula": formula},
    })
}

/// The points of a single rule, or the reason why it was skipped.
fn judged(rule: Value, document: Value) -> String {
    let Outcome { awards, skipped } = compiled(&json!([rule])).evaluate(&document);
    match (&*awards, &*skipped) {
        ([], []) => "none".into(),
        ([award], []) => award.points.to_string(),
        ([], [skip]) => skip.reason.to_string(),
        both => panic!("{both:?}"),
    }
}

#[test]
fn more_than_100_earns_a_tenth() {
    for (amount, points) in
        [("139.12", "13"), ("100", "none"), ("100.00", "none"), ("100.01", "10"), ("99.99", "none")]
    {
        let document: Value = serde_json::from_str(&format!(r#"{{"amount": {amount}}}"#)).unwrap();
        let rule = rule("numeric_greater_than", 100, "$.amount/10");
        assert_eq!(judged(rule, document), points, "{amount}");
    }
}

#[test]
fn each_comparator_decides_below_at_and_above() {
    for (comparator, below, at, above) in [
        ("numeric_equals", "none", "1", "none"),
        ("numeric_greater_than", "none", "none", "1"),
        ("numeric_greater_than_equals", "none", "1", "1"),
        ("numeric_less_than", "1", "none", "none"),
        ("numeric_less_than_equals", "1", "1", "none"),
    ] {
        for (amount, points) in [(100.009, below), (100.01, at), (100.011, above)] {
            for value in [json!(100.01), json!("100.01"), json!("100.010")] {
                let rule = rule(comparator, value, "1");
                assert_eq!(
                    judged(rule, json!({"amount": amount})),
                    points,
                    "{comparator} {amount}"
                );
            }
        }
    }
}

#[test]
fn a_total_is_rounded_once_in_the_way_the_rule_says() {
    for (round, formula, points) in [
        ("down", "13.999", "13"),
        ("up", "13.001", "14"),
        ("up", "13", "13"),
        ("half_up", "13.5", "14"),
        ("half_up", "12.5", "13"),
        ("half_up", "13.499", "13"),
        ("down", "0.7 + 0.7", "1"),
        ("up", "0.2 + 0.2", "1"),
        ("down", "0.999", "none"),
        ("half_up", "0.499", "none"),
        ("up", "0", "none"),
        ("up", "-0.5", "none"),
        ("down", "-5", "none"),
        ("half_up", "-0.5", "none"),
        ("down", "-79228162514264337593543950335", "none"),
    ] {
        let mut rule = rule("numeric_greater_than", 0, formula);
        rule["round"] = json!(round);
        assert_eq!(judged(rule, json!({"amount": 1})), points, "{round} {formula}");
    }
}

#[test]
fn points_have_a_bound() {
    let points = |formula: &str| judged(rule("numeric_equals", 1, formula), json!({"amount": 1}));
    assert_eq!(points("1000000000000.9"), "1000000000000");
    assert_eq!(points("1000000000001"), "overflow");
    assert_eq!(points("79228162514264337593543950335"), "overflow");
}

#[test]
fn a_rule_that_cannot_be_judged_is_skipped_and_stops_no_other() {
    let rules = compiled(&json!([
        rule("numeric_greater_than", 0, "$.amount"),
        rule("numeric_greater_than", 0, "$.missing"),
        rule("numeric_greater_than", 0, "1/$.zero"),
        rule("numeric_greater_than", 0, "$.text"),
        rule("numeric_greater_than", 0, "$.many[*]"),
        rule("numeric_greater_than", 0, "$.big*$.big"),
        {"variable": "$.none", "condition": {"rule": "numeric_equals", "value": 0}, "action": {"command": "issue", "formula": "1"}},
        {"variable": "$.text", "condition": {"rule": "numeric_equals", "value": 0}, "action": {"command": "issue", "formula": "1"}},
        rule("numeric_greater_than", 0, "$.amount*2"),
    ]));
    let document = json!({"amount": 5, "zero": 0, "text": "5", "many": [1, 2], "big": 1e20});
    insta::assert_json_snapshot!(rules.evaluate(&document), @r#"
    {
      "awards": [
        {
          "rule": 0,
          "points": 5
        },
        {
          "rule": 8,
          "points": 10
        }
      ],
      "skipped": [
        {
          "rule": 1,
          "reason": "missing_value",
          "detail": "$.missing selects nothing"
        },
        {
          "rule": 2,
          "reason": "division_by_zero",
          "detail": "1 / 0"
        },
        {
          "rule": 3,
          "reason": "not_a_number",
          "detail": "$.text is a string, expected a number"
        },
        {
          "rule": 4,
          "reason": "several_values",
          "detail": "$.many[*] selects 2 values, expected one"
        },
        {
          "rule": 5,
          "reason": "overflow",
          "detail": "100000000000000000000 * 100000000000000000000 is too large"
        },
        {
          "rule": 6,
          "reason": "missing_value",
          "detail": "$.none selects nothing"
        },
        {
          "rule": 7,
          "reason": "not_a_number",
          "detail": "$.text is a string, expected a number"
        }
      ]
    }
    "#);
}

#[test]
fn a_condition_on_several_numbers_holds_if_it_holds_for_any() {
    let judged = |amounts: Value| {
        let mut rule = rule("numeric_greater_than", 100, "1");
        rule["variable"] = json!("$.lines[*].amount");
        let lines: Vec<_> =
            amounts.as_array().unwrap().iter().map(|amount| json!({"amount": amount})).collect();
        judged(rule, json!({"lines": lines}))
    };
    assert_eq!(judged(json!([1, 101, 2])), "1");
    assert_eq!(judged(json!([1, 100, 2])), "none");
    assert_eq!(judged(json!([])), "missing_value");
    assert_eq!(judged(json!([101, "102"])), "not_a_number");
    assert_eq!(judged(json!(["102", 101])), "not_a_number");
}

#[test]
fn all_conditions_must_hold_and_the_first_that_does_not_decides() {
    let at_least = |path: &str, value: u32| json!({"variable": path, "condition": {"rule": "numeric_greater_than_equals", "value": value}});
    let rule = json!({
        "all": [at_least("$.a", 10), at_least("$.b", 20)],
        "action": {"command": "issue", "formula": "$.a+$.b"},
    });
    for (document, points) in [
        (json!({"a": 10, "b": 20}), "30"),
        (json!({"a": 9, "b": 20}), "none"),
        (json!({"a": 10, "b": 19}), "none"),
        (json!({"a": 9}), "none"),
        (json!({"a": 10}), "missing_value"),
        (json!({"b": 20}), "missing_value"),
    ] {
        assert_eq!(judged(rule.clone(), document.clone()), points, "{document}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-300..300_i64).prop_map(Value::from),
        4 => (-30_000..30_000_i64).prop_map(|cents| Decimal::new(cents, 2).to_f64().map_or(Value::Null, Value::from)),
        1 => prop::sample::select(vec![json!(0), json!(1e28), json!(1e300), json!(null), json!("7"), json!([1, 2]), json!([])]),
    ]
}

fn any_rule() -> impl Strategy<Value = Value> {
    let path = || prop::sample::select(vec!["$.a", "$.b", "$.c[0]", "$.c[*]", "$..a", "$.missing"]);
    let formula = prop_oneof![
        (path(), prop::sample::select(vec!["+", "-", "*", "/"]), path())
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        (prop::sample::select(vec!["min", "max", "sum", "count"]), path())
            .prop_map(|(name, path)| format!("{name}({path})")),
        Just("3.5".to_owned()),
    ];
    let comparators = crate::format::Word::WORDS
        .iter()
        .map(|(_, word): &(Comparator, _)| *word)
        .collect::<Vec<_>>();
    let condition = (path(), prop::sample::select(comparators), -100..100_i64)
        .prop_map(|(path, rule, value)| json!({"variable": path, "condition": {"rule": rule, "value": value}}));
    let round = prop::sample::select(vec!["down", "up", "half_up"]);
    (prop::collection::vec(condition, 1..4), formula, round).prop_map(|(all, formula, round)| {
        json!({"all": all, "round": round, "action": {"command": "issue", "formula": formula}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_explanation_is_of_the_same_judgement(
        rules in prop::collection::vec(any_rule(), 1..5),
        a in any_value(), b in any_value(), c in prop::collection::vec(any_value(), 0..3),
    ) {
        let rules = compiled(&json!(rules));
        let document = json!({"a": a, "b": b, "c": c});
        let mut explained = Outcome::default();
        for rule in rules.explain(&document).rules {
            match (rule.result, rule.skipped) {
                (RuleResult::Awarded, None) => explained.awards.push(Award { rule: rule.rule, points: rule.points }),
                (RuleResult::Skipped, Some(skip)) => explained.skipped.push(Skip { rule: rule.rule, reason: skip.reason, detail: skip.detail }),
                (RuleResult::NoPoints | RuleResult::NotHeld, None) => prop_assert_eq!(rule.points, 0),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(rules.evaluate(&document), explained);
    }
}
