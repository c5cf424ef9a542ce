//! The ledger: everything that a service needs of the log, in one handle.

use std::sync::{Arc, LazyLock};

use accrue_domain::envelope::Envelope;
use accrue_domain::id::ProgramId;
use prometheus_client::registry::Registry;
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::codec::Codec;
use crate::executor::{Executor, LOADS_MAX, Limits, Parts};
use crate::fold;
use crate::log;
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt};
use crate::servers::{Pool, Servers};
use crate::state::FromState;
use crate::stream::StreamKey;
use crate::tail::Tail;
use crate::watch::{Watch, Watches};

/// How a ledger is opened.
#[derive(Debug)]
pub struct Config {
    /// Where Postgres is.
    pub servers: Servers,
    /// Most connections beside those of the writer and the followers.
    pub pool_connections_max: u32,
    /// The executor's bounds.
    pub limits: Limits,
    /// The decoder.
    pub codec: Codec,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Postgres does not answer.
    #[error("Postgres does not answer: {0}")]
    Unreachable(sqlx::Error),
    /// A newer build has migrated this database, and it does not suit this one any more.
    #[error("the database was made by a newer version of accrue (schema {found}, known {known})")]
    Newer {
        /// The database's last migration.
        found: i64,
        /// This build's last migration.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the database schema could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The system gives no more threads.
    #[error("the log's threads could not be started: {0}")]
    Threads(std::io::Error),
    /// Postgres answers, with an error.
    #[error("Postgres refuses: {0}")]
    Database(#[from] sqlx::Error),
}

/// Connections for reading the tail, for snapshots and for filling memory.
const LOG_CONNECTIONS_MAX: u32 = 4;

/// Those that it does not know are for [`suits`] to judge.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../schemas/migrations");
    migrations.set_ignore_missing(true);
    migrations
});

/// A handle on the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    executor: Executor,
    tail: Tail,
    watches: Watches,
    pool: Pool,
    servers: Servers,
    clock: Arc<dyn Clock>,
    codec: Codec,
    metrics: Metrics,
    stop: CancellationToken,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Ledger {
    /// Brings the schema up to date and starts the executor and the tail.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: Config, registry: &mut Registry) -> Result<Self, OpenError> {
        let metrics = Metrics::new(registry);
        let servers = config.servers;
        let conn = servers.connect(|options| options).await;
        let mut conn = conn.map_err(OpenError::Unreachable)?;
        migrate(&mut conn).await?;
        let (head, timeline) = log::head_and_timeline(&mut conn).await?;
        conn.close().await?;
        metrics.head.set(head);
        let pool = servers.pool(config.pool_connections_max);
        // Apart from the readers' pool, so that slow readers hold no command back.
        let inner = servers.pool(LOG_CONNECTIONS_MAX);
        // One a load: a session that has read much of the log reads the next part faster than one
        // that is new to it, so the loads keep to few.
        let loads = servers.pool(LOADS_MAX);
        let stop = CancellationToken::new();
        tokio::spawn(servers.clone().keep(stop.clone()));
        let tail = Tail::new(
            (servers.clone(), inner.clone()),
            config.codec.clone(),
            head,
            timeline.clone(),
        );
        let (others_tx, others) = mpsc::channel(16);
        tokio::spawn(tail.clone().poll(others_tx, stop.clone()));
        let watches = Watches::default();
        tokio::spawn(watches.clone().run(tail.clone(), stop.clone()));
        let parts = Parts {
            servers: servers.clone(),
            timeline,
            pool: inner,
            loads,
            codec: config.codec.clone(),
            clock: Arc::clone(&config.clock),
            tail: tail.clone(),
            metrics: metrics.clone(),
            limits: config.limits,
        };
        let (executor, ended) = Executor::start(parts, others).map_err(OpenError::Threads)?;
        Ok(Self(Arc::new(Inner {
            executor,
            tail,
            watches,
            pool,
            servers,
            clock: config.clock,
            codec: config.codec,
            metrics,
            stop,
            ended: Mutex::new(Some(ended)),
        })))
    }

    /// Executes a command; see [`Executor::execute`].
    ///
    /// # Errors
    /// As there.
    pub async fn execute(&self, envelope: Envelope) -> Result<Receipt, ExecuteError> {
        self.0.executor.execute(envelope).await
    }

    /// The executor itself, for dry runs, bulk and raw appends.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// The tail of the log.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.0.tail
    }

    /// The events of one stream, as they become durable from now on.
    #[must_use]
    pub fn watch(&self, stream: StreamKey) -> Watch {
        self.0.watches.watch(stream)
    }

    /// Connections for reading.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// How to make a connection of one's own.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.0.servers
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The decoder.
    #[must_use]
    pub fn codec(&self) -> &Codec {
        &self.0.codec
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The durable state of an aggregate and its version; none when it has no event.
    ///
    /// # Errors
    /// As Postgres gives them, and [`sqlx::Error::Decode`] for an event of a newer build.
    pub async fn load<A: FromState>(
        &self,
        program: &ProgramId,
        id: &str,
    ) -> sqlx::Result<Option<(A, i64)>> {
        self.0.pool.ask(async |conn| load(conn, &self.0.codec, program, id).await).await
    }

    /// Takes no more commands, finishes those that were taken, and returns when all is durable
    /// and answered.
    pub async fn close(&self) {
        self.0.executor.close();
        if let Some(ended) = self.0.ended.lock().await.take() {
            let _ = ended.await;
        }
        self.0.stop.cancel();
    }
}

/// The state of an aggregate and its version, as that connection's server has it; none when it has
/// no event.
///
/// # Errors
/// As for [`Ledger::load`].
pub async fn load<A: FromState>(
    conn: &mut PgConnection,
    codec: &Codec,
    program: &ProgramId,
    id: &str,
) -> sqlx::Result<Option<(A, i64)>> {
    let stream = StreamKey::new(A::KIND, program, id);
    let folded = fold::load(conn, codec, std::slice::from_ref(&stream)).await?;
    let Some(folded) = folded.into_iter().next() else { return Ok(None) };
    let folded = folded.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let sequence = folded.sequence;
    Ok(A::from_state(folded.state).filter(|_| sequence > 0).map(|state| (state, sequence)))
}

/// Brings the schema up to date, over a connection with the default search path. One that is ahead
/// is left as it is where it still suits this build: while a release is rolled out, processes of the
/// one before start again behind its migration.
///
/// # Errors
/// [`OpenError::Newer`] when the database is too far ahead of this build.
pub async fn migrate(conn: &mut PgConnection) -> Result<(), OpenError> {
    suits(conn).await?;
    MIGRATIONS.run(&mut *conn).await?;
    // A newer build may have had its turn while this one waited for its own.
    suits(conn).await
}

/// Refuses a schema with migrations that this build does not know and cannot work behind.
async fn suits(conn: &mut PgConnection) -> Result<(), OpenError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    if !is_there(conn, "_sqlx_migrations").await? {
        return Ok(());
    }
    let found = schema_version(conn).await?;
    if found <= known {
        return Ok(());
    }
    let oldest: Option<i64> = match is_there(conn, "schema_support").await? {
        true => {
            let told = sqlx::query_scalar("SELECT oldest FROM public.schema_support");
            told.fetch_optional(conn).await?
        }
        false => None,
    };
    match oldest {
        Some(oldest) if oldest <= known => Ok(()),
        _ => Err(OpenError::Newer { found, known }),
    }
}

async fn is_there(conn: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT to_regclass('public.' || $1) IS NOT NULL")
        .bind(table)
        .fetch_one(conn)
        .await
}

/// The last migration of a database that was migrated before; 0 for one by halves.
///
/// # Errors
/// As Postgres gives them.
pub async fn schema_version(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(conn)
        .await
}

/// How Postgres is to plan what we ask: every statement looks rows up by key, so its plan does not
/// depend on its values. A plan that was made while a table was empty would otherwise read all of
/// it, and stay in the session until the table is analysed. For every connection that reads the log.
pub const PLANS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
