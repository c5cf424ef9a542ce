use serde_json::{Value, json};

use super::*;
use crate::rules::Rules;

fn words_are_as_serialized<W: Word + Serialize>() {
    for (value, word) in W::WORDS {
        assert_eq!(json!(value), *word);
    }
}

#[test]
fn a_word_is_written_as_it_is_serialized() {
    words_are_as_serialized::<Command>();
    words_are_as_serialized::<Comparator>();
    words_are_as_serialized::<Rounding>();
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut document = sample();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[field] = value;
    document
}

fn with_all(all: Value) -> Value {
    json!([{"all": all, "action": {"command": "issue", "formula": "1"}}])
}

/// The form of a document; what stands in paths and formulas is more than a schema can say.
#[test]
fn the_schema_accepts_what_the_compiler_accepts() {
    let one = json!({"variable": "$.a", "condition": {"rule": "numeric_equals", "value": 1}});
    let rule = sample()[0].clone();
    let documents = [
        (true, sample()),
        (true, json!(vec![rule.clone(); RULES_MAX])),
        (false, json!(vec![rule.clone(); RULES_MAX + 1])),
        (false, json!([])),
        (false, rule),
        (true, changed("/0/name", json!("a name"))),
        (false, changed("/0/name", json!(""))),
        (false, changed("/0/name", json!(null))),
        (false, changed("/0/name", json!("x".repeat(NAME_CHARS_MAX + 1)))),
        (true, changed("/0/round", json!("half_up"))),
        (false, changed("/0/round", json!("half"))),
        (false, changed("/0/other", json!(1))),
        (true, changed("/0/condition/value", json!("100.01"))),
        (true, changed("/0/condition/value", json!(-1))),
        (false, changed("/0/condition/value", json!("1e3"))),
        (false, changed("/0/condition/value", json!(true))),
        (false, changed("/0/condition/other", json!(1))),
        (false, changed("/0/condition/rule", json!("equals"))),
        (false, changed("/0/condition", json!(null))),
        (false, changed("/0/variable", json!(null))),
        (false, changed("/0/variable", json!("amount"))),
        (false, changed("/0/variable", json!(""))),
        (false, changed("/0/action/command", json!("redeem"))),
        (false, changed("/0/action/formula", json!(""))),
        (false, changed("/0/action/formula", json!("1".repeat(FORMULA_BYTES_MAX + 1)))),
        (false, changed("/0/action/other", json!(1))),
        (false, changed("/0/action", json!([]))),
        (false, changed("/0/all", json!([one]))),
        (true, with_all(json!([one, one]))),
        (false, with_all(json!([]))),
        (false, with_all(json!(null))),
        (false, with_all(json!(vec![one.clone(); CONDITIONS_MAX + 1]))),
        (false, with_all(json!([{"variable": "$.a"}]))),
        (false, json!([{"action": {"command": "issue", "formula": "1"}}])),
        (false, json!([{"variable": "$.a", "action": {"command": "issue", "formula": "1"}}])),
    ];
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (expected, document) in documents {
        assert_eq!(Rules::compile(&document).is_ok(), expected, "compiler: {document}");
        assert_eq!(validator.is_valid(&document), expected, "schema: {document}");
    }
}

#[test]
fn a_document_of_the_types_is_one_that_compiles() {
    let rule = Rule {
        name: Some("half a point each".into()),
        variable: None,
        condition: None,
        all: Some(vec![VariableCondition {
            variable: "$.amount".into(),
            condition: Condition {
                rule: Comparator::NumericLessThanEquals,
                value: Threshold::Text("0.5".into()),
            },
        }]),
        action: Action { command: Command::Issue, formula: "$.amount / 2".into() },
        round: Rounding::HalfUp,
    };
    assert!(Rules::compile(&json!(RuleDocument(vec![rule]))).is_ok());
}
