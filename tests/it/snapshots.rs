//! Snapshots: discardable, keyed by the shape of the state, never ahead of what is committed.

use accrue_domain::account::Account;
use accrue_domain::id::ProgramId;
use accrue_event_store::ledger::Ledger;
use accrue_tests::command::{issue, redeem, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use futures::future::join_all;

async fn grow(ledger: &Ledger, from: usize, to: usize) {
    let command = |at| ledger.execute(unkeyed(&format!("c{at}"), vec![issue("a", 1)]));
    for answer in join_all((from..to).map(command)).await {
        answer.expect("issued");
    }
}

async fn balance(ledger: &Ledger) -> i64 {
    let loaded = ledger.load::<Account>(&ProgramId::default(), "a").await.expect("readable");
    loaded.expect("there").0.balance()
}

async fn wait_for_snapshot(database: &Database) {
    while database.number("SELECT count(*) FROM snapshots").await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_long_stream_is_read_from_its_snapshot_and_comes_out_the_same() {
    let database = Database::create().await;
    let first = ledger::open(&database).await;
    grow(&first, 0, 1_200).await;
    wait_for_snapshot(&database).await;
    let covered = database.number("SELECT sequence FROM snapshots").await;
    assert!((1_000..=1_201).contains(&covered), "{covered}");
    grow(&first, 1_200, 1_300).await;
    assert_eq!(balance(&first).await, 1_300);
    // What the snapshot covers is not read again: a body that no build understands goes unnoticed.
    let spoil = "ALTER TABLE events DISABLE TRIGGER USER;
                 UPDATE events SET payload = '{\"PointsIssued\":{}}' WHERE sequence = 500";
    database.run(spoil).await;
    let second = ledger::open(&database).await;
    assert_eq!(balance(&second).await, 1_300);
    second.execute(unkeyed("more", vec![issue("a", 1)])).await.expect("goes on from there");
}

#[tokio::test]
async fn a_snapshot_of_another_shape_or_a_damaged_one_is_ignored() {
    for spoil in [
        "UPDATE snapshots SET shape = '\\x00'",
        "UPDATE snapshots SET state = '{\"unknown\": 1}'",
        "DELETE FROM snapshots",
    ] {
        let database = Database::create().await;
        let first = ledger::open(&database).await;
        grow(&first, 0, 1_100).await;
        wait_for_snapshot(&database).await;
        first.close().await;
        database.run(spoil).await;
        let second = ledger::open(&database).await;
        assert_eq!(balance(&second).await, 1_100, "{spoil}");
        second.execute(unkeyed("more", vec![issue("a", 1)])).await.expect("goes on");
    }
}

#[tokio::test]
async fn a_stream_of_any_length_comes_out_the_same() {
    let database = Database::create().await;
    let first = ledger::open(&database).await;
    // Around the length up to which a stream is read in one go; the first command opens, too.
    for points in [1, 2, 61, 62, 63, 64, 65, 200] {
        let id = format!("m{points}");
        let command = |at| {
            let (key, id) = (format!("{id}-{at}"), id.as_str());
            let first = &first;
            async move { first.execute(unkeyed(&key, vec![issue(id, 1)])).await }
        };
        for answer in join_all((0..points).map(command)).await {
            answer.expect("issued");
        }
        // Which makes no sense before what was issued.
        let spend = unkeyed(&format!("{id}-spend"), vec![redeem(&id, 1)]);
        first.execute(spend).await.expect("redeemed");
    }
    let second = ledger::open(&database).await;
    for points in [1, 2, 61, 62, 63, 64, 65, 200] {
        let id = format!("m{points}");
        let loaded = second.load::<Account>(&ProgramId::default(), &id).await.expect("readable");
        let (account, version) = loaded.expect("there");
        assert_eq!((account.balance(), version), (points - 1, points + 2), "{id}");
        let more = unkeyed(&format!("{id}-more"), vec![issue(&id, 1)]);
        second.execute(more).await.expect("goes on from there");
    }
}

#[tokio::test]
async fn an_event_is_never_read_under_a_part_of_its_name_or_version() {
    // The byte that stands between them where several events are read at a time.
    for column in ["event_type", "event_version"] {
        let database = Database::create().await;
        let first = ledger::open(&database).await;
        grow(&first, 0, 2).await;
        first.close().await;
        let spoil = format!(
            "ALTER TABLE events DISABLE TRIGGER USER;
             UPDATE events SET {column} = {column} || chr(30) || {column} WHERE sequence = 2"
        );
        database.run(&spoil).await;
        let second = ledger::open(&database).await;
        let loaded = second.load::<Account>(&ProgramId::default(), "a").await;
        let error = loaded.expect_err("unknown").to_string();
        assert!(error.contains("is unknown to this build"), "{column}: {error}");
    }
}

#[tokio::test]
async fn a_stream_with_a_gap_goes_on_behind_its_last_event() {
    let database = Database::create().await;
    let first = ledger::open(&database).await;
    grow(&first, 0, 3).await;
    first.close().await;
    let spoil = "ALTER TABLE events DISABLE TRIGGER USER; DELETE FROM events WHERE sequence = 2";
    database.run(spoil).await;
    let second = ledger::open(&database).await;
    let loaded = second.load::<Account>(&ProgramId::default(), "a").await.expect("readable");
    let (account, version) = loaded.expect("there");
    assert_eq!((account.balance(), version), (2, 4));
    second.execute(unkeyed("more", vec![issue("a", 1)])).await.expect("goes on from there");
}
