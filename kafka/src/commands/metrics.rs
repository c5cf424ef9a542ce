//! Counters of the commands that come by Kafka.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    outcome: &'static str,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    records: Family<Of, Counter>,
    /// Partitions that this process reads.
    pub(super) assigned: Gauge,
    /// Records whose results are not written yet.
    pub(super) outstanding: Gauge,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let it = Self {
            records: Family::default(),
            assigned: Gauge::default(),
            outstanding: Gauge::default(),
        };
        let r = registry.sub_registry_with_prefix("accrue_kafka_commands");
        r.register("records", "Records taken from the commands topics", it.records.clone());
        r.register("partitions", "Partitions read by this process", it.assigned.clone());
        r.register("outstanding", "Records without a result yet", it.outstanding.clone());
        it
    }

    /// Counts what became of a record: `decided`, `dead` or `again`.
    pub(super) fn count(&self, outcome: &'static str) {
        self.records.get_or_create(&Of { outcome }).inc();
    }

    /// Records that were dealt with for good.
    pub(super) fn taken(&self) -> u64 {
        let of = |outcome| self.records.get_or_create(&Of { outcome }).get();
        of("decided") + of("dead")
    }
}
