//! Where the database is: one server, or several of which one takes writes and the others stand
//! by to take over. The one place that knows there may be several.
//!
//! Invariants
//! - A connection from here is to a server that was fit at that moment: one that takes writes,
//!   unless any will do. A standby, or a server that was made read-only, is passed over.
//! - When another server is chosen, pooled connections to the one before are not used again, those
//!   neither that were on their way to it at that moment; see [`Pool`].

mod pool;
mod url;

use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use pool::Pools;

pub use pool::Pool;
pub use url::Invalid;

/// How long one of several servers may take to answer before the next is tried.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How often it is asked whether the chosen server is still the right one.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Servers with the same database. Cheap to clone; clones choose together.
#[derive(Debug, Clone)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// At least one.
    hosts: Vec<PgConnectOptions>,
    needed: Needed,
    chosen: watch::Sender<Chosen>,
    /// All at the chosen server. Held while another is chosen, so that nobody who knows of that
    /// choice reads from the one before.
    pools: Mutex<Pools>,
    outage: Outage,
}

/// What a server has to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// It takes writes.
    ReadWrite,
    /// It answers.
    Any,
}

/// The server that is used.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    at: usize,
    /// Counts how often another was chosen, or found behind the same name.
    term: u64,
    /// The term in which the latter was last. What was found before may be true no more.
    moved: u64,
}

impl From<PgConnectOptions> for Servers {
    fn from(options: PgConnectOptions) -> Self {
        Self::of(vec![options], Needed::ReadWrite)
    }
}

impl FromStr for Servers {
    type Err = Invalid;
    /// A URL as libpq reads it: several hosts with commas between, in the address or in the
    /// parameter `host`, and `target_session_attrs`, which is `read-write` where absent.
    fn from_str(url: &str) -> Result<Self, Invalid> {
        Self::parse(url, Needed::ReadWrite)
    }
}

impl Servers {
    /// As from a text, with what is needed where the URL does not say.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(url: &str, default: Needed) -> Result<Self, Invalid> {
        let url::Parsed { hosts, needed } = url::parse(url)?;
        Ok(Self::of(hosts, needed.unwrap_or(default)))
    }

    fn of(hosts: Vec<PgConnectOptions>, needed: Needed) -> Self {
        let chosen = watch::Sender::new(Chosen { at: 0, term: 0, moved: 0 });
        let (pools, outage) = (Mutex::default(), Outage::default());
        Self(Arc::new(Inner { hosts, needed, chosen, pools, outage }))
    }

    /// How to connect to the server that was chosen last: for work that ends soon.
    #[must_use]
    pub fn current(&self) -> PgConnectOptions {
        self.host(self.0.chosen.borrow().at)
    }

    /// Connects to a server that is fit, the one that was chosen last first.
    ///
    /// # Errors
    /// As the last of the servers gave it.
    pub async fn connect(
        &self,
        adapt: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> sqlx::Result<PgConnection> {
        self.connect_in_term(adapt).await.map(|(_, conn)| conn)
    }

    /// As [`Servers::connect`], with the [`Servers::term`] that the connection is of.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_in_term(
        &self,
        adapt: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> sqlx::Result<(u64, PgConnection)> {
        loop {
            let before = *self.0.chosen.borrow();
            if self.0.hosts.len() == 1 {
                // Nothing to choose from: what it refuses, it says itself.
                return Ok((before.term, adapt(self.host(0)).connect().await?));
            }
            let (at, conn) = self.first_fit(before.at, &adapt).await?;
            if let Some(term) = self.choose(at, before.term) {
                return Ok((term, conn));
            }
        }
    }

    /// Whether none of them can be reached.
    #[must_use]
    pub fn outage(&self) -> &Outage {
        &self.0.outage
    }

    /// Counts how often another server was chosen. A connection of an earlier term is not to be used.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.0.chosen.borrow().term
    }

    /// What the server of a connection of that term answers: waited for until the time is up, or
    /// another server is chosen, since one that has vanished never answers.
    pub(crate) async fn answer<T>(
        &self,
        term: u64,
        limit: Duration,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let silent = |why| Err(io::Error::new(io::ErrorKind::TimedOut, why).into());
        tokio::select! {
            biased;
            answer = work => answer,
            () = self.left(term) => silent("another server is chosen"),
            () = tokio::time::sleep(limit) => silent("no answer in time"),
        }
    }

    /// Returns when that term is over.
    pub(crate) async fn left(&self, term: u64) {
        let mut chosen = self.0.chosen.subscribe();
        drop(chosen.wait_for(|chosen| chosen.term != term).await);
    }

    /// A connection to the first server that is fit, and which one that is.
    async fn first_fit(
        &self,
        first: usize,
        adapt: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> sqlx::Result<(usize, PgConnection)> {
        let count = self.0.hosts.len();
        let mut failure = sqlx::Error::PoolTimedOut;
        for at in (first..first + count).map(|at| at % count) {
            let opened = tokio::time::timeout(ANSWER_MAX, self.open(adapt(self.host(at)))).await;
            match opened.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(conn) => return Ok((at, conn)),
                Err(error) => {
                    tracing::debug!(%error, host = self.name(at), "a database server is passed over");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn open(&self, options: PgConnectOptions) -> sqlx::Result<PgConnection> {
        let mut conn = options.connect().await?;
        if !self.is_fit(&mut conn).await? {
            return Err(io::Error::other("the server takes no writes").into());
        }
        Ok(conn)
    }

    async fn is_fit(&self, conn: &mut PgConnection) -> sqlx::Result<bool> {
        let ask = match self.0.needed {
            Needed::Any => "SELECT true",
            Needed::ReadWrite => {
                "SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::bool)"
            }
        };
        sqlx::query_scalar(ask).fetch_one(conn).await
    }

    /// A pool for reading: live read models first, then the log. It stays with the chosen server.
    #[must_use]
    pub fn pool(&self, connections_max: u32) -> Pool {
        self.pools().add(connections_max, &self.current())
    }

    /// Looks whether the chosen server is still fit, and for another if not, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        if self.0.hosts.len() == 1 {
            return;
        }
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut conn = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => conn = self.checked(conn).await,
            }
        }
    }

    /// The connection if it is of the chosen server, and that is fit, else one to a server that is,
    /// with the term that it is of.
    async fn checked(&self, conn: Option<(u64, PgConnection)>) -> Option<(u64, PgConnection)> {
        let term = self.term();
        if let Some((of, mut conn)) = conn
            && of == term
        {
            let fit = tokio::time::timeout(ANSWER_MAX, self.is_fit(&mut conn)).await;
            if matches!(fit, Ok(Ok(true))) {
                return Some((of, conn));
            }
        }
        let looking = |options: PgConnectOptions| options.application_name("accrue look-out");
        let found = self.connect_in_term(looking).await;
        found.inspect_err(|error| tracing::debug!(%error, "no database server is fit")).ok()
    }

    /// Notes that the log is another server's by now, which behind one name nobody chooses: every
    /// connection is made anew. Returns the term that begins with that.
    pub fn moved(&self) -> u64 {
        let mut pools = self.pools();
        self.0.chosen.send_modify(|chosen| {
            chosen.term += 1;
            chosen.moved = chosen.term;
        });
        pools.renew(&self.current());
        self.term()
    }

    /// Chooses the server that was found fit, and says the term of that. None if another was chosen
    /// since `before`: what was found is older than that, and may be true no more.
    fn choose(&self, at: usize, before: u64) -> Option<u64> {
        let mut pools = self.pools();
        let changed = self.0.chosen.send_if_modified(|chosen| {
            let changed = chosen.at != at && chosen.term == before;
            if changed {
                *chosen = Chosen { at, term: before + 1, ..*chosen };
            }
            changed
        });
        if changed {
            pools.renew(&self.current());
            tracing::warn!(host = self.name(at), "another database server is used from now on");
        }
        let chosen = *self.0.chosen.borrow();
        (chosen.at == at && before >= chosen.moved).then_some(chosen.term)
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self, at: usize) -> PgConnectOptions {
        self.0.hosts[at].clone()
    }

    fn name(&self, at: usize) -> String {
        let options = &self.0.hosts[at];
        match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        }
    }
}

/// Does the server of that connection show the log of another one, and nothing of its own? One that
/// was promoted does not any more.
///
/// # Errors
/// As Postgres gives them.
pub async fn is_standby(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(conn).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_before_another_was_chosen_is_chosen_no_more() {
        let servers: Servers = "postgres://a@one:1,two:2/d".parse().unwrap();
        assert_eq!(servers.choose(0, 0), Some(0), "it is the one that is used");
        assert_eq!(servers.choose(1, 0), Some(1));
        assert_eq!(servers.choose(0, 0), None);
        assert_eq!(servers.current().get_port(), 2);
        assert_eq!(servers.choose(1, 0), Some(1), "the same was found meanwhile");
        assert_eq!(servers.choose(0, 1), Some(2));
        assert_eq!(servers.current().get_port(), 1);
        assert_eq!(servers.moved(), 3);
        assert_eq!(servers.choose(0, 2), None, "another may be behind the name");
        assert_eq!(servers.choose(0, 3), Some(3));
    }
}
