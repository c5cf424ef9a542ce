//! Two processes at the same streams, and a command that the database cannot digest: nobody else
//! pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use accrue_event_store::executor::{RawEvent, RawStream};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_tests::command::{issue, keyed, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use futures::future::join_all;

/// Issues to the hot account, one command after the other, until told to stop.
async fn hammer(ledger: Ledger, stop: Arc<AtomicBool>) -> i64 {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = ledger.execute(unkeyed(&format!("h{done}"), vec![issue("hot", 1)])).await;
        answer.expect("no conflict reaches a caller");
        done += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_another_process_keeps_changing_starves_nobody() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    let two = ledger::open(&database).await;
    let stop = Arc::new(AtomicBool::new(false));
    let other = tokio::spawn(hammer(two, Arc::clone(&stop)));
    for round in 0..20 {
        let commands = (0..100).map(|at| {
            let account = if at % 2 == 0 { "hot".to_owned() } else { format!("a{at}") };
            one.execute(keyed(&format!("k{round}-{at}"), vec![issue(&account, 1)]))
        });
        for answer in join_all(commands).await {
            answer.expect("no conflict reaches a caller");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let hammered = other.await.expect("the other process lives");
    let issued = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(database.number(issued).await, 2_000 + hammered);
    // Under the lock a batch is decided once more, not until chance lets it through.
    let rejected = i64::try_from(one.metrics().batches_rejected.get()).expect("a count");
    let written = i64::try_from(one.metrics().batches.get()).expect("a count");
    assert!(rejected <= written, "{rejected} batches were rejected, {written} were written");
}

#[tokio::test]
async fn a_raw_append_and_a_command_on_its_stream_do_not_fail_each_other() {
    let database = Database::create().await;
    let one = ledger::open(&database).await;
    for round in 0..20 {
        let account = format!("r{round}");
        one.execute(unkeyed(&format!("o{round}"), vec![issue(&account, 1)])).await.expect("issued");
        let stream = RawStream {
            aggregate_type: "account".into(),
            aggregate_id: format!("default/{account}").into(),
        };
        let credited = RawEvent {
            event_type: "PointsIssued".into(),
            event_version: "1".into(),
            payload: r#"{"PointsIssued":{"lot":"raw","points":5,"source":{"kind":"issue"}}}"#
                .to_owned(),
            metadata: "{}".to_owned(),
        };
        let bystanders = (0..20).map(|at| {
            one.execute(keyed(&format!("b{round}-{at}"), vec![issue(&format!("b{at}"), 1)]))
        });
        let (raw, commands, others) = tokio::join!(
            one.executor().append(stream, 2, vec![credited]),
            join_all((0..5).map(|at| {
                one.execute(keyed(&format!("c{round}-{at}"), vec![issue(&account, 1)]))
            })),
            join_all(bystanders),
        );
        // Whoever comes second loses; a raw append says so, a command is decided again.
        assert!(matches!(raw, Ok(_) | Err(ExecuteError::Conflict)), "{raw:?}");
        for answer in commands.into_iter().chain(others) {
            answer.expect("no conflict reaches a caller");
        }
    }
}

const POISON: &str = "
CREATE FUNCTION indigestible() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'cannot digest' USING ERRCODE = 'data_exception'; END $$;
CREATE TRIGGER indigestible BEFORE INSERT ON events FOR EACH ROW
  WHEN (NEW.aggregate_id = 'default/poison') EXECUTE FUNCTION indigestible()";

#[tokio::test]
async fn a_command_that_the_database_cannot_digest_fails_alone() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    database.run(POISON).await;
    let commands = (0..60).map(|at| {
        let account = if at == 37 { "poison".to_owned() } else { format!("a{}", at % 7) };
        ledger.execute(keyed(&format!("k{at}"), vec![issue(&account, 1)]))
    });
    let answers: Vec<Result<Receipt, ExecuteError>> = join_all(commands).await;
    for (at, answer) in answers.iter().enumerate() {
        match answer {
            Ok(receipt) => assert!(at != 37, "{receipt:?}"),
            Err(error) => assert_eq!((at, error), (37, &ExecuteError::Fault)),
        }
    }
    // And the ledger goes on in large batches.
    ledger.execute(unkeyed("after", vec![issue("a", 1)])).await.expect("the ledger goes on");
    let issued = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(database.number(issued).await, 60);
}
