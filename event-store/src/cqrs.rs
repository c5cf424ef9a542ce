//! cqrs-es: our aggregates as its aggregates, our log as its event store. The only file that
//! knows the framework.
//!
//! Of cqrs-es and postgres-es 0.5.0 we stay clear of the snapshot and aggregate stores (they
//! apply events twice), of the snapshot update (it reports a conflict after committing) and of
//! `MemStore` (it checks no version). A handler that fails after writing to its sink leaves its
//! aggregate dirty, so a context is never used twice.

use std::collections::HashMap;
use std::marker::PhantomData;

use accrue_domain::aggregate::{Aggregate as Ours, Context};
use accrue_domain::id::CommandId;
use accrue_domain::program::Settings;
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError};
use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, DomainEvent, EventEnvelope, EventStore,
};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};

use crate::executor::{RawEvent, RawStream};
use crate::ledger::Ledger;
use crate::receipt::ExecuteError;
use crate::state::FromState;

/// One of our aggregates as a cqrs-es aggregate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Wrapped<A: Ours>(pub A);

/// One of our events as a cqrs-es event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WrappedEvent<E>(pub E);

/// A command with what a decision needs beside it, since our aggregates read no clock.
#[derive(Debug, Clone)]
pub struct Request<C> {
    /// The command.
    pub command: C,
    /// Its id.
    pub id: CommandId,
    /// The clock's reading.
    pub now: DateTime<Utc>,
    /// The program's settings.
    pub settings: Settings,
}

impl<E> DomainEvent for WrappedEvent<E>
where
    E: Named + Serialize + serde::de::DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
    E: Send + Sync,
{
    fn event_type(&self) -> String {
        self.0.name().0.to_owned()
    }
    fn event_version(&self) -> String {
        self.0.name().1.to_string()
    }
}

/// An event that knows its name and version.
pub trait Named {
    /// Name and version, as stored.
    fn name(&self) -> (&'static str, u32);
}

macro_rules! wrap {
    ($aggregate:ty, $event:ty, $name:literal) => {
        impl Named for $event {
            fn name(&self) -> (&'static str, u32) {
                <$aggregate as FromState>::into_event(self.clone()).name()
            }
        }

        impl Aggregate for Wrapped<$aggregate> {
            const TYPE: &'static str = $name;
            type Command = Request<<$aggregate as Ours>::Command>;
            type Event = WrappedEvent<$event>;
            type Error = <$aggregate as Ours>::Error;
            type Services = ();

            async fn handle(
                &mut self,
                request: Self::Command,
                (): &Self::Services,
                sink: &EventSink<Self>,
            ) -> Result<(), Self::Error> {
                let context = Context {
                    now: request.now,
                    occurred_at: request.now,
                    command_id: &request.id,
                    settings: &request.settings,
                };
                for event in self.0.decide(request.command, &context)? {
                    sink.write(WrappedEvent(event), self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.0.evolve(&event.0);
            }
        }
    };
}

wrap!(accrue_domain::account::Account, accrue_domain::account::event::Event, "account");
wrap!(accrue_domain::campaign::Campaign, accrue_domain::campaign::Event, "campaign");
wrap!(accrue_domain::program::Program, accrue_domain::program::Event, "program");
wrap!(accrue_domain::sale::Sale, accrue_domain::sale::Event, "sale");

/// The log as a cqrs-es event store for any aggregate, ours or not. Reading goes through stock
/// postgres-es, writing through the group commit.
pub struct LogEventStore<A> {
    ledger: Ledger,
    aggregate: PhantomData<fn() -> A>,
}

impl<A> std::fmt::Debug for LogEventStore<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogEventStore").finish_non_exhaustive()
    }
}

impl<A> LogEventStore<A> {
    /// A store on this log.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, aggregate: PhantomData }
    }
}

/// An aggregate that was loaded, at its sequence.
#[derive(Debug)]
pub struct LoadedAggregate<A> {
    id: String,
    aggregate: A,
    sequence: usize,
}

impl<A: Aggregate> AggregateContext<A> for LoadedAggregate<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A: Aggregate> EventStore<A> for LogEventStore<A> {
    type AC = LoadedAggregate<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let repository = PostgresEventRepository::new(self.ledger.pool().current());
        let stored = repository.get_events::<A>(aggregate_id).await?;
        stored
            .into_iter()
            .map(|event| EventEnvelope::try_from(event).map_err(AggregateError::from))
            .collect()
    }

    async fn load_aggregate(
        &self,
        aggregate_id: &str,
    ) -> Result<Self::AC, AggregateError<A::Error>> {
        let mut aggregate = A::default();
        let mut sequence = 0;
        for event in self.load_events(aggregate_id).await? {
            sequence = event.sequence;
            aggregate.apply(event.payload);
        }
        Ok(LoadedAggregate { id: aggregate_id.to_owned(), aggregate, sequence })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let stream =
            RawStream { aggregate_type: A::TYPE.into(), aggregate_id: context.id.as_str().into() };
        let mut raw = Vec::with_capacity(events.len());
        for event in &events {
            raw.push(raw_event(event, &metadata).map_err(PersistenceError::from)?);
        }
        let sequence = i64::try_from(context.sequence).unwrap_or(i64::MAX);
        match self.ledger.executor().append(stream, sequence, raw).await {
            Ok(_) => {}
            Err(ExecuteError::Conflict) => return Err(AggregateError::AggregateConflict),
            Err(error) => return Err(AggregateError::DatabaseConnectionError(Box::new(error))),
        }
        let envelope = |(at, payload)| EventEnvelope {
            aggregate_id: context.id.clone(),
            sequence: context.sequence + at + 1,
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().enumerate().map(envelope).collect())
    }
}

fn raw_event<E: DomainEvent>(
    event: &E,
    metadata: &HashMap<String, String>,
) -> serde_json::Result<RawEvent> {
    Ok(RawEvent {
        event_type: event.event_type().into(),
        event_version: event.event_version().into(),
        payload: serde_json::to_string(event)?,
        metadata: serde_json::to_string(metadata)?,
    })
}
