//! `accrue schemas write`: the contracts, made of the types, the same to the byte every time.
//! `accrue schemas check`: whether readers of what was released can go on.

mod asyncapi;
mod compatible;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use accrue_domain::event::Event;
use accrue_domain::{
    account, aggregate::Kind, campaign, product, program, purchase, sale, samples, wallet,
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::{output, web};

/// The name of the AsyncAPI document.
const ASYNCAPI: &str = "asyncapi.json";

/// Writes everything. What no type stands behind any more is left alone: old events stay readable.
pub(crate) fn write(dir: &Path) -> Result<()> {
    for (name, text) in files()? {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What readers of Kafka find beside the events' bodies, by its place in the AsyncAPI document.
const READ: [&str; 5] = [
    "/components/schemas/eventHeaders",
    "/components/messages/cloudEvent/payload/schema",
    "/components/messages/result/headers",
    "/components/messages/result/payload/schema",
    "/components/messages/deadCommand/headers",
];

/// What writers put there.
const WRITTEN: &str = "/components/messages/command/payload/schema";

/// Compares each released event's schema with the present one of the same name and version, and
/// what was said of Kafka, which stands in the present folder or in the one that it is in.
pub(crate) fn check(released: &Path, present: &Path) -> Result<()> {
    let mut breaks = Vec::new();
    let mut count = 0;
    let entries = fs::read_dir(released)
        .with_context(|| format!("cannot read the folder {}", released.display()))?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(event) = name.strip_suffix(".schema.json") else { continue };
        count += 1;
        let path = present.join(&name);
        if !path.exists() {
            breaks.push(format!("{event}: there is no {} any more", path.display()));
            continue;
        }
        let found = compatible::breaks(&read(&released.join(&name))?, &read(&path)?);
        breaks.extend(found.into_iter().map(|what| format!("{event}: {what}")));
    }
    let document = released.join(ASYNCAPI);
    if document.exists() {
        let beside = present.join(ASYNCAPI);
        let above = present.join("..").join(ASYNCAPI);
        let present = if beside.exists() { beside } else { above };
        breaks.extend(breaks_in_kafka(&read(&document)?, &read(&present)?));
    }
    if count == 0 {
        bail!("{} holds no event schemas (*.schema.json)", released.display());
    }
    breaks.sort();
    match &breaks[..] {
        [] => {
            output::line(&format!("{count} released events: their readers can go on"))?;
            Ok(())
        }
        _ => bail!("readers of released events would break:\n  {}", breaks.join("\n  ")),
    }
}

/// What would break those who read from Kafka, or write there, by a released AsyncAPI document.
fn breaks_in_kafka(released: &Value, present: &Value) -> Vec<String> {
    let mut breaks = Vec::new();
    for (name, channel) in released["channels"].as_object().into_iter().flatten() {
        let (was, is) = (&channel["address"], &present["channels"][name]["address"]);
        if was != is {
            breaks.push(format!("{ASYNCAPI}: {name} was at {was}, is at {is}"));
        }
    }
    for place in READ.into_iter().chain([WRITTEN]) {
        if released.pointer(place).is_some() && present.pointer(place).is_none() {
            breaks.push(format!("{ASYNCAPI}: {place}: is not there any more"));
        }
    }
    for place in READ {
        let found = compatible::breaks_at(place, released, present);
        breaks.extend(found.into_iter().map(|what| format!("{ASYNCAPI}: {place}: {what}")));
    }
    // Here it is we who read: whatever the release let through is to be let through by what we take.
    let found = compatible::breaks_at(WRITTEN, present, released).into_iter();
    breaks.extend(found.map(|what| {
        format!("{ASYNCAPI}: {WRITTEN}: commands of the release are not taken: (present) {what}")
    }));
    breaks
}

fn read(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// The files by their names under `schemas/`.
fn files() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    files.insert("http/openapi.json".to_owned(), text(&sorted(web::openapi()?)));
    files.insert(ASYNCAPI.to_owned(), text(&sorted(asyncapi::document()?)));
    files.insert("rules.schema.json".to_owned(), accrue_campaign_engine::format::schema_text());
    for event in samples::events() {
        let (name, version) = event.name();
        let sample = serde_json::to_value(&event)?;
        files.insert(format!("events/{name}.v{version}.json"), text(&sorted(sample)));
        let schema = sorted(schema(&event)?);
        files.insert(format!("events/{name}.v{version}.schema.json"), text(&schema));
    }
    Ok(files)
}

/// The schema of one event as stored: `{"PointsIssued": {…}}`.
fn schema(event: &Event) -> Result<Value> {
    let (name, version) = event.name();
    let all = match event.kind() {
        Kind::Account => schemars::schema_for!(account::event::Event),
        Kind::Campaign => schemars::schema_for!(campaign::Event),
        Kind::Product => schemars::schema_for!(product::event::Event),
        Kind::Program => schemars::schema_for!(program::Event),
        Kind::Purchase => schemars::schema_for!(purchase::event::Event),
        Kind::Sale => schemars::schema_for!(sale::Event),
        Kind::Wallet => schemars::schema_for!(wallet::event::Event),
    };
    let all = all.to_value();
    let variants = all.get("oneOf").and_then(Value::as_array);
    let found = variants.into_iter().flatten().find(|it| it["required"] == json!([name]));
    let found = found.ok_or_else(|| anyhow!("the schema of {name} is not where it was"))?;
    let mut schema = found.as_object().cloned().unwrap_or_default();
    schema.insert("$schema".to_owned(), all["$schema"].clone());
    schema.insert("title".to_owned(), json!(format!("{name}, version {version}")));
    let definitions = needed(&Value::Object(schema.clone()), &all["$defs"]);
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(Value::Object(schema))
}

/// The definitions that a schema refers to, and those that they refer to.
fn needed(schema: &Value, definitions: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let mut todo = references(schema);
    while let Some(name) = todo.pop() {
        let Some(definition) = definitions.get(&name) else { continue };
        if found.insert(name, definition.clone()).is_none() {
            todo.extend(references(definition));
        }
    }
    found
}

fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_str().filter(|_| key == "$ref") {
                Some(name) => vec![name.trim_start_matches("#/$defs/").to_owned()],
                None => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// With keys in order: theirs must not depend on features that another crate switches on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<_, _> = fields.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_holds_what_the_types_say() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for (name, text) in files().unwrap() {
            let found = fs::read_to_string(dir.join(&name)).unwrap_or_default();
            assert!(found == text, "schemas/{name} is not current: run `cargo xtask schemas`");
        }
    }

    #[test]
    fn a_schema_holds_every_definition_that_it_refers_to() {
        for event in samples::events() {
            let schema = schema(&event).unwrap();
            for name in references(&schema) {
                assert!(schema["$defs"].get(&name).is_some(), "{name} of {:?}", event.name());
            }
        }
    }
}
