//! The database that a command works on: a private Postgres, kept alive while we run, or a given
//! one, which is somebody else's to keep.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accrue_event_store::ledger::{self, OpenError};
use accrue_event_store::outage::Reminder;
use accrue_event_store::servers::Servers;
use accrue_private_postgres::cluster::{Cluster, Found, Released};
use accrue_private_postgres::options::Options;
use anyhow::{Context, Result, anyhow, ensure};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boot::{Signals, unless_stopped, unless_stopped_again};
use crate::config::{Place, masked};
use crate::output;

/// Where data is that root has in a folder closed to all others, such as his home.
const ROOTS_DATA: &str = "/var/lib/accrue-data";

/// How often the private Postgres is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a Postgres may take to answer at start.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// A database to work on.
#[derive(Debug)]
pub(crate) struct Database {
    /// How to connect, for work that ends soon.
    pub(crate) options: PgConnectOptions,
    /// Where it is, for as long as a server lives.
    pub(crate) servers: Servers,
    /// For people, without a password.
    pub(crate) name: String,
    private: Option<Private>,
}

#[derive(Debug)]
struct Private {
    cluster: Arc<Cluster>,
    data_dir: PathBuf,
}

impl Database {
    /// Starts or joins the private Postgres, or checks that the given one answers.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        match place {
            Place::Private { data_dir, by_default, shared_buffers_mb } => {
                let elsewhere = by_default.then(|| ROOTS_DATA.into());
                let shared_buffers_mb = *shared_buffers_mb;
                let options = Options { elsewhere, shared_buffers_mb, ..Options::default() };
                Self::private(data_dir, options).await
            }
            Place::Given { url, servers } => Self::given(url, servers).await,
        }
    }

    async fn private(data_dir: &Path, options: Options) -> Result<Self> {
        // Its errors are whole sentences with their cause in them already.
        let started = Cluster::start(data_dir, options).await;
        let cluster = started.map_err(|error| anyhow!("{error}"))?;
        let options: PgConnectOptions =
            cluster.url().parse().context("the private Postgres has an unexpected URL")?;
        let data_dir = cluster.data_dir().to_path_buf();
        let name = format!("private PostgreSQL {} in {}", cluster.major(), data_dir.display());
        let private = Private { cluster: Arc::new(cluster), data_dir };
        let servers = options.clone().into();
        Ok(Self { options, servers, name, private: Some(private) })
    }

    async fn given(url: &str, servers: &Servers) -> Result<Self> {
        let name = masked(url);
        let connect = servers.connect(|options| options);
        let connect = tokio::time::timeout(CONNECT_WAIT_MAX, connect).await;
        let conn = match connect {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => return Err(no_answer(&name, &error)),
            Err(_) => return Err(no_answer(&name, &sqlx::Error::PoolTimedOut)),
        };
        conn.close().await?;
        Ok(Self { options: servers.current(), servers: servers.clone(), name, private: None })
    }

    /// The folder of the private Postgres.
    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.private.as_ref().map(|private| &*private.data_dir)
    }

    /// Starts the private Postgres again whenever it dies, until `stop`.
    pub(crate) fn watch(&self, stop: CancellationToken) -> Option<JoinHandle<()>> {
        let cluster = Arc::clone(&self.private.as_ref()?.cluster);
        Some(tokio::spawn(watch(cluster, stop)))
    }

    /// Stops the private Postgres, unless another process uses it too.
    pub(crate) async fn release(self) -> Result<()> {
        let Some(private) = self.private else { return Ok(()) };
        let Some(cluster) = Arc::into_inner(private.cluster) else { return Ok(()) };
        match cluster.release().await? {
            Released::Stopped => tracing::debug!("the private Postgres has stopped"),
            Released::LeftToOthers => {
                tracing::debug!("the private Postgres runs on: another process uses it");
            }
        }
        Ok(())
    }
}

/// Runs `work` on the database, until a signal at most, and lets go of it whatever comes of the work.
pub(crate) async fn with<T>(
    place: &Place,
    work: impl AsyncFnOnce(&Database) -> Result<T>,
) -> Result<T> {
    with_signals(place, async |database, signals| {
        let done = unless_stopped(signals, work(database)).await;
        done.unwrap_or_else(|| Err(anyhow!("stopped before it was done")))
    })
    .await
}

/// As [`with`], for work that hears signals itself.
pub(crate) async fn with_signals<T>(
    place: &Place,
    work: impl AsyncFnOnce(&Database, &mut Signals) -> Result<T>,
) -> Result<T> {
    if let Place::Private { data_dir, .. } = place {
        // Not to be made by a command that only looks.
        ensure!(
            data_dir.join("format").exists(),
            "there is no data folder at {}: name it with --data-dir, or start with `accrue serve`",
            data_dir.display()
        );
    }
    let mut signals = Signals::listen()?;
    let at_once = || anyhow!("stopped at once");
    let opened = unless_stopped_again(&mut signals, Database::open(place)).await;
    let database = opened.ok_or_else(at_once)??;
    let done = if signals.heard() {
        Err(anyhow!("stopped before it had begun"))
    } else {
        work(&database, &mut signals).await
    };
    let released = unless_stopped_again(&mut signals, database.release()).await;
    let done = done?;
    released.ok_or_else(at_once)?.map(|()| done)
}

/// Brings the schema up to date, and says which it is.
pub(crate) async fn migrate(database: &Database) -> Result<()> {
    let mut conn = database.options.connect().await?;
    bring_up_to_date(&mut conn, &database.name).await?;
    let version = ledger::schema_version(&mut conn).await?;
    conn.close().await?;
    output::line(&format!("{} has schema {version}", database.name))?;
    Ok(())
}

async fn watch(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reminder = Reminder::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // The wait for a recovery may be long, and a stop does not wait for it.
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = cluster.ensure_running() => found,
        };
        match found {
            Ok(Found::Running) => reminder = Reminder::new(),
            Ok(Found::Restarted) => {
                reminder = Reminder::new();
                tracing::warn!("the private Postgres had died; it runs again");
            }
            Err(error) if reminder.is_due(Instant::now()) => {
                tracing::error!(%error, "the private Postgres cannot be started again");
            }
            Err(error) => tracing::debug!(%error, "nor this time"),
        }
    }
}

fn no_answer(name: &str, error: &sqlx::Error) -> anyhow::Error {
    let reason = match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => format!("no answer within {} s", CONNECT_WAIT_MAX.as_secs()),
        other => other.to_string(),
    };
    anyhow!("Postgres at {name} cannot be used: {reason} (start it, or check --database-url)")
}

/// Refuses a database that a newer version has migrated too far, and brings one up to date that is
/// behind.
pub(crate) async fn check_schema(conn: &mut PgConnection, name: &str) -> Result<()> {
    // To look at a database is not to make a ledger of it.
    let is_ledger = sqlx::query_scalar("SELECT to_regclass('log_head') IS NOT NULL");
    let is_ledger: bool = is_ledger.fetch_one(&mut *conn).await?;
    ensure!(
        is_ledger,
        "there is no ledger in {name}: `accrue migrate` or `accrue serve` makes one"
    );
    bring_up_to_date(conn, name).await
}

async fn bring_up_to_date(conn: &mut PgConnection, name: &str) -> Result<()> {
    ledger::migrate(conn).await.map_err(|error| not_opened(name, error))
}

/// What went wrong with opening the ledger, in one line with the way out.
pub(crate) fn not_opened(name: &str, error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Unreachable(error) => no_answer(name, &error),
        OpenError::Newer { .. } => {
            anyhow!("{error}: use that version, or another database ({name})")
        }
        OpenError::Migrate(MigrateError::VersionMismatch(migration)) => anyhow!(
            "the database was made by another build, whose migration {migration} differs: use \
             that build, or another database ({name})"
        ),
        error => anyhow!("{error} ({name})"),
    }
}
