//! One cluster a test run, one database a test.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use accrue_private_postgres::cluster::Cluster;
use accrue_private_postgres::options::Options;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The cluster that all tests share.
pub async fn cluster() -> &'static Cluster {
    let start = async || {
        let options = Options { connections_max: 500, ..Options::small() };
        Cluster::scratch(options).await.expect("a private cluster starts")
    };
    CLUSTER.get_or_init(start).await
}

/// A database of one's own.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its URL, for other processes.
    pub url: String,
}

/// Commits that wait for the test.
#[derive(Debug)]
pub struct HeldUp(PgConnection);

impl HeldUp {
    /// Lets them all go, now and later.
    pub async fn let_go(mut self) {
        self.0.execute("SELECT pg_advisory_unlock(1)").await.expect("unlocked");
    }
}

impl Database {
    /// A new, empty database in the shared cluster.
    pub async fn create() -> Self {
        Self::create_in(cluster().await).await
    }

    /// A new, empty database in that cluster.
    pub async fn create_in(cluster: &Cluster) -> Self {
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let options = PgConnectOptions::from_str(&cluster.url()).expect("our own URL parses");
        let mut conn = options.connect().await.expect("the cluster answers");
        let create = format!("CREATE DATABASE {name}");
        conn.execute(create.as_str()).await.expect("a database is created");
        conn.close().await.expect("a connection closes");
        Self { url: cluster.url_of(&name) }
    }

    /// From now on every commit of a batch waits in Postgres until [`HeldUp::let_go`].
    pub async fn hold_up_commits(&self) -> HeldUp {
        let wait = "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
                    CREATE CONSTRAINT TRIGGER wait_for_test AFTER INSERT ON commits
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test()";
        self.run(wait).await;
        let mut holder = self.connect().await;
        holder.execute("SELECT pg_advisory_lock(1)").await.expect("locked");
        HeldUp(holder)
    }

    /// Waits until so many sessions are as this condition on `pg_stat_activity` says.
    pub async fn until_sessions(&self, condition: &str, count: i64) {
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND {condition}"
        );
        while self.number(&sessions).await < count {
            tokio::task::yield_now().await;
        }
    }

    /// A database with what another one holds now, which nobody is connected to.
    pub async fn copy_of(other: &Self) -> Self {
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let cluster = cluster().await;
        let options = PgConnectOptions::from_str(&cluster.url()).expect("our own URL parses");
        let mut conn = options.connect().await.expect("the cluster answers");
        let source = other.options();
        let source = source.get_database().expect("a database has a name");
        let create = format!("CREATE DATABASE {name} TEMPLATE {source}");
        conn.execute(create.as_str()).await.expect("a database is copied");
        conn.close().await.expect("a connection closes");
        Self { url: cluster.url_of(&name) }
    }

    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.url)
            .expect("our own URL parses")
            .disable_statement_logging()
    }

    /// A connection.
    pub async fn connect(&self) -> PgConnection {
        self.options().connect().await.expect("the database answers")
    }

    /// The socket of its server.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let options = self.options();
        let folder = options.get_socket().expect("a cluster of ours has a socket");
        folder.join(format!(".s.PGSQL.{}", options.get_port()))
    }

    /// Runs SQL that gives nothing back.
    pub async fn run(&self, sql: &str) {
        self.connect().await.execute(sql).await.expect("the statement runs");
    }

    /// Notes a migration that this build does not know, as a newer one does that leaves everything
    /// as it was.
    pub async fn migrated_by_a_newer_build(&self) {
        self.run(
            "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum,
                    execution_time FROM _sqlx_migrations LIMIT 1",
        )
        .await;
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.connect().await).await.expect("a number")
    }

    /// One text.
    pub async fn text(&self, sql: &str) -> String {
        sqlx::query_scalar(sql).fetch_one(&mut self.connect().await).await.expect("a text")
    }

    /// Texts.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut self.connect().await).await.expect("texts")
    }
}
