//! What a feed counts.

use accrue_event_store::metrics::Of;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The figures of all feeds of this process.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    assigned: Family<Of, Gauge>,
    skipped: Family<Of, Counter>,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self { assigned: Family::default(), skipped: Family::default() };
        registry.register(
            "accrue_feed_partitions",
            "Partitions of Kafka that this process takes for a follower",
            metrics.assigned.clone(),
        );
        registry.register(
            "accrue_feed_skipped",
            "Records that came again, or that the follower had from elsewhere",
            metrics.skipped.clone(),
        );
        metrics
    }

    pub(super) fn assigned(&self, follower: &str) -> Assigned {
        let of = Of { follower: follower.to_owned() };
        Assigned(self.assigned.get_or_create(&of).clone())
    }

    pub(super) fn skipped(&self, follower: &str) -> Counter {
        self.skipped.get_or_create(&Of { follower: follower.to_owned() }).clone()
    }
}

/// How many partitions a worker has.
#[derive(Debug, Clone)]
pub(super) struct Assigned(Gauge);

impl Assigned {
    pub(super) fn set(&self, count: usize) {
        self.0.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
