//! Read models that follow the log while the server lives.

use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::follow::{self, FollowError, Follower, Runner, Status};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use sqlx::PgConnection;
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
/// follows the log with each of them until `stop`.
///
/// # Errors
/// [`Error`] when the tables could not be made.
pub async fn start(ledger: &Ledger, stop: CancellationToken) -> Result<Started, Error> {
    for model in MODELS {
        rebuild::ensure(ledger.options(), ledger.codec(), model).await?;
    }
    let mut runners = JoinSet::new();
    let mut follow = |model: &'static Model| {
        let (runner, status) = Runner::new(ledger.clone(), Live(model));
        runners.spawn(runner.run(stop.clone()));
        status
    };
    let views = Views {
        ledger: ledger.clone(),
        balances: follow(&balances::MODEL),
        statement: follow(&statement::MODEL),
        campaigns: follow(&campaigns::MODEL),
        stock: follow(&stock::MODEL),
        wallets: follow(&wallets::MODEL),
        orders: follow(&orders::MODEL),
        sagas: follow(&sagas::MODEL),
        takings: follow(&takings::MODEL),
        streams: stop.child_token(),
    };
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
        rebuild::ensure(ledger.options(), ledger.codec(), model).await?;
    }
    let streams = stop.child_token();
    let views = Views {
        ledger: ledger.clone(),
        balances: Status::new(balances::MODEL.name),
        statement: Status::new(statement::MODEL.name),
        campaigns: Status::new(campaigns::MODEL.name),
        stock: Status::new(stock::MODEL.name),
        wallets: Status::new(wallets::MODEL.name),
        orders: Status::new(orders::MODEL.name),
        sagas: Status::new(sagas::MODEL.name),
        takings: Status::new(takings::MODEL.name),
        streams,
    };
    let mut runners = JoinSet::new();
    runners.spawn(watch(views.clone(), stop));
    Ok(Started { views, runners })
}

async fn watch(views: Views, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(OBSERVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(mut conn) = views.ledger.pool().acquire().await else { continue };
        for status in views.statuses() {
            // A database that is away is said by its own health check.
            if let Ok(Some(position)) = follow::position(&mut conn, status.name()).await
                && *status.position().borrow() != position
            {
                status.moved(position);
            }
        }
    }
}

/// A read model as a follower of the log.
#[derive(Debug)]
struct Live(&'static Model);

#[async_trait]
impl Follower for Live {
    fn name(&self) -> &str {
        self.0.name
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
        if !any || !self.is_mine(conn, events).await? {
            return Ok(());
        }
        fold.write(conn).await
    }
}

impl Live {
    /// Takes the checkpoint's row before any other, as a rebuild and another server's follower do:
    /// whoever comes second waits here, holds nothing, and finds that the events were taken. The
    /// runner then fails to advance the checkpoint, and begins anew.
    async fn is_mine(
        &self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<bool, FollowError> {
        let position: Option<Position> =
            sqlx::query_scalar("SELECT position FROM checkpoints WHERE follower = $1 FOR UPDATE")
                .bind(self.0.name)
                .fetch_optional(conn)
                .await?;
        let first = events.first().map(|event| event.position);
        Ok(position < first)
    }
}
