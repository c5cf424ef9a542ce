//! Housekeeping: answers to commands are kept for retries, and forgotten when no retry can be
//! expected any more.

use std::time::Duration;

use accrue_event_store::idempotency;
use accrue_event_store::ledger::Ledger;
use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Most deletes at a time, each of a bounded number of rows: other work comes in between.
const DELETES_MAX: usize = 100;

/// Forgets old answers now and then, until `stop`.
pub async fn run(ledger: Ledger, kept: TimeDelta, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            forgotten = forget(&ledger, kept) => match forgotten {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "answers forgotten"),
                Err(error) if ledger.servers().outage().met(&error) => {}
                Err(error) => tracing::warn!(%error, "answers will be forgotten later"),
            }
        }
    }
}

/// Forgets answers that are older than `kept`, and returns how many.
///
/// # Errors
/// As Postgres gives them.
pub async fn forget(ledger: &Ledger, kept: TimeDelta) -> sqlx::Result<u64> {
    let Some(cutoff) = ledger.clock().now().checked_sub_signed(kept) else { return Ok(0) };
    let mut conn = ledger.pool().acquire().await?;
    let mut count = 0;
    for _ in 0..DELETES_MAX {
        let forgotten = idempotency::forget(&mut conn, cutoff).await?;
        count += forgotten;
        if forgotten == 0 {
            break;
        }
    }
    Ok(count)
}
