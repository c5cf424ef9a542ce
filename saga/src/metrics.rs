//! What the sagas count, in the Prometheus data model.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why something was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct For {
    /// As in `campaign_skips`.
    pub reason: &'static str,
}

/// Everything the sagas of this process count. Cheap to clone: clones share their values.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Awards made; one that was found to be made before does not count.
    pub awards: Counter,
    /// Their points.
    pub points_awarded: Counter,
    /// Rules, and awards of whole campaigns, that could not be judged or made.
    pub skips: Family<For, Counter>,
    /// Returned sales whose awards were taken back, in whole or in part.
    pub reversals: Counter,
    /// Streams in which a deadline left an event.
    pub deadlines_settled: Counter,
    /// Deadlines that were refused and are tried again later.
    pub deadlines_set_aside: Counter,
}

impl Metrics {
    /// Counters at zero, registered under `accrue_…`.
    pub fn new(registry: &mut Registry) -> Self {
        let it = Self::default();
        let r = registry.sub_registry_with_prefix("accrue");
        r.register("awards", "Campaign awards made", it.awards.clone());
        r.register("points_awarded", "Points of campaign awards", it.points_awarded.clone());
        r.register("skips", "Rules and awards that were skipped, by reason", it.skips.clone());
        r.register("reversals", "Returns that took points back", it.reversals.clone());
        r.register("deadlines_settled", "Deadlines that left events", it.deadlines_settled.clone());
        r.register(
            "deadlines_set_aside",
            "Deadlines that were refused and wait",
            it.deadlines_set_aside.clone(),
        );
        it
    }
}
