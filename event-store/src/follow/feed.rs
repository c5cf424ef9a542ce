//! Where a follower's events come from. The runner is the same whatever it is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::{By, FollowError, LogFeed};
use crate::ledger::Ledger;
use crate::record::{Position, Recorded};

/// What a feed has.
#[derive(Debug)]
pub enum Next {
    /// Events that were not applied yet, in the order of their positions.
    Events(Vec<Arc<Recorded>>),
    /// Nothing new for a while.
    Nothing,
    /// The work is another than it was when it was begun; it is to be begun anew.
    Anew,
}

/// Gives a follower its events, and remembers how far it has come.
///
/// Invariants of every feed
/// - Events of one stream come in order, each once, whatever happens to whoever takes them.
/// - What was given last is remembered only by [`Feed::advance`], in the transaction of its effect.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Begins, or begins anew, over a connection to the database. `kinds` are the names of those
    /// kinds of stream that mean something to the follower.
    ///
    /// # Errors
    /// [`FollowError`]; it is begun again after a pause.
    async fn begin(
        &mut self,
        conn: &mut PgConnection,
        kinds: &[&'static str],
    ) -> Result<(), FollowError>;

    /// Everything up to here is applied, whoever applied it.
    fn position(&self) -> Position;

    /// What comes next; waits a while for it.
    ///
    /// # Errors
    /// [`FollowError`]; it is begun again after a pause.
    async fn next(&mut self, conn: &mut PgConnection) -> Result<Next, FollowError>;

    /// Moves the checkpoint behind the first `count` of the events that were given last; false when
    /// somebody else has moved it. Comes first in the transaction, so that whoever is second waits
    /// here and holds nothing.
    ///
    /// # Errors
    /// As Postgres gives them.
    async fn advance(&mut self, conn: &mut PgConnection, count: usize) -> sqlx::Result<bool>;

    /// The transaction of [`Feed::advance`] was committed.
    fn advanced(&mut self, count: usize);

    /// Lets go of what others may take over.
    async fn end(&mut self) {}

    /// How long that is left to them before it is asked for again.
    fn respite(&self) -> Duration {
        Duration::ZERO
    }
}

/// Makes the feeds of followers.
#[derive(Clone)]
pub struct Feeds {
    by: By,
    make: Arc<Make>,
}

/// Makes the feed of a follower, by its name.
type Make = dyn Fn(&Ledger, &str) -> Box<dyn Feed> + Send + Sync;

impl Feeds {
    /// Feeds that are made so, all of one kind.
    pub fn new(
        by: By,
        make: impl Fn(&Ledger, &str) -> Box<dyn Feed> + Send + Sync + 'static,
    ) -> Self {
        Self { by, make: Arc::new(make) }
    }

    /// Feeds every follower by the log.
    #[must_use]
    pub fn by_log() -> Self {
        Self::new(By::Log, |ledger, follower| Box::new(LogFeed::new(ledger.clone(), follower)))
    }

    /// The feed of that follower.
    #[must_use]
    pub fn of(&self, ledger: &Ledger, follower: &str) -> Box<dyn Feed> {
        (self.make)(ledger, follower)
    }

    /// Whether a follower gets the events of all streams in the order of the log, and not only those
    /// of each.
    #[must_use]
    pub fn in_order(&self) -> bool {
        self.by == By::Log
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("by", &self.by).finish_non_exhaustive()
    }
}
