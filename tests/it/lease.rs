//! Leases: one holder at a time, taken over when it dies, and nothing written by one that is late.

use std::time::Duration;

use accrue_event_store::lease::{self, Lease, TERM, Terms, lead};
use accrue_event_store::ledger;
use accrue_tests::database::Database;
use accrue_tests::eventually::{eventually, within};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A term that does not end within a test.
const LONG: Duration = Duration::from_secs(600);

/// A term that has ended before anybody can ask.
const OVER: Duration = Duration::ZERO;

async fn migrated() -> Database {
    let database = Database::create().await;
    ledger::migrate(&mut database.connect().await).await.expect("the schema is made");
    database
}

#[tokio::test]
async fn a_lease_has_one_holder_and_each_has_a_higher_number() {
    let database = migrated().await;
    let mut conn = database.connect().await;
    let first = Lease::acquire(&mut conn, "l", "a", LONG).await.expect("asked").expect("free");
    assert_eq!(first.epoch(), 1);
    assert_eq!(Lease::acquire(&mut conn, "l", "b", LONG).await.expect("asked"), None);
    let other = Lease::acquire(&mut conn, "m", "b", LONG).await.expect("asked").expect("free");
    assert_eq!(other.epoch(), 1, "a lease of another name");
    first.release(&mut conn).await.expect("released");
    let second = Lease::acquire(&mut conn, "l", "b", LONG).await.expect("asked").expect("free");
    assert_eq!(second.epoch(), 2);
}

#[tokio::test]
async fn a_lapsed_lease_is_renewed_until_another_has_it() {
    let database = migrated().await;
    let mut conn = database.connect().await;
    let mut first = Lease::acquire(&mut conn, "l", "a", OVER).await.expect("asked").expect("free");
    assert!(first.renew(&mut conn).await.expect("asked"), "lapsed, and nobody has it");
    let second = Lease::acquire(&mut conn, "l", "b", OVER).await.expect("asked").expect("lapsed");
    assert!(!first.renew(&mut conn).await.expect("asked"), "taken");
    first.release(&mut conn).await.expect("asked");
    assert!(lease::guard(&mut conn, "l", second.epoch()).await.expect("asked"), "not the first's");
}

#[tokio::test]
async fn who_is_late_does_not_write_and_who_writes_is_not_overtaken() {
    let database = migrated().await;
    let (mut one, mut two) = (database.connect().await, database.connect().await);
    let first = Lease::acquire(&mut one, "l", "a", OVER).await.expect("asked").expect("free");
    let mut tx = one.begin().await.expect("a transaction");
    assert!(lease::guard(&mut tx, "l", first.epoch()).await.expect("asked"));
    let taking = tokio::spawn(async move { Lease::acquire(&mut two, "l", "b", LONG).await });
    eventually("the other waits for the transaction", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                       AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        (database.number(waiting).await > 0).then_some(())
    })
    .await;
    tx.commit().await.expect("committed");
    let second = taking.await.expect("it ran").expect("asked").expect("lapsed");
    assert_eq!(second.epoch(), 2);
    assert!(!lease::guard(&mut one, "l", first.epoch()).await.expect("asked"));
}

#[tokio::test]
async fn who_is_paused_in_the_middle_of_a_write_keeps_nobody_waiting() {
    let database = migrated().await;
    let mut one = database.options().options(lease::GUARDED).connect().await.expect("connected");
    let first = Lease::acquire(&mut one, "l", "a", TERM).await.expect("asked").expect("free");
    let mut tx = one.begin().await.expect("a transaction");
    assert!(lease::guard(&mut tx, "l", first.epoch()).await.expect("asked"));
    let stop = CancellationToken::new();
    let (mut told, leading) = leader(&database, &stop);
    let second = within(Duration::from_secs(5), "it is taken over", async || told.recv().await);
    assert_eq!(second.await.epoch(), 2);
    assert!(tx.commit().await.is_err(), "its session has ended");
    stop.cancel();
    leading.await.expect("it ends");
}

/// Leads under that name, tells of each term, and works until it is over.
fn leader(
    database: &Database,
    stop: &CancellationToken,
) -> (mpsc::UnboundedReceiver<Terms>, tokio::task::JoinHandle<()>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (options, stop) = (database.options(), stop.clone());
    let leading = tokio::spawn(async move {
        let work = |terms: Terms| {
            let _unheard = tell.send(terms.clone());
            async move { terms.over().cancelled().await }
        };
        lead(options.into(), "l", stop, work).await;
    });
    (told, leading)
}

#[tokio::test]
async fn one_leads_at_a_time_and_a_stopped_one_is_followed_at_once() {
    let database = migrated().await;
    let (stop_one, stop_two) = (CancellationToken::new(), CancellationToken::new());
    let (mut one, leading) = leader(&database, &stop_one);
    assert_eq!(one.recv().await.expect("it leads").epoch(), 1);
    let (mut two, following) = leader(&database, &stop_two);
    stop_one.cancel();
    leading.await.expect("it ends");
    let began = Instant::now();
    assert_eq!(two.recv().await.expect("it leads").epoch(), 2);
    assert!(began.elapsed() < TERM, "it did not wait for the lease to lapse");
    stop_two.cancel();
    following.await.expect("it ends");
}

#[tokio::test]
async fn a_leader_that_lost_its_lease_is_told_and_asks_again() {
    let database = migrated().await;
    let stop = CancellationToken::new();
    let (mut told, leading) = leader(&database, &stop);
    let first = told.recv().await.expect("it leads");
    // As another process would, while this one was paused.
    database.run("UPDATE leases SET epoch = epoch + 1, until = clock_timestamp()").await;
    first.over().cancelled().await;
    assert_eq!(told.recv().await.expect("it leads again").epoch(), 3);
    stop.cancel();
    leading.await.expect("it ends");
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_within_five_seconds() {
    let database = migrated().await;
    let mut conn = database.connect().await;
    Lease::acquire(&mut conn, "l", "dead", TERM).await.expect("asked").expect("free");
    let stop = CancellationToken::new();
    let (mut told, leading) = leader(&database, &stop);
    let second = within(Duration::from_secs(5), "the lease lapses", async || told.recv().await);
    assert_eq!(second.await.epoch(), 2);
    stop.cancel();
    leading.await.expect("it ends");
}
