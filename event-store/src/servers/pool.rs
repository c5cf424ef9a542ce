//! Connections for reading at the chosen server.
//!
//! sqlx's pool knows no servers: a connection that sets out for one and comes about when another is
//! chosen would be taken for one to that. So each choice has a pool of its own, and the one before
//! is closed. What hangs there, since its server has vanished, takes nothing from the next.

use std::future::Future;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::watch;

use crate::ledger::PLANS;

/// How long whoever wants a connection waits for it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long work with a connection may take.
const WORK_MAX: Duration = Duration::from_secs(60);

/// How long a pool that is left may take for its farewell.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A pool that stays with the chosen server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool(watch::Receiver<PgPool>);

impl Pool {
    /// A connection to the server that is chosen.
    ///
    /// # Errors
    /// As sqlx gives them.
    pub async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        let mut current = self.0.clone();
        loop {
            let pool = current.borrow_and_update().clone();
            // Also while it connects, which sqlx does not break off.
            let acquired = pool.close_event().do_until(pool.acquire()).await;
            match acquired.and_then(|it| it) {
                Err(sqlx::Error::PoolClosed) if current.has_changed().unwrap_or(false) => {}
                done => return done,
            }
        }
    }

    /// The work, broken off when another server is chosen, or after long: one that has vanished
    /// never answers.
    ///
    /// # Errors
    /// As the work gives them, [`sqlx::Error::PoolClosed`] and [`sqlx::Error::PoolTimedOut`].
    pub async fn within<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let closed = self.current().close_event();
        tokio::select! {
            // First: what a server answers that was left meanwhile is true no more.
            biased;
            () = closed => Err(sqlx::Error::PoolClosed),
            done = tokio::time::timeout(WORK_MAX, work) => {
                done.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
        }
    }

    /// What is found out over a connection, within the same.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Pool::within`].
    pub async fn ask<T>(
        &self,
        ask: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.within(async { ask(&mut *self.acquire().await?).await }).await
    }

    /// sqlx's pool, for as long as no other server is chosen.
    #[must_use]
    pub fn current(&self) -> PgPool {
        self.0.borrow().clone()
    }

    /// Returns when nobody uses a connection any more.
    pub async fn close(&self) {
        self.current().close().await;
    }
}

/// All pools at the chosen server.
#[derive(Debug, Default)]
pub(super) struct Pools(Vec<(u32, watch::Sender<PgPool>)>);

impl Pools {
    pub(super) fn add(&mut self, connections_max: u32, server: &PgConnectOptions) -> Pool {
        let (pool, current) = watch::channel(open(connections_max, server));
        self.0.push((connections_max, pool));
        Pool(current)
    }

    /// Begins new ones, at that server.
    pub(super) fn renew(&mut self, server: &PgConnectOptions) {
        self.0.retain(|(_, pool)| !pool.is_closed());
        for (connections_max, pool) in &self.0 {
            let before = pool.send_replace(open(*connections_max, server));
            // From now on nobody gets a connection there. To call it is enough for that.
            drop(before.close());
            tokio::spawn(async move {
                let _ended = tokio::time::timeout(CLOSE_MAX, before.close()).await;
            });
        }
    }
}

fn open(connections_max: u32, server: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(server.clone().options(PLANS).options([("search_path", "read,public")]))
}
