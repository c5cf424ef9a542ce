//! cqrs-es and postgres-es, unmodified, on our log.

use std::collections::HashMap;

use accrue_domain::account::Account;
use accrue_domain::account::command::Command;
use accrue_domain::id::{CommandId, ProgramId};
use accrue_domain::program::Settings;
use accrue_event_store::cqrs::{LogEventStore, Request, Wrapped};
use accrue_event_store::ledger::Ledger;
use accrue_tests::command::{issue, points, redeem, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, CqrsFramework, DomainEvent, EventStore,
};
use futures::future::join_all;
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};

/// An aggregate of somebody else's cqrs-es program.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counter {
    count: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Counted {
    Up { by: u32 },
}

impl DomainEvent for Counted {
    fn event_type(&self) -> String {
        "Up".to_owned()
    }
    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many")]
struct TooMany;

impl Aggregate for Counter {
    const TYPE: &'static str = "Counter";
    type Command = u32;
    type Event = Counted;
    type Error = TooMany;
    type Services = ();

    async fn handle(&mut self, by: u32, (): &(), sink: &EventSink<Self>) -> Result<(), TooMany> {
        if self.count + by > 100 {
            return Err(TooMany);
        }
        sink.write(Counted::Up { by }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Counted) {
        let Counted::Up { by } = event;
        self.count += by;
    }
}

async fn counter(ledger: &Ledger, id: &str) -> u32 {
    let store = LogEventStore::<Counter>::new(ledger.clone());
    let mut loaded = store.load_aggregate(id).await.expect("loads");
    loaded.aggregate().count
}

#[tokio::test]
async fn a_cqrs_es_program_moves_over_without_a_change_to_its_domain_code() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let framework = CqrsFramework::new(LogEventStore::<Counter>::new(ledger.clone()), vec![], ());
    framework.execute("c-1", 40).await.expect("counted");
    framework.execute("c-1", 60).await.expect("counted");
    let refused = framework.execute("c-1", 1).await;
    assert!(matches!(refused, Err(AggregateError::UserError(TooMany))));
    assert_eq!(counter(&ledger, "c-1").await, 100);
    // Its events stand in the one log, between ours.
    ledger.execute(unkeyed("i", vec![issue("a", 1)])).await.expect("ours go on");
    assert_eq!(database.number("SELECT max(position) FROM events").await, 4);
}

#[tokio::test]
async fn of_two_frameworks_at_once_one_is_told_of_the_conflict_and_nothing_is_applied_twice() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    let attempts = (0..20).map(|_| {
        let store = LogEventStore::<Counter>::new(ledger.clone());
        async move { CqrsFramework::new(store, vec![], ()).execute("c", 1).await }
    });
    let answers = join_all(attempts).await;
    let counted = answers.iter().filter(|it| it.is_ok()).count();
    assert!(counted >= 1);
    for answer in &answers {
        assert!(matches!(answer, Ok(()) | Err(AggregateError::AggregateConflict)), "{answer:?}");
    }
    assert_eq!(counter(&ledger, "c").await as usize, counted);
}

#[tokio::test]
async fn stock_postgres_es_reads_what_we_wrote() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    ledger.execute(unkeyed("c1", vec![issue("a", 30)])).await.expect("issued");
    ledger.execute(unkeyed("c2", vec![redeem("a", 10)])).await.expect("redeemed");
    let repository = PostgresEventRepository::new(ledger.pool().current());
    let stored = repository.get_events::<Wrapped<Account>>("default/a").await.expect("readable");
    let names: Vec<_> = stored.iter().map(|it| (it.sequence, it.event_type.as_str())).collect();
    assert_eq!(names, [(1, "AccountOpened"), (2, "PointsIssued"), (3, "PointsRedeemed")]);
    assert_eq!(stored[2].metadata["command_id"], "c2");
    let store = PersistedEventStore::<_, Wrapped<Account>>::new_event_store(repository);
    let mut loaded = store.load_aggregate("default/a").await.expect("folds");
    assert_eq!(loaded.aggregate().0.balance(), 20);
}

#[tokio::test]
async fn our_aggregates_run_in_an_unmodified_framework_beside_our_executor() {
    let database = Database::create().await;
    let ledger = ledger::open(&database).await;
    ledger.execute(unkeyed("c1", vec![issue("a", 30)])).await.expect("issued");
    let store = LogEventStore::<Wrapped<Account>>::new(ledger.clone());
    let framework = CqrsFramework::new(store, vec![], ());
    let request = Request {
        command: Command::Redeem { points: points(10), reference: None },
        id: CommandId::new("f1").expect("an id"),
        now: ledger.clock().now(),
        settings: Settings::default(),
    };
    let metadata = HashMap::from([("command_id".to_owned(), "f1".to_owned())]);
    framework.execute_with_metadata("default/a", request, metadata).await.expect("redeemed");
    // The executor sees at once what went past it.
    let too_much = ledger.execute(unkeyed("c2", vec![redeem("a", 30)])).await;
    assert!(too_much.is_err());
    ledger.execute(unkeyed("c3", vec![redeem("a", 20)])).await.expect("the rest");
    let (state, _) =
        ledger.load::<Account>(&ProgramId::default(), "a").await.expect("readable").expect("there");
    assert_eq!(state.balance(), 0);
}
