//! The feed from the log itself, by the tail.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep_until, timeout};

use super::checkpoint::{self, By, Claim};
use super::{Applied, Feed, FollowError, Next};
use crate::ledger::Ledger;
use crate::record::Position;

/// Most events in a batch.
pub(super) const BATCH_EVENTS_MAX: usize = 2_000;

/// Batches begin at least so far apart while they are not full: a trickle of events then costs
/// few transactions, and nobody waits longer than this.
const LINGER: Duration = Duration::from_millis(10);

/// How often a follower without news says that it lives, and sees whether its database does.
const IDLE: Duration = Duration::from_millis(500);

/// Events of every stream in the order of the log.
#[derive(Debug)]
pub struct LogFeed {
    ledger: Ledger,
    follower: String,
    /// This process has said that the log is to feed the follower.
    claim: Claim,
    position: Position,
    /// What Kafka brought before, ahead of the position.
    applied: Applied,
    /// Where the checkpoint is behind each of the events that were given last.
    behind: Vec<Position>,
    /// When those were looked for, while there may be no more.
    begun: Option<Instant>,
}

impl LogFeed {
    /// The feed of that follower.
    #[must_use]
    pub fn new(ledger: Ledger, follower: &str) -> Self {
        Self {
            ledger,
            follower: follower.to_owned(),
            claim: Claim::default(),
            position: -1,
            applied: Applied::default(),
            behind: Vec::new(),
            begun: None,
        }
    }

    /// The events behind the checkpoint that Kafka has not brought before.
    async fn read(&mut self, conn: &mut PgConnection) -> Result<Option<Next>, FollowError> {
        let begun = Instant::now();
        let mut events = self.ledger.tail().read(self.position, BATCH_EVENTS_MAX).await?;
        let Some(until) = events.last().map(|last| last.position) else {
            self.begun = None;
            return Ok(None);
        };
        self.begun = (events.len() < BATCH_EVENTS_MAX).then_some(begun);
        if self.applied.latest() > 0 {
            if self.position >= self.applied.latest() {
                Applied::forget(conn, &self.follower).await?;
                self.applied = Applied::default();
            }
            events.retain(|event| !self.applied.has(event));
            if events.is_empty() {
                self.behind = vec![until];
                if !self.advance(conn, 1).await? {
                    return Ok(Some(Next::Anew));
                }
                self.advanced(1);
                return Ok(Some(Next::Nothing));
            }
        }
        self.behind.clear();
        self.behind.extend(events.iter().map(|event| event.position));
        if let Some(last) = self.behind.last_mut() {
            *last = until;
        }
        Ok(Some(Next::Events(events)))
    }
}

#[async_trait]
impl Feed for LogFeed {
    async fn begin(
        &mut self,
        conn: &mut PgConnection,
        _kinds: &[&'static str],
    ) -> Result<(), FollowError> {
        self.begun = None;
        let tail = self.ledger.tail();
        self.position = self.claim.make(conn, tail, &self.follower, By::Log).await?;
        Applied::forget(conn, &self.follower).await?;
        self.applied = Applied::read(conn, &self.follower).await?;
        Ok(())
    }

    fn position(&self) -> Position {
        self.position
    }

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Next, FollowError> {
        if let Some(begun) = self.begun {
            sleep_until(begun + LINGER).await;
        }
        if let Some(next) = self.read(conn).await? {
            return Ok(next);
        }
        let position = self.position;
        let mut heads = self.ledger.tail().head();
        let news = heads.wait_for(|head| *head > position);
        if timeout(IDLE, news).await.is_ok() {
            return Ok(Next::Nothing);
        }
        // A database that died and came back may have lost our last commits, which are not waited
        // for; without an event nothing else would tell.
        let found = checkpoint::position(conn, &self.follower).await?;
        Ok(if found == Some(position) { Next::Nothing } else { Next::Anew })
    }

    async fn advance(&mut self, conn: &mut PgConnection, count: usize) -> sqlx::Result<bool> {
        let Some(to) = count.checked_sub(1).and_then(|at| self.behind.get(at)) else {
            return Ok(true);
        };
        checkpoint::advance(conn, &self.follower, self.position, *to).await
    }

    fn advanced(&mut self, count: usize) {
        if let Some(to) = count.checked_sub(1).and_then(|at| self.behind.get(at)) {
            self.position = *to;
        }
    }
}
