//! The arrows between crates: a new one shows up here, to be defended.

use std::collections::BTreeMap;
use std::process::Command;

use accrue_tests::program::workspace;
use insta::assert_snapshot;
use serde_json::Value;

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let output = cargo.current_dir(workspace()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a text")
}

/// What each of our crates is built on, of our own and of those that do I/O.
fn arrows(metadata: &Value, counts: impl Fn(&str) -> bool) -> String {
    let packages = metadata["packages"].as_array().expect("packages");
    let mut lines = BTreeMap::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        // What only tests need is no arrow.
        let mut names: Vec<_> = dependencies
            .filter(|it| it["kind"].is_null() && counts(text(it, "name")))
            .map(|it| text(it, "name").trim_start_matches("accrue-"))
            .collect();
        names.sort_unstable();
        let name = text(package, "name").trim_start_matches("accrue-").to_owned();
        lines.insert(name, names.join(" "));
    }
    lines
        .into_iter()
        .map(|(name, names)| format!("{name}: {names}").trim_end().to_owned() + "\n")
        .collect()
}

#[test]
fn crates_point_downwards_only() {
    let ours = |name: &str| name.starts_with("accrue-") || name == "accrue";
    assert_snapshot!(arrows(&metadata(), ours), @r"
    accrue: campaign-engine command-api domain event-store gateways http kafka private-postgres projections saga
    bench: event-store kafka private-kafka private-postgres
    campaign-engine:
    command-api: campaign-engine domain event-store http
    domain:
    event-store: domain
    gateways: domain
    http: domain event-store
    kafka: event-store
    private-kafka:
    private-postgres:
    projections: domain event-store http
    saga: campaign-engine domain event-store gateways
    tests: campaign-engine domain event-store gateways kafka private-kafka private-postgres projections
    xtask: private-kafka private-postgres
    ");
}

#[test]
fn rules_and_judgement_do_no_io() {
    let metadata = metadata();
    let does_io = |name: &str| {
        ["tokio", "sqlx", "axum", "reqwest", "hyper", "async-trait", "futures"].contains(&name)
    };
    let arrows = arrows(&metadata, does_io);
    for pure in ["domain", "campaign-engine"] {
        assert!(arrows.lines().any(|line| line == format!("{pure}:")), "{arrows}");
    }
}
