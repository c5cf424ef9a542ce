//! The rule format, as types, for its JSON Schema. [`crate::rules::Rules::compile`] reads it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::formula::FORMULA_BYTES_MAX;
use crate::path::PATH_BYTES_MAX;

pub const RULES_MAX: usize = 100;
pub const CONDITIONS_MAX: usize = 20;
pub const NAME_CHARS_MAX: usize = 100;

/// The rules of a campaign. Each is judged for itself, on every document.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "CampaignRules", title = "Campaign rules")]
pub struct RuleDocument(#[schemars(length(min = 1, max = RULES_MAX))] pub Vec<Rule>);

/// Awards points where its conditions hold: `variable` with `condition`, or `all`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["variable", "condition"], "not": {"required": ["all"]}},
    {"required": ["all"], "not": {"anyOf": [{"required": ["variable"]}, {"required": ["condition"]}]}},
]))]
pub struct Rule {
    /// For people; shown in explanations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = NAME_CHARS_MAX))]
    pub name: Option<String>,
    /// A JSONPath (RFC 9535). Where it selects several numbers the condition holds if it holds for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = PATH_BYTES_MAX), regex(pattern = r"^\$"))]
    pub variable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Condition")]
    pub condition: Option<Condition>,
    /// Conditions that must all hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<VariableCondition>", length(min = 1, max = CONDITIONS_MAX))]
    pub all: Option<Vec<VariableCondition>>,
    pub action: Action,
    /// How the total becomes whole points, once per rule.
    #[serde(default)]
    pub round: Rounding,
}

/// One of several conditions.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableCondition {
    /// A JSONPath (RFC 9535). Where it selects several numbers the condition holds if it holds for any.
    #[schemars(length(min = 1, max = PATH_BYTES_MAX), regex(pattern = r"^\$"))]
    pub variable: String,
    pub condition: Condition,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RuleCondition")]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub rule: Comparator,
    pub value: Threshold,
}

/// An exact decimal: a JSON number of up to 15 digits, or any decimal as text.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Threshold {
    Number(serde_json::Number),
    Text(#[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))] String),
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RuleAction")]
#[serde(deny_unknown_fields)]
pub struct Action {
    pub command: Command,
    /// `+ - * / ( )`, decimals, JSONPath numbers, and the functions
    /// min, max, sum, count, floor, ceil, round, abs.
    #[schemars(length(min = 1, max = FORMULA_BYTES_MAX))]
    pub formula: String,
}

/// What a rule does with the result of its formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RuleCommand")]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Issues points.
    Issue,
}

/// How a value of the document is compared with the rule's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparator {
    NumericEquals,
    NumericGreaterThan,
    NumericGreaterThanEquals,
    NumericLessThan,
    NumericLessThanEquals,
}

/// How a total becomes whole points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RuleRounding")]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    #[default]
    Down,
    Up,
    /// A half becomes the next whole point.
    HalfUp,
}

/// A word of the format, one of a few.
pub(crate) trait Word: Copy + 'static {
    const WORDS: &'static [(Self, &'static str)];
}

impl Word for Command {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Issue, "issue")];
}

impl Word for Comparator {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::NumericEquals, "numeric_equals"),
        (Self::NumericGreaterThan, "numeric_greater_than"),
        (Self::NumericGreaterThanEquals, "numeric_greater_than_equals"),
        (Self::NumericLessThan, "numeric_less_than"),
        (Self::NumericLessThanEquals, "numeric_less_than_equals"),
    ];
}

impl Word for Rounding {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Down, "down"), (Self::Up, "up"), (Self::HalfUp, "half_up")];
}

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(comparator, _)| comparator == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

/// The JSON Schema of a rule document.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RuleDocument);
    schema.insert("examples".into(), json!([sample()]));
    let mut schema = schema.to_value();
    // The order of fields must not depend on features that another crate of a build switches on.
    schema.sort_all_objects();
    schema
}

/// The exact text of `schemas/rules.schema.json`.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// More than 100 earns a tenth.
fn sample() -> Value {
    json!([{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"},
    }])
}

#[cfg(test)]
mod tests;
