//! Rules: compiled once, judged against any number of documents.
//!
//! Invariants
//! - A rule that cannot be judged is skipped with its reason and never stops another.
//! - The same rules and the same document always give the same outcome.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::cause::{Cause, SkipReason};
use crate::compile::{self, RuleError};
use crate::decimal;
use crate::explanation::{self, Explanation};
use crate::format::{Comparator, Rounding};
use crate::formula::{self, Formula};
use crate::path::Path;

/// The points of one award.
pub const POINTS_MAX: i64 = 1_000_000_000_000;

/// The compiled rules of one version of a campaign.
#[derive(Debug, Clone)]
pub struct Rules(pub(crate) Vec<Rule>);

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) formula: Formula,
    pub(crate) rounding: Rounding,
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) path: Path,
    pub(crate) comparator: Comparator,
    pub(crate) expected: Decimal,
}

/// What the rules make of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RulesOutcome")]
pub struct Outcome {
    /// In the order of the rules; at most one a rule.
    pub awards: Vec<Award>,
    /// The rules that could not be judged, in their order.
    pub skipped: Vec<Skip>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RuleAward")]
pub struct Award {
    /// The rule's index, from 0.
    pub rule: usize,
    /// From 1 to [`POINTS_MAX`].
    pub points: i64,
}

/// A rule that could not be judged on this document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RuleSkip")]
pub struct Skip {
    /// The rule's index, from 0.
    pub rule: usize,
    pub reason: SkipReason,
    /// The particulars, for people; its wording may change.
    pub detail: String,
}

impl Rules {
    /// Checks and compiles a rule document. Every error is reported, not only the first.
    pub fn compile(document: &Value) -> Result<Self, Vec<RuleError>> {
        compile::compile(document)
    }

    /// The awards for a document, and the rules that had to be skipped.
    pub fn evaluate(&self, document: &Value) -> Outcome {
        let mut outcome = Outcome::default();
        for (rule, compiled) in self.0.iter().enumerate() {
            match compiled.points(document) {
                Ok(0) => {}
                Ok(points) => outcome.awards.push(Award { rule, points }),
                Err(Cause { reason, detail }) => {
                    outcome.skipped.push(Skip { rule, reason, detail });
                }
            }
        }
        outcome
    }

    /// The same judgement with everything that led to it.
    pub fn explain(&self, document: &Value) -> Explanation {
        explanation::explain(self, document)
    }

    /// At least 1.
    #[expect(clippy::len_without_is_empty, reason = "a document without rules does not compile")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Rule {
    /// 0 where a condition does not hold or the formula gives nothing. Conditions are judged in
    /// order; the first that does not hold ends it, and later ones are not looked at.
    fn points(&self, document: &Value) -> Result<i64, Cause> {
        for condition in &self.conditions {
            if !condition.holds(document)? {
                return Ok(0);
            }
        }
        whole_points(self.formula.value(document)?, self.rounding)
    }
}

impl Condition {
    pub(crate) fn holds(&self, document: &Value) -> Result<bool, Cause> {
        let nodes = self.path.select(document);
        if nodes.as_slice().is_empty() {
            return Err(formula::missing(&self.path));
        }
        let mut holds = false;
        // All are read even after one held: a value that is no number must not go unseen because
        // of the order of the others.
        for node in nodes.as_slice() {
            holds |= self.comparator.compare(formula::number(&self.path, node)?, self.expected);
        }
        Ok(holds)
    }
}

impl Comparator {
    fn compare(self, value: Decimal, expected: Decimal) -> bool {
        match self {
            Self::NumericEquals => value == expected,
            Self::NumericGreaterThan => value > expected,
            Self::NumericGreaterThanEquals => value >= expected,
            Self::NumericLessThan => value < expected,
            Self::NumericLessThanEquals => value <= expected,
        }
    }
}

/// A total as points: rounded to whole ones, never below 0.
pub(crate) fn whole_points(total: Decimal, rounding: Rounding) -> Result<i64, Cause> {
    let whole = match rounding {
        Rounding::Down => total.floor(),
        Rounding::Up => total.ceil(),
        Rounding::HalfUp => formula::half_up(total),
    };
    if whole <= Decimal::ZERO {
        return Ok(0);
    }
    whole.to_i64().filter(|points| *points <= POINTS_MAX).ok_or_else(|| {
        let whole = decimal::to_text(whole);
        Cause::new(
            SkipReason::Overflow,
            format!("{whole} points are more than the {POINTS_MAX} of one award"),
        )
    })
}

#[cfg(test)]
mod tests;
