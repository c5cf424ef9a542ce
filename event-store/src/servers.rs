//! Where the database is: one server, or several of which one takes writes and the others stand
//! by to take over. The one place that knows there may be several.
//!
//! Invariants
//! - A connection from here is to a server that was fit at that moment: one that takes writes,
//!   unless any will do. A standby, or a server that was made read-only, is passed over.
//! - When another server is chosen, pooled connections to the one before are not used again.

mod url;

use std::io;
use std::str::FromStr;
use std::sync::Arc;
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

/// Servers with the same database. Cheap to clone; clones choose together.
#[derive(Debug, Clone)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// At least one.
    hosts: Vec<PgConnectOptions>,
    needed: Needed,
    chosen: watch::Sender<Chosen>,
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
    /// Connections from before are not to be trusted.
    since: Instant,
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
        let chosen = watch::Sender::new(Chosen { at: 0, since: Instant::now() });
        Self(Arc::new(Inner { hosts, needed, chosen }))
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
        let (first, count) = (self.0.chosen.borrow().at, self.0.hosts.len());
        if count == 1 {
            // Nothing to choose from: what it refuses, it says itself.
            return adapt(self.host(0)).connect().await;
        }
        let mut failure = sqlx::Error::PoolTimedOut;
        for step in 0..count {
            let at = (first + step) % count;
            let opened = tokio::time::timeout(ANSWER_MAX, self.open(adapt(self.host(at)))).await;
            match opened.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(conn) => {
                    self.choose(at);
                    return Ok(conn);
                }
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

    /// A pool for reading: live read models first, then the log. With several servers it is to be
    /// kept at the chosen one by [`Servers::keep`].
    #[must_use]
    pub fn pool(&self, connections_max: u32) -> PgPool {
        let chosen = self.0.chosen.subscribe();
        PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .before_acquire(move |_, about| {
                let is_of_the_chosen = about.age <= chosen.borrow().since.elapsed();
                Box::pin(async move { Ok(is_of_the_chosen) })
            })
            .connect_lazy_with(reading(self.current()))
    }

    /// Keeps the pools at the chosen server, and looks whether it is still fit, until `stop`.
    pub async fn keep(self, pools: Vec<PgPool>, stop: CancellationToken) {
        if self.0.hosts.len() == 1 {
            return;
        }
        let mut chosen = self.0.chosen.subscribe();
        // Another may have been chosen since the pools were made.
        chosen.mark_changed();
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut conn = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = chosen.changed() => {
                    let options = reading(self.host(chosen.borrow_and_update().at));
                    pools.iter().for_each(|pool| pool.set_connect_options(options.clone()));
                }
                _ = ticks.tick() => conn = self.checked(conn).await,
            }
        }
    }

    /// The connection if its server is still fit, else one to a server that is.
    async fn checked(&self, conn: Option<PgConnection>) -> Option<PgConnection> {
        if let Some(mut conn) = conn {
            let fit = tokio::time::timeout(ANSWER_MAX, self.is_fit(&mut conn)).await;
            if matches!(fit, Ok(Ok(true))) {
                return Some(conn);
            }
        }
        let looking = |options: PgConnectOptions| options.application_name("accrue look-out");
        let found = self.connect(looking).await;
        found.inspect_err(|error| tracing::debug!(%error, "no database server is fit")).ok()
    }

    /// Notes that the server in use takes no writes any more: behind one name there may be another
    /// by now, so every pooled connection is made anew.
    pub fn doubt(&self) {
        self.0.chosen.send_modify(|chosen| chosen.since = Instant::now());
    }

    fn choose(&self, at: usize) {
        let changed = self.0.chosen.send_if_modified(|chosen| {
            let changed = chosen.at != at;
            if changed {
                *chosen = Chosen { at, since: Instant::now() };
            }
            changed
        });
        if changed {
            tracing::warn!(host = self.name(at), "another database server is used from now on");
        }
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

/// How pools connect.
fn reading(options: PgConnectOptions) -> PgConnectOptions {
    options.options(PLANS).options([("search_path", "read,public")])
}
