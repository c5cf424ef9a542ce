//! The Postgres that both sides are measured on, and the fresh databases in it.

use accrue_private_postgres::cluster::Cluster;
use accrue_private_postgres::options::Options;
use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

/// Files of write-ahead log, 16 MiB each, that a private cluster keeps for use again.
const WAL_FILES: u32 = 64;

#[derive(Debug)]
pub(crate) struct Postgres {
    options: PgConnectOptions,
    /// Ours, stopped and removed when dropped; absent with a given server.
    private: Option<Cluster>,
}

impl Postgres {
    /// The given server, or a private cluster under the temporary folder (`TMPDIR` chooses its
    /// disk; one that is memory makes every commit free and the figures worthless).
    pub(crate) async fn start(
        database_url: Option<&str>,
        shared_buffers_mb: u32,
    ) -> anyhow::Result<Self> {
        if let Some(url) = database_url {
            let options = url.parse().context("reading --database-url")?;
            return Ok(Self { options, private: None });
        }
        // For who measures from a commit on.
        let settings = vec![("track_commit_timestamp".to_owned(), "on".to_owned())];
        let options = Options { shared_buffers_mb, settings, ..Options::default() };
        let cluster = Cluster::scratch(options).await;
        let cluster = cluster.context("starting a private Postgres")?;
        let options = cluster.url().parse().context("reading the private cluster's URL")?;
        let postgres = Self { options, private: Some(cluster) };
        postgres.age().await.context("ageing the private Postgres")?;
        Ok(postgres)
    }

    /// Runs through as many files of write-ahead log as Postgres keeps for use again. A young
    /// cluster has to make each of them first, and every commit waits for that: a fault that heals
    /// within the first gigabyte, and would be counted against whoever writes more in that time.
    async fn age(&self) -> anyhow::Result<()> {
        let mut conn = self.options.connect().await?;
        for _ in 0..WAL_FILES {
            conn.execute("SELECT pg_logical_emit_message(false, 'bench', '')").await?;
            conn.execute("SELECT pg_switch_wal()").await?;
        }
        conn.execute("CHECKPOINT").await?;
        Ok(conn.close().await?)
    }

    /// A new empty database under this name; what it held before is gone. Ends with a checkpoint,
    /// so that no run pays for the writes of the run before it.
    pub(crate) async fn fresh(&self, name: &str) -> anyhow::Result<Database> {
        let mut conn = self.options.connect().await.context("connecting to Postgres")?;
        conn.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str()).await?;
        conn.execute(format!("CREATE DATABASE {name} TEMPLATE template0").as_str()).await?;
        conn.execute("CHECKPOINT").await?;
        conn.close().await?;
        Ok(Database { options: self.options.clone().database(name), name: name.to_owned() })
    }

    pub(crate) async fn drop(&self, database: Database) -> anyhow::Result<()> {
        let mut conn = self.options.connect().await?;
        let name = database.name;
        conn.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str()).await?;
        Ok(conn.close().await?)
    }

    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut conn = self.options.connect().await?;
        conn.execute("CHECKPOINT").await?;
        Ok(conn.close().await?)
    }

    /// Process number of a private one, which is ours to look at.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.private.as_ref().and_then(Cluster::pid)
    }

    /// Bytes of write-ahead log so far. Only differences mean something.
    pub(crate) async fn wal_bytes(&self) -> anyhow::Result<u64> {
        let mut conn = self.options.connect().await?;
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
        let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(u64::try_from(bytes)?)
    }

    /// Version and the settings that matter here.
    pub(crate) async fn line(&self) -> anyhow::Result<String> {
        let mut conn = self.options.connect().await?;
        let (version, settings): (String, String) = sqlx::query_as(
            "SELECT current_setting('server_version'),
                    string_agg(name || '=' || current_setting(name), ', ' ORDER BY name)
               FROM pg_settings
              WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes',
                             'shared_buffers', 'max_wal_size', 'min_wal_size', 'wal_compression')",
        )
        .fetch_one(&mut conn)
        .await?;
        conn.close().await?;
        Ok(format!("Postgres {version} ({settings})"))
    }
}

/// Bytes on disk of a ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Its log and what belongs to it: answers, commits, timers.
    pub log: u64,
    pub indexes: u64,
    /// Read models with their indexes.
    pub read_models: u64,
}

#[derive(Debug)]
pub(crate) struct Database {
    options: PgConnectOptions,
    name: String,
}

impl Database {
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let name = &self.name;
        self.options.connect().await.with_context(|| format!("connecting to database {name}"))
    }

    pub(crate) fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// Runs one or more statements.
    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        let mut conn = self.connect().await?;
        conn.execute(sql).await?;
        Ok(conn.close().await?)
    }

    /// Events of that type in Accrue's log.
    pub(crate) async fn events_of(&self, event_type: &str) -> anyhow::Result<u64> {
        let mut conn = self.connect().await?;
        let sql = "SELECT count(*) FROM events WHERE event_type = $1";
        let count: i64 = sqlx::query_scalar(sql).bind(event_type).fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(u64::try_from(count)?)
    }

    /// What is on disk.
    pub(crate) async fn sizes(&self) -> anyhow::Result<Sizes> {
        let mut conn = self.connect().await?;
        let of = "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint,
                         coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind = 'r' AND n.nspname = $1";
        let log: (i64, i64) = sqlx::query_as(of).bind("public").fetch_one(&mut conn).await?;
        let read: (i64, i64) = sqlx::query_as(of).bind("read").fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(Sizes {
            log: u64::try_from(log.0)?,
            indexes: u64::try_from(log.1)?,
            read_models: u64::try_from(read.0 + read.1)?,
        })
    }

    /// Position of the last event in Accrue's log.
    pub(crate) async fn head(&self) -> anyhow::Result<u64> {
        let mut conn = self.connect().await?;
        let head: i64 =
            sqlx::query_scalar("SELECT position FROM log_head").fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(u64::try_from(head)?)
    }
}
