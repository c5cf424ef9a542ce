//! The private Postgres in a data folder, and what stands in the way of a start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::program::{self, Said};
use accrue_tests::server::Server;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

/// A folder that the cluster's own user can enter.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), mode).expect("a mode");
    dir
}

/// The process number in a cluster's pid file, while that process runs.
pub(crate) fn postmaster(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().to_owned();
    Path::new("/proc").join(&pid).exists().then_some(pid)
}

fn one_line(said: &Said, part: &str) {
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.starts_with("error: ") && said.err.contains(part), "{}", said.err);
}

#[tokio::test]
async fn a_data_folder_outlives_its_server_and_ends_with_it_when_told() {
    let dir = folder();
    let data_dir = dir.path().join("data");
    let data = data_dir.to_str().expect("a path of text");
    let flags = ["--data-dir", data, "--postgres-shared-buffers-mb", "32"];
    let mut server = Server::start_with(&flags).await;
    let (url, pid) = (server.url.clone(), server.pid());
    for line in [
        format!("API      {url}/v1\n"),
        format!("Docs     {url}/docs\n"),
        format!("Health   {url}/readyz\n"),
        format!("Data     {data} (kept across restarts)\n"),
        format!("Stop with Ctrl-C (or SIGTERM to process {pid})."),
    ] {
        assert!(server.log().contains(&line), "{line}: {}", server.log());
    }
    let issue = "/v1/accounts/ann/points/issue";
    let issued = server.client().keyed("k").post(issue, json!({"points": 7, "lot": "a"})).await;
    let position = issued.position();
    server.kill9();
    server.restart().await;
    assert_eq!(server.client().balance("ann", position).await, "available 7; a 7");
    let again = server.client().keyed("k").post(issue, json!({"points": 7, "lot": "a"})).await;
    assert_eq!(again.text, issued.text);

    // In use: by its folder, and by its port.
    let arguments = ["serve", "--port", "0", "--data-dir", data];
    one_line(&program::run(arguments).await, "is in use by another server");
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let database = Database::create().await;
    let arguments = ["serve", "--port", &port, "--database-url", &database.url];
    one_line(&program::run(arguments).await, "--port 0");
    server.client().get("/readyz").await.expect(200);

    // A postmaster that dies is started again, and nobody has to restart the server.
    // Its backends may outlive it for a moment and even commit, so a new pid is waited for too.
    let old = postmaster(&data_dir).expect("the cluster runs");
    program::signal(old.parse().expect("a number"), Signal::KILL);
    eventually("the cluster and the server are back", async || {
        let answer =
            server.client().keyed("k2").post(issue, json!({"points": 1, "lot": "b"})).await;
        assert!(matches!(answer.status, 201 | 503), "{}", answer.text);
        let revived = postmaster(&data_dir).is_some_and(|new| new != old);
        (answer.status == 201 && revived).then_some(())
    })
    .await;
    let verify = ["verify", "--data-dir", data];
    program::run(verify).await.expect_success();
    let rebuild = ["projections", "rebuild", "balances", "--data-dir", data];
    program::run(rebuild).await.expect_success();
    let file = dir.path().join("log.ndjson");
    let output = file.to_str().expect("a path of text");
    let export = ["events", "export", "--data-dir", data, "--output", output];
    let said = program::run(export).await.expect_success();
    assert_eq!(said.trim(), format!("3 events in {output}"));
    let with_server = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(with_server.lines().count(), 3);

    server.sigterm();
    assert_eq!(server.exit().await.code(), Some(0), "{}", server.log());
    assert_eq!(postmaster(&data_dir), None, "the cluster stops with its server");
    // With the server gone, too.
    let list = program::run(["projections", "list", "--data-dir", data]).await.expect_success();
    assert!(list.contains("balances"), "{list}");
    let printed = program::run(["events", "export", "--data-dir", data]).await.expect_success();
    assert_eq!(printed, with_server);
    assert_eq!(postmaster(&data_dir), None, "and with whoever started it");
}

#[tokio::test]
async fn what_cannot_be_used_is_told_in_one_line() {
    let nobody = "postgres://accrue@127.0.0.1:9/accrue";
    let arguments = ["serve", "--port", "0", "--database-url", nobody];
    one_line(&program::run(arguments).await, "--database-url");
    let empty = Database::create().await;
    for command in [
        &["verify"][..],
        &["events", "export"],
        &["projections", "list"],
        &["projections", "rebuild", "balances"],
        &["relay", "republish", "--from=1", "--topic=again", "--kafka-bootstrap=127.0.0.1:9"],
    ] {
        let arguments = command.iter().copied().chain(["--database-url", &*empty.url]);
        one_line(&program::run(arguments).await, "there is no ledger in");
    }
    let tables = "SELECT count(*) FROM pg_tables
                   WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    assert_eq!(empty.number(tables).await, 0, "to look makes nothing");
    let database = Database::create().await;
    drop(Server::start(&database).await);
    database.migrated_by_a_newer_build().await;
    database.run("UPDATE schema_support SET oldest = 9999").await;
    let arguments = ["serve", "--port", "0", "--database-url", &database.url];
    one_line(&program::run(arguments).await, "newer");
    for arguments in [["serve", "--port", "many"], ["serve", "--port", "70000"]] {
        let said = program::run(arguments).await;
        assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
        assert!(said.err.contains("port"), "{}", said.err);
    }
}
