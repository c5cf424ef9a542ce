//! Whoever reads events by a released schema can go on after an update.

use std::fs;
use std::path::{Path, PathBuf};

use accrue_tests::program::{self, workspace};
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

/// A copy of the present schemas in which one was changed.
fn changed(event: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(workspace().join("schemas/events")).expect("the schemas") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        let mut schema = fs::read_to_string(&path).expect("a text");
        if name.to_string_lossy() == format!("{event}.schema.json") {
            let mut value = serde_json::from_str(&schema).expect("JSON");
            change(&mut value);
            schema = value.to_string();
        }
        fs::write(copy.path().join(name), schema).expect("written");
    }
    copy
}

#[tokio::test]
async fn a_change_that_breaks_them_is_named() {
    let released = text(&workspace().join("schemas/events"));
    let gone = changed("PointsIssued.v1", |schema| {
        let fields = &mut schema["properties"]["PointsIssued"];
        fields["required"].as_array_mut().expect("required fields").retain(|it| it != "points");
    });
    let run = program::run(["schemas", "check", &released, &text(gone.path())]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("PointsIssued.v1: $.PointsIssued.points: was always"), "{run:?}");

    let added = changed("PointsIssued.v1", |schema| {
        schema["properties"]["PointsIssued"]["properties"]["mood"] = json!({"type": "string"});
    });
    let run = program::run(["schemas", "check", &released, &text(added.path())]).await;
    run.expect_success();

    let removed = changed("PointsIssued.v1", |_| {});
    fs::remove_file(removed.path().join("PointsIssued.v1.schema.json")).expect("removed");
    let run = program::run(["schemas", "check", &released, &text(removed.path())]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("PointsIssued.v1: there is no"), "{run:?}");

    let run =
        program::run(["schemas", "check", &text(&workspace().join("domain")), &released]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("holds no event schemas"), "{run:?}");
}
