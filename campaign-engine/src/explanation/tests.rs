use insta::assert_json_snapshot;
use serde_json::json;

use crate::rules::Rules;

#[test]
fn an_explanation_shows_each_step() {
    let rules = json!([
        {
            "name": "a tenth",
            "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than", "value": 100},
            "action": {"command": "issue", "formula": "$.amount/10"},
        },
        {
            "all": [
                {"variable": "$.lines[*].n", "condition": {"rule": "numeric_greater_than_equals", "value": "30.50"}},
                {"variable": "$.customer", "condition": {"rule": "numeric_equals", "value": 1}},
            ],
            "action": {"command": "issue", "formula": "5"},
        },
    ]);
    let document = json!({"amount": 139.12, "lines": [{"n": 10}, {"n": 20.5}], "customer": "gold"});
    assert_json_snapshot!(Rules::compile(&rules).unwrap().explain(&document), @r#"
    {
      "rules": [
        {
          "rule": 0,
          "name": "a tenth",
          "result": "awarded",
          "points": 13,
          "conditions": [
            {
              "path": "$.amount",
              "found": [
                "139.12"
              ],
              "found_count": 1,
              "comparator": "numeric_greater_than",
              "expected": "100",
              "held": true
            }
          ],
          "formula": "$.amount/10",
          "value": "13.912"
        },
        {
          "rule": 1,
          "result": "not_held",
          "points": 0,
          "conditions": [
            {
              "path": "$.lines[*].n",
              "found": [
                "10",
                "20.5"
              ],
              "found_count": 2,
              "comparator": "numeric_greater_than_equals",
              "expected": "30.5",
              "held": false
            },
            {
              "path": "$.customer",
              "found": [
                "\"gold\""
              ],
              "found_count": 1,
              "comparator": "numeric_equals",
              "expected": "1",
              "held": false,
              "skipped": {
                "reason": "not_a_number",
                "detail": "$.customer is a string, expected a number"
              }
            }
          ],
          "formula": "5"
        }
      ]
    }
    "#);
}

#[test]
fn an_explanation_says_why_there_are_no_points() {
    let with_formula = |formula: &str| {
        json!({
            "variable": "$.amount",
            "condition": {"rule": "numeric_less_than", "value": 100},
            "action": {"command": "issue", "formula": formula},
        })
    };
    let rules = json!([
        with_formula("$.amount/100"),
        with_formula("1/$.fee"),
        with_formula("100000000000*$.amount")
    ]);
    let document = json!({"amount": 50, "fee": 0});
    let explained = Rules::compile(&rules).unwrap().explain(&document);
    let why: Vec<_> = explained
        .rules
        .iter()
        .map(|rule| json!([rule.result, rule.value, rule.points, rule.skipped]))
        .collect();
    insta::assert_compact_json_snapshot!(why, @r#"
    [
      [
        "no_points",
        "0.5",
        0,
        null
      ],
      [
        "skipped",
        null,
        0,
        {
          "detail": "1 / 0",
          "reason": "division_by_zero"
        }
      ],
      [
        "skipped",
        "5000000000000",
        0,
        {
          "detail": "5000000000000 points are more than the 1000000000000 of one award",
          "reason": "overflow"
        }
      ]
    ]
    "#);
}

#[test]
fn an_explanation_stays_small() {
    let rules = json!([{
        "variable": "$..*",
        "condition": {"rule": "numeric_equals", "value": 1},
        "action": {"command": "issue", "formula": "1"},
    }]);
    let document =
        json!({"a": vec![json!({"text": "x".repeat(10_000)}); 100], "b": null, "c": true});
    let explained = Rules::compile(&rules).unwrap().explain(&document);
    let condition = &explained.rules[0].conditions[0];
    assert_eq!((condition.found.len(), condition.found_count), (20, 203));
    assert!(json!(explained).to_string().len() < 2_000);
}
