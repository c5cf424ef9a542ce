//! Answers that were lost: the outcome is found out before anybody is answered.

use std::path::PathBuf;

use accrue_event_store::ledger::{Config, Ledger};
use accrue_tests::command::{issue, keyed, unkeyed};
use accrue_tests::database::{Database, cluster};
use accrue_tests::eventually::eventually;
use accrue_tests::ledger;
use accrue_tests::proxy::{Mode, Proxy};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

async fn behind_proxy(database: &Database) -> (Ledger, Proxy) {
    let host = cluster().await.data_dir().join("socket");
    let socket = database.options().get_socket().cloned().unwrap_or(host);
    let port = database.options().get_port();
    let file: PathBuf = socket.join(format!(".s.PGSQL.{port}"));
    let proxy = Proxy::start(file).await;
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(proxy.address.port())
        .username(database.options().get_username())
        .database(database.options().get_database().unwrap_or("postgres"))
        .ssl_mode(PgSslMode::Disable);
    let config = Config { servers: options.into(), ..ledger::config(database) };
    (ledger::open_with(config).await, proxy)
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_answered_as_what_it_was() {
    let database = Database::create().await;
    let (ledger, proxy) = behind_proxy(&database).await;
    ledger.execute(keyed("k0", vec![issue("a", 1)])).await.expect("accepted");
    for at in 1..=10 {
        proxy.set(Mode::LoseAnswer);
        let receipt = ledger.execute(keyed(&format!("k{at}"), vec![issue("a", 1)])).await;
        assert!(receipt.is_ok(), "{receipt:?}");
    }
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        11
    );
}

#[tokio::test]
async fn an_append_that_never_arrived_is_sent_again() {
    let database = Database::create().await;
    let (ledger, proxy) = behind_proxy(&database).await;
    ledger.execute(keyed("k0", vec![issue("a", 1)])).await.expect("accepted");
    for at in 1..=10 {
        proxy.set(Mode::LoseRequest);
        let receipt = ledger.execute(keyed(&format!("k{at}"), vec![issue("a", 1)])).await;
        assert!(receipt.is_ok(), "{receipt:?}");
        assert!(!proxy.is(Mode::LoseRequest), "the request was lost once");
    }
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        11
    );
}

/// The log writer's, the last that began.
const BACKEND: &str = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'accrue log writer' ORDER BY backend_start DESC LIMIT 1";

#[tokio::test]
async fn a_batch_still_at_work_in_its_old_backend_is_not_reported_as_failed_and_not_done_twice() {
    let database = Database::create().await;
    let (ledger, proxy) = behind_proxy(&database).await;
    ledger.execute(unkeyed("c0", vec![issue("a", 1)])).await.expect("accepted");
    let held_up = database.hold_up_commits().await;
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.execute(unkeyed("c1", vec![issue("a", 1)])).await }
    });
    database.until_sessions("wait_event = 'advisory'", 1).await;
    // The connection breaks while the statement is still at work in its backend.
    let at_work = database.text(BACKEND).await;
    proxy.set(Mode::Refuse);
    proxy.set(Mode::Pass);
    eventually("another session is begun", async || {
        (database.text(BACKEND).await != at_work).then_some(())
    })
    .await;
    // Its backend is ended; the batch is sent again and waits for the lock again.
    held_up.let_go().await;
    waiting.await.expect("ends").expect("accepted in the end");
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        2
    );
    assert_eq!(database.number("SELECT position FROM log_head").await, 3);
}
