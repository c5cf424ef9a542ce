//! Waiting for what must come, with a bound instead of a guess.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take that a test waits for, on a machine that is busy with others.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When none has come after [`WAIT_MAX`].
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(WAIT_MAX, what, ask).await
}

/// As [`eventually`], with a bound of the caller's.
///
/// # Panics
/// When no answer has come by then.
pub async fn within<T>(bound: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + bound;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < limit, "not within {bound:?}: {what}");
        sleep(POLL).await;
    }
}
