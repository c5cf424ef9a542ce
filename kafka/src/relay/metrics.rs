//! Counters of the relay. Its position and lag are those of any follower.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::phases::Phases;

/// Everything that the relay counts.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Events published by this process.
    pub(super) published: Counter,
    /// Transactions committed.
    pub(super) transactions: Counter,
    /// Most events that a transaction takes at present.
    pub(super) batch_max: Gauge,
    /// Producers made.
    pub(super) sessions: Counter,
    /// 1 while it is this process that publishes.
    pub(super) leading: Gauge,
    /// How long transactions take.
    pub(super) phases: Phases,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let it = Self {
            published: Counter::default(),
            transactions: Counter::default(),
            batch_max: Gauge::default(),
            sessions: Counter::default(),
            leading: Gauge::default(),
            phases: Phases::default(),
        };
        let r = registry.sub_registry_with_prefix("accrue_relay");
        r.register("published", "Events published to Kafka", it.published.clone());
        r.register("transactions", "Kafka transactions committed", it.transactions.clone());
        let help = "Most events that a transaction takes; fewer behind failures";
        r.register("batch_events_max", help, it.batch_max.clone());
        r.register("sessions", "Times that publishing began anew", it.sessions.clone());
        r.register("leading", "1 while this process publishes", it.leading.clone());
        it.phases.register(r);
        it
    }
}
