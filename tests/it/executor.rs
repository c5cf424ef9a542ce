//! The executor: nothing lost, nothing twice, whoever competes.

use std::collections::BTreeSet;
use std::time::Duration;

use accrue_domain::account::Account;
use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::ProgramId;
use accrue_domain::program::{self, Settings};
use accrue_event_store::executor::{Limits, RETRY_AFTER, RawEvent, RawStream};
use accrue_event_store::ledger::{Config, Ledger};
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_tests::command::{issue, keyed, redeem, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::eventually::WAIT_MAX;
use accrue_tests::ledger;
use futures::future::join_all;

async fn positions_are_dense(database: &Database) {
    let sql = "SELECT count(*) - coalesce(max(position), 0) FROM events";
    assert_eq!(database.number(sql).await, 0);
    let gaps = "SELECT count(*) FROM (SELECT max(sequence) - count(*) AS gap FROM events
                 GROUP BY aggregate_type, aggregate_id) s WHERE gap <> 0";
    assert_eq!(database.number(gaps).await, 0);
}

/// Until so many sessions wait for a lock that somebody else has.
async fn until_waiting(database: &Database, sessions: i64) {
    database.until_sessions("wait_event_type = 'Lock'", sessions).await;
}

#[tokio::test]
async fn of_fifty_redeems_of_everything_one_succeeds() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    ledger.execute(unkeyed("i", vec![issue("a", 100)])).await.expect("points are issued");
    let redeem = |at: i32| ledger.execute(keyed(&format!("r{at}"), vec![redeem("a", 100)]));
    let answers = join_all((0..50).map(redeem)).await;
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1);
    let refused = |it: &&Result<Receipt, ExecuteError>| matches!(it, Err(ExecuteError::Refused { refusal, .. }) if refusal.code == "insufficient-points");
    assert_eq!(answers.iter().filter(refused).count(), 49);
}

#[tokio::test]
async fn whoever_finds_the_queue_full_is_told_to_come_back_and_nothing_is_done() {
    let database = Database::create().await;
    let limits = Limits { queue_commands_max: 1, ..Limits::default() };
    let ledger = ledger::open_with(Config { limits, ..ledger::config(&database) }).await;
    // All are offered in one go, before any answer is looked at.
    let issue = |at: i32| ledger.execute(keyed(&format!("k{at}"), vec![issue("a", 1)]));
    let answers = join_all((0..2_000).map(issue)).await;
    let busy = ExecuteError::Busy { retry_after: RETRY_AFTER };
    let turned_away = answers.iter().filter(|it| it.as_ref().is_err_and(|it| *it == busy)).count();
    assert!(turned_away > 0, "all {} had room", answers.len());
    let accepted = answers.iter().filter(|it| it.is_ok()).count();
    assert_eq!(accepted + turned_away, answers.len());
    let issued = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(usize::try_from(database.number(issued).await), Ok(accepted));
    // Whoever comes back under the same key is served.
    let at = answers.iter().position(Result::is_err).expect("one was turned away");
    let again = issue(i32::try_from(at).expect("a small number")).await.expect("accepted");
    assert!(!again.replayed);
    assert_eq!(usize::try_from(database.number(issued).await), Ok(accepted + 1));
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_also_after_a_restart() {
    let database = Database::create().await;
    let first = ledger::open(&database).await;
    let once = first.execute(keyed("k", vec![issue("a", 7)])).await.expect("accepted");
    let twice = first.execute(keyed("k", vec![issue("a", 7)])).await.expect("answered again");
    first.close().await;
    let second = ledger::open(&database).await;
    let thrice = second.execute(keyed("k", vec![issue("a", 7)])).await.expect("answered again");
    assert!(!once.replayed && twice.replayed && thrice.replayed);
    for again in [&twice, &thrice] {
        assert_eq!((again.position, again.version), (once.position, once.version));
        let rows = |it: &Receipt| {
            it.events.iter().map(|e| (e.position, e.row.clone())).collect::<Vec<_>>()
        };
        assert_eq!(rows(again), rows(&once));
    }
    let other = second.execute(keyed("k", vec![issue("a", 8)])).await;
    assert_eq!(other.expect_err("another request"), ExecuteError::KeyReused);
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        1
    );
}

#[tokio::test]
async fn twins_in_flight_have_one_effect() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let twins = (0..20).map(|_| ledger.execute(keyed("k", vec![issue("a", 7)])));
    let answers = join_all(twins).await;
    let positions: BTreeSet<_> = answers.iter().flatten().map(|it| it.position).collect();
    assert_eq!(positions.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|it| it.as_ref().is_ok_and(|it| !it.replayed)).count(), 1);
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        1
    );
}

#[tokio::test]
async fn a_decided_refusal_stays_a_refusal() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let no = ledger.execute(keyed("k", vec![redeem("a", 5)])).await.expect_err("nothing there");
    ledger.execute(unkeyed("i", vec![issue("a", 100)])).await.expect("points are issued");
    let again = ledger.execute(keyed("k", vec![redeem("a", 5)])).await.expect_err("still no");
    let (
        ExecuteError::Refused { refusal: first, replayed: false },
        ExecuteError::Refused { refusal, replayed: true },
    ) = (no, again)
    else {
        panic!("two refusals, the second replayed");
    };
    assert_eq!(first, refusal);
}

#[tokio::test]
async fn a_command_of_two_actions_happens_whole_or_not_at_all() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let both = ledger.execute(unkeyed("c1", vec![issue("a", 5), redeem("b", 1)])).await;
    assert!(matches!(both, Err(ExecuteError::Refused { .. })));
    assert_eq!(database.number("SELECT count(*) FROM events").await, 0);
    let both = ledger.execute(unkeyed("c2", vec![issue("a", 5), redeem("a", 5)])).await;
    assert_eq!(both.expect("the second sees the first").events.len(), 3);
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_keeps_nothing() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let dry = ledger.executor().dry_run(keyed("k", vec![issue("a", 5)])).await.expect("would do");
    assert_eq!(dry.events.len(), 2);
    let refused = ledger.executor().dry_run(keyed("k", vec![redeem("a", 5)])).await;
    assert!(matches!(refused, Err(ExecuteError::Refused { .. })));
    assert_eq!(database.number("SELECT count(*) FROM events").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM idempotency").await, 0);
}

#[tokio::test]
async fn two_processes_on_one_log_conflict_inside_only() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    let mut commands = Vec::new();
    for at in 0..300 {
        let ledger = if at % 2 == 0 { &one } else { &two };
        let account = format!("a{}", at % 3);
        commands.push(ledger.execute(keyed(&format!("k{at}"), vec![issue(&account, 1)])));
    }
    for answer in join_all(commands).await {
        answer.expect("no conflict reaches a caller");
    }
    positions_are_dense(&database).await;
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        300
    );
    for account in ["a0", "a1", "a2"] {
        let (state, _) = one
            .load::<Account>(&ProgramId::default(), account)
            .await
            .expect("the database answers")
            .expect("the account is there");
        assert_eq!(state.balance(), 100);
    }
}

#[tokio::test]
async fn the_same_key_sent_to_two_processes_at_once_has_one_effect() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    for at in 0..50 {
        let key = format!("k{at}");
        let (left, right) = tokio::join!(
            one.execute(keyed(&key, vec![issue("a", 1)])),
            two.execute(keyed(&key, vec![issue("a", 1)])),
        );
        let (left, right) = (left.expect("answered"), right.expect("answered"));
        assert_eq!(left.position, right.position);
        assert_eq!(u8::from(left.replayed) + u8::from(right.replayed), 1);
    }
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        50
    );
}

#[tokio::test]
async fn a_commit_held_up_by_somebody_else_holds_nobody_back_for_good() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    // So that a batch is parked in Postgres while another process's batch queues up behind it.
    let held_up = database.hold_up_commits().await;
    let other = ledger::open(&database).await;
    let first = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.execute(unkeyed("c1", vec![issue("a", 1)])).await }
    });
    let second = tokio::spawn({
        let other = other.clone();
        async move { other.execute(unkeyed("c2", vec![issue("b", 1)])).await }
    });
    until_waiting(&database, 2).await;
    let tail = other.tail();
    assert!(tail.read(0, 10).await.expect("readable").is_empty(), "nothing is visible yet");
    held_up.let_go().await;
    let first = first.await.expect("ends").expect("accepted");
    let second = second.await.expect("ends").expect("accepted");
    assert_eq!(first.position.max(second.position), 4);
    let mut head = tail.head();
    head.wait_for(|head| *head == 4).await.expect("the tail lives");
    // A read may end where memory does; the next goes on there.
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let after = seen.last().copied().unwrap_or(0);
        let page = tail.read(after, 10).await.expect("readable");
        seen.extend(page.iter().map(|it| it.position));
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_is_durable_is_answered_while_the_next_batch_waits() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    ledger.execute(unkeyed("c0", vec![issue("a", 1)])).await.expect("issued");
    let lock = "SELECT 1 FROM log_head FOR UPDATE";
    // The log's row is locked here, then by the first batch, then here again, and only then by the
    // second batch, which is decided before the first is written.
    let (mut before, mut between) = (database.connect().await, database.connect().await);
    for conn in [&mut before, &mut between] {
        sqlx::query("BEGIN").execute(conn).await.expect("begun");
    }
    sqlx::query(lock).execute(&mut before).await.expect("locked");
    let executor = ledger.executor();
    let command = |id| executor.submit(unkeyed(id, vec![issue("a", 1)]));
    let first = command("c1").await.expect("taken");
    until_waiting(&database, 1).await;
    let second = tokio::spawn(command("c2").await.expect("taken"));
    let locked = tokio::spawn(async move {
        sqlx::query(lock).execute(&mut between).await.expect("locked");
        between
    });
    until_waiting(&database, 2).await;
    // Behind it in the queue, and kept nowhere.
    executor.dry_run(unkeyed("probe", vec![issue("a", 1)])).await.expect("would be issued");
    sqlx::query("ROLLBACK").execute(&mut before).await.expect("let go");

    let first = tokio::time::timeout(WAIT_MAX, first).await.expect("answered").expect("issued");
    assert_eq!(first.version, 3);
    // Nor was it answered because the second had been waited for in vain.
    assert!(!second.is_finished());
    assert_eq!(ledger.metrics().batches_unknown.get(), 0);
    let mut between = locked.await.expect("locked between the batches");
    sqlx::query("ROLLBACK").execute(&mut between).await.expect("let go");
    assert_eq!(second.await.expect("ends").expect("issued").version, 4);
}

/// Many commands, and a dry run behind them, while a batch of one is being written; the answer of the
/// dry run, where it comes within that time.
async fn crowd(ledger: &Ledger, database: &Database, many: usize, wait: Duration) -> Option<()> {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = database.number(waiting).await;
    let mut before = database.connect().await;
    sqlx::query("BEGIN").execute(&mut before).await.expect("begun");
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE").execute(&mut before).await.expect("locked");
    let executor = ledger.executor();
    let first = executor.submit(unkeyed("first", vec![issue("a", 1)])).await.expect("taken");
    until_waiting(database, waiting + 1).await;
    let command = |at: usize| executor.submit(unkeyed(&format!("k{at}"), vec![issue("a", 1)]));
    let crowd = join_all((0..many).map(command)).await;
    let probe = executor.dry_run(unkeyed("probe", vec![issue("a", 1)]));
    let probe = tokio::time::timeout(wait, probe).await;
    sqlx::query("ROLLBACK").execute(&mut before).await.expect("let go");
    first.await.expect("issued");
    for issued in crowd {
        issued.expect("taken").await.expect("issued");
    }
    positions_are_dense(database).await;
    probe.ok().map(|answer| drop(answer.expect("would be issued")))
}

/// So many batches, and the events of the largest.
async fn batches(database: &Database) -> (i64, i64) {
    let count = database.number("SELECT count(*) FROM commits").await;
    let largest = "SELECT max(last_position - first_position + 1) FROM commits";
    (count, database.number(largest).await)
}

#[tokio::test]
async fn of_a_crowd_half_is_written_while_the_others_are_decided() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    // The quickest of them says how long a commit takes.
    for at in 0..40 {
        ledger.execute(unkeyed(&format!("c{at}"), vec![issue("a", 1)])).await.expect("issued");
    }
    let closed = crowd(&ledger, &database, 2_000, Duration::from_millis(500)).await;
    assert_eq!(closed, None, "the batch took everybody");
    let (count, largest) = batches(&database).await;
    // The one that is being written and the probe are of the crowd, too.
    assert!((2..=1_001).contains(&largest), "a batch of {largest}");
    assert!(count < 40 + 20, "{count} batches");
}

#[tokio::test]
async fn while_something_is_loaded_nobody_is_left_to_the_next_batch() {
    let database = Database::create().await;
    let other = ledger::open(&database).await;
    // So long that a load of it looks for a snapshot.
    for at in 0..70 {
        other.execute(unkeyed(&format!("o{at}"), vec![issue("b", 1)])).await.expect("issued");
    }
    other.close().await;
    let limits = Limits { fill_memory: false, ..Limits::default() };
    let ledger = ledger::open_with(Config { limits, ..ledger::config(&database) }).await;
    for at in 0..40 {
        ledger.execute(unkeyed(&format!("c{at}"), vec![issue("a", 1)])).await.expect("issued");
    }
    let mut loads = database.connect().await;
    sqlx::query("BEGIN").execute(&mut loads).await.expect("begun");
    sqlx::query("LOCK snapshots IN ACCESS EXCLUSIVE MODE")
        .execute(&mut loads)
        .await
        .expect("locked");
    let missing = ledger.executor().submit(unkeyed("m", vec![issue("b", 1)])).await.expect("taken");
    until_waiting(&database, 1).await;
    let taken = crowd(&ledger, &database, 400, WAIT_MAX).await;
    assert_eq!(taken, Some(()), "the batch was closed");
    sqlx::query("ROLLBACK").execute(&mut loads).await.expect("let go");
    missing.await.expect("issued");
    let (_, largest) = batches(&database).await;
    assert_eq!(largest, 400);
}

#[tokio::test]
async fn a_retry_hears_its_answer_whatever_the_version_has_become() {
    let database = Database::create().await;
    let (one, two) = (ledger::open(&database).await, ledger::open(&database).await);
    let at =
        |version| Envelope { expected_version: Some(version), ..keyed("k", vec![issue("a", 7)]) };
    let version = async |id: &str, ledger: &Ledger| {
        let found = ledger.execute(unkeyed(id, vec![issue("a", 1)])).await;
        found.expect("issued").version
    };
    let seen = version("v", &one).await;
    // The answer to this one is lost, and its retry gets to another process, which knows of a later one.
    let accepted = one.execute(at(seen)).await.expect("the right version");
    let now = version("w", &two).await;
    for expected in [seen, now, now + 1] {
        let retried = two.execute(at(expected)).await.expect("its answer");
        assert!(!accepted.replayed && retried.replayed);
        assert_eq!((retried.position, retried.version), (accepted.position, accepted.version));
    }
}

#[tokio::test]
async fn a_closed_batch_is_served_after_a_lost_race_and_a_stop() {
    let database = Database::create().await;
    let (one, two) = (ledger::open(&database).await, ledger::open(&database).await);
    one.execute(unkeyed("c", vec![issue("a", 1)])).await.expect("issued");
    let mut before = database.connect().await;
    sqlx::query("BEGIN").execute(&mut before).await.expect("begun");
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE").execute(&mut before).await.expect("locked");
    // The other process is ahead, so that the first batch is decided again, and all behind it.
    let faster = two.executor().submit(unkeyed("faster", vec![issue("a", 1)]));
    let faster = faster.await.expect("taken");
    until_waiting(&database, 1).await;
    let command = |at: usize| one.executor().submit(keyed(&format!("k{at}"), vec![issue("a", 1)]));
    let first = command(0).await.expect("taken");
    until_waiting(&database, 2).await;
    let crowd = join_all((1..200).map(command)).await;
    let closing = one.clone();
    let closed = tokio::spawn(async move { closing.close().await });
    sqlx::query("ROLLBACK").execute(&mut before).await.expect("let go");

    faster.await.expect("issued");
    first.await.expect("issued");
    for issued in crowd {
        issued.expect("taken").await.expect("issued");
    }
    tokio::time::timeout(WAIT_MAX, closed).await.expect("ends").expect("closed");
    positions_are_dense(&database).await;
    let issued = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(database.number(issued).await, 202);
    assert!(one.metrics().batches_rejected.get() > 0, "no race was lost");
}

#[tokio::test]
async fn where_a_commit_takes_long_nobody_is_left_to_the_next_one() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    database
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
             CREATE TRIGGER slow AFTER INSERT ON commits FOR EACH ROW EXECUTE FUNCTION slow();",
        )
        .await;
    ledger.execute(unkeyed("c", vec![issue("a", 1)])).await.expect("issued");
    let taken = crowd(&ledger, &database, 400, WAIT_MAX).await;
    assert_eq!(taken, Some(()), "the batch was closed");
    assert_eq!(batches(&database).await, (3, 400));
}

#[tokio::test]
async fn an_idle_transaction_elsewhere_hides_nothing_and_holds_nothing_back() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let mut idle = database.connect().await;
    sqlx::query("BEGIN").execute(&mut idle).await.expect("begun");
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut idle).await.expect("has an id");
    let receipt = ledger.execute(unkeyed("c", vec![issue("a", 1)])).await.expect("accepted");
    let seen = ledger.tail().read(0, 10).await.expect("readable");
    assert_eq!(seen.last().map(|it| it.position), Some(receipt.position));
}

#[tokio::test]
async fn a_refusal_is_never_decided_on_what_another_process_has_moved_on_from() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    for round in 0..20 {
        let spent = one.execute(keyed(&format!("no{round}"), vec![redeem("a", 1)])).await;
        assert!(spent.is_err(), "nothing is there");
        let issue = unkeyed(&format!("i{round}"), vec![issue("a", 1)]);
        two.execute(issue).await.expect("issued elsewhere");
        one.execute(keyed(&format!("yes{round}"), vec![redeem("a", 1)]))
            .await
            .expect("it is there");
    }
}

#[tokio::test]
async fn settings_changed_by_another_process_hold_here_too() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    one.execute(unkeyed("i1", vec![issue("a", 1)])).await.expect("issued under the old settings");
    let settings = Settings {
        expiry: serde_json::from_str(r#"{"after":"P1M"}"#).expect("a policy"),
        ..Settings::default()
    };
    let configure = Action::Program(program::Command::Configure(settings));
    let receipt = two.execute(unkeyed("c", vec![configure])).await.expect("configured");
    let mut head = one.tail().head();
    head.wait_for(|head| *head >= receipt.position).await.expect("the tail lives");
    // The tail tells the decider before it tells anybody else.
    let receipt = one.execute(unkeyed("i2", vec![issue("a", 1)])).await.expect("issued");
    assert!(receipt.events[0].row.payload.contains("expires_at"), "{:?}", receipt.events[0]);
}

#[tokio::test]
async fn settings_that_were_read_beside_an_append_of_newer_ones_do_not_stay() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let expiring = |after: &str| {
        let expiry = serde_json::from_str(after).expect("a policy");
        Action::Program(program::Command::Configure(Settings { expiry, ..Settings::default() }))
    };
    let old = unkeyed("old", vec![expiring(r#"{"after":"P1M"}"#)]);
    let old = ledger.execute(old).await.expect("configured");
    let executor = ledger.executor();
    let new = unkeyed("new", vec![expiring(r#""never""#)]);
    let new = executor.dry_run(new).await.expect("would be configured");
    let row = &new.events[0].row;
    let (stream, event) = (
        RawStream {
            aggregate_type: row.aggregate_type.clone(),
            aggregate_id: row.aggregate_id.clone(),
        },
        RawEvent {
            event_type: row.event_type.clone(),
            event_version: row.event_version.clone(),
            payload: row.payload.clone(),
            metadata: row.metadata.clone(),
        },
    );
    let mut holder = database.connect().await;
    sqlx::query("BEGIN").execute(&mut holder).await.expect("begun");
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE").execute(&mut holder).await.expect("locked");
    let appended = tokio::spawn({
        let executor = executor.clone();
        async move { executor.append(stream, old.version, vec![event]).await }
    });
    until_waiting(&database, 1).await;
    let probe = executor.dry_run(unkeyed("probe", vec![issue("a", 1)])).await;
    let seen = probe.expect("would be issued");
    assert!(seen.events[1].row.payload.contains("expires_at"), "under the old settings");
    sqlx::query("ROLLBACK").execute(&mut holder).await.expect("let go");
    appended.await.expect("ends").expect("appended");

    let issued = ledger.execute(unkeyed("i", vec![issue("a", 1)])).await.expect("issued");
    assert!(!issued.events[1].row.payload.contains("expires_at"), "{:?}", issued.events[1]);
}

#[tokio::test]
async fn refusals_of_one_crowd_are_proven_by_few_loads() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    ledger.execute(unkeyed("i", vec![issue("a", 1)])).await.expect("issued");
    let refused = join_all((0..2_000).map(|at| {
        let ledger = ledger.clone();
        async move { ledger.execute(unkeyed(&format!("r{at}"), vec![redeem("a", 2)])).await }
    }))
    .await;
    assert!(refused.iter().all(|it| matches!(it, Err(ExecuteError::Refused { .. }))));
}

fn foreign(id: &str) -> (RawStream, RawEvent) {
    let stream = RawStream { aggregate_type: "Counter".into(), aggregate_id: id.into() };
    let event = RawEvent {
        event_type: "Up".into(),
        event_version: "1.0".into(),
        payload: r#"{"Up":{"by":1}}"#.to_owned(),
        metadata: "{}".to_owned(),
    };
    (stream, event)
}

#[tokio::test]
async fn of_two_raw_appends_at_once_one_wins_and_bystanders_do_not_notice() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let append = || {
        let (stream, event) = foreign("x");
        ledger.executor().append(stream, 0, vec![event])
    };
    let issues = (0..20).map(|at| {
        let ledger = ledger.clone();
        async move { ledger.execute(unkeyed(&format!("i{at}"), vec![issue("a", 1)])).await }
    });
    let (one, two, others) = tokio::join!(append(), append(), join_all(issues));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
    assert!(others.iter().all(Result::is_ok), "{others:?}");
}

#[tokio::test]
async fn a_raw_append_that_would_leave_a_gap_or_that_nobody_could_read_is_refused() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let (stream, event) = foreign("x");
    let gap = ledger.executor().append(stream.clone(), 10, vec![event.clone()]).await;
    assert_eq!(gap.expect_err("a gap"), ExecuteError::Conflict);
    let account =
        |id: &str| RawStream { aggregate_type: "account".into(), aggregate_id: id.into() };
    let nul = RawStream { aggregate_id: "x\0".into(), ..stream.clone() };
    let broken = RawEvent { payload: "{".to_owned(), ..event.clone() };
    let hostile = [
        (account("ACC-1"), event.clone()),
        (account("default/a"), event.clone()),
        (nul, event),
        (stream, broken),
    ];
    for (stream, event) in hostile {
        let refused = ledger.executor().append(stream, 0, vec![event]).await;
        assert!(matches!(refused, Err(ExecuteError::Refused { .. })), "{refused:?}");
    }
    assert_eq!(database.number("SELECT count(*) FROM events").await, 0);
}
