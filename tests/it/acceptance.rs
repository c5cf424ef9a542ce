//! The real history through the public API: the figures, again, and from nothing.

use accrue_projections::model::MODELS;
use accrue_tests::history::{self, FIGURES};
use accrue_tests::program;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::Value;

#[tokio::test]
async fn a_year_of_real_sales_comes_to_the_known_figures_once() {
    let (database, mut server) = Server::create().await;
    let client = server.client();
    history::campaign(&client).await;
    history::import(&server.url, "default").await.expect_success();
    history::settled(&database).await;
    assert_eq!(history::figures(&database, "default").await, FIGURES);
    let campaign = client.get("/v1/campaigns/tenth").await.expect(200).json();
    assert_eq!((&campaign["awards"], &campaign["points"]), (&16_355.into(), &872_537.into()));
    let head = "SELECT position FROM log_head";
    let before = database.number(head).await;
    assert_eq!(before, 18_532 + 4_338 + 16_355 + 2);

    let again = history::import(&server.url, "default").await.expect_success();
    assert!(again.contains("18,532"), "{again}");
    history::settled(&database).await;
    assert_eq!(database.number(head).await, before, "importing again changes nothing");
    history::verify(&database).await.expect_success();

    // What every client can read comes to the same.
    let (mut accounts, mut available) = (0, 0);
    let mut path = "/v1/accounts?limit=500".to_owned();
    loop {
        let page = client.get(&path).await.expect(200).json();
        let items = page["items"].as_array().expect("items");
        accounts += items.len();
        available += items.iter().filter_map(|it| it["available"].as_i64()).sum::<i64>();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/accounts?limit=500&cursor={next}");
    }
    assert_eq!((accounts, available), (4_338, 872_537));
    let events = client.with("accept", "application/x-ndjson").get("/v1/events").await.expect(200);
    assert_eq!(i64::try_from(events.text.lines().count()).ok(), Some(before));

    // Built beside the live one, dropped with all that is known of them, and byte-equal each time.
    let live = history::read_models(&database).await;
    let filled = live.iter().filter(|(_, rows)| !rows.is_empty()).count();
    assert!(filled >= 3, "{:?}", live.iter().map(|it| &it.0).collect::<Vec<_>>());
    for name in MODELS.map(|model| model.name) {
        let arguments = ["projections", "rebuild", name, "--database-url", &database.url];
        program::run(arguments).await.expect_success();
        client.get("/v1/accounts/17850").await.expect(200);
    }
    history::settled(&database).await;
    same(&live, &history::read_models(&database).await);
    server.sigterm();
    assert!(server.exit().await.success(), "{}", server.log());
    database.run("DROP SCHEMA read CASCADE; CREATE SCHEMA read").await;
    database
        .run(
            "DELETE FROM checkpoints
              WHERE follower IN ('balances', 'statement', 'campaigns', 'stock', 'wallets',
                                 'orders', 'sagas', 'takings')",
        )
        .await;
    server.restart().await;
    history::settled(&database).await;
    same(&live, &history::read_models(&database).await);
    assert_eq!(database.number(head).await, before);
}

fn same(before: &[(String, String)], after: &[(String, String)]) {
    let names =
        |it: &[(String, String)]| it.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(before), names(after));
    for ((name, before), (_, after)) in before.iter().zip(after) {
        let differing = before.lines().zip(after.lines()).find(|(before, after)| before != after);
        assert_eq!(differing, None, "{name}");
        assert!(before == after, "{name}");
    }
}

#[tokio::test]
async fn a_file_with_bad_rows_goes_in_without_them_and_says_which() {
    let (database, server) = Server::create().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("till.csv");
    let text = "id,when,who,sum\n\
                1,2026-01-31,ann,1.005\n\
                2,yesterday,ann,1\n\
                3,2026-01-31,ann,a lot\n\
                4,2026-01-31,,2.50\n\
                ,2026-01-31,ann,1\n\
                5,2026-01-31,a b,1\n\
                6,2026-01-31,bob,-1\n\
                7,2026-01-31\n\
                8,2026-01-31,bob,22.200000000000003\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path of text");
    let map = "id=id,occurred_at=when,account=who,total=sum";
    let import = ["import", "sales", file, "--map", map, "--url", &server.url];
    let said = program::run(import).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    for line in [3, 4, 6, 7, 8, 9] {
        assert!(all.contains(&format!("line {line}")), "line {line} in\n{all}");
    }
    let totals = database.texts(
        "SELECT (payload->'SaleRecorded'->'total'->>'amount') FROM events \
          WHERE event_type = 'SaleRecorded' ORDER BY position",
    );
    assert_snapshot!(totals.await.join(" "), @"101 250 2220");
    let lost = program::run([
        "import",
        "sales",
        file,
        "--map",
        map,
        "--url",
        "http://127.0.0.1:9",
        "--retry-for",
        "0",
    ]);
    let lost = lost.await;
    assert_eq!((lost.code, lost.err.lines().count()), (Some(1), 1), "{lost:?}");
}

#[tokio::test]
async fn the_log_is_exported_whole_and_its_tail_shown() {
    let (database, server) = Server::create().await;
    let client = server.client();
    for account in ["ann", "bob", "ann"] {
        let path = format!("/v1/accounts/{account}/points/issue");
        client.post(&path, serde_json::json!({"points": 1})).await.expect(201);
    }
    let api = client.with("accept", "application/x-ndjson").get("/v1/events").await.lines();
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let export = program::run(["events", "export", "--database-url", &database.url]).await;
    assert_eq!(lines(&export.expect_success()), api);
    let tail = ["events", "tail", "--after", "1", "--account", "ann", "--url", &server.url];
    let tail = lines(&program::run(tail).await.expect_success());
    assert_eq!(tail, [api[1].clone(), api[4].clone()]);
    // The last of those that are asked for, however much of others came behind them.
    for _ in 0..25 {
        let path = "/v1/accounts/cy/points/issue";
        client.of_program("other").post(path, serde_json::json!({"points": 1})).await.expect(201);
    }
    let last = async |more: &[&str]| {
        let tail = ["events", "tail", "--url", &server.url].into_iter().chain(more.iter().copied());
        lines(&program::run(tail).await.expect_success())
    };
    assert_eq!(last(&[]).await, api);
    assert_eq!(last(&["--account", "ann", "--type", "PointsIssued"]).await, tail);
    assert_eq!(last(&["--program", "other"]).await.len(), 20);
    assert!(last(&["--account", "nobody"]).await.is_empty());
}

#[tokio::test]
async fn verify_names_the_first_position_that_was_tampered_with() {
    let (database, server) = Server::create().await;
    let client = server.client();
    for _ in 0..5 {
        client
            .post("/v1/accounts/ann/points/issue", serde_json::json!({"points": 5}))
            .await
            .expect(201);
    }
    history::settled(&database).await;
    drop(server);
    history::verify(&database).await.expect_success();
    database
        .run(
            "ALTER TABLE events DISABLE TRIGGER USER;
         UPDATE events SET payload = replace(payload::text, ':5', ':6')::json WHERE position = 4;
         ALTER TABLE events ENABLE TRIGGER USER",
        )
        .await;
    let said = history::verify(&database).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("position 4"), "{said:?}");
}
