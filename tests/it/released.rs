//! Whoever reads events by a released schema can go on after an update.

use std::fs;
use std::path::{Path, PathBuf};

use accrue_tests::program::{self, Said, workspace};
use serde_json::{Value, json};

fn folders() -> Vec<PathBuf> {
    let released = workspace().join("schemas/released");
    let entries = fs::read_dir(released).expect("released contracts");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

#[tokio::test]
async fn readers_of_every_release_can_go_on() {
    let present = text(&workspace().join("schemas/events"));
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
        program::run(["schemas", "check", &text(&folder), &present]).await.expect_success();
    }
}

/// A copy of the present contracts in which one file was changed.
fn changed(file: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let events = fs::read_dir(workspace().join("schemas/events")).expect("the schemas");
    let events = events.map(|entry| entry.expect("an entry").path());
    for path in events.chain([workspace().join("schemas/asyncapi.json")]) {
        let name = path.file_name().expect("a name").to_owned();
        let mut schema = fs::read_to_string(&path).expect("a text");
        if name.to_string_lossy() == file {
            let mut value = serde_json::from_str(&schema).expect("JSON");
            change(&mut value);
            schema = value.to_string();
        }
        fs::write(copy.path().join(name), schema).expect("written");
    }
    copy
}

/// What is said of a change.
async fn said(released: &str, file: &str, change: impl Fn(&mut Value)) -> Said {
    let present = changed(file, change);
    program::run(["schemas", "check", released, &text(present.path())]).await
}

#[tokio::test]
async fn a_change_that_breaks_them_is_named() {
    let release = changed("", |_| {});
    let released = text(release.path());
    let issued = "PointsIssued.v1.schema.json";
    let run = said(&released, issued, |schema| {
        let fields = &mut schema["properties"]["PointsIssued"];
        fields["required"].as_array_mut().expect("required fields").retain(|it| it != "points");
    });
    let run = run.await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("PointsIssued.v1: $.PointsIssued.points: was always"), "{run:?}");

    let run = said(&released, issued, |schema| {
        schema["properties"]["PointsIssued"]["properties"]["mood"] = json!({"type": "string"});
    });
    run.await.expect_success();

    let removed = changed("", |_| {});
    fs::remove_file(removed.path().join("PointsIssued.v1.schema.json")).expect("removed");
    let run = program::run(["schemas", "check", &released, &text(removed.path())]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("PointsIssued.v1: there is no"), "{run:?}");

    let run =
        program::run(["schemas", "check", &text(&workspace().join("domain")), &released]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("holds no event schemas"), "{run:?}");
}

#[tokio::test]
async fn a_change_that_breaks_who_reads_from_kafka_or_writes_there_is_named() {
    let release = changed("", |_| {});
    let released = text(release.path());
    let of = |place: &'static str, change: fn(&mut Value)| {
        said(&released, "asyncapi.json", move |document| {
            change(document.pointer_mut(place).expect("it is there"));
        })
    };
    let headers = "/components/schemas/eventHeaders";
    let command = "/components/messages/command/payload/schema";
    for (place, change, why) in [
        (
            headers,
            (|it| {
                it["required"].as_array_mut().expect("a list").retain(|it| it != "ce_position");
            }) as fn(&mut Value),
            "$.ce_position: was always there, is not any more",
        ),
        (
            "/components/messages/result/payload/schema/properties/status",
            |it| it["type"] = json!("string"),
            "$.status: was integer, is string",
        ),
        (
            "/channels/results",
            |it| it["address"] = json!("accrue.answers.{program}"),
            "results was at",
        ),
        (
            "/components/messages/command/payload",
            |it| *it = json!({}),
            "/command/payload/schema: is not there any more",
        ),
        (
            command,
            |it| it["required"].as_array_mut().expect("a list").push(json!("version")),
            "$.version: was always there",
        ),
        (
            command,
            |it| it["properties"]["type"]["enum"] = json!(["issue_points"]),
            "$.type: values were",
        ),
    ] {
        let run = of(place, change).await;
        assert_eq!(run.code, Some(1), "{why}: {run:?}");
        assert!(run.err.contains(why), "{why}: {run:?}");
    }
    let more = |it: &mut Value| it["properties"]["ce_mood"] = json!({"type": "string"});
    of(headers, more).await.expect_success();
    let more = |it: &mut Value| {
        it["properties"]["type"]["enum"].as_array_mut().expect("a list").push(json!("give"));
    };
    of(command, more).await.expect_success();
}
