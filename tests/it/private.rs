//! The private Postgres in a data folder, and what stands in the way of a start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::program::{self, Said};
use accrue_tests::server::Server;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

/// A folder that the cluster's own user can enter.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), mode).expect("a mode");
    dir
}

/// The process number in a cluster's pid file, while that process runs.
fn postmaster(data_dir: &Path) -> Option<String> {
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

/// SIGHUP as it is at a terminal.
const DEFAULT: &str = "--default-signal=HUP";

/// A started command, ended by signals once that holds. How it takes SIGHUP would otherwise depend on how
/// the tests were started.
async fn ended_by(
    hangup: &str,
    arguments: &[&str],
    signals: &[Signal],
    when: impl AsyncFn() -> Option<()>,
) -> Option<i32> {
    let plain = program::command(arguments.iter().copied());
    let mut command = tokio::process::Command::new("env");
    command.arg(hangup).arg(plain.get_program()).args(plain.get_args());
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("accrue runs");
    // From now on nobody reads what it says.
    drop(child.stdout.take());
    eventually("it has come so far", when).await;
    for signal in signals {
        program::signal(child.id().expect("it runs"), *signal);
    }
    child.wait().await.expect("a child of ours").code()
}

#[tokio::test]
async fn no_command_leaves_its_cluster_behind_when_it_is_stopped_or_not_heard() {
    let dir = folder();
    let data_dir = dir.path().join("data");
    let ready = dir.path().join("ready");
    let data = data_dir.to_str().expect("a path of text");
    let ready_file = ready.to_str().expect("a path of text");
    let serve = ["serve", "--port", "0", "--data-dir", data, "--ready-file", ready_file];
    // A server serves although nobody reads its banner, and the end of its terminal is a stop.
    let served = async || {
        let url = std::fs::read_to_string(&ready).ok()?;
        let client = Client::new(url.trim());
        (client.get("/livez").await.status == 200).then_some(())
    };
    assert_eq!(ended_by(DEFAULT, &serve, &[Signal::HUP], served).await, Some(0));
    assert_eq!(postmaster(&data_dir), None, "after a server");
    std::fs::remove_file(&ready).expect("it was there");
    // Two signals are a stop at once, but here the first is none.
    let under_nohup = ended_by("--ignore-signal=HUP", &serve, &[Signal::HUP, Signal::TERM], served);
    assert_eq!(under_nohup.await, Some(0));
    assert_eq!(postmaster(&data_dir), None, "after a server under nohup");
    let started = async || postmaster(&data_dir).map(drop);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let code = ended_by(DEFAULT, &["verify", "--data-dir", data], &[signal], started).await;
        assert!(matches!(code, Some(0 | 1)), "{signal:?}: {code:?}");
        assert_eq!(postmaster(&data_dir), None, "{signal:?}");
    }
    let export = ["events", "export", "--data-dir", data];
    let unheard = ended_by(DEFAULT, &export, &[Signal::TERM], started).await;
    assert!(matches!(unheard, Some(0 | 1)), "{unheard:?}");
    assert_eq!(postmaster(&data_dir), None, "after an export that nobody reads");
}
