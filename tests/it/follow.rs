//! Followers: effect and checkpoint together, nothing skipped, bad events set aside visibly.

use std::sync::{Arc, Mutex};

use accrue_event_store::follow::{Feeds, FollowError, Follower, Runner, Status, parked};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::record::{Position, Recorded};
use accrue_tests::command::{issue, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use async_trait::async_trait;
use futures::future::join_all;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

/// Writes every position down; chokes on the events of one account.
#[derive(Debug, Clone)]
struct Diary {
    chokes_on: &'static str,
    resets: Arc<Mutex<Vec<Position>>>,
}

#[async_trait]
impl Follower for Diary {
    fn name(&self) -> &str {
        "diary"
    }

    async fn reset(&mut self, _: &mut PgConnection, at: Position) -> Result<(), FollowError> {
        self.resets.lock().expect("not poisoned").push(at);
        Ok(())
    }

    async fn write(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), FollowError> {
        for event in events {
            sqlx::query("INSERT INTO diary VALUES ($1)")
                .bind(event.position)
                .execute(&mut *conn)
                .await?;
            if &*event.row.aggregate_id == self.chokes_on {
                let reason = "not to my taste".to_owned();
                return Err(FollowError::Poison { position: event.position, reason });
            }
        }
        Ok(())
    }
}

struct Running {
    status: Status,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(ledger: &Ledger, chokes_on: &'static str) -> Self {
        let diary = Diary { chokes_on, resets: Arc::default() };
        let (runner, status) =
            Runner::new(ledger.clone(), diary, Feeds::by_log().of(ledger, "diary"));
        let stop = CancellationToken::new();
        let task = tokio::spawn(runner.run(stop.clone()));
        Self { status, stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("the runner ends");
    }
}

async fn with_diary() -> (Database, Ledger) {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    database.run("CREATE TABLE read.diary (position bigint PRIMARY KEY, nth bigserial)").await;
    (database, ledger)
}

/// All positions from 1 on were read, each once, in their order.
async fn is_read_in_order(database: &Database, last: Position) {
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, last);
    let astray = "SELECT count(*) FROM (
                      SELECT position, row_number() OVER (ORDER BY nth) AS nth FROM read.diary) d
                   WHERE position <> nth";
    assert_eq!(database.number(astray).await, 0);
}

async fn issue_to(ledger: &Ledger, account: &str, from: usize, to: usize) -> Position {
    let command = |at| ledger.execute(unkeyed(&format!("{account}{at}"), vec![issue(account, 1)]));
    let mut last = 0;
    for answer in join_all((from..to).map(command)).await {
        last = last.max(answer.expect("issued").position);
    }
    last
}

#[tokio::test]
async fn a_follower_sees_every_event_once_also_when_it_is_stopped_at_any_time() {
    let (database, ledger) = with_diary().await;
    let mut last = 0;
    for round in 0..10 {
        let running = Running::start(&ledger, "");
        last = issue_to(&ledger, "a", round * 50, round * 50 + 50).await;
        if round % 2 == 0 {
            running.status.reached(last).await;
        }
        running.end().await;
    }
    let running = Running::start(&ledger, "");
    running.status.reached(last).await;
    running.end().await;
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, last);
    assert_eq!(database.number("SELECT position FROM checkpoints").await, last);
}

#[tokio::test]
async fn two_workers_of_one_name_do_no_work_twice() {
    let (database, ledger) = with_diary().await;
    let (one, two) = (Running::start(&ledger, ""), Running::start(&ledger, ""));
    let last = issue_to(&ledger, "a", 0, 500).await;
    one.status.reached(last).await;
    two.status.reached(last).await;
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, last);
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn a_bad_event_parks_its_stream_and_the_others_go_on() {
    let (database, ledger) = with_diary().await;
    let running = Running::start(&ledger, "default/bad");
    issue_to(&ledger, "good", 0, 10).await;
    issue_to(&ledger, "bad", 0, 10).await;
    let last = issue_to(&ledger, "good", 10, 20).await;
    running.status.reached(last).await;
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, 21);
    let set_aside = parked(&mut database.connect().await, "diary").await.expect("readable");
    assert_eq!(set_aside.len(), 1);
    assert_eq!(set_aside[0].aggregate_id, "default/bad");
    assert!(set_aside[0].reason.contains("not to my taste"), "{}", set_aside[0].reason);
    running.end().await;
}

/// What no door of ours lets in: a row that a newer or a faulty build wrote.
/// Behind `before` others of its stream; its position.
pub(crate) async fn append_foreign(
    database: &Database,
    before: i64,
    event_type: &str,
    payload: &str,
) -> i64 {
    let append = format!(
        "WITH head AS (UPDATE log_head SET position = position + 1 RETURNING position)
         INSERT INTO events SELECT position, 'default', 'account', 'default/odd', {before} + 1,
                '{event_type}', '1', '{payload}', '{{}}', now() FROM head RETURNING position"
    );
    database.number(&append).await
}

#[tokio::test]
async fn an_event_of_a_newer_build_stops_the_follower_and_is_never_skipped() {
    let (database, ledger) = with_diary().await;
    let before = issue_to(&ledger, "a", 0, 5).await;
    append_foreign(&database, 0, "PointsTeleported", r#"{"PointsTeleported":{}}"#).await;
    issue_to(&ledger, "a", 5, 10).await;
    let running = Running::start(&ledger, "");
    running.status.reached(before).await;
    while running.status.health().stopped.is_none() {
        tokio::task::yield_now().await;
    }
    let reason = running.status.health().stopped.expect("it says why");
    assert!(reason.contains("PointsTeleported"), "{reason}");
    assert_eq!(database.number("SELECT position FROM checkpoints").await, before);
    running.end().await;
}

#[tokio::test]
async fn a_damaged_event_parks_its_stream_only() {
    let (database, ledger) = with_diary().await;
    append_foreign(&database, 0, "PointsIssued", r#"{"PointsIssued":{"lot":7}}"#).await;
    let last = issue_to(&ledger, "a", 0, 5).await;
    let running = Running::start(&ledger, "");
    running.status.reached(last).await;
    assert_eq!(running.status.health().parked, 1);
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, last - 1);
    running.end().await;
}

#[tokio::test]
async fn events_of_another_process_arrive_without_a_gap() {
    let (database, ledger) = with_diary().await;
    let other = ledger::open(&database).await;
    let running = Running::start(&ledger, "");
    let (left, right) = tokio::join!(issue_to(&ledger, "a", 0, 300), issue_to(&other, "b", 0, 300));
    running.status.reached(left.max(right)).await;
    is_read_in_order(&database, 602).await;
    running.end().await;
}

#[tokio::test]
async fn what_waits_behind_a_commit_that_is_held_up_is_followed_in_order() {
    let (database, ledger) = with_diary().await;
    let other = ledger::open(&database).await;
    let running = Running::start(&other, "");
    let before = issue_to(&ledger, "a", 0, 10).await;
    running.status.reached(before).await;
    let held_up = database.hold_up_commits().await;
    let crowd = |ledger: &Ledger, account: &'static str| {
        let ledger = ledger.clone();
        tokio::spawn(async move { issue_to(&ledger, account, 10, 210).await })
    };
    let (left, right) = (crowd(&ledger, "a"), crowd(&other, "b"));
    database.until_sessions("wait_event_type = 'Lock'", 2).await;
    assert_eq!(database.number("SELECT count(*) FROM read.diary").await, before);
    held_up.let_go().await;
    let last = left.await.expect("ends").max(right.await.expect("ends"));
    running.status.reached(last).await;
    is_read_in_order(&database, before + 401).await;
    running.end().await;
}
