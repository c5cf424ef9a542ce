//! The written contracts are those of the code, and the code reads all that they hold.

use std::collections::BTreeMap;
use std::path::Path;

use accrue_domain::aggregate::Kind;
use accrue_event_store::codec::Codec;
use accrue_tests::program::{self, workspace};
use serde_json::Value;

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

fn json(text: &str) -> Value {
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
        let schema = json(&files[&format!("{stem}.schema.json")]);
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(&json(text)).map(|it| it.to_string()).collect();
        assert_eq!(errors, [""; 0], "{name}");
        count += 1;
    }
    assert!(count >= 26, "{count} samples");
}

#[test]
fn the_asyncapi_document_is_one() {
    let read = |path| json(&std::fs::read_to_string(workspace().join(path)).expect("a text"));
    let schema = read("tests/schemas/asyncapi-3.0.0.json");
    // Nothing is fetched: whatever the schema refers to is in it.
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut document = read("schemas/asyncapi.json");
    let errors: Vec<_> = validator.iter_errors(&document).map(|it| it.to_string()).collect();
    assert_eq!(errors, [""; 0]);
    document["operations"]["publishEvents"]["action"] = "sendx".into();
    assert!(!validator.is_valid(&document));
}

#[test]
fn the_rule_schema_takes_the_sample_rule_and_no_other_command() {
    let schema = workspace().join("schemas/rules.schema.json");
    let schema = json(&std::fs::read_to_string(schema).expect("the schema"));
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut rule = json(
        r#"[{"variable": "$.amount", "condition": {"rule": "numeric_greater_than", "value": 100},
             "action": {"command": "issue", "formula": "$.amount/10"}}]"#,
    );
    assert!(validator.is_valid(&rule));
    rule[0]["action"]["command"] = "give".into();
    assert!(!validator.is_valid(&rule));
}
