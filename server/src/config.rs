//! The configuration: flags > `ACCRUE_…` environment > TOML file > defaults, checked once.

pub(crate) mod kafka;
mod layers;
mod roles;
mod settings;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use accrue_domain::id::ProgramId;
use accrue_event_store::servers::{Needed, Servers};
use anyhow::{Result, anyhow, bail, ensure};
use reqwest::Url;

pub(crate) use layers::Layers;
pub(crate) use roles::Roles;
pub(crate) use settings::{AllFlags, ClientFlags, DatabaseFlags, KafkaFlags, ServerFlags};

/// What a server runs with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: IpAddr,
    pub(crate) port: u16,
    /// Others than this machine's programs may be served.
    pub(crate) allow_network: bool,
    pub(crate) database: Place,
    /// Where reads go; none: where the commands go.
    pub(crate) read_database: Option<Replica>,
    /// Lag beyond which a follower makes the process unready; none: any lag will do.
    pub(crate) ready_lag_max: Option<Duration>,
    pub(crate) pool_connections_max: u32,
    pub(crate) roles: Roles,
    pub(crate) queue_commands_max: usize,
    pub(crate) cache_mb: usize,
    /// Days for which a command's answer is kept under its id.
    pub(crate) idempotency_days: u32,
    pub(crate) payments: Payments,
    /// The Kafka that events are published to, if any.
    pub(crate) kafka: Option<accrue_kafka::settings::Settings>,
    /// Commands are taken from there, too.
    pub(crate) kafka_commands: bool,
    /// Read models and campaigns are fed by that Kafka, and not by the log itself.
    pub(crate) fed_by_kafka: bool,
    /// Also those that are older than the keys by which a second delivery is known.
    pub(crate) kafka_commands_any_age: bool,
    /// Seconds that Kafka may be behind the log.
    pub(crate) relay_lag_seconds_max: u32,
    /// Where a collector of traces is; none: nobody is told of any.
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) log_format: LogFormat,
    pub(crate) log_filter: String,
}

/// Where a command goes that goes to a running server.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// The tenant that is spoken for.
    pub(crate) program: ProgramId,
}

/// Card payments.
#[derive(Clone)]
pub(crate) struct Payments {
    pub(crate) provider: Provider,
    /// The provider's secret key.
    pub(crate) key: String,
    /// The secret that the provider's webhooks are signed with; empty: none are taken.
    pub(crate) webhook_secret: String,
    /// Longest time for one call.
    pub(crate) timeout_seconds: u32,
    /// Longest pause before a call is made again.
    pub(crate) retry_seconds_max: u32,
    /// Calls in all before one that undoes or refunds is left to people.
    pub(crate) attempts_max: u32,
    /// How long a provider that keeps failing is left alone.
    pub(crate) breaker_seconds: u32,
    /// How long the provider is trusted to know an idempotency key.
    pub(crate) keys_hours: u32,
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets do not belong in a log.
        f.debug_struct("Payments").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Who takes card payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provider {
    /// Nobody: orders with a card wait until their time is over.
    None,
    /// A simulator in this process, which speaks the provider's protocol over a socket.
    Simulator,
    /// The provider's API at this URL.
    Url(String),
}

impl Payments {
    fn read(layers: &Layers) -> Result<Self> {
        let provider = match layers.text("payments").as_str() {
            "none" => Provider::None,
            "simulator" => Provider::Simulator,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Provider::Url(url.trim_end_matches('/').to_owned())
            }
            _ => {
                let expected = "none, simulator, or a URL such as https://api.stripe.com";
                bail!(layers.wrong("payments", expected))
            }
        };
        let key = layers.text("payments_key");
        if matches!(provider, Provider::Url(_)) {
            let expected = "the payment provider's secret key (ACCRUE_PAYMENTS_KEY, or the file)";
            ensure!(!key.is_empty(), layers.wrong("payments_key", expected));
        }
        let webhook_secret = layers.text("payments_webhook_secret");
        let timeout_seconds = within(layers, "payments_timeout_seconds", 1, 600)?;
        let retry_seconds_max = within(layers, "payments_retry_seconds_max", 1, 86_400)?;
        let attempts_max = within(layers, "payments_attempts_max", 1, 1_000)?;
        let breaker_seconds = within(layers, "payments_breaker_seconds", 1, 86_400)?;
        let keys_hours = within(layers, "payments_keys_hours", 0, 8_760)?;
        Ok(Self {
            provider,
            key,
            webhook_secret,
            timeout_seconds,
            retry_seconds_max,
            attempts_max,
            breaker_seconds,
            keys_hours,
        })
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A private Postgres in this folder, which nobody has named where it is the default.
    Private { data_dir: PathBuf, by_default: bool, shared_buffers_mb: u32 },
    /// A given one.
    Given { url: String, servers: Servers },
}

/// A server that replays what the primary writes, and answers reads.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    /// For people, without a password.
    pub(crate) name: String,
    pub(crate) servers: Servers,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads every layer and checks the whole.
    pub(crate) fn read(layers: &Layers) -> Result<Self> {
        // No server goes there. But `url` may have been written for `database_url`, and another,
        // empty database would be served.
        let url = layers.text("url");
        ensure!(!url.starts_with("postgres"), layers.wrong("url", Target::URL));
        let allow_network = layers.parse("allow_network", "true or false")?;
        let config = Self {
            listen: listen(layers, allow_network)?,
            allow_network,
            port: layers.parse("port", "a port from 0 to 65535 (0 picks a free one)")?,
            database: Place::read(layers)?,
            read_database: Replica::read(layers)?,
            ready_lag_max: ready_lag_max(layers)?,
            roles: layers.parse("roles", roles::EXPECTED)?,
            pool_connections_max: within(layers, "pool_connections_max", 2, 1_000)?,
            queue_commands_max: within(layers, "queue_commands_max", 1, 10_000_000)?,
            cache_mb: within(layers, "cache_mb", 1, 1_000_000)?,
            idempotency_days: within(layers, "idempotency_days", 1, 36_500)?,
            payments: Payments::read(layers)?,
            kafka: kafka::read(layers)?,
            kafka_commands: layers.parse("kafka_commands", "true or false")?,
            fed_by_kafka: fed_by_kafka(layers)?,
            kafka_commands_any_age: layers.parse("kafka_commands_any_age", "true or false")?,
            relay_lag_seconds_max: within(layers, "relay_lag_seconds_max", 1, 86_400)?,
            otlp_endpoint: otlp_endpoint(layers)?,
            log_format: layers.parse("log_format", "text or json")?,
            log_filter: layers.text("log_filter"),
        };
        ensure!(
            !config.roles.is_relay_alone() || config.kafka.is_some(),
            layers.wrong("kafka_bootstrap", "host:port, since this process is a relay and no more")
        );
        ensure!(
            !config.fed_by_kafka || config.kafka.is_some(),
            layers.wrong("kafka_bootstrap", "host:port, since feed is kafka")
        );
        let filter = tracing_subscriber::EnvFilter::builder().parse(&config.log_filter);
        if let Err(error) = filter {
            bail!(
                layers.wrong("log_filter", &format!("a filter such as info,sqlx=debug ({error})"))
            );
        }
        Ok(config)
    }
}

/// The program that a command speaks for, or is about.
pub(crate) fn program(layers: &Layers) -> Result<ProgramId> {
    ProgramId::new(&layers.text("program"))
        .map_err(|rule| anyhow!(layers.broken("program", &rule.to_string())))
}

impl Target {
    const URL: &'static str = "the URL of a server such as http://127.0.0.1:8080";

    /// The part of commands that go to a running server.
    pub(crate) fn read(layers: &Layers) -> Result<Self> {
        let url = layers.text("url");
        let parsed = Url::parse(&url).ok().filter(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let anybody = url.username().is_empty() && url.password().is_none();
            url.scheme() == "http" && url.has_host() && bare && anybody
        });
        let parsed = parsed.ok_or_else(|| anyhow!(layers.wrong("url", Self::URL)))?;
        Ok(Self { url: parsed.origin().ascii_serialization(), program: program(layers)? })
    }
}

impl Place {
    /// The database's part of the configuration.
    pub(crate) fn read(layers: &Layers) -> Result<Self> {
        let url = layers.text("database_url");
        if url.is_empty() {
            let data_dir = layers.text("data_dir");
            ensure!(!data_dir.is_empty(), layers.wrong("data_dir", "a folder"));
            let shared_buffers_mb = within(layers, "postgres_shared_buffers_mb", 1, 1 << 20)?;
            let by_default = *layers.origin("data_dir") == layers::Origin::Default;
            return Ok(Self::Private { data_dir: data_dir.into(), by_default, shared_buffers_mb });
        }
        let servers = servers(layers, "database_url", Needed::ReadWrite)?;
        Ok(Self::Given { url, servers })
    }
}

impl Replica {
    fn read(layers: &Layers) -> Result<Option<Self>> {
        let url = layers.text("read_database_url");
        if url.is_empty() {
            return Ok(None);
        }
        let servers = servers(layers, "read_database_url", Needed::Any)?;
        Ok(Some(Self { name: masked(&url), servers }))
    }
}

/// The servers that a URL names.
fn servers(layers: &Layers, key: &'static str, needed: Needed) -> Result<Servers> {
    let url = layers.text(key);
    let expected = "a URL such as postgres://user:password@localhost:5432/accrue";
    ensure!(
        url.starts_with("postgres://") || url.starts_with("postgresql://"),
        layers.wrong(key, expected)
    );
    let servers = Servers::parse(&url, needed);
    servers.map_err(|error| anyhow!(layers.wrong(key, &format!("{expected} ({error})"))))
}

fn fed_by_kafka(layers: &Layers) -> Result<bool> {
    match layers.text("feed").as_str() {
        "log" => Ok(false),
        "kafka" => Ok(true),
        _ => bail!(layers.wrong("feed", "log or kafka")),
    }
}

fn otlp_endpoint(layers: &Layers) -> Result<Option<String>> {
    let url = layers.text("otlp_endpoint");
    let is_url = url.starts_with("http://") || url.starts_with("https://");
    let expected = "the URL of a collector such as http://localhost:4318";
    ensure!(url.is_empty() || is_url, layers.wrong("otlp_endpoint", expected));
    Ok(Some(url).filter(|url| !url.is_empty()))
}

fn ready_lag_max(layers: &Layers) -> Result<Option<Duration>> {
    let seconds: u32 = within(layers, "ready_lag_seconds_max", 0, 86_400)?;
    Ok((seconds > 0).then(|| Duration::from_secs(u64::from(seconds))))
}

/// Loopback only, unless it is asked for by word: whoever reaches the port may do everything.
fn listen(layers: &Layers, allow_network: bool) -> Result<IpAddr> {
    let text = layers.text("listen");
    let text = if text == "localhost" { "127.0.0.1" } else { &text };
    let Ok(address) = text.parse::<IpAddr>() else {
        bail!(layers.wrong("listen", "a loopback address such as 127.0.0.1 or ::1"));
    };
    ensure!(
        address.is_loopback() || allow_network,
        "{address} ({}) can be reached from other machines, and there is no authentication yet: \
         listen on 127.0.0.1 or ::1, or in a network whose every member may do everything add \
         --allow-network",
        layers.origin("listen")
    );
    Ok(address)
}

fn within<T>(layers: &Layers, key: &'static str, least: T, most: T) -> Result<T>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let expected = format!("a whole number from {least} to {most}");
    let value: T = layers.parse(key, &expected)?;
    ensure!(value >= least && value <= most, layers.wrong(key, &expected));
    Ok(value)
}

impl FromStr for LogFormat {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// A URL without its password, for people.
pub(crate) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // What it is nobody knows, only that it may hold a password.
        return if url.contains(['@', '=']) { "***".to_owned() } else { url.to_owned() };
    };
    // The last `@` before the path: a password may hold one itself.
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => authority.to_owned(),
    };
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').filter(|it| !it.is_empty()).map(hide).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{scheme}://{authority}{path}{query}")
}

#[cfg(test)]
mod tests;
