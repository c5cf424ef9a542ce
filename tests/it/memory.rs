//! Memory: what is packed, forgotten or read beforehand makes no difference but to the database's work.

use accrue_event_store::executor::Limits;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_tests::command::{issue, keyed, redeem};
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::ledger;
use futures::future::join_all;
use sqlx::Executor as _;

const MANY: usize = 600;
const MIB: usize = 1 << 20;

/// A ledger with so much for its aggregates.
async fn with_room(database: &Database, cache_bytes_max: usize) -> Ledger {
    let limits = Limits { cache_bytes_max, ..Limits::default() };
    ledger::open_with(Config { limits, ..ledger::config(database) }).await
}

async fn until_filled(ledger: &Ledger) {
    let metrics = ledger.metrics();
    eventually("memory is filled", async || (metrics.cache_filling.get() == 0).then_some(())).await;
}

/// So many accounts get `points` each, or spend them where that is negative.
async fn each(ledger: &Ledger, accounts: std::ops::Range<usize>, round: &str, points: i64) {
    let commands = accounts.map(|at| {
        let account = format!("m{at}");
        let action = if points > 0 { issue(&account, points) } else { redeem(&account, -points) };
        let envelope = keyed(&format!("{round}-{at}"), vec![action]);
        async move { ledger.executor().submit(envelope).await.expect("taken").await }
    });
    for answer in join_all(commands).await {
        answer.expect("done");
    }
}

/// A database in which many accounts got 10 points each, from a ledger that is closed again.
async fn used_before() -> Database {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    each(&ledger, 0..MANY, "issue", 10).await;
    ledger.close().await;
    database
}

async fn loaded_beside(ledger: &Ledger, work: impl Future<Output = ()>) -> u64 {
    let before = ledger.metrics().aggregates_loaded.get();
    work.await;
    ledger.metrics().aggregates_loaded.get() - before
}

/// Points that are there, and whether every account's events are dense from 1.
async fn books(database: &Database) -> (i64, i64) {
    let points =
        "SELECT sum(CASE event_type WHEN 'PointsIssued' THEN 1 WHEN 'PointsRedeemed' THEN -1
                  ELSE 0 END * coalesce((payload -> event_type ->> 'points')::bigint, 0))::bigint
                  FROM events";
    let gaps = "SELECT count(*) FROM (SELECT 1 FROM events GROUP BY aggregate_type, aggregate_id
                HAVING max(sequence) <> count(*)) AS gaps";
    (database.number(points).await, database.number(gaps).await)
}

#[tokio::test]
async fn a_ledger_that_starts_reads_the_accounts_that_were_used_last() {
    let database = used_before().await;
    let after = ledger::open(&database).await;
    until_filled(&after).await;
    let loaded = loaded_beside(&after, each(&after, 0..MANY, "spend", -7)).await;
    // The program's settings.
    assert!(loaded <= 1, "{loaded} were loaded");
    assert_eq!(after.metrics().batches_rejected.get(), 0);
    assert_eq!(books(&database).await, (3 * 600, 0));
}

#[tokio::test]
async fn what_was_read_beforehand_and_is_old_by_now_does_no_harm() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    each(&one, 0..MANY, "issue", 10).await;
    let two = ledger::open(&database).await;
    until_filled(&two).await;
    each(&one, 0..MANY, "more", 5).await;
    // More than it knows of; what it would refuse is looked for, what it would write meets the index.
    each(&two, 0..MANY / 2, "spend", -15).await;
    each(&two, MANY / 2..MANY, "issue-two", 1).await;
    assert_eq!(books(&database).await, (16 * 300, 0));
}

#[tokio::test]
async fn memory_that_has_no_room_is_filled_with_nothing() {
    let database = used_before().await;
    let after = with_room(&database, 0).await;
    until_filled(&after).await;
    let loaded = loaded_beside(&after, each(&after, 0..MANY, "spend", -10)).await;
    assert!(loaded >= 600, "{loaded} were loaded");
    assert_eq!(books(&database).await, (0, 0));
}

#[tokio::test]
async fn what_was_packed_or_forgotten_is_as_it_was() {
    // There is room for some 33,000 of them, of which 4,000 are whole.
    const CROWD: usize = 40_000;
    let database = Database::create().await;
    let ledger = with_room(&database, 10 * MIB).await;
    for from in (0..CROWD).step_by(4_000) {
        each(&ledger, from..from + 4_000, "issue", 10).await;
    }
    // What came last is not tidied up yet.
    assert!(ledger.metrics().cached_bytes.get() <= 11 << 20);
    // The last were packed, the first forgotten.
    let packed = CROWD - 11_000..CROWD - 9_000;
    let loaded = loaded_beside(&ledger, each(&ledger, packed, "spend-packed", -10)).await;
    assert!(loaded < 100, "{loaded} were loaded");
    let loaded = loaded_beside(&ledger, each(&ledger, 0..2_000, "spend-forgotten", -10)).await;
    assert!(loaded > 1_900, "{loaded} were loaded");
    assert_eq!(ledger.metrics().batches_rejected.get(), 0);
    assert_eq!(books(&database).await, (10 * 36_000, 0));
}

#[tokio::test]
async fn memory_is_filled_although_a_session_ends() {
    let database = used_before().await;
    let mut holder = database.connect().await;
    holder.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let after = ledger::open(&database).await;
    let reads = "wait_event_type = 'Lock' AND query LIKE 'SELECT DISTINCT%'";
    database.until_sessions(reads, 1).await;
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND {reads}"
    );
    assert_eq!(database.number(&end).await, 1);
    holder.execute("COMMIT").await.expect("unlocked");
    until_filled(&after).await;
    let loaded = loaded_beside(&after, each(&after, 0..MANY, "spend", -7)).await;
    assert!(loaded <= 1, "{loaded} were loaded");
}

#[tokio::test]
async fn memory_is_not_filled_where_nobody_wants_that() {
    let database = used_before().await;
    let limits = Limits { fill_memory: false, ..Limits::default() };
    let after = ledger::open_with(Config { limits, ..ledger::config(&database) }).await;
    until_filled(&after).await;
    let loaded = loaded_beside(&after, each(&after, 0..MANY, "spend", -7)).await;
    assert!(loaded >= 600, "{loaded} were loaded");
}
