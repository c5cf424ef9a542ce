//! Figures of the process itself, read when somebody asks for them, and of what is in the
//! database, sampled: nobody who asks for figures waits for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accrue_event_store::servers::Pool;
use accrue_projections::models::sagas::{self, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often what is in the database is counted.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Process {
    pool: Pool,
    started_at: i64,
}

/// Which sagas a gauge counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    state: &'static str,
}

/// What is sampled.
#[derive(Debug)]
pub(crate) struct Sampled {
    pool: Pool,
    sagas: Family<In, Gauge>,
}

/// Adds them; what it gives back is to be run.
pub(crate) fn register(registry: &mut Registry, pool: Pool) -> Sampled {
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("accrue_build", "This build", build);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started_at = i64::try_from(now.as_secs()).unwrap_or_default();
    let sampled = Sampled { pool: pool.clone(), sagas: Family::default() };
    let help = "Sagas of all programs that are not at their end, by state";
    registry.register("accrue_sagas", help, sampled.sagas.clone());
    registry.register_collector(Box::new(Process { pool, started_at }));
    sampled
}

impl Sampled {
    /// Counts until `stop`. Between a failure and the next success the figures stay as they were.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.count().await {
                tracing::debug!(%error, "the sagas cannot be counted");
            }
        }
    }

    async fn count(&self) -> sqlx::Result<()> {
        let counts: [(State, i64); 3] = self.pool.ask(sagas::count).await?;
        for (state, count) in counts {
            self.sagas.get_or_create(&In { state: state.as_str() }).set(count);
        }
        Ok(())
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let pool = self.pool.current();
        let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
        let gauges = [
            ("process_start_time_seconds", "Unix time of the start", Some(self.started_at)),
            ("process_resident_memory_bytes", "Resident memory", resident_bytes()),
            ("accrue_pool_connections", "Open connections for reading", Some(pool.size().into())),
            ("accrue_pool_connections_idle", "Of them, those without work", Some(idle)),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// As Linux tells it; none elsewhere.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
