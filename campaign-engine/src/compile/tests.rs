use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn errors(document: &Value) -> String {
    match Rules::compile(document) {
        Ok(_) => "accepted".into(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn rule() -> Value {
    json!({
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"},
    })
}

#[test]
fn every_error_is_reported_with_its_place() {
    let document = json!([
        {
            "name": "",
            "variable": "$.amount..",
            "condition": {"rule": "numeric_above", "value": "1e3"},
            "action": {"command": "redeem", "formula": "$.amount/(2-2)"},
            "round": "sideways",
            "expires/~": null,
        },
        {"variable": "$.a", "condition": {"rule": 7}, "action": {"formula": "$.größe + x"}},
        {"all": [], "action": {"command": "issue", "formula": 10}},
        {"all": [{"variable": "$.a"}, 1, {"variable": "a", "condition": {"rule": "numeric_equals", "value": null}}], "variable": "$.a", "action": []},
        {"all": [{"variable": "$.a"}, 1, {"variable": "a", "condition": {"rule": "numeric_equals", "value": null, "x": 1}}], "action": {}},
        {},
        {"condition": {"rule": "numeric_equals", "value": 1e300}, "name": 1},
        "rule",
    ]);
    assert_snapshot!(errors(&document), @r#"
    /0/expires~1~0: unknown field, expected one of name, variable, condition, all, action, round
    /0/name: expected 1 to 100 characters
    /0/variable, column 11: expected a JSONPath (RFC 9535), which does not end here
    /0/condition/rule: expected "numeric_equals" or "numeric_greater_than" or "numeric_greater_than_equals" or "numeric_less_than" or "numeric_less_than_equals", found "numeric_above"
    /0/condition/value: expected a number or a decimal as text, of at most 28 digits, found "1e3"
    /0/action/command: expected "issue", found "redeem"
    /0/action/formula, column 10: expected a divisor other than 0
    /0/round: expected "down" or "up" or "half_up", found "sideways"
    /1/condition/rule: expected "numeric_equals" or "numeric_greater_than" or "numeric_greater_than_equals" or "numeric_less_than" or "numeric_less_than_equals", found 7
    /1/condition/value: expected the field `value`, which is missing
    /1/action/command: expected the field `command`, which is missing
    /1/action/formula, column 11: expected a function (min, max, sum, count, floor, ceil, round, abs) or a path ($.name, $['other-name']), found `x`
    /2/all: expected 1 to 20 conditions, found 0
    /2/action/formula: expected a formula as a string, found a number
    /3/all: expected either `all` or `variable` with `condition`, not both
    /3/action: expected an action as an object, found an array
    /4/all/0/condition: expected the field `condition`, which is missing
    /4/all/1: expected a condition as an object, found a number
    /4/all/2/variable, column 1: expected a path that starts with `$`, found "a"
    /4/all/2/condition/x: unknown field, expected one of rule, value
    /4/all/2/condition/value: expected a number or a decimal as text, of at most 28 digits, found null
    /4/action/command: expected the field `command`, which is missing
    /4/action/formula: expected the field `formula`, which is missing
    /5: expected `variable` with `condition`, or `all`
    /5/action: expected the field `action`, which is missing
    /6/name: expected a name as a string, found a number
    /6/variable: expected the field `variable`, which is missing
    /6/condition/value: expected a number or a decimal as text, of at most 28 digits, found 1e+300
    /6/action: expected the field `action`, which is missing
    /7: expected a rule as an object, found a string
    "#);
}

#[test]
fn a_document_is_a_list_of_rules() {
    let documents = [json!({"rules": []}), json!(null), json!([]), json!(vec![rule(); 101])];
    assert_snapshot!(documents.map(|document| errors(&document)).join("\n"), @"
    : expected an array of rules, found an object
    : expected an array of rules, found null
    : expected 1 to 100 rules, found 0
    : expected 1 to 100 rules, found 101
    ");
    assert_eq!(errors(&json!(vec![rule(); 100])), "accepted");
}

#[test]
fn conditions_and_names_have_bounds() {
    let with = |conditions: usize, name: usize| {
        let condition =
            json!({"variable": "$.a", "condition": {"rule": "numeric_equals", "value": 1}});
        json!([{"name": "ä".repeat(name), "all": vec![condition; conditions], "action": {"command": "issue", "formula": "1"}}])
    };
    assert_eq!(errors(&with(20, 100)), "accepted");
    assert_eq!(errors(&with(21, 100)), "/0/all: expected 1 to 20 conditions, found 21");
    assert_eq!(errors(&with(20, 101)), "/0/name: expected 1 to 100 characters");
}

#[test]
fn the_number_of_errors_has_a_bound() {
    let fields: Map<_, _> = (0..5_000).map(|field| (format!("f{field}"), json!(1))).collect();
    assert_eq!(Rules::compile(&json!([fields])).unwrap_err().len(), 1_000);
}

#[test]
fn messages_stay_short_whatever_came_in() {
    let mut long = rule();
    for pointer in
        ["/variable", "/condition/rule", "/condition/value", "/action/command", "/action/formula"]
    {
        *long.pointer_mut(pointer).unwrap() = json!(format!("§{}", "x".repeat(900)));
    }
    for error in Rules::compile(&json!([long])).unwrap_err() {
        assert!(error.message.len() < 250, "{error}");
    }
}

#[test]
fn an_error_serializes_its_column_only_where_there_is_one() {
    let mut bad = rule();
    bad["action"]["formula"] = json!("1+");
    bad["round"] = json!(1);
    insta::assert_json_snapshot!(Rules::compile(&json!([bad])).unwrap_err(), @r#"
    [
      {
        "pointer": "/0/action/formula",
        "column": 3,
        "message": "expected a number, a path ($.name), a function or `(`, found the end"
      },
      {
        "pointer": "/0/round",
        "message": "expected \"down\" or \"up\" or \"half_up\", found 1"
      }
    ]
    "#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "numeric_equals",
        "issue",
        "down",
        "$.a",
        "$",
        "$.a[?",
        "1/0",
        "$.a*(",
        "min(",
        "1e999",
        "",
        "-",
        "100",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let field = prop::sample::select(vec![
            "name",
            "variable",
            "condition",
            "all",
            "action",
            "round",
            "rule",
            "value",
            "command",
            "formula",
            "other",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field.prop_map(String::from), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_panics(document in any_json()) {
        let _ = Rules::compile(&document);
        let _ = Rules::compile(&json!([document]));
    }

    /// Any place of a good rule, put to something else: accepted and judged, or refused at a place
    /// that has to do with it.
    #[test]
    fn no_broken_rule_panics(at in 0..6_usize, other in any_json()) {
        let pointer = ["/variable", "/condition", "/condition/rule", "/condition/value", "/action", "/action/formula"][at];
        let mut broken = rule();
        *broken.pointer_mut(pointer).unwrap() = other;
        match Rules::compile(&json!([broken])) {
            Ok(rules) => drop(rules.explain(&json!({"amount": 139.12, "a": 1}))),
            Err(errors) => {
                let place = format!("/0{pointer}");
                prop_assert!(errors.iter().all(|error| error.pointer.starts_with(&place)), "{errors:?}");
            }
        }
    }
}
