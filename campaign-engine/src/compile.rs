//! Reading and checking a rule document.
//!
//! Written by hand instead of derived: a derived reader stops at the first error, and whoever edits
//! rules wants all of them, each with its place.

use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::decimal;
use crate::format::{CONDITIONS_MAX, NAME_CHARS_MAX, RULES_MAX, Rounding, Word};
use crate::formula::{Formula, kind};
use crate::path::Path;
use crate::rules::{Condition, Rule, Rules};
use crate::text::{clip, column_of};

/// A document can hold any number of unknown fields; an answer cannot.
const ERRORS_MAX: usize = 1_000;

/// One thing that is wrong with a rule document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleError {
    /// A JSON pointer (RFC 6901) into the document, such as `/0/action/formula`.
    pub pointer: String,
    /// In a formula or a path: the column, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What was expected there.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, column, message } = self;
        match column {
            Some(column) => write!(f, "{pointer}, column {column}: {message}"),
            None => write!(f, "{pointer}: {message}"),
        }
    }
}

impl std::error::Error for RuleError {}

pub(crate) fn compile(document: &Value) -> Result<Rules, Vec<RuleError>> {
    let mut reader = Reader { errors: Vec::new() };
    let rules = reader.rules(document);
    match rules {
        Some(rules) if reader.errors.is_empty() => Ok(Rules(rules)),
        _ => Err(reader.errors),
    }
}

/// A value and where it stands.
#[derive(Clone)]
struct At<'d> {
    value: &'d Value,
    pointer: String,
}

struct Object<'d> {
    fields: &'d Map<String, Value>,
    pointer: String,
}

impl<'d> Object<'d> {
    fn get(&self, field: &str) -> Option<At<'d>> {
        let value = self.fields.get(field)?;
        Some(At { value, pointer: format!("{}/{field}", self.pointer) })
    }
}

/// Collects errors. A method returns `None` only after it has reported why.
struct Reader {
    errors: Vec<RuleError>,
}

impl Reader {
    fn rules(&mut self, document: &Value) -> Option<Vec<Rule>> {
        let at = At { value: document, pointer: String::new() };
        let elements = self.elements(&at, "rules", RULES_MAX)?;
        let rules: Vec<_> = elements.iter().map(|element| self.rule(element)).collect();
        rules.into_iter().collect()
    }

    fn rule(&mut self, at: &At<'_>) -> Option<Rule> {
        let fields = ["name", "variable", "condition", "all", "action", "round"];
        let object = self.object(at, "a rule", &fields)?;
        let name = self.name(&object);
        let conditions = self.conditions(&object);
        let formula = self.action(&object);
        let rounding = match object.get("round") {
            Some(round) => self.word(&round),
            None => Some(Rounding::default()),
        };
        Some(Rule { name: name?, conditions: conditions?, formula: formula?, rounding: rounding? })
    }

    fn name(&mut self, object: &Object<'_>) -> Option<Option<String>> {
        let Some(at) = object.get("name") else {
            return Some(None);
        };
        let name = self.string(&at, "a name")?;
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return self.refuse(&at.pointer, format!("expected 1 to {NAME_CHARS_MAX} characters"));
        }
        Some(Some(name.to_owned()))
    }

    fn conditions(&mut self, object: &Object<'_>) -> Option<Vec<Condition>> {
        let simple = object.get("variable").or_else(|| object.get("condition"));
        match (object.get("all"), simple) {
            (None, None) => self
                .refuse(&object.pointer, "expected `variable` with `condition`, or `all`".into()),
            (None, Some(_)) => Some(vec![self.condition(object)?]),
            (Some(all), None) => self.all(&all),
            (Some(all), Some(_)) => self.refuse(
                &all.pointer,
                "expected either `all` or `variable` with `condition`, not both".into(),
            ),
        }
    }

    fn all(&mut self, at: &At<'_>) -> Option<Vec<Condition>> {
        let elements = self.elements(at, "conditions", CONDITIONS_MAX)?;
        let conditions: Vec<_> = elements
            .iter()
            .map(|element| {
                let object = self.object(element, "a condition", &["variable", "condition"])?;
                self.condition(&object)
            })
            .collect();
        conditions.into_iter().collect()
    }

    /// Of an object with `variable` and `condition`.
    fn condition(&mut self, object: &Object<'_>) -> Option<Condition> {
        let path = self.required(object, "variable").and_then(|at| self.path(&at));
        let test = self.required(object, "condition").and_then(|at| {
            let condition = self.object(&at, "a condition", &["rule", "value"])?;
            let comparator = self.required(&condition, "rule").and_then(|at| self.word(&at));
            let expected = self.required(&condition, "value").and_then(|at| self.number(&at));
            Some((comparator?, expected?))
        });
        let (comparator, expected) = test?;
        Some(Condition { path: path?, comparator, expected })
    }

    fn action(&mut self, object: &Object<'_>) -> Option<Formula> {
        let at = self.required(object, "action")?;
        let action = self.object(&at, "an action", &["command", "formula"])?;
        let command = self
            .required(&action, "command")
            .and_then(|at| self.word::<crate::format::Command>(&at));
        let formula = self.required(&action, "formula").and_then(|at| self.formula(&at));
        command.and(formula)
    }

    fn path(&mut self, at: &At<'_>) -> Option<Path> {
        let text = self.string(at, "a path")?;
        Path::parse(text).map_err(|error| self.refuse_in(at, text, error.at, error.message)).ok()
    }

    fn formula(&mut self, at: &At<'_>) -> Option<Formula> {
        let text = self.string(at, "a formula")?;
        Formula::parse(text).map_err(|error| self.refuse_in(at, text, error.at, error.message)).ok()
    }

    fn number(&mut self, at: &At<'_>) -> Option<Decimal> {
        let number = match at.value {
            Value::Number(number) => decimal::of_number(number),
            Value::String(text) => decimal::of_text(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if number.is_none() {
            let found = shown(at.value);
            let expected = "expected a number or a decimal as text, of at most 28 digits";
            return self.refuse(&at.pointer, format!("{expected}, found {found}"));
        }
        number
    }

    fn word<W: Word>(&mut self, at: &At<'_>) -> Option<W> {
        let known = at.value.as_str().and_then(|text| W::WORDS.iter().find(|(_, w)| *w == text));
        if let Some((word, _)) = known {
            return Some(*word);
        }
        let words: Vec<_> = W::WORDS.iter().map(|(_, word)| format!("\"{word}\"")).collect();
        let found = shown(at.value);
        self.refuse(&at.pointer, format!("expected {}, found {found}", words.join(" or ")))
    }

    fn string<'d>(&mut self, at: &At<'d>, what: &str) -> Option<&'d str> {
        let text = at.value.as_str();
        if text.is_none() {
            let found = kind(at.value);
            self.refuse::<()>(&at.pointer, format!("expected {what} as a string, found {found}"));
        }
        text
    }

    fn elements<'d>(&mut self, at: &At<'d>, what: &str, max: usize) -> Option<Vec<At<'d>>> {
        let Value::Array(elements) = at.value else {
            let found = kind(at.value);
            return self.refuse(&at.pointer, format!("expected an array of {what}, found {found}"));
        };
        if elements.is_empty() || elements.len() > max {
            let found = elements.len();
            return self.refuse(&at.pointer, format!("expected 1 to {max} {what}, found {found}"));
        }
        let element = |(index, value)| At { value, pointer: format!("{}/{index}", at.pointer) };
        Some(elements.iter().enumerate().map(element).collect())
    }

    fn object<'d>(&mut self, at: &At<'d>, what: &str, known: &[&str]) -> Option<Object<'d>> {
        let Value::Object(fields) = at.value else {
            let found = kind(at.value);
            return self
                .refuse(&at.pointer, format!("expected {what} as an object, found {found}"));
        };
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            let pointer = format!("{}/{}", at.pointer, field.replace('~', "~0").replace('/', "~1"));
            let message = format!("unknown field, expected one of {}", known.join(", "));
            self.refuse::<()>(&pointer, message);
        }
        Some(Object { fields, pointer: at.pointer.clone() })
    }

    fn required<'d>(&mut self, object: &Object<'d>, field: &str) -> Option<At<'d>> {
        let at = object.get(field);
        if at.is_none() {
            let pointer = format!("{}/{field}", object.pointer);
            self.refuse::<()>(&pointer, format!("expected the field `{field}`, which is missing"));
        }
        at
    }

    fn refuse_in(&mut self, at: &At<'_>, text: &str, byte: usize, message: String) {
        let column = Some(column_of(text, byte));
        self.push(RuleError { pointer: at.pointer.clone(), column, message });
    }

    fn refuse<T>(&mut self, pointer: &str, message: String) -> Option<T> {
        self.push(RuleError { pointer: pointer.to_owned(), column: None, message });
        None
    }

    fn push(&mut self, error: RuleError) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", clip(text)),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
    }
}

#[cfg(test)]
mod tests;
