//! Values held against JSON schemas.

use serde_json::Value;

/// What a schema has against a value; nothing of one that fits. Nothing is fetched: whatever the
/// schema refers to is in it.
///
/// # Panics
/// When that is no schema.
#[must_use]
pub fn objections(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    validator.iter_errors(value).map(|it| it.to_string()).collect()
}
