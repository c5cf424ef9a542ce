//! How long the parts of a batch take on its way into Kafka.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    phase: &'static str,
}

/// A histogram a phase. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Phases(Family<Of, Histogram, fn() -> Histogram>);

impl Default for Phases {
    fn default() -> Self {
        // From a millisecond to two seconds.
        let new = || Histogram::new(exponential_buckets(0.001, 1.5, 20));
        Self(Family::new_with_constructor(new))
    }
}

impl Phases {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Time that the phases of a transaction take: deliver, commit, remember";
        registry.register("phase_seconds", help, self.0.clone());
    }

    pub(crate) fn took(&self, phase: &'static str, time: Duration) {
        self.0.get_or_create(&Of { phase }).observe(time.as_secs_f64());
    }
}
