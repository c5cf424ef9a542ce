//! Figures of the process itself, read when somebody asks for them.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use sqlx::PgPool;

#[derive(Debug)]
struct Process {
    pool: PgPool,
    started_at: i64,
}

/// Adds them.
pub(crate) fn register(registry: &mut Registry, pool: PgPool) {
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("accrue_build", "This build", build);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started_at = i64::try_from(now.as_secs()).unwrap_or_default();
    registry.register_collector(Box::new(Process { pool, started_at }));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let idle = i64::try_from(self.pool.num_idle()).unwrap_or(i64::MAX);
        let gauges = [
            ("process_start_time_seconds", "Unix time of the start", Some(self.started_at)),
            ("process_resident_memory_bytes", "Resident memory", resident_bytes()),
            (
                "accrue_pool_connections",
                "Open connections for reading",
                Some(self.pool.size().into()),
            ),
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
