//! Would whoever reads an event by its released schema still understand what is written now?
//!
//! The question is a consumer's: everything that the present schema lets through must be let
//! through by the released one. Fields may be added where the released schema leaves room for
//! more, values may become fewer; nothing required may go, no type, value or bound may widen.

use serde_json::Value;

/// Keywords with an upper bound: a smaller one lets less through.
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Keywords with a lower bound.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
/// Keywords that must stay as they are, once they are there.
const EXACT: [&str; 3] = ["format", "pattern", "uniqueItems"];

/// References are followed so deep; beyond it a recursive definition has shown all that it has.
const DEPTH_MAX: usize = 32;

/// What would break a reader of `released`, each with its place; empty when nothing would.
pub(crate) fn breaks(released: &Value, present: &Value) -> Vec<String> {
    breaks_at("", released, present)
}

/// The same of one schema that stands in both documents, by its JSON pointer; nothing of one that
/// does not.
pub(crate) fn breaks_at(place: &str, released: &Value, present: &Value) -> Vec<String> {
    let mut pair = Pair { released, present, found: Vec::new() };
    if let (Some(old), Some(new)) = (released.pointer(place), present.pointer(place)) {
        pair.compare(old, new, "$", 0);
    }
    pair.found
}

/// Two documents, for their definitions.
struct Pair<'a> {
    released: &'a Value,
    present: &'a Value,
    found: Vec<String>,
}

impl<'a> Pair<'a> {
    fn compare(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let (old, new) = (resolved(self.released, old), resolved(self.present, new));
        if accepts_all(old) {
            return;
        }
        let (olds, news) = (alternatives(old), alternatives(new));
        if olds.len() > 1 || news.len() > 1 {
            return self.choices(&olds, &news, path, depth);
        }
        let (old, new) = (olds[0], news[0]);
        self.values(old, new, path);
        self.bounds(old, new, path);
        self.fields(old, new, path, depth);
        if let Some(items) = old.get("items") {
            let present = new.get("items").unwrap_or(&Value::Bool(true));
            self.compare(items, present, &format!("{path}[]"), depth + 1);
        }
    }

    /// Each present alternative must be one that the released schema knows.
    fn choices(&mut self, olds: &[&'a Value], news: &[&'a Value], path: &str, depth: usize) {
        for new in news {
            let known = olds.iter().any(|old| {
                let mut pair =
                    Pair { released: self.released, present: self.present, found: Vec::new() };
                pair.compare(old, new, path, depth + 1);
                pair.found.is_empty()
            });
            if !known {
                let new = resolved(self.present, new);
                let named = named(new).unwrap_or_else(|| new.to_string());
                self.found.push(format!("{path}: the released schema has no alternative {named}"));
            }
        }
    }

    fn values(&mut self, old: &Value, new: &Value, path: &str) {
        let (known, given) = (types(old), types(new));
        if !known.is_empty() {
            let fits =
                |it: &str| known.contains(&it) || (it == "integer" && known.contains(&"number"));
            let widened = given.iter().any(|it| !fits(it));
            if given.is_empty() || widened {
                self.found.push(format!("{path}: was {}, is {}", known.join("|"), any(&given)));
            }
        }
        if let Some(known) = constants(old) {
            let given = constants(new).unwrap_or_default();
            if given.is_empty() || given.iter().any(|value| !known.contains(value)) {
                self.found.push(format!(
                    "{path}: values were {}, are {}",
                    list(&known),
                    if given.is_empty() { "any".to_owned() } else { list(&given) }
                ));
            }
        }
    }

    fn bounds(&mut self, old: &Value, new: &Value, path: &str) {
        let mut widened = |keyword: &str, within: &dyn Fn(f64, f64) -> bool| {
            let Some(known) = old.get(keyword).and_then(Value::as_f64) else { return };
            let given = new.get(keyword).and_then(Value::as_f64);
            if !given.is_some_and(|given| within(given, known)) {
                let given = given.map_or_else(|| "not given".to_owned(), |it| it.to_string());
                self.found.push(format!("{path}: {keyword} was {known}, is {given}"));
            }
        };
        UPPER.iter().for_each(|keyword| widened(keyword, &|given, known| given <= known));
        LOWER.iter().for_each(|keyword| widened(keyword, &|given, known| given >= known));
        for keyword in EXACT {
            let (known, given) = (old.get(keyword), new.get(keyword));
            if known.is_some() && known != given {
                let text = |it: Option<&Value>| it.map_or("not given".to_owned(), Value::to_string);
                let (known, given) = (text(known), text(given));
                self.found.push(format!("{path}: {keyword} was {known}, is {given}"));
            }
        }
    }

    fn fields(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let required = |of: &Value, name: &str| {
            of["required"].as_array().is_some_and(|all| all.iter().any(|it| it == name))
        };
        for name in old["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !required(new, name) {
                self.found.push(format!("{path}.{name}: was always there, is not any more"));
            }
        }
        let rest = old.get("additionalProperties").filter(|it| !accepts_all(it));
        for (name, present) in new["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match (old["properties"].get(name), rest) {
                (Some(known), _) => self.compare(known, present, &path, depth + 1),
                (None, Some(Value::Bool(false))) => {
                    self.found.push(format!("{path}: the released schema allows no such field"));
                }
                (None, Some(known)) => self.compare(known, present, &path, depth + 1),
                (None, None) => {}
            }
        }
        if let Some(known) = rest {
            let present = new.get("additionalProperties").unwrap_or(&Value::Bool(true));
            match (known, present) {
                (_, Value::Bool(false)) => {}
                (Value::Bool(false), _) => self.found.push(format!("{path}: was closed, is open")),
                _ => self.compare(known, present, &format!("{path}.*"), depth + 1),
            }
        }
    }
}

/// What a schema refers to, or itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let Some(name) = schema["$ref"].as_str() else { break };
        schema = document.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null);
    }
    schema
}

fn accepts_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(keywords) => keywords
            .keys()
            .all(|it| ["description", "title", "default", "$schema"].contains(&&**it)),
        _ => false,
    }
}

fn alternatives(schema: &Value) -> Vec<&Value> {
    let of = ["oneOf", "anyOf"].iter().find_map(|it| schema[*it].as_array());
    of.map_or_else(|| vec![schema], |all| all.iter().collect())
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The values that a schema names, if it names them.
fn constants(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema["enum"].as_array()) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(values)) => Some(values.iter().collect()),
        (None, None) => None,
    }
}

/// The constant that tells an alternative from the others.
fn named(schema: &Value) -> Option<String> {
    if let Some(value) = schema.get("const") {
        return Some(value.to_string());
    }
    let properties = schema["properties"].as_object()?;
    properties.iter().find_map(|(name, it)| Some(format!("{name}: {}", it.get("const")?)))
}

fn list(values: &[&Value]) -> String {
    values.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
}

fn any(types: &[&str]) -> String {
    if types.is_empty() { "anything".to_owned() } else { types.join("|") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::breaks;

    fn event() -> Value {
        json!({
            "$defs": {
                "Amount": {"type": "integer", "minimum": 0, "maximum": 100},
                "Source": {"oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "issue"}}, "required": ["kind"]},
                    {"type": "object", "properties": {"kind": {"const": "sale"}, "sale": {"type": "string"}},
                     "required": ["kind", "sale"]}
                ]}
            },
            "type": "object",
            "properties": {
                "points": {"$ref": "#/$defs/Amount"},
                "source": {"$ref": "#/$defs/Source"},
                "note": {"type": ["string", "null"]},
                "unit": {"enum": ["day", "month"]},
                "lots": {"type": "array", "items": {"$ref": "#/$defs/Amount"}},
                "closed": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false},
                "counts": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Amount"}}
            },
            "required": ["points", "source"]
        })
    }

    /// What is said when `place` of the event becomes `value`.
    fn said(place: &str, value: Value) -> Vec<String> {
        let mut present = event();
        let (parent, name) = place.rsplit_once('/').unwrap();
        present.pointer_mut(parent).unwrap()[name] = value;
        breaks(&event(), &present)
    }

    #[test]
    fn what_leaves_readers_in_peace() {
        assert!(breaks(&event(), &event()).is_empty());
        assert!(said("/properties/new", json!({"type": "string"})).is_empty());
        assert!(said("/required", json!(["points", "source", "note"])).is_empty());
        assert!(said("/properties/note", json!({"type": "string"})).is_empty());
        assert!(said("/properties/unit", json!({"enum": ["day"]})).is_empty());
        assert!(said("/properties/unit", json!({"const": "day"})).is_empty());
        assert!(said("/$defs/Amount/maximum", json!(50)).is_empty());
        assert!(
            said("/properties/points", json!({"type": "integer", "minimum": 1, "maximum": 9}))
                .is_empty()
        );
        assert!(said("/properties/closed/properties", json!({})).is_empty());
        let fewer = json!([event()["$defs"]["Source"]["oneOf"][0]]);
        assert!(said("/$defs/Source/oneOf", fewer).is_empty());
    }

    #[test]
    fn what_breaks_them_is_named_with_its_place() {
        for (place, value, expected) in [
            ("/required", json!(["points"]), "$.source: was always there"),
            (
                "/properties/note",
                json!({"type": ["string", "null", "integer"]}),
                "$.note: was string|null",
            ),
            ("/properties/note", json!({}), "$.note: was string|null, is anything"),
            (
                "/properties/points",
                json!({"type": "number", "minimum": 0, "maximum": 9}),
                "$.points: was integer",
            ),
            ("/$defs/Amount/maximum", json!(101), "$.points: maximum was 100, is 101"),
            (
                "/$defs/Amount",
                json!({"type": "integer", "maximum": 100}),
                "$.points: minimum was 0, is not given",
            ),
            ("/properties/unit", json!({"enum": ["day", "year"]}), "$.unit: values were"),
            ("/properties/unit", json!({"type": "string"}), "$.unit: values were"),
            ("/properties/lots/items", json!({"type": "string"}), "$.lots[]: was integer"),
            (
                "/properties/closed/properties/b",
                json!({"type": "string"}),
                "$.closed.b: the released",
            ),
            ("/properties/closed/additionalProperties", json!(true), "$.closed: was closed"),
            (
                "/properties/counts/additionalProperties",
                json!({"type": "string"}),
                "$.counts.*: was integer",
            ),
            ("/properties/note/format", json!("date"), ""),
        ] {
            let said = said(place, value);
            if expected.is_empty() {
                assert!(said.is_empty(), "{place}: {said:?}");
            } else {
                assert!(said.iter().any(|it| it.starts_with(expected)), "{place}: {said:?}");
            }
        }
        let mut third = event()["$defs"]["Source"]["oneOf"].as_array().unwrap().clone();
        third.push(json!({"type": "object", "properties": {"kind": {"const": "gift"}}, "required": ["kind"]}));
        assert_eq!(
            said("/$defs/Source/oneOf", Value::Array(third)),
            ["$.source: the released schema has no alternative kind: \"gift\""]
        );
    }

    #[test]
    fn a_definition_that_refers_to_itself_comes_to_an_end() {
        let tree = json!({
            "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}},
            "$ref": "#/$defs/Tree"
        });
        assert!(breaks(&tree, &tree).is_empty());
    }
}
