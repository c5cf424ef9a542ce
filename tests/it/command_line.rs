//! The program as it is used from a shell: where its settings come from, what it takes from files,
//! and what it says.

use std::path::Path;
use std::process::Stdio;

use accrue_tests::database::Database;
use accrue_tests::eventually::WAIT_MAX;
use accrue_tests::program::{self, Said};
use accrue_tests::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_a_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("accrue.toml");
    std::fs::write(&file, "port = 1111\n").expect("written");
    let shown = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = program::command(["config", "show"]);
        let output = command.current_dir(dir.path()).args(flags).envs(environment.to_vec());
        let said = Said::from(output.output().expect("it runs")).expect_success();
        let row = said.lines().find(|line| line.starts_with("  port "));
        row.expect("the port is told").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let variable = [("ACCRUE_PORT", "2222")];
    assert_eq!(shown(&[], &[]), "port 1111 (file ./accrue.toml)");
    assert_eq!(shown(&["--port", "3333"], &variable), "port 3333 (flag --port)");
    assert_eq!(shown(&[], &variable), "port 2222 (environment ACCRUE_PORT)");
    assert_eq!(shown(&["--config", text(&file)], &[]), format!("port 1111 (file {})", text(&file)));
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(shown(&[], &[]), "port 8080 (default)");
}

#[tokio::test]
async fn the_server_and_the_program_of_a_command_are_settings_like_others() {
    let (_database, server) = Server::create().await;
    let acme = server.client().of_program("acme");
    acme.post("/v1/accounts/ann/points/issue", json!({"points": 1})).await.expect(201);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("accrue.toml");
    let said = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = program::command(arguments.iter().copied());
        let output = command.current_dir(dir.path()).envs(environment.to_vec()).output();
        Said::from(output.expect("it runs"))
    };
    let tail = ["events", "tail", "--after", "0"];
    std::fs::write(&file, format!("url = '{}'\nprogram = 'acme'\n", server.url)).expect("written");
    assert_eq!(said(&tail, &[]).expect_success().lines().count(), 2);
    let other = [("ACCRUE_PROGRAM", "other")];
    assert_eq!(said(&tail, &other).expect_success().lines().count(), 0);
    let flag = [&tail[..], &["--program", "acme"]].concat();
    assert_eq!(said(&flag, &other).expect_success().lines().count(), 2);

    let shown = said(&["config", "show"], &other).expect_success();
    let row = |name: &str| {
        let row = shown.lines().find(|line| line.trim_start().starts_with(name));
        row.expect("it is told").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("url "), format!("url {} (file ./accrue.toml)", server.url));
    assert_eq!(row("program "), "program other (environment ACCRUE_PROGRAM)");

    std::fs::write(&file, "port = 1\n").expect("written");
    let slip = said(&["config", "show"], &[("ACCRUE_PROT", "1"), ("ACCRUE_PORT", "0")]);
    assert_eq!((slip.code, &*slip.err), (Some(0), "note: ACCRUE_PROT is no setting\n"));
    let shown = said(&["config", "show"], &[]).expect_success();
    assert!(shown.contains("http://127.0.0.1:1 "), "where it would be served: {shown}");
    let shown = said(&["config", "show", "--listen", "::1"], &[]).expect_success();
    assert!(shown.contains("http://[::1]:1 "), "where it would be served: {shown}");
    // One that was meant for a database is told of before another database is served.
    let serve = ["serve", "--port", "0"];
    let show = ["config", "show"];
    for (url, commands) in [
        ("https://there/", &[&tail[..], &show[..]][..]),
        ("http://a:hunter2@there", &[&tail[..], &show[..]][..]),
        ("a:hunter2@there", &[&tail[..], &show[..]][..]),
        ("postgres://a:hunter2@there/b", &[&tail[..], &show[..], &serve[..]][..]),
    ] {
        std::fs::write(&file, format!("url = '{url}'\n")).expect("written");
        for command in commands {
            let wrong = said(command, &[]);
            assert_ne!(wrong.code, Some(0));
            assert!(wrong.err.contains("url: expected the URL of a server"), "{wrong:?}");
            assert!(!(wrong.err + &wrong.out).contains("hunter2"), "{command:?}");
        }
    }
    std::fs::remove_file(&file).expect("removed");
    let wrong = said(&[&tail[..], &["--program", "A b"]].concat(), &[]);
    assert!(wrong.err.contains("program: expected lower-case letters"), "{wrong:?}");
    assert!(wrong.err.contains("(flag --program)"), "{wrong:?}");
}

#[tokio::test]
async fn every_shell_is_told_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program::run(["completion", shell]).await.expect_success();
        for word in ["accrue", "import", "projections", "shift-to-today"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

const MAP: &str = "id=no,occurred_at=time,account=member,total=total";

async fn import(server: &Server, file: &Path, more: &[&str]) -> Said {
    import_as(MAP, server, file, more).await
}

async fn import_as(map: &str, server: &Server, file: &Path, more: &[&str]) -> Said {
    let import = ["import", "sales", text(file), "--map", map, "--url", &server.url];
    program::run(import.into_iter().chain(more.iter().copied())).await
}

/// What the sales of the log say, the earliest first.
async fn sales(database: &Database, of_each: &str) -> Vec<String> {
    let sql = format!(
        "SELECT {of_each} FROM events, LATERAL (SELECT payload->'SaleRecorded') AS sale(body)
          WHERE event_type = 'SaleRecorded' ORDER BY metadata->>'occurred_at'"
    );
    database.texts(&sql).await
}

#[tokio::test]
async fn a_file_of_json_lines_is_imported_once_and_its_bad_rows_are_told() {
    let (database, server) = Server::create().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("sales.ndjson");
    let good = [
        json!({"no": "s1", "time": "2026-01-05T10:00:00Z", "member": "ann", "total": "12.345"}),
        json!({"no": "s2", "time": "2026-01-06T10:00:00Z", "member": "bob", "total": 7.5}),
    ]
    .map(|row| row.to_string());
    let lines = [&good[0], "no JSON", &good[1], r#"{"no": "s3", "total": "1"}"#].join("\n");
    std::fs::write(&file, lines).expect("written");

    let said = import(&server, &file, &[]).await;
    let told: Vec<_> = said.err.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(told.len(), 2, "{}", said.err);
    assert!(told[0].starts_with("line 2: expected a JSON object"), "{}", told[0]);
    assert!(told[1].starts_with("line 4: occurred_at: expected a date"), "{}", told[1]);
    said.expect_success();
    let of_each = "body->>'account' || ' ' || (body->'total'->>'amount')";
    assert_eq!(sales(&database, of_each).await, ["ann 1235", "bob 750"]);
    let count = "SELECT count(*) FROM events";
    let before = database.number(count).await;
    let again = import(&server, &file, &[]).await.expect_success();
    assert!(again.contains("0 sales recorded, 2 already there"), "{again}");
    assert_eq!(database.number(count).await, before);
    // A field that no row has is no field that all leave out.
    let map = "id=no,occurred_at=time,account=memebr,total=total";
    let said = import_as(map, &server, &file, &[]).await;
    let no_such = r#"error: no row of the file has a field "memebr""#;
    assert!(said.err.starts_with(no_such), "{said:?}");
    assert_eq!((said.code, database.number(count).await), (Some(1), before));
    let said = import_as(map, &server, &file, &["--print"]).await;
    assert!(said.err.starts_with(no_such) && said.out.is_empty(), "{said:?}");
    let row = json!({"no": "s9", "time": "2026-01-05T10:00:00Z", "member": "ann", "what": "pen",
                     "count": 1, "each": 2});
    std::fs::write(&file, row.to_string()).expect("written");
    let map = "id=no,occurred_at=time,account=memebr,product=what,quantity=count,price=each";
    let said = import_as(map, &server, &file, &["--lines"]).await;
    assert!(said.err.starts_with(no_such), "{said:?}");
    assert_eq!((said.code, database.number(count).await), (Some(1), before));
}

#[tokio::test]
async fn history_is_moved_so_that_it_ends_today_and_stays_where_it_is() {
    let (database, server) = Server::create().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("sales.csv");
    // No clock time: midnight is never still to come, so the last sale lands on today.
    let rows = "no,time,member,total\ns1,2011-12-07,ann,1\ns2,2011-12-09,ann,2\n";
    std::fs::write(&file, rows).expect("written");
    let today = async || database.text("SELECT (now() AT TIME ZONE 'UTC')::date::text").await;
    let first = today().await;
    import(&server, &file, &["--shift-to-today"]).await.expect_success();
    let last = today().await;
    let days = async || sales(&database, "left(metadata->>'occurred_at', 10)").await;
    let moved = days().await;
    assert!(moved.len() == 2 && (moved[1] == first || moved[1] == last), "{moved:?}, {first}");
    // A file that ends earlier is moved as what is there was, not so that it ends today.
    let rows = "no,time,member,total\ns1,2011-12-07,ann,1\ns3,2011-12-08,ann,3\n";
    std::fs::write(&file, rows).expect("written");
    let said = import(&server, &file, &["--shift-to-today"]).await.expect_success();
    assert!(said.contains("1 sales recorded, 1 already there"), "{said}");
    let days = days().await;
    let between =
        |late: &str, early: &str| format!("SELECT (date '{late}' - date '{early}')::bigint");
    assert_eq!(days.len(), 3, "{days:?}");
    assert_eq!((&days[0], &days[2]), (&moved[0], &moved[1]));
    assert_eq!(database.number(&between(&days[1], &days[0])).await, 1);
    assert_eq!(database.number(&between(&days[2], &days[1])).await, 1);
}

#[tokio::test]
async fn history_stays_where_it_is_though_its_first_rows_were_refused() {
    let (database, server) = Server::create().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("sales.csv");
    let import = async |last: &str| {
        // Only the server knows that the program has another currency than the first row, and that
        // the second one's id is a sale at the till.
        let rows = [
            "no,time,member,total,in",
            "s0,2011-12-06,ann,1,EUR",
            "till,2011-12-06,ann,1,GBP",
            "s1,2011-12-07,ann,1,GBP",
            last,
        ];
        std::fs::write(&file, rows.join("\n")).expect("written");
        let map = format!("{MAP},currency=in");
        let said = import_as(&map, &server, &file, &["--shift-to-today"]).await;
        assert!(said.err.contains("line 2: ") && said.err.contains("line 3: "), "{}", said.err);
        said.expect_success()
    };
    let total = json!({"amount": 5, "currency": "GBP"});
    server.client().post("/v1/sales", json!({"id": "till", "total": total})).await.expect(201);
    let said = import("s2,2011-12-09,ann,2,GBP").await;
    assert!(said.contains("2 sales recorded, 0 already there"), "{said}");
    let said = import("s3,2011-12-08,ann,3,GBP").await;
    assert!(said.contains("1 sales recorded, 1 already there"), "{said}");
    let of_each = "left(metadata->>'occurred_at', 10)";
    let days = sales(&database, of_each).await;
    assert_eq!(days.len(), 4, "{days:?}");
    let between = format!("SELECT (date '{}' - date '{}')::bigint", days[1], days[0]);
    assert_eq!(database.number(&between).await, 1, "{days:?}");
}

#[tokio::test]
async fn the_end_of_the_log_is_followed() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let issue = async |account: &str| {
        let path = format!("/v1/accounts/{account}/points/issue");
        client.post(&path, json!({"points": 1})).await.expect(201)
    };
    issue("a").await;
    let tail = ["events", "tail", "--follow", "--after", "0", "--type", "PointsIssued"];
    let command = program::command(tail.into_iter().chain(["--url", &*server.url]));
    let mut command = tokio::process::Command::from(command);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = async || {
        let line = timeout(WAIT_MAX, lines.next_line()).await.expect("in time").expect("readable");
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        event["subject"].as_str().expect("a subject").to_owned()
    };
    assert_eq!(next().await, "account/a");
    // It has told all there is, and waits for more.
    issue("b").await;
    assert_eq!(next().await, "account/b");
    child.kill().await.expect("ended");
}
