//! Explanations: a judgement with everything that led to it, for people and for rule editors.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::cause::{Cause, SkipReason};
use crate::decimal;
use crate::format::Comparator;
use crate::formula;
use crate::rules::{self, Condition, Rule, Rules};
use crate::text::clip;

/// The values shown of one path; `found_count` says how many there are.
pub const FOUND_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RulesExplanation")]
pub struct Explanation {
    /// One a rule, in their order.
    pub rules: Vec<RuleExplanation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleExplanation {
    /// The rule's index, from 0.
    pub rule: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub result: RuleResult,
    /// 0 unless awarded.
    pub points: i64,
    /// Every condition, also those after the one that decided.
    pub conditions: Vec<ConditionExplanation>,
    pub formula: String,
    /// The formula's exact value before rounding; computed only where all conditions hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why the rule was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipExplanation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleResult {
    Awarded,
    /// All conditions hold, but the formula gives no whole point.
    NoPoints,
    /// A condition does not hold.
    NotHeld,
    /// It could not be judged.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConditionExplanation {
    pub path: String,
    /// The values that the path selects, at most [`FOUND_MAX`] of them: numbers and strings as in
    /// JSON, others by their kind.
    pub found: Vec<String>,
    pub found_count: usize,
    pub comparator: Comparator,
    /// The exact decimal of the rule.
    pub expected: String,
    pub held: bool,
    /// Why the condition could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipExplanation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SkipExplanation {
    pub reason: SkipReason,
    /// The particulars, for people; its wording may change.
    pub detail: String,
}

impl From<Cause> for SkipExplanation {
    fn from(Cause { reason, detail }: Cause) -> Self {
        Self { reason, detail }
    }
}

pub(crate) fn explain(rules: &Rules, document: &Value) -> Explanation {
    let explained =
        rules.0.iter().enumerate().map(|(index, rule)| explain_rule(index, rule, document));
    Explanation { rules: explained.collect() }
}

fn explain_rule(index: usize, rule: &Rule, document: &Value) -> RuleExplanation {
    let conditions: Vec<_> =
        rule.conditions.iter().map(|condition| explain_condition(condition, document)).collect();
    let explained = RuleExplanation {
        rule: index,
        name: rule.name.clone(),
        result: RuleResult::NotHeld,
        points: 0,
        formula: rule.formula.text().to_owned(),
        value: None,
        skipped: None,
        conditions,
    };
    // As in the judgement itself, the first condition that does not hold decides.
    match explained.conditions.iter().find(|condition| !condition.held) {
        Some(ConditionExplanation { skipped: Some(skip), .. }) => {
            let skip = skip.clone();
            explained.skipped(skip)
        }
        Some(_) => explained,
        None => explained.with_formula(rule, document),
    }
}

impl RuleExplanation {
    fn skipped(self, skip: SkipExplanation) -> Self {
        Self { result: RuleResult::Skipped, skipped: Some(skip), ..self }
    }

    fn with_formula(self, rule: &Rule, document: &Value) -> Self {
        let total = match rule.formula.value(document) {
            Ok(total) => total,
            Err(cause) => return self.skipped(cause.into()),
        };
        let valued = Self { value: Some(decimal::to_text(total)), ..self };
        match rules::whole_points(total, rule.rounding) {
            Ok(0) => Self { result: RuleResult::NoPoints, ..valued },
            Ok(points) => Self { result: RuleResult::Awarded, points, ..valued },
            Err(cause) => valued.skipped(cause.into()),
        }
    }
}

fn explain_condition(condition: &Condition, document: &Value) -> ConditionExplanation {
    let nodes = condition.path.select(document);
    let found = nodes.as_slice();
    let judged = condition.holds(document);
    ConditionExplanation {
        path: condition.path.text().to_owned(),
        found: found.iter().take(FOUND_MAX).map(|node| shown(node)).collect(),
        found_count: found.len(),
        comparator: condition.comparator,
        expected: decimal::to_text(condition.expected),
        held: judged == Ok(true),
        skipped: judged.err().map(SkipExplanation::from),
    }
}

/// Never a whole object or array: an explanation stays small, whatever the document.
fn shown(node: &Value) -> String {
    match node {
        Value::Number(number) => {
            decimal::of_number(number).map_or_else(|| number.to_string(), decimal::to_text)
        }
        Value::String(text) => format!("{:?}", clip(text)),
        Value::Bool(_) | Value::Null => node.to_string(),
        Value::Array(_) | Value::Object(_) => formula::kind(node).to_owned(),
    }
}

#[cfg(test)]
mod tests;
