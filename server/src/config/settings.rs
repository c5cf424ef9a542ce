//! The settings by name, with their flags and defaults.

use std::path::PathBuf;

use clap::Args;

/// One setting: its name in the file, of which flag and variable are made, and its default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) default: &'static str,
}

/// Every setting, in the order in which they are shown.
pub(super) const SETTINGS: [Setting; 36] = [
    Setting { key: "listen", default: "127.0.0.1" },
    Setting { key: "port", default: "8080" },
    Setting { key: "allow_network", default: "false" },
    Setting { key: "data_dir", default: "./accrue-data" },
    Setting { key: "database_url", default: "" },
    Setting { key: "read_database_url", default: "" },
    Setting { key: "roles", default: "api,projections,saga,campaigns,relay,timers" },
    Setting { key: "postgres_shared_buffers_mb", default: "256" },
    Setting { key: "pool_connections_max", default: "16" },
    Setting { key: "queue_commands_max", default: "16384" },
    Setting { key: "cache_mb", default: "768" },
    Setting { key: "idempotency_days", default: "30" },
    Setting { key: "payments", default: "none" },
    Setting { key: "payments_key", default: "" },
    Setting { key: "payments_webhook_secret", default: "" },
    Setting { key: "payments_timeout_seconds", default: "30" },
    Setting { key: "payments_retry_seconds_max", default: "300" },
    Setting { key: "payments_attempts_max", default: "12" },
    Setting { key: "payments_breaker_seconds", default: "15" },
    Setting { key: "payments_keys_hours", default: "20" },
    Setting { key: "kafka_bootstrap", default: "" },
    Setting { key: "kafka_topic_prefix", default: "accrue" },
    Setting { key: "kafka_partitions", default: "12" },
    Setting { key: "kafka_replication", default: "-1" },
    Setting { key: "kafka_form", default: "binary" },
    Setting { key: "kafka_record_bytes_max", default: "1000000" },
    Setting { key: "kafka_commands", default: "true" },
    Setting { key: "feed", default: "log" },
    Setting { key: "kafka_commands_any_age", default: "false" },
    Setting { key: "relay_lag_seconds_max", default: "60" },
    Setting { key: "ready_lag_seconds_max", default: "0" },
    Setting { key: "otlp_endpoint", default: "" },
    Setting { key: "log_format", default: "text" },
    Setting { key: "log_filter", default: "info,sqlx=warn" },
    Setting { key: "url", default: "http://127.0.0.1:8080" },
    Setting { key: "program", default: "default" },
];

/// Which server a command goes to, and for which program it speaks.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerAtUrl {
    /// URL of a running server [default: http://127.0.0.1 and the port]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Program (the tenant) that is spoken for [default: default]
    #[arg(long, value_name = "ID")]
    program: Option<String>,
}

/// For every command that goes to a running server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClientFlags {
    /// TOML file with settings [default: ./accrue.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ACCRUE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerAtUrl,
}

/// All settings there are, to be shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AllFlags {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) client: ServerAtUrl,
}

/// Which database, for every command that needs one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseFlags {
    /// TOML file with settings [default: ./accrue.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ACCRUE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the private PostgreSQL [default: ./accrue-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Use this PostgreSQL instead of a private one; several hosts with commas between, of which
    /// the one that takes writes is used
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
}

/// Which Kafka, and how it is written to.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KafkaFlags {
    /// Publish events to this Kafka [default: to none]
    #[arg(long, value_name = "HOST:PORT")]
    kafka_bootstrap: Option<String>,
    /// First word of the names of topics [default: accrue]
    #[arg(long, value_name = "WORD")]
    kafka_topic_prefix: Option<String>,
    /// Partitions of topics that are made [default: 12]
    #[arg(long, value_name = "COUNT")]
    kafka_partitions: Option<String>,
    /// Copies of topics that are made; -1 as the broker has it [default: -1]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    kafka_replication: Option<String>,
    /// CloudEvents as binary or structured records [default: binary]
    #[arg(long, value_name = "FORM")]
    kafka_form: Option<String>,
    /// Bytes of the largest record; a stream with a larger one is set aside [default: 1000000]
    #[arg(long, value_name = "BYTES")]
    kafka_record_bytes_max: Option<String>,
}

/// All settings of a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerFlags {
    #[command(flatten)]
    pub(crate) database: DatabaseFlags,
    /// Port; 0 picks a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Loopback address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve other machines too. There is no authentication: whoever reaches the port may do
    /// everything, so only in a network whose every member may
    #[arg(long)]
    allow_network: bool,
    /// Answer reads from this PostgreSQL, a streaming replica of the other
    #[arg(long, value_name = "URL")]
    read_database_url: Option<String>,
    /// What this process does: api, projections, saga, campaigns, relay, timers [default: all]
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Memory of the private PostgreSQL's cache, in MB [default: 256]
    #[arg(long, value_name = "MB")]
    postgres_shared_buffers_mb: Option<String>,
    /// Most database connections for reading [default: 16]
    #[arg(long, value_name = "COUNT")]
    pool_connections_max: Option<String>,
    /// Most commands that wait to be decided; more are told to come back [default: 16384]
    #[arg(long, value_name = "COUNT")]
    queue_commands_max: Option<String>,
    /// Memory for aggregates, in MiB, by estimate [default: 768]
    #[arg(long, value_name = "MIB")]
    cache_mb: Option<String>,
    /// Days for which a repeated Idempotency-Key gets the first answer again [default: 30]
    #[arg(long, value_name = "DAYS")]
    idempotency_days: Option<String>,
    /// Card payments: none, simulator (no real money), or the URL of Stripe's API [default: none]
    #[arg(long, value_name = "PROVIDER")]
    payments: Option<String>,
    /// Longest time for one call to the payment provider [default: 30]
    #[arg(long, value_name = "SECONDS")]
    payments_timeout_seconds: Option<String>,
    /// Longest pause before such a call is made again [default: 300]
    #[arg(long, value_name = "SECONDS")]
    payments_retry_seconds_max: Option<String>,
    /// Calls in all before one that undoes or refunds is left to people [default: 12]
    #[arg(long, value_name = "COUNT")]
    payments_attempts_max: Option<String>,
    /// How long a payment provider that keeps failing is left alone [default: 15]
    #[arg(long, value_name = "SECONDS")]
    payments_breaker_seconds: Option<String>,
    /// How long the payment provider is trusted to know an idempotency key: behind that a call is
    /// looked up before it is made again [default: 20]
    #[arg(long, value_name = "HOURS")]
    payments_keys_hours: Option<String>,
    #[command(flatten)]
    kafka: KafkaFlags,
    /// Take commands from Kafka, where one is named: true or false [default: true]
    #[arg(long, value_name = "YES")]
    kafka_commands: Option<String>,
    /// Feed read models and campaigns by the log, or by kafka: processes then share the partitions
    /// [default: log]
    #[arg(long, value_name = "FEED")]
    feed: Option<String>,
    /// Decide commands from Kafka also where they are older than idempotency_days, and may have been
    /// decided before: true or false [default: false]
    #[arg(long, value_name = "YES")]
    kafka_commands_any_age: Option<String>,
    /// Seconds that Kafka may be behind the log before that is told as a fault [default: 60]
    #[arg(long, value_name = "SECONDS")]
    relay_lag_seconds_max: Option<String>,
    /// Lag of a follower from which on this process is not ready; 0: any will do [default: 0]
    #[arg(long, value_name = "SECONDS")]
    ready_lag_seconds_max: Option<String>,
    /// Send traces to this collector, over OTLP (HTTP, protobuf) [default: nowhere]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged, as in RUST_LOG [default: info,sqlx=warn]
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

impl DatabaseFlags {
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        let all = [("data_dir", &self.data_dir), ("database_url", &self.database_url)];
        present(all)
    }
}

impl ServerAtUrl {
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        present([("url", &self.url), ("program", &self.program)])
    }
}

impl KafkaFlags {
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        present([
            ("kafka_bootstrap", &self.kafka_bootstrap),
            ("kafka_topic_prefix", &self.kafka_topic_prefix),
            ("kafka_partitions", &self.kafka_partitions),
            ("kafka_replication", &self.kafka_replication),
            ("kafka_form", &self.kafka_form),
            ("kafka_record_bytes_max", &self.kafka_record_bytes_max),
        ])
    }
}

impl ServerFlags {
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        let mut given = self.database.given();
        given.extend(present([
            ("port", &self.port),
            ("listen", &self.listen),
            ("roles", &self.roles),
            ("read_database_url", &self.read_database_url),
            ("ready_lag_seconds_max", &self.ready_lag_seconds_max),
            ("postgres_shared_buffers_mb", &self.postgres_shared_buffers_mb),
            ("pool_connections_max", &self.pool_connections_max),
            ("queue_commands_max", &self.queue_commands_max),
            ("cache_mb", &self.cache_mb),
            ("idempotency_days", &self.idempotency_days),
            ("payments", &self.payments),
            ("payments_timeout_seconds", &self.payments_timeout_seconds),
            ("payments_retry_seconds_max", &self.payments_retry_seconds_max),
            ("payments_attempts_max", &self.payments_attempts_max),
            ("payments_breaker_seconds", &self.payments_breaker_seconds),
            ("payments_keys_hours", &self.payments_keys_hours),
            ("kafka_commands", &self.kafka_commands),
            ("feed", &self.feed),
            ("kafka_commands_any_age", &self.kafka_commands_any_age),
            ("relay_lag_seconds_max", &self.relay_lag_seconds_max),
            ("otlp_endpoint", &self.otlp_endpoint),
            ("log_format", &self.log_format),
            ("log_filter", &self.log_filter),
        ]));
        given.extend(self.kafka.given());
        given.extend(self.allow_network.then(|| ("allow_network", "true".to_owned())));
        given
    }
}

fn present<const N: usize>(
    all: [(&'static str, &Option<String>); N],
) -> Vec<(&'static str, String)> {
    all.into_iter().filter_map(|(key, value)| value.clone().map(|value| (key, value))).collect()
}
