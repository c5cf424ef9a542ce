//! Reads that must not be older than a write: `?min_position=`.

use std::time::Duration;

use accrue_event_store::follow::Status;
use accrue_event_store::record::Position;

use crate::problem::Problem;

/// How long a read waits for its read model.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// Waits until the read model has come to `min_position`, if one is asked for.
///
/// # Errors
/// 422 for a negative position, 503 with `Retry-After` when it takes too long.
pub async fn for_position(status: &Status, min_position: Option<Position>) -> Result<(), Problem> {
    let Some(position) = min_position else { return Ok(()) };
    if position < 0 {
        let detail = format!("expected a position, 0 or more, got {position}");
        return Err(Problem::invalid("min_position", detail));
    }
    tokio::time::timeout(WAIT_MAX, status.reached(position)).await.map_err(|_| {
        let at = *status.position().borrow();
        Problem::unavailable(
            "not-there-yet",
            &format!("{} is at position {at}, not yet at {position}", status.name()),
        )
    })
}
