//! Streams that are taken for new without a look: nobody is answered otherwise than behind one.

use std::sync::Arc;

use accrue_domain::account::command::{Command, Issue};
use accrue_domain::action::Action;
use accrue_domain::program::{self, Settings};
use accrue_event_store::clock::SettableClock;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_event_store::receipt::ExecuteError;
use accrue_tests::command::{issue, keyed, redeem, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use chrono::{TimeDelta, Utc};
use futures::future::join_all;

/// More than it takes until the next one is taken for new.
const MANY: i64 = 400;

/// Members who have not been seen before get a point each. Returns how many had to be looked for.
async fn welcome(ledger: &Ledger, crowd: &str, count: i64) -> u64 {
    let before = ledger.metrics().aggregates_loaded.get();
    let commands = (0..count).map(|at| {
        let name = format!("{crowd}{at}");
        let ledger = ledger.clone();
        async move { ledger.execute(keyed(&name, vec![issue(&name, 1)])).await }
    });
    for answer in join_all(commands).await {
        let receipt = answer.expect("issued");
        assert_eq!((receipt.events.len(), receipt.version), (2, 2), "opened, and issued to");
    }
    ledger.metrics().aggregates_loaded.get() - before
}

/// Makes sure that the next one who is not in memory is taken for new.
async fn expecting_newcomers(ledger: &Ledger, crowd: &str) {
    welcome(ledger, crowd, MANY).await;
    assert_eq!(welcome(ledger, &format!("{crowd}-next-"), 1).await, 0);
}

#[tokio::test]
async fn behind_many_new_members_the_next_are_not_looked_for() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    assert!(welcome(&ledger, "a", MANY).await > 250);
    assert_eq!(welcome(&ledger, "b", MANY).await, 0);
    let events = database.number("SELECT count(*) FROM events").await;
    assert_eq!(events, 4 * MANY);
}

#[tokio::test]
async fn a_member_taken_for_new_who_is_not_is_found_out() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    for account in ["broke", "spends", "dry", "issued-to"] {
        let actions = vec![issue(account, 100), redeem(account, 10)];
        two.execute(unkeyed(&format!("two-{account}"), actions)).await.expect("opened elsewhere");
    }

    // What changes nothing meets no index, so it is looked for; as is what is not to be kept.
    expecting_newcomers(&one, "a").await;
    let refused = one.execute(keyed("too-much", vec![redeem("broke", 91)])).await;
    let Err(ExecuteError::Refused { refusal, .. }) = refused else { panic!("{refused:?}") };
    assert!(refusal.detail.contains("90"), "{}", refusal.detail);
    expecting_newcomers(&one, "b").await;
    let spent = one.execute(keyed("spend", vec![redeem("spends", 90)])).await.expect("spent");
    assert_eq!((spent.version, spent.events.len()), (4, 1));
    expecting_newcomers(&one, "c").await;
    let dry = one.executor().dry_run(keyed("dry", vec![issue("dry", 1)])).await.expect("would do");
    assert_eq!(dry.events.len(), 1, "it is open already");
    assert_eq!(one.metrics().batches_rejected.get(), 0);

    // What does is judged by the index, with all that was decided beside it.
    expecting_newcomers(&one, "d").await;
    let bystanders = welcome(&one, "e", 50);
    let wrong = one.execute(keyed("more", vec![issue("issued-to", 5)]));
    let (_, issued) = tokio::join!(bystanders, wrong);
    assert_eq!(issued.expect("issued").version, 4);
    assert_eq!(one.metrics().batches_rejected.get(), 1);
    // And for some time everybody is looked for again.
    assert_eq!(welcome(&one, "f", 50).await, 50);

    let twice = "SELECT count(*) FROM (SELECT 1 FROM events WHERE event_type = 'AccountOpened'
                  GROUP BY aggregate_id HAVING count(*) > 1) AS twice";
    assert_eq!(database.number(twice).await, 0);
}

#[tokio::test]
async fn of_several_streams_each_that_is_new_is_not_looked_for() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    expecting_newcomers(&one, "a").await;
    let before = one.metrics().aggregates_loaded.get();
    let both = one.execute(keyed("both", vec![issue("x", 1), issue("y", 2)])).await;
    assert_eq!(both.expect("issued").events.len(), 4);
    assert_eq!(one.metrics().aggregates_loaded.get(), before);

    // One of them is not: all of the command is decided again.
    let two = ledger::open(&database).await;
    two.execute(unkeyed("two", vec![issue("there", 100)])).await.expect("opened elsewhere");
    let both = one.execute(keyed("wrong", vec![issue("z", 1), issue("there", 2)])).await;
    let both = both.expect("issued");
    assert_eq!((both.events.len(), both.version), (3, 3));
    assert_eq!(one.metrics().batches_rejected.get(), 1);
}

#[tokio::test]
async fn a_stream_that_is_given_no_event_is_looked_for_also_beside_one_that_is() {
    let database = Database::create().await;
    let later = Arc::new(SettableClock::new(Utc::now() + TimeDelta::days(2)));
    let one = ledger::open_with(Config { clock: later, ..ledger::config(&database) }).await;
    let two = ledger::open(&database).await;
    let expires = Some(serde_json::from_str(r#"{"after":"P1D"}"#).expect("a policy"));
    let Action::Account(lapsed, Command::Issue(lot)) = issue("lapsed", 7) else { unreachable!() };
    let lot = Action::Account(lapsed.clone(), Command::Issue(Issue { expires, ..lot }));
    two.execute(unkeyed("lot", vec![lot])).await.expect("opened elsewhere");
    expecting_newcomers(&one, "a").await;
    // Were it new, there would be nothing to settle.
    let actions = vec![issue("new", 1), Action::Account(lapsed, Command::Settle)];
    let done = one.execute(keyed("both", actions)).await.expect("done");
    let names: Vec<&str> = done.events.iter().map(|it| &*it.row.event_type).collect();
    assert_eq!(names, ["AccountOpened", "PointsIssued", "PointsExpired"]);
}

#[tokio::test]
async fn settings_are_looked_for_however_many_members_are_new() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    expecting_newcomers(&one, "a").await;
    let expiry = serde_json::from_str(r#"{"after":"P1M"}"#).expect("a policy");
    let configure =
        Action::Program(program::Command::Configure(Settings { expiry, ..Settings::default() }));
    let told = two.execute(unkeyed("configure", vec![configure])).await.expect("configured");
    let mut head = one.tail().head();
    head.wait_for(|head| *head >= told.position).await.expect("the tail lives");
    // The tail has made it forget the settings; the member is new, and taken for new.
    let before = one.metrics().aggregates_loaded.get();
    let issued = one.execute(keyed("new", vec![issue("new", 1)])).await.expect("issued");
    assert!(issued.events[1].row.payload.contains("expires_at"), "{:?}", issued.events[1]);
    assert!(one.metrics().aggregates_loaded.get() > before);
}

#[tokio::test]
async fn a_dry_run_is_not_answered_from_a_guess() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    two.execute(unkeyed("two", vec![issue("old", 100)])).await.expect("opened elsewhere");
    expecting_newcomers(&one, "a").await;
    // Nothing is written until the lock is let go of.
    let mut held = database.connect().await;
    sqlx::query("BEGIN").execute(&mut held).await.expect("begun");
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE").execute(&mut held).await.expect("locked");
    let executor = one.executor();
    let release = async {
        // Behind the others in the queue, and looked for with them or later.
        let probe = executor.dry_run(keyed("probe", vec![redeem("a0", 9)])).await;
        assert!(matches!(probe, Err(ExecuteError::Refused { .. })), "{probe:?}");
        sqlx::query("ROLLBACK").execute(&mut held).await.expect("let go");
    };
    let (guessed, one_point, spend, ()) = tokio::join!(
        one.execute(keyed("guess", vec![issue("old", 1)])),
        executor.dry_run(keyed("dry-one", vec![redeem("old", 1)])),
        executor.dry_run(keyed("dry-spend", vec![redeem("old", 101)])),
        release,
    );
    assert_eq!(guessed.expect("issued").version, 3);
    spend.expect("100 and 1 are there");
    let spent = &one_point.expect("would do").events[0].row.payload;
    assert!(spent.contains(r#""lot":"two""#), "the older lot comes first: {spent}");
}
