//! The timer of one connection. Hyper sets a limit for each head that it reads and drops it as soon
//! as the head is there, so that nearly none is ever reached. With the runtime's timer that is
//! an entry and a removal a request. Here the entry stays: it is found to be early when it fires,
//! and then moved to the limit that counts.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The timer; its limits are waited for one at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

impl Timer for IdleTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Limit { deadline, timer: self.clone() })
    }
}

struct Limit {
    deadline: Instant,
    timer: IdleTimer,
}

impl Sleep for Limit {}

impl Future for Limit {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut entry = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if entry.deadline() > deadline {
            entry.as_mut().reset(deadline);
        }
        loop {
            ready!(entry.as_mut().poll(context));
            if entry.deadline() >= deadline {
                return Poll::Ready(());
            }
            entry.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3600);

    /// Waits for a limit; not for one that is never reached.
    async fn reached(limit: Pin<Box<dyn Sleep>>) -> bool {
        tokio::time::timeout(Duration::from_secs(30), limit).await.is_ok()
    }

    #[tokio::test]
    async fn a_limit_is_not_reached_with_the_one_before() {
        let timer = IdleTimer::default();
        // Waited for once, then dropped: its entry is still there, and fires.
        let _waited = timer.sleep(SOON).now_or_never();
        tokio::time::sleep(SOON * 2).await;
        assert_eq!(timer.sleep(NEVER).now_or_never(), None);
        assert!(reached(timer.sleep(SOON)).await);
        assert_eq!(timer.sleep(NEVER).now_or_never(), None);
    }

    #[tokio::test]
    async fn a_limit_is_waited_for_beyond_the_one_before() {
        let timer = IdleTimer::default();
        let _waited = timer.sleep(SOON).now_or_never();
        let begun = timer.now();
        assert!(reached(timer.sleep(SOON * 20)).await);
        assert!(timer.now() - begun >= SOON * 20);
    }

    #[tokio::test]
    async fn a_limit_may_be_sooner_than_the_one_before() {
        let timer = IdleTimer::default();
        assert_eq!(timer.sleep(NEVER).now_or_never(), None);
        assert!(reached(timer.sleep(SOON)).await);
    }
}
