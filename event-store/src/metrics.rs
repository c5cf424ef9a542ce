//! Counters and gauges of the log, in the Prometheus data model.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `accepted`, `refused`, `replayed`, `unavailable`, `conflict`.
    pub outcome: &'static str,
}

/// A follower by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// The follower's name.
    pub follower: String,
}

/// Everything the log counts. Cheap to clone: clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Commands answered.
    pub commands: Family<Outcome, Counter>,
    /// Batches committed.
    pub batches: Counter,
    /// Events committed by this process.
    pub events: Counter,
    /// Events in a batch.
    pub batch_events: Histogram,
    /// Seconds from handing a batch to Postgres to its answer.
    pub append_seconds: Histogram,
    /// Batches that lost against another process, or met a key that was used before.
    pub batches_rejected: Counter,
    /// Batches whose answer was lost and that were looked up.
    pub batches_unknown: Counter,
    /// 1 while the outcome of an append is not known, 0 when it is: nothing is written meanwhile.
    pub append_stalled: Gauge,
    /// Aggregates in memory.
    pub cached_aggregates: Gauge,
    /// Bytes that they take, by estimate.
    pub cached_bytes: Gauge,
    /// 1 while memory is being filled beforehand.
    pub cache_filling: Gauge,
    /// Aggregates read from the database, since they were not in memory.
    pub aggregates_loaded: Counter,
    /// Last position known to be in the log.
    pub head: Gauge,
    /// Position of each follower.
    pub follower_position: Family<Of, Gauge>,
    /// Events that each follower still has before it.
    pub follower_lag_events: Family<Of, Gauge>,
    /// Age of the oldest event that each follower still has before it.
    pub follower_lag_seconds: Family<Of, Gauge<f64, AtomicU64>>,
    /// Unix time of each follower's last look at the log.
    pub follower_polled_at: Family<Of, Gauge<i64, AtomicI64>>,
    /// 1 while a follower stands still at an event that it must not pass, or an error that repeats.
    pub follower_stopped: Family<Of, Gauge>,
    /// Streams that each follower has parked.
    pub follower_parked: Family<Of, Gauge>,
    /// Events skipped without being parked. Always 0.
    pub skipped: Counter,
}

impl Metrics {
    /// Counters at zero, registered under `accrue_…`.
    pub fn new(registry: &mut Registry) -> Self {
        let it = Self {
            commands: Family::default(),
            batches: Counter::default(),
            events: Counter::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            append_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            batches_rejected: Counter::default(),
            batches_unknown: Counter::default(),
            append_stalled: Gauge::default(),
            cached_aggregates: Gauge::default(),
            cached_bytes: Gauge::default(),
            cache_filling: Gauge::default(),
            aggregates_loaded: Counter::default(),
            head: Gauge::default(),
            follower_position: Family::default(),
            follower_lag_events: Family::default(),
            follower_lag_seconds: Family::default(),
            follower_polled_at: Family::default(),
            follower_stopped: Family::default(),
            follower_parked: Family::default(),
            skipped: Counter::default(),
        };
        let r = registry.sub_registry_with_prefix("accrue");
        r.register("commands", "Commands answered, by outcome", it.commands.clone());
        r.register("batches", "Batches committed", it.batches.clone());
        r.register("events", "Events committed by this process", it.events.clone());
        r.register("batch_events", "Events in a batch", it.batch_events.clone());
        r.register("append_seconds", "Seconds an append took", it.append_seconds.clone());
        r.register(
            "batches_rejected",
            "Batches that met another process's event or a used key",
            it.batches_rejected.clone(),
        );
        r.register(
            "batches_unknown",
            "Batches whose answer was lost and looked up",
            it.batches_unknown.clone(),
        );
        r.register(
            "append_stalled",
            "1 while the outcome of an append is not known",
            it.append_stalled.clone(),
        );
        r.register("cached_aggregates", "Aggregates in memory", it.cached_aggregates.clone());
        r.register(
            "cached_bytes",
            "Bytes that aggregates in memory take, by estimate",
            it.cached_bytes.clone(),
        );
        r.register(
            "cache_filling",
            "1 while memory is filled with what was used last",
            it.cache_filling.clone(),
        );
        r.register(
            "aggregates_loaded",
            "Aggregates read from the database, since they were not in memory",
            it.aggregates_loaded.clone(),
        );
        r.register("log_head", "Last position known to be in the log", it.head.clone());
        r.register("follower_position", "Position of a follower", it.follower_position.clone());
        r.register(
            "follower_lag_events",
            "Events a follower has before it",
            it.follower_lag_events.clone(),
        );
        r.register(
            "follower_lag_seconds",
            "Age of the oldest event a follower has before it",
            it.follower_lag_seconds.clone(),
        );
        r.register(
            "follower_polled_at_seconds",
            "Unix time of a follower's last look at the log",
            it.follower_polled_at.clone(),
        );
        r.register(
            "follower_stopped",
            "1 while a follower stands still at an event of a newer build, or an error",
            it.follower_stopped.clone(),
        );
        r.register("follower_parked", "Streams a follower has parked", it.follower_parked.clone());
        r.register("skipped", "Events skipped without being parked", it.skipped.clone());
        it
    }

    /// Counts one answered command.
    pub fn answered(&self, outcome: &'static str) {
        self.commands.get_or_create(&Outcome { outcome }).inc();
    }
}
