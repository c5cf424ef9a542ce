//! The written contracts are those of the code, and the code reads all that they hold.

use std::collections::BTreeMap;
use std::path::Path;

use accrue_domain::aggregate::Kind;
use accrue_event_store::codec::Codec;
use accrue_tests::kafka::{broker, prefix};
use accrue_tests::program::{self, workspace};
use accrue_tests::schema::objections;
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use serde_json::{Map, Value, json};

use crate::kafka_commands::{read, write};
use crate::relay_world::serve_with;

fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let below = files(&path).into_iter().map(|(it, text)| (format!("{name}/{it}"), text));
            found.extend(below);
        } else {
            found.insert(name, std::fs::read_to_string(&path).expect("a text"));
        }
    }
    found
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn the_schemas_in_the_repository_are_what_the_program_writes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().to_str().expect("a path of text");
    program::run(["schemas", "write", path]).await.expect_success();
    let (written, mut kept) = (files(dir.path()), files(&workspace().join("schemas")));
    assert!(written.len() > 30, "{:?}", written.keys());
    // Facts are migrated by hand, and what was released stays as it was.
    kept.retain(|name, _| !name.starts_with("migrations/") && !name.starts_with("released/"));
    for (name, text) in &written {
        let kept = kept.get(name).map(String::as_str).unwrap_or_default();
        assert!(kept == text, "schemas/{name} is not current: `cargo xtask schemas`");
    }
    for name in kept.keys() {
        assert!(written.contains_key(name) || name.starts_with("events/"), "schemas/{name}");
    }
}

#[test]
fn every_sample_event_decodes_and_fits_its_schema() {
    let codec = Codec::default();
    let files = files(&workspace().join("schemas/events"));
    let mut count = 0;
    for (name, text) in files.iter().filter(|(name, _)| !name.ends_with(".schema.json")) {
        let stem = name.trim_end_matches(".json");
        let (event_type, version) = stem.rsplit_once(".v").expect("a name and a version");
        let kind = match event_type {
            "AccountOpened" | "DebtRepaid" => Kind::Account,
            it if it.starts_with("Points") || it.starts_with("Hold") => Kind::Account,
            it if it.starts_with("Campaign") => Kind::Campaign,
            it if it.starts_with("Product") || it.starts_with("Stock") => Kind::Product,
            it if it.starts_with("Program") => Kind::Program,
            it if it.starts_with("Purchase") => Kind::Purchase,
            it if it.starts_with("Sale") => Kind::Sale,
            it if it.starts_with("Wallet") => Kind::Wallet,
            other => panic!("whose event is {other}?"),
        };
        let decoded = codec.decode(kind.as_str(), event_type, version, text);
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!decoded.events().is_empty(), "{name}");
        let schema = parsed(&files[&format!("{stem}.schema.json")]);
        assert_eq!(objections(&schema, &parsed(text)), [""; 0], "{name}");
        count += 1;
    }
    assert!(count >= 26, "{count} samples");
}

#[test]
fn the_asyncapi_document_is_one() {
    let read = |path| parsed(&std::fs::read_to_string(workspace().join(path)).expect("a text"));
    let schema = read("tests/schemas/asyncapi-3.0.0.json");
    let mut document = read("schemas/asyncapi.json");
    assert_eq!(objections(&schema, &document), [""; 0]);
    document["operations"]["publishEvents"]["action"] = "sendx".into();
    assert_ne!(objections(&schema, &document), [""; 0]);
}

/// What the AsyncAPI document says of something, as a schema by itself.
fn told(document: &Value, place: &str) -> Value {
    let mut schema = document.pointer(place).expect("it is told").clone();
    if let Some(other) = schema["$ref"].as_str() {
        schema = document.pointer(other.trim_start_matches('#')).expect("it is told").clone();
    }
    // What stands in other files is held against those elsewhere.
    for property in schema["properties"].as_object_mut().into_iter().flatten() {
        if property.1.get("$ref").is_some() {
            *property.1 = json!({});
        }
    }
    schema
}

/// It fits, and has nothing that is not told of.
fn expect_told(document: &Value, place: &str, found: &Value) {
    let schema = told(document, place);
    assert_eq!(objections(&schema, found), [""; 0], "{place}: {found}");
    for name in found.as_object().expect("an object").keys() {
        assert!(schema["properties"].get(name).is_some(), "{place}: {name} is not told of");
    }
}

fn headers(record: &OwnedMessage) -> Value {
    let headers = record.headers().into_iter().flat_map(|it| it.iter());
    let text = |it: Option<&[u8]>| String::from_utf8_lossy(it.unwrap_or_default()).into_owned();
    headers.map(|it| (it.key.to_owned(), text(it.value).into())).collect::<Map<_, _>>().into()
}

fn body(record: &OwnedMessage) -> Value {
    serde_json::from_slice(record.payload().expect("a value")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_kafka_is_as_the_asyncapi_document_has_it() {
    let path = workspace().join("schemas/asyncapi.json");
    let document = parsed(&std::fs::read_to_string(path).expect("a text"));
    let broker = broker().await;
    for form in ["binary", "structured"] {
        let prefix = prefix();
        let (_database, server) = serve_with(broker, &prefix, &["--kafka-form", form]).await;
        let client = server.client().with("accrue-correlation-id", "c").with("tracestate", "a=b");
        let client = client.with("accrue-causation-id", "d").with("accrue-actor", "e");
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let client = client.with("traceparent", trace);
        client.post("/v1/accounts/a/points/issue", json!({"points": 5})).await.expect(201);
        let topic = |of: &str| format!("{prefix}.{of}.default");
        let commands = [
            (Some("a"), r#"{"id":"1","type":"issue_points","account":"a","points":1}"#),
            (Some("a"), r#"{"id":"2","type":"redeem_points","account":"a","points":9}"#),
            (None, "nothing"),
        ];
        write(broker, &topic("commands"), &commands).await;
        let messages = "/components/messages";
        for result in read(broker, &topic("results"), 2).await {
            expect_told(&document, &format!("{messages}/result/headers"), &headers(&result));
            expect_told(&document, &format!("{messages}/result/payload/schema"), &body(&result));
        }
        for dead in read(broker, &topic("commands-dead"), 1).await {
            expect_told(&document, &format!("{messages}/deadCommand/headers"), &headers(&dead));
        }
        for event in read(broker, &topic("events"), 3).await {
            if form == "binary" {
                let told = "/components/schemas/eventHeaders";
                expect_told(&document, told, &headers(&event));
            } else {
                let message = format!("{messages}/cloudEvent");
                expect_told(&document, &format!("{message}/payload/schema"), &body(&event));
                let content =
                    headers(&event)["content-type"].as_str().unwrap_or_default().to_owned();
                let told = document.pointer(&format!("{message}/contentType")).expect("a type");
                assert!(content.starts_with(told.as_str().expect("a text")), "{content}");
            }
        }
    }
}

#[test]
fn the_rule_schema_takes_the_sample_rule_and_no_other_command() {
    let schema = workspace().join("schemas/rules.schema.json");
    let schema = parsed(&std::fs::read_to_string(schema).expect("the schema"));
    let mut rule = parsed(
        r#"[{"variable": "$.amount", "condition": {"rule": "numeric_greater_than", "value": 100},
             "action": {"command": "issue", "formula": "$.amount/10"}}]"#,
    );
    assert_eq!(objections(&schema, &rule), [""; 0]);
    rule[0]["action"]["command"] = "give".into();
    assert_ne!(objections(&schema, &rule), [""; 0]);
}
