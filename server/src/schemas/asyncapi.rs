//! The AsyncAPI document: what is in Kafka, by topic.

use accrue_domain::event::Event;
use accrue_domain::samples;
use anyhow::Result;
use serde_json::{Map, Value, json};

/// What a message's body is described in.
const FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// The document.
pub(super) fn document() -> Result<Value> {
    let (mut messages, mut of_events) = (Map::new(), Map::new());
    for event in samples::events() {
        let name = message_name(&event);
        of_events.insert(name.clone(), reference("components/messages", &name));
        messages.insert(name, message(&event)?);
    }
    of_events.insert("cloudEvent".to_owned(), reference("components/messages", "cloudEvent"));
    messages.insert("cloudEvent".to_owned(), cloud_event());
    messages.insert("command".to_owned(), command());
    messages.insert("result".to_owned(), result());
    messages.insert("deadCommand".to_owned(), dead_command());
    let one = |name: &str| json!({name: reference("components/messages", name)});
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Accrue in Kafka",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0"},
            "description": "Every event of a ledger, once and in the order of its stream, in the \
                form that `kafka_form` says, of which `binary` is the default; and commands, \
                for those who would rather write a record than send a request. \
                `accrue` is the default of `kafka_topic_prefix`. Read with \
                `isolation.level=read_committed`.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": channel("accrue.events.{program}", "What has happened, for ever. Keyed by \
                the stream (`account/17850`), so a stream is in one partition and in order.",
                Value::Object(of_events)),
            "commands": channel("accrue.commands.{program}", "What is to happen. Records of one \
                key are decided in their order; a record may be written twice, its `id` tells.",
                one("command")),
            "results": channel("accrue.results.{program}", "What became of each command, under \
                the command's key. A crash may write a result twice.", one("result")),
            "deadCommands": channel("accrue.commands-dead.{program}", "Records that are no \
                commands, as they were.", one("deadCommand")),
        },
        "operations": {
            "publishEvents": operation("send", "events"),
            "takeCommands": {
                "action": "receive",
                "channel": reference("channels", "commands"),
                "reply": {"channel": reference("channels", "results")},
            },
            "setAside": operation("send", "deadCommands"),
        },
        "components": {
            "messages": messages,
            "schemas": {"eventHeaders": event_headers(), "place": place(&[])},
        },
    }))
}

fn message_name(event: &Event) -> String {
    let (name, version) = event.name();
    format!("{name}.v{version}")
}

fn reference(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{place}/{name}")})
}

fn channel(address: &str, description: &str, messages: Value) -> Value {
    json!({
        "address": address,
        "description": description,
        "parameters": {"program": {"description": "The program, such as `default`."}},
        "messages": messages,
    })
}

fn operation(action: &str, channel: &str) -> Value {
    json!({"action": action, "channel": reference("channels", channel)})
}

/// An event in the binary form: the body is the stored payload.
fn message(event: &Event) -> Result<Value> {
    let (name, version) = event.name();
    Ok(json!({
        "name": name,
        "title": format!("{name}, version {version}"),
        "contentType": "application/json",
        "headers": reference("components/schemas", "eventHeaders"),
        "payload": {
            "schemaFormat": FORMAT,
            "schema": {"$ref": format!("events/{name}.v{version}.schema.json")},
        },
        "bindings": keyed_by_stream(),
        "examples": [{"payload": serde_json::to_value(event)?}],
    }))
}

fn keyed_by_stream() -> Value {
    json!({"kafka": {"key": {"type": "string", "description": "kind/id of the stream"}}})
}

/// The attributes of an event but its `specversion`, by their names in the structured form, and
/// whether every event has them.
const ATTRIBUTES: [(&str, bool, &str); 19] = [
    ("id", true, "The event's position, as text."),
    ("source", true, "/programs/ and the program."),
    ("type", true, "The event's name, such as PointsIssued."),
    ("subject", true, "The stream: kind/id."),
    ("time", true, "When it happened (business time), RFC 3339."),
    ("dataschema", true, "urn:accrue:schema: and the name of the file in schemas/events."),
    ("position", true, "Place in the ledger's order, from 1, without gaps."),
    ("sequence", true, "Place in the stream, from 1, without gaps."),
    ("eventversion", true, "Version of the event's shape."),
    ("recordedtime", true, "When the ledger took it in, RFC 3339."),
    ("commandid", false, "The command that it follows from."),
    ("correlationid", false, "The conversation that the command belongs to."),
    ("causationid", false, "What caused the command."),
    ("actor", false, "Who asked for it."),
    ("traceparent", false, "W3C trace context of the command."),
    ("tracestate", false, "W3C trace state of the command."),
    (
        "metadata",
        false,
        "The metadata as stored, where the other attributes would not give it back.",
    ),
    ("aggregatetype", false, "The kind of a stream that was not made by this program."),
    ("aggregateid", false, "The id of a stream that was not made by this program."),
];

/// CloudEvents 1.0, Kafka binding, binary: attributes are headers.
fn event_headers() -> Value {
    attributes("ce_", "content-type", &[])
}

/// CloudEvents 1.0, structured: attributes are fields, and so is the stored payload.
fn cloud_event() -> Value {
    json!({
        "name": "cloudEvent",
        "title": "Any event, with kafka_form=structured",
        "contentType": "application/cloudevents+json",
        "payload": {
            "schemaFormat": FORMAT,
            "schema": attributes("", "datacontenttype", &[("data", json!({
                "type": "object",
                "description": "As events/{type}.v{eventversion}.schema.json has it.",
            }))]),
        },
        "bindings": keyed_by_stream(),
    })
}

/// All attributes under their names behind `prefix`, the type of the content, and more.
fn attributes(prefix: &str, content_type: &str, more: &[(&str, Value)]) -> Value {
    let version = format!("{prefix}specversion");
    let mut required = vec![version.clone()];
    let mut properties = Map::from_iter([(version, json!({"const": "1.0"}))]);
    for (name, always, description) in ATTRIBUTES {
        let name = format!("{prefix}{name}");
        if always {
            required.push(name.clone());
        }
        properties.insert(name, json!({"type": "string", "description": description}));
    }
    let json = (content_type, json!({"const": "application/json"}));
    for (name, schema) in std::iter::once(&json).chain(more) {
        required.push((*name).to_owned());
        properties.insert((*name).to_owned(), schema.clone());
    }
    json!({"type": "object", "required": required, "properties": properties})
}

fn command() -> Value {
    json!({
        "name": "command",
        "title": "An envelope, as a line of POST /v1/commands",
        "payload": {
            "schemaFormat": FORMAT,
            "schema": {
                "type": "object",
                "required": ["id", "type"],
                "properties": {
                    "id": {"type": "string", "description": "The idempotency key."},
                    "type": {"enum": accrue_command_api::COMMAND_TYPES},
                    "correlation_id": {"type": "string", "maxLength": 200},
                    "causation_id": {"type": "string", "maxLength": 200},
                    "actor": {"type": "string", "maxLength": 200},
                    "expected_version": {
                        "type": "integer",
                        "format": "int64",
                        "minimum": 0,
                        "description": "The version that is changed, as If-Match says it to a \
                            single call; any where absent. Not for what makes a sale or a purchase.",
                    },
                },
                "description": "Beside these the fields of the type's body in \
                    http/openapi.json, and the parameters of its path by their names.",
            },
        },
        "headers": {
            "type": "object",
            "properties": {"traceparent": {"type": "string", "description": "W3C trace context."}},
        },
        "examples": [{"payload":
            {"id": "key-1", "type": "issue_points", "account": "17850", "points": 13}}],
    })
}

fn result() -> Value {
    json!({
        "name": "result",
        "title": "What became of a command",
        "headers": reference("components/schemas", "place"),
        "payload": {
            "schemaFormat": FORMAT,
            "schema": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "id": {"type": "string"},
                    "status": {"type": "integer", "description": "As HTTP has it."},
                    "replayed": {"const": true, "description": "An earlier delivery's answer."},
                    "receipt": {"$ref": "http/openapi.json#/components/schemas/Receipt"},
                    "problem": {"$ref": "http/openapi.json#/components/schemas/Problem"},
                    "partition": {"type": "integer"},
                    "offset": {"type": "integer"},
                },
            },
        },
    })
}

fn dead_command() -> Value {
    json!({
        "name": "deadCommand",
        "title": "A record that is no command",
        "contentType": "application/octet-stream",
        "headers": place(&[("accrue-reason", "What is wrong with it.")]),
        "payload": {"schemaFormat": FORMAT, "schema": true},
    })
}

/// Headers that say where a command came from, and more.
fn place(more: &[(&str, &str)]) -> Value {
    let all = [
        ("accrue-topic", "The command's topic."),
        ("accrue-partition", "Its partition."),
        ("accrue-offset", "Its offset there."),
    ];
    let all = all.iter().chain(more);
    let properties: Map<_, _> = all
        .map(|(name, text)| ((*name).to_owned(), json!({"type": "string", "description": text})))
        .collect();
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Everything that a document refers to.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|it| references(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_that_it_refers_to_is_there() {
        let document = document().unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 60, "{}", found.len());
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for reference in found {
            let (file, place) = reference.split_once('#').unwrap_or((&reference, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                let text = std::fs::read_to_string(dir.join(file)).unwrap();
                serde_json::from_str(&text).unwrap()
            };
            assert!(target.pointer(place).is_some(), "{reference}");
        }
    }
}
