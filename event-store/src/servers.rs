//! Where the database is: one server, or several of which one takes writes and the others stand
//! by to take over. The one place that knows there may be several.
//!
//! Invariants
//! - A connection from here is to a server that was fit at that moment: one that takes writes,
//!   unless any will do. A standby, or a server that was made read-only, is passed over.
//! - When another server is chosen, pooled connections to the one before are not used again, those
//!   neither that were on their way to it at that moment.

mod url;

use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::ledger::PLANS;

pub use url::Invalid;

/// How long one of several servers may take to answer before the next is tried.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How often it is asked whether the chosen server is still the right one.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The setting by which a session knows the [`Chosen::term`] that it was meant for.
const TERM: &str = "accrue.term";

/// How much older than the pool says a connection may be, at most.
const SETTLING: Duration = Duration::from_secs(10);

/// Servers with the same database. Cheap to clone; clones choose together.
#[derive(Debug, Clone)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// At least one.
    hosts: Vec<PgConnectOptions>,
    needed: Needed,
    chosen: watch::Sender<Chosen>,
    /// All that connect to the chosen server.
    pools: Mutex<Vec<PgPool>>,
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
    /// How often the choice was another, or in doubt.
    term: u64,
    /// When it last was. Connections from before are not to be trusted.
    since: Option<Instant>,
}

impl Chosen {
    fn renew(&mut self) {
        self.term += 1;
        self.since = Some(Instant::now());
    }

    /// Is the connection to this server, as far as its age tells? None if it does not: the pool
    /// dates it when it has come about, not when it set out.
    fn is_for(&self, age: Duration) -> Option<bool> {
        let Some(since) = self.since else { return Some(true) };
        match since.elapsed().checked_sub(age) {
            None => Some(false),
            Some(later) if later < SETTLING => None,
            Some(_) => Some(true),
        }
    }
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
        let chosen = watch::Sender::new(Chosen { at: 0, term: 0, since: None });
        Self(Arc::new(Inner { hosts, needed, chosen, pools: Mutex::default() }))
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
        if self.0.hosts.len() == 1 {
            // Nothing to choose from: what it refuses, it says itself.
            return adapt(self.host(0)).connect().await;
        }
        self.find(adapt).await.map(|(_, conn)| conn)
    }

    /// Connects to a server that is fit, and chooses it. Says the term of that choice.
    async fn find(
        &self,
        adapt: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> sqlx::Result<(u64, PgConnection)> {
        loop {
            let before = *self.0.chosen.borrow();
            let (at, conn) = self.first_fit(before.at, &adapt).await?;
            if let Some(term) = self.choose(at, before.term) {
                return Ok((term, conn));
            }
        }
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
    pub fn pool(&self, connections_max: u32) -> PgPool {
        let (connecting, acquiring) = (self.0.chosen.subscribe(), self.0.chosen.subscribe());
        let options = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .after_connect(move |conn, _| {
                let chosen = connecting.clone();
                Box::pin(async move {
                    if is_of_the_term(conn, &chosen).await? {
                        return Ok(());
                    }
                    Err(io::Error::other("another server was chosen meanwhile").into())
                })
            })
            .before_acquire(move |conn, about| {
                let chosen = acquiring.clone();
                let told = chosen.borrow().is_for(about.age);
                Box::pin(async move {
                    match told {
                        Some(told) => Ok(told),
                        None => is_of_the_term(conn, &chosen).await,
                    }
                })
            });
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = options.connect_lazy_with(self.reading());
        pools.push(pool.clone());
        pool
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
        let term = self.0.chosen.borrow().term;
        if let Some((of, mut conn)) = conn
            && of == term
        {
            let fit = tokio::time::timeout(ANSWER_MAX, self.is_fit(&mut conn)).await;
            if matches!(fit, Ok(Ok(true))) {
                return Some((of, conn));
            }
        }
        let looking = |options: PgConnectOptions| options.application_name("accrue look-out");
        let found = self.find(looking).await;
        found.inspect_err(|error| tracing::debug!(%error, "no database server is fit")).ok()
    }

    /// Notes that the server in use takes no writes any more: behind one name there may be another
    /// by now, so every pooled connection is made anew.
    pub fn doubt(&self) {
        self.0.chosen.send_modify(Chosen::renew);
        self.lead();
    }

    /// Chooses the server that was found fit, and says the term of that. None if another was chosen
    /// since `before`: what was found is older than that, and may be true no more.
    fn choose(&self, at: usize, before: u64) -> Option<u64> {
        let mut term = None;
        let changed = self.0.chosen.send_if_modified(|chosen| {
            let changed = chosen.at != at && chosen.term == before;
            if changed {
                chosen.at = at;
                chosen.renew();
            }
            term = (chosen.at == at).then_some(chosen.term);
            changed
        });
        if changed {
            self.lead();
            tracing::warn!(host = self.name(at), "another database server is used from now on");
        }
        term
    }

    /// Leads the pools to the chosen server.
    fn lead(&self) {
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked for under the lock: of two choices at once the last to lead knows the last choice.
        let options = self.reading();
        pools.iter().for_each(|pool| pool.set_connect_options(options.clone()));
    }

    /// How pools connect.
    fn reading(&self) -> PgConnectOptions {
        let chosen = *self.0.chosen.borrow();
        let options = self.host(chosen.at).options(PLANS);
        options.options([("search_path", "read,public")]).options([(TERM, chosen.term)])
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

/// Was the connection meant for the server that is chosen now?
async fn is_of_the_term(
    conn: &mut PgConnection,
    chosen: &watch::Receiver<Chosen>,
) -> sqlx::Result<bool> {
    let ask = sqlx::query_scalar::<_, String>("SELECT current_setting($1)");
    let term = ask.bind(TERM).fetch_one(conn).await?;
    Ok(term == chosen.borrow().term.to_string())
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
    }
}
