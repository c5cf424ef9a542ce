//! Read models that follow the log while the server lives.

use std::sync::Arc;
use std::time::Duration;

use accrue_domain::aggregate::Kind;
use accrue_domain::id::ProgramId;
use accrue_event_store::follow::{self, Feeds, FollowError, Follower, Runner, Status};
use accrue_event_store::ledger::{self, Ledger};
use accrue_event_store::log;
use accrue_event_store::record::{Position, Recorded};
use accrue_event_store::servers::{self, Pool};
use accrue_event_store::state::FromState;
use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::model::{MODELS, Model, prepare_writer};
use crate::models::{balances, campaigns, orders, sagas, statement, stock, takings, wallets};
use crate::rebuild;

/// The read models of a running server: what the routes ask and health checks watch. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Views {
    /// The log behind them.
    pub ledger: Ledger,
    /// Where the routes read: the primary, or a replica while it replays it; see [`Views::acquire`].
    pub pool: Pool,
    /// The pool is of replicas.
    pub(crate) replicas: bool,
    /// The end of the log as it is known there.
    head: watch::Receiver<Position>,
    /// How `balances` is doing.
    pub balances: Status,
    /// How `statement` is doing.
    pub statement: Status,
    /// How `campaigns` is doing.
    pub campaigns: Status,
    /// How `stock` is doing.
    pub stock: Status,
    /// How `wallets` is doing.
    pub wallets: Status,
    /// How `orders` is doing.
    pub orders: Status,
    /// How `sagas` is doing.
    pub sagas: Status,
    /// How `takings` is doing.
    pub takings: Status,
    /// Ends answers that would go on for ever: to be cancelled before connections are drained.
    /// Ends with the followers at the latest.
    pub streams: CancellationToken,
}

impl Views {
    fn new(
        ledger: &Ledger,
        (pool, head, replicas): (Pool, watch::Receiver<Position>, bool),
        streams: CancellationToken,
        mut status: impl FnMut(&'static Model) -> Status,
    ) -> Self {
        Self {
            ledger: ledger.clone(),
            pool,
            replicas,
            head,
            balances: status(&balances::MODEL),
            statement: status(&statement::MODEL),
            campaigns: status(&campaigns::MODEL),
            stock: status(&stock::MODEL),
            wallets: status(&wallets::MODEL),
            orders: status(&orders::MODEL),
            sagas: status(&sagas::MODEL),
            takings: status(&takings::MODEL),
            streams,
        }
    }

    /// The last position that is known to be readable where the routes read, and a way to wait
    /// for later ones.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    /// A connection to read with. A replica that was promoted has a history of its own from then on,
    /// however well it answers, so the primary is read in its place. Asked of each connection, since
    /// behind one name there may be several.
    pub(crate) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        let mut conn = self.pool.acquire().await?;
        if !self.replicas || servers::is_standby(&mut conn).await? {
            return Ok(conn);
        }
        drop(conn);
        self.ledger.pool().acquire().await
    }

    /// Does the replica follow another server, so that reads are answered by it?
    ///
    /// # Errors
    /// As Postgres gives them.
    pub async fn is_standby(&self) -> sqlx::Result<bool> {
        self.pool.ask(servers::is_standby).await
    }

    /// The state of an aggregate and its version, from where the routes read.
    pub(crate) async fn load<A: FromState>(
        &self,
        conn: &mut PgConnection,
        program: &ProgramId,
        id: &str,
    ) -> sqlx::Result<Option<(A, i64)>> {
        ledger::load(conn, self.ledger.codec(), program, id).await
    }

    /// Every follower here.
    #[must_use]
    pub fn statuses(&self) -> [&Status; 8] {
        [
            &self.balances,
            &self.statement,
            &self.campaigns,
            &self.stock,
            &self.wallets,
            &self.orders,
            &self.sagas,
            &self.takings,
        ]
    }
}

/// What [`start`] has started.
#[derive(Debug)]
pub struct Started {
    /// For routes and health checks.
    pub views: Views,
    /// The followers; they end with `stop`.
    pub runners: JoinSet<()>,
}

/// Makes the tables of every read model that has none, or has those of another version, and
/// follows the log with each of them, as `feeds` has it, until `stop`.
///
/// # Errors
/// [`Error`] when the tables could not be made.
pub async fn start(
    ledger: &Ledger,
    feeds: &Feeds,
    stop: CancellationToken,
) -> Result<Started, Error> {
    for model in MODELS {
        rebuild::ensure(&ledger.servers().current(), ledger.codec(), model).await?;
    }
    let mut runners = JoinSet::new();
    let views = Views::new(ledger, primary(ledger), stop.child_token(), |model| {
        let feed = feeds.of(ledger, model.name);
        let (runner, status) = Runner::new(ledger.clone(), Live(model), feed);
        runners.spawn(runner.run(stop.clone()));
        status
    });
    Ok(Started { views, runners })
}

/// How often a process that keeps no read model looks how far the others have come.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(25);

/// Makes the tables as [`start`] does, but leaves the following to other processes and only
/// watches how far they have come, for reads that wait for a position.
///
/// # Errors
/// As [`start`].
pub async fn observe(ledger: &Ledger, stop: CancellationToken) -> Result<Started, Error> {
    for model in MODELS {
        rebuild::ensure(&ledger.servers().current(), ledger.codec(), model).await?;
    }
    let views = Views::new(ledger, primary(ledger), stop.child_token(), |model| {
        let status = watched(model);
        ledger.tail().invalidates(status.clone());
        status
    });
    let mut runners = JoinSet::new();
    runners.spawn(observed(views.clone(), None, stop));
    Ok(Started { views, runners })
}

/// Views on a replica: reads that wait for a position wait until that server has replayed it.
/// The tables come to it by themselves.
#[must_use]
pub fn replica(ledger: &Ledger, pool: Pool, stop: CancellationToken) -> Started {
    let (replayed, head) = watch::channel(-1);
    let views = Views::new(ledger, (pool, head, true), stop.child_token(), watched);
    let mut runners = JoinSet::new();
    runners.spawn(observed(views.clone(), Some(replayed), stop));
    Started { views, runners }
}

fn primary(ledger: &Ledger) -> (Pool, watch::Receiver<Position>, bool) {
    (ledger.pool().clone(), ledger.tail().head(), false)
}

fn watched(model: &'static Model) -> Status {
    Status::new(model.name)
}

/// Reads now and then how far the read models have come, and with `replayed` the log itself.
async fn observed(
    views: Views,
    replayed: Option<watch::Sender<Position>>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(OBSERVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // A database that is away is said by its own health check.
        if let Err(error) = views.pool.within(look(&views, replayed.as_ref())).await {
            tracing::debug!(%error, "the read models' positions cannot be read");
        }
    }
}

async fn look(views: &Views, replayed: Option<&watch::Sender<Position>>) -> sqlx::Result<()> {
    let mut conn = views.acquire().await?;
    let statuses = views.statuses();
    let found = follow::positions(&mut conn, &statuses.map(Status::name)).await?;
    for status in statuses {
        let position = found.iter().find(|(name, _)| name == status.name()).map(|it| it.1);
        if let Some(position) = position.filter(|it| *it != *status.position().borrow()) {
            status.moved(position);
        }
    }
    if let Some(replayed) = replayed {
        let head = log::head(&mut conn).await?;
        replayed.send_if_modified(|known| std::mem::replace(known, head) != head);
    }
    Ok(())
}

/// A read model as a follower of the log.
#[derive(Debug)]
struct Live(&'static Model);

#[async_trait]
impl Follower for Live {
    fn name(&self) -> &str {
        self.0.name
    }

    fn reads(&self, kind: Kind) -> bool {
        self.0.kinds.contains(&kind)
    }

    async fn reset(&mut self, conn: &mut PgConnection, _: Position) -> Result<(), FollowError> {
        Ok(prepare_writer(conn).await?)
    }

    async fn write(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), FollowError> {
        let mut fold = (self.0.fold)();
        let mut any = false;
        for event in events {
            if event.stream.as_ref().is_some_and(|it| self.0.kinds.contains(&it.kind())) {
                fold.event(event)?;
                any = true;
            }
        }
        if !any {
            return Ok(());
        }
        self.is_current(conn).await?;
        fold.write(conn).await
    }
}

impl Live {
    /// Are the tables those that this build keeps? Asked behind the lock of the checkpoint, so that
    /// a switch of tables has happened or waits for us.
    async fn is_current(&self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let version: Option<i32> =
            sqlx::query_scalar("SELECT version FROM read.models WHERE name = $1")
                .bind(self.0.name)
                .fetch_optional(conn)
                .await?;
        match version {
            Some(found) if found != self.0.version => Err(FollowError::NotReady(format!(
                "the tables are of version {found}, this build keeps version {}; going back to \
                 it takes `accrue projections rebuild {}`",
                self.0.version, self.0.name
            ))),
            _ => Ok(()),
        }
    }
}
