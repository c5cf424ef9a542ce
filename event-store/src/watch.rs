//! Watching single streams: their events as they become durable, for somebody who waits for one.
//!
//! A hint, never a promise: a watcher that is slow, or begins late, misses events. Whoever must
//! know reads the log when the time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::record::Recorded;
use crate::stream::StreamKey;
use crate::tail::Tail;

/// Most events of one stream that wait to be looked at.
const WAITING_MAX: usize = 64;

/// Most events of the tail looked at in one go.
const PAGE_EVENTS_MAX: usize = 4_096;

/// Pause after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Who watches what. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    of: HashMap<StreamKey, Vec<Watcher>>,
}

/// A watcher's number, and where it takes events in.
type Watcher = (u64, mpsc::Sender<Arc<Recorded>>);

/// The events of one stream from now on; dropped, it watches no more.
#[derive(Debug)]
pub struct Watch {
    watches: Watches,
    stream: StreamKey,
    number: u64,
    events: mpsc::Receiver<Arc<Recorded>>,
}

impl Watch {
    /// The next event; never, where there is none any more.
    pub async fn next(&mut self) -> Arc<Recorded> {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut inner = self.watches.inner();
        if let Some(watches) = inner.of.get_mut(&self.stream) {
            watches.retain(|(number, _)| *number != self.number);
            if watches.is_empty() {
                inner.of.remove(&self.stream);
            }
        }
    }
}

impl Watches {
    pub(crate) fn watch(&self, stream: StreamKey) -> Watch {
        let (sender, events) = mpsc::channel(WAITING_MAX);
        let mut inner = self.inner();
        inner.next += 1;
        let number = inner.next;
        inner.of.entry(stream.clone()).or_default().push((number, sender));
        Watch { watches: self.clone(), stream, number, events }
    }

    /// Tells watchers what the tail brings, until the end.
    pub(crate) async fn run(self, tail: Tail, stop: CancellationToken) {
        let mut heads = tail.head();
        let mut position = *heads.borrow_and_update();
        let mut moves = tail.moves();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = moves.changed() => position = position.min(*tail.head().borrow()),
                _ = heads.wait_for(|head| *head > position) => {}
            }
            // The head first: who registers behind it waits for what comes behind it.
            let head = *heads.borrow_and_update();
            if self.inner().of.is_empty() {
                position = head;
                continue;
            }
            match tail.read(position, PAGE_EVENTS_MAX).await {
                Ok(events) => {
                    position = events.last().map_or(position, |last| last.position);
                    self.tell(&events);
                }
                Err(error) => {
                    tracing::debug!(%error, "the tail cannot be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn tell(&self, events: &[Arc<Recorded>]) {
        let inner = self.inner();
        for event in events {
            let watches = event.stream.as_ref().and_then(|stream| inner.of.get(stream));
            for (_, sender) in watches.into_iter().flatten() {
                // A watcher that does not keep up reads the log in the end.
                let _ = sender.try_send(Arc::clone(event));
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
