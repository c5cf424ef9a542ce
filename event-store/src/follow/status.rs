//! How a follower is doing, for health checks, metrics and readers that wait for a position.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::record::Position;

/// The position of a follower whose checkpoint is not known.
pub(crate) const UNKNOWN: Position = -1;

/// A follower's state, shared with whoever asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    name: Arc<str>,
    position: watch::Sender<Position>,
    health: Arc<Mutex<Health>>,
}

/// A follower's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// When it last looked at the log.
    pub polled_at: Option<DateTime<Utc>>,
    /// Why it stands still: an event of a newer build, or an error that repeats.
    pub stopped: Option<String>,
    /// Streams that it has parked.
    pub parked: usize,
}

impl Status {
    /// A follower that has not begun.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            position: watch::Sender::new(UNKNOWN),
            health: Arc::new(Mutex::new(Health::default())),
        }
    }

    /// The follower's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its checkpoint, and a way to wait for later ones; -1 before it has begun.
    #[must_use]
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// Its health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the follower has come to `position`.
    pub async fn reached(&self, position: Position) {
        let mut positions = self.position.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = positions.wait_for(|at| *at >= position).await;
    }

    /// Notes where the follower is; it may go back where a read model was made anew.
    pub fn moved(&self, position: Position) {
        self.position.send_replace(position);
    }

    /// Changes what its health says.
    pub fn update(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
