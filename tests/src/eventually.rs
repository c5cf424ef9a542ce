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

/// Waits for the end of work whose length nobody knows: it may take long as long as it gets on.
/// `ask` says how far it has come, in a number that grows, and whether that is the end.
///
/// # Panics
/// When it has not got on for [`WAIT_MAX`].
pub async fn while_it_gets_on(what: &str, mut ask: impl AsyncFnMut() -> (i64, bool)) {
    let (mut farthest, mut limit) = (i64::MIN, Instant::now() + WAIT_MAX);
    loop {
        let (far, ended) = ask().await;
        if ended {
            return;
        }
        if far > farthest {
            (farthest, limit) = (far, Instant::now() + WAIT_MAX);
        }
        assert!(Instant::now() < limit, "no step on from {farthest} within {WAIT_MAX:?}: {what}");
        sleep(POLL).await;
    }
}
