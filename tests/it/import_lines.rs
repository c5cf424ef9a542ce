//! Real invoices line by line, with their cancellations, through the public API.
//!
//! The figures were counted once apart from this program, by a script that read the file row by
//! row with decimals: rows of one `InvoiceNo` together; a row refused whose quantity has not the
//! sign of its invoice (30), or that belongs to an invoice without customer of which nothing has a
//! price (15); each row of a `C` invoice, by date, taken from the newest earlier invoice of its
//! customer that has so many of the code left. Of the 90 rows that match nothing most cancel what
//! was bought before the file begins. Points: `floor(total / 1000)` in pence for each of the 331
//! sales of a customer above 100.00, and of them `floor(points * returned / total)` reversed.

use std::process::Stdio;
use std::time::Duration;

use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::history;
use accrue_tests::program;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

/// How long the demo may take to its next line, on a machine that is busy with others.
const DEMO_MAX: Duration = Duration::from_secs(300);

/// Events of the log by their names.
async fn events(database: &Database) -> String {
    let sql = "SELECT event_type || ' ' || count(*) FROM events GROUP BY event_type ORDER BY 1";
    database.texts(sql).await.join(", ")
}

/// Numbers of the table, by their names.
fn figures(table: &str) -> String {
    let rows = table.lines().take_while(|line| line.starts_with("  "));
    let squeezed = rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
    squeezed.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn real_invoices_line_by_line_come_to_the_known_figures_once() {
    let (database, server) = Server::create().await;
    let client = server.client();
    history::campaign(&client).await;
    let said = history::import_lines(&server.url, "default").await;
    let (reported, table) = (said.err.clone(), said.expect_success());
    assert_snapshot!(figures(&table), @r"
    invoices 467
    sales 424
    anonymous 23
    lines 9,855
    charges among the lines 36
    returns 9
    rows matched 10
    rows unmatched 90
    rows refused 45
    rows 10,000
    sold, GBP 184,248.33
    returned, GBP 184.00
    ");
    assert!(table.contains("433 recorded, 0 already there"), "{table}");
    assert_eq!(reported.lines().filter(|it| it.starts_with("line ")).count(), 90 + 45);
    let discount = "line 143: a discount of 27.50 GBP to 14527: no amount of a sale is below zero";
    assert!(reported.lines().any(|line| line == discount), "{reported}");

    // What is in the log is what the table says.
    history::settled(&database).await;
    let counted = events(&database).await;
    assert!(counted.contains("SaleRecorded 424, SaleReturned 9"), "{counted}");
    assert!(counted.contains("AccountOpened 303,"), "{counted}");
    let sum = |what: &str| format!("SELECT coalesce(sum(({what})::bigint), 0)::bigint FROM events");
    let of = async |what: &str| database.number(&sum(what)).await;
    assert_eq!(of("payload->'SaleRecorded'->'total'->>'amount'").await, 18_424_833);
    assert_eq!(of("payload->'SaleReturned'->'amount'->>'amount'").await, 18_400);
    let of_lines =
        "SELECT count(*) FROM events, json_array_elements(payload->'SaleRecorded'->'lines') l";
    assert_eq!(database.number(of_lines).await, 9_855);
    let charges = format!("{of_lines} WHERE l->>'kind' = 'charge'");
    assert_eq!(database.number(&charges).await, 36);

    // Returns take back their share of the points; who is nobody earns nothing.
    assert!(counted.contains("PointsIssued 331,"), "{counted}");
    assert_eq!(of("payload->'PointsIssued'->>'points'").await, 14_358);
    let mut points = 0;
    let mut path = "/v1/accounts?limit=500".to_owned();
    loop {
        let page = client.get(&path).await.expect(200).json();
        let items = page["items"].as_array().expect("items").iter();
        points += items.filter_map(|it| it["available"].as_i64()).sum::<i64>();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/accounts?limit=500&cursor={next}");
    }
    assert_eq!(points, 14_358 - 13);
    let anonymous = client.get("/v1/sales/536544").await.expect(200).json();
    assert_eq!(
        (&anonymous["account"], anonymous["lines"].as_array().map(Vec::len)),
        (&Value::Null, Some(527))
    );
    assert_eq!(anonymous["points"]["earned"], 0);

    // A cancellation took 24 of line 88 back, and 2 of the 34 points.
    let sale = client.get("/v1/sales/537144").await.expect(200).json();
    assert_eq!(sale["total"]["amount"], 34_328);
    assert_eq!(sale["returned"]["amount"], 3_000);
    assert_eq!((&sale["points"]["earned"], &sale["points"]["reversed"]), (&json!(34), &json!(2)));

    let head = "SELECT position FROM log_head";
    let before = database.number(head).await;
    let again = history::import_lines(&server.url, "default").await.expect_success();
    assert_eq!(figures(&again), figures(&table));
    assert!(again.contains("0 recorded, 433 already there"), "{again}");
    history::settled(&database).await;
    assert_eq!(database.number(head).await, before, "importing again changes nothing");
    history::verify(&database).await.expect_success();
}

const MAP: &str = "id=no,occurred_at=when,account=who,product=what,quantity=many,price=each";

#[tokio::test]
async fn a_file_of_lines_goes_in_without_its_bad_rows_and_says_which() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    // An id that is taken by another sale, whose return then has nothing to come back to.
    let taken = json!({"id": "7", "total": {"amount": 1, "currency": "GBP"}});
    client.post("/v1/sales", taken).await.expect(201);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("lines.csv");
    let text = "no,when,who,what,many,each\n\
                1,2026-01-01,ann,mug,3,0.335\n\
                1,yesterday,ann,tray,1,1\n\
                7,2026-01-01,ann,cup,2,1\n\
                C8,2026-01-02,ann,mug,-1,0.335\n\
                1,2026-01-01,ann,Versand,1,5\n\
                C9,2026-01-03,ann,mug,-2,0.335\n\
                C9,2026-01-03,ann,cup,-1,1\n\
                C9,2026-01-03,ann,tray,-1,1\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path of text");
    let import = ["import", "sales", "--lines", file, "--map", MAP, "--url", &server.url];
    let said = program::run(import.into_iter().chain(["--charges", "Versand"])).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_snapshot!(said.err, @r#"
    line 3: occurred_at: expected a date such as 2010-12-01 or 2010-12-01T08:26:00Z, got "yesterday"
    line 9: ann has no earlier invoice with tray
    line 4: the sale exists with other content (sale-exists, 409)
    line 8: sale 7, which it takes back, was refused
    "#);
    assert_snapshot!(figures(&said.out), @r"
    invoices 4
    sales 1
    anonymous 0
    lines 2
    charges among the lines 1
    returns 2
    rows matched 2
    rows unmatched 1
    rows refused 3
    rows 8
    sold, GBP 6.01
    returned, GBP 1.01
    ");
    let sale = client.get("/v1/sales/1").await.expect(200).json();
    assert_snapshot!(sale["lines"].to_string(), @r#"[{"amount":101,"product":"mug","quantity":3},{"amount":500,"kind":"charge","product":"Versand","quantity":1}]"#);
    assert_eq!(sale["returned"]["amount"], 33 + 68);

    let wrong = ["import", "sales", "--lines", file, "--map", "id=no", "--url", &server.url];
    let wrong = program::run(wrong).await;
    assert_snapshot!(wrong.err, @"error: --map: missing: occurred_at=COLUMN,product=COLUMN,quantity=COLUMN,price=COLUMN");
    let without = ["import", "sales", file, "--map", MAP, "--charges", "x", "--url", &server.url];
    assert!(program::run(without).await.err.contains("--lines"), "charges are of lines");
}

#[tokio::test]
async fn a_line_says_whether_it_is_a_charge() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let sale = |kind: Value| {
        let line = json!({"product": "POST", "quantity": 1, "amount": 500, "kind": kind});
        json!({"id": "s", "total": {"amount": 500, "currency": "GBP"}, "lines": [line]})
    };
    let refused = client.post("/v1/sales", sale(json!("refund"))).await;
    assert_snapshot!(refused.problem(), @"422 invalid-request /lines/0/kind");
    client.post("/v1/sales", sale(json!("charge"))).await.expect(201);
    let lines = client.get("/v1/sales/s").await.expect(200).json()["lines"].to_string();
    assert_snapshot!(lines, @r#"[{"amount":500,"kind":"charge","product":"POST","quantity":1}]"#);
}

/// The version of each product, and the units that are there.
async fn products(database: &Database) -> String {
    let sql = "SELECT count(DISTINCT aggregate_id) || ' products, '
                 || count(*) FILTER (WHERE event_type = 'ProductCreated') || ' created, '
                 || coalesce(sum((payload->'StockAdjusted'->>'delta')::bigint), 0) || ' units'
                 FROM events WHERE aggregate_type = 'product'";
    database.text(sql).await
}

#[tokio::test]
async fn the_demo_offers_what_the_lines_sold_once() {
    let database = Database::create().await;
    let demo = async || {
        let demo = ["demo", "--once", "--port", "0", "--database-url", &database.url];
        program::run(demo).await.expect_success()
    };
    // 1,985 codes were sold for money at least once and are no charge.
    assert!(figures_of(&demo().await).contains("products 1,985"));
    assert_eq!(products(&database).await, "1985 products, 1985 created, 1985000 units");
    // The most frequent description, and the most frequent price of 85123A.
    let details = "SELECT payload->'ProductCreated'->>'name' || ' ' || (payload->'ProductCreated'->'price'->>'amount')
                     FROM events WHERE event_type = 'ProductCreated' AND aggregate_id = 'default/85123A'";
    assert_eq!(database.text(details).await, "WHITE HANGING HEART T-LIGHT HOLDER 295");
    let before = database.number("SELECT position FROM log_head").await;
    // Keys are kept for some time only: what is there is not done again without them either.
    database.run("DELETE FROM idempotency").await;
    assert!(figures_of(&demo().await).contains("products 1,985"));
    assert_eq!(database.number("SELECT position FROM log_head").await, before);
}

#[tokio::test]
async fn the_demo_shows_what_it_did_and_serves_on_until_it_is_told_to_stop() {
    let database = Database::create().await;
    let arguments = ["demo", "--port", "0", "--database-url", &database.url];
    let mut command = tokio::process::Command::from(program::command(arguments));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut demo = command.spawn().expect("it runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("it is piped")).lines();
    let mut said = String::new();
    while !said.contains("Serving on") {
        let line = timeout(DEMO_MAX, lines.next_line()).await.expect("in time").expect("readable");
        said.push_str(&line.expect("it goes on"));
        said.push('\n');
    }
    let figures = figures_of(&said);
    for figure in [
        "customers 4,338",
        "invoices 18,532",
        "points issued 872,537",
        "available ",
        "expiring in 30 days ",
        "top accounts",
    ] {
        assert!(figures.contains(figure), "{figure}: {said}");
    }
    let lots = "FROM read.balance_lots WHERE expires_at > now()";
    let soon = "coalesce(sum(free) FILTER (WHERE expires_at <= now() + interval '30 days'), 0)";
    let top =
        format!("SELECT account, sum(free) AS points {lots} GROUP BY 1 ORDER BY 2 DESC LIMIT 1");
    for figure in [
        format!("SELECT 'available ' || to_char(sum(free), 'FM999,999,999') {lots}"),
        format!("SELECT 'expiring in 30 days ' || to_char({soon}, 'FM999,999,999') {lots}"),
        format!(
            "SELECT 'top accounts' || chr(10) || account || ' ' || to_char(points, 'FM999,999,999') FROM ({top}) AS top"
        ),
    ] {
        let figure = database.text(&figure).await;
        assert!(figures.contains(&figure), "{figure}: {said}");
    }
    let url = said.split_whitespace().find_map(|it| it.strip_suffix("/v1/accounts/12748"));
    let url = url.expect("what to try").to_owned();
    Client::new(&url).get("/readyz").await.expect(200);
    program::signal(demo.id().expect("it runs"), Signal::TERM);
    let status = timeout(DEMO_MAX, demo.wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(0));
}

/// The table of the demo stands behind other lines.
fn figures_of(said: &str) -> String {
    said.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}
