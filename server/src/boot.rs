//! Boot and shutdown, read top to bottom.

mod reading;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::clock::SystemClock;
use accrue_event_store::codec::Codec;
use accrue_event_store::executor::Limits;
use accrue_event_store::follow::Feeds;
use accrue_event_store::ledger::{self, Ledger};
use accrue_gateways::payment::simulator::Simulator;
use accrue_saga::{Sagas, Work};
use anyhow::{Result, anyhow};
use chrono::TimeDelta;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commands::Commands;
use crate::config::Config;
use crate::database::{self, Database};
use crate::health::{Checked, Health, Published};
use crate::lock::ServerLock;
use crate::web::Reach;
use crate::{figures, payments, web};

use reading::Reading;

/// Most time that a shutdown takes; what is not answered by then is cut off.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Of that, the time for requests in flight.
const REQUESTS_DRAIN_MAX: Duration = Duration::from_secs(15);

/// How long a port in use is waited for: a server that was killed an instant ago has not quite let
/// go of it.
const PORT_WAIT_MAX: Duration = Duration::from_millis(500);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) database: Database,
    ledger: Ledger,
    reading: Reading,
    sagas: Option<Sagas>,
    relay: Option<JoinHandle<()>>,
    /// Takes commands from Kafka.
    commands: Option<JoinHandle<()>>,
    /// It answers more than how it is doing.
    has_api: bool,
    /// The replica that answers reads, for people.
    replica: Option<String>,
    /// Others than this machine's programs are served.
    reach: Reach,
    http: JoinHandle<()>,
    watch: Option<JoinHandle<()>>,
    sample: JoinHandle<()>,
    /// Ends the serving of requests.
    draining: CancellationToken,
    /// Ends what follows the log and looks after it.
    stop: CancellationToken,
    /// Takes card payments, where no real provider does.
    _simulator: Option<Simulator>,
    _lock: Option<ServerLock>,
}

impl Server {
    /// Starts everything, or nothing.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        // The port first: it is the cheapest to be refused, and nothing is started yet.
        let listener = bind(config).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let database = Database::open(&config.database).await?;
        match Self::start_on(config, listener, url, &database).await {
            Ok(parts) => Ok(parts(database)),
            Err(error) => {
                if let Err(error) = database.release().await {
                    tracing::warn!(%error, "the private Postgres may still run");
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        config: &Config,
        listener: TcpListener,
        url: String,
        database: &Database,
    ) -> Result<impl FnOnce(Database) -> Self + use<>> {
        let lock = match database.data_dir() {
            Some(data_dir) => Some(ServerLock::take(data_dir, &url)?),
            None => None,
        };
        let mut registry = Registry::default();
        let ledger = Ledger::open(of_ledger(config, database), &mut registry)
            .await
            .map_err(|error| database::not_opened(&database.name, error))?;
        let (stop, draining) = (CancellationToken::new(), CancellationToken::new());
        let watch = database.watch(stop.clone());
        let kafka = config.kafka.clone().filter(|_| config.fed_by_kafka);
        let feeds = match kafka {
            Some(kafka) => accrue_kafka::feed::feeds(kafka, &mut registry),
            None => Feeds::by_log(),
        };
        let reading = Reading::start(config, &ledger, &feeds, &stop).await?;
        let roles = config.roles;
        let (payments, simulator) = if roles.saga {
            payments::open(&config.payments, &url).await?
        } else {
            (payments::none(), None)
        };
        let work = Work { purchases: roles.saga, awards: roles.campaigns, timers: roles.timers };
        let sagas = work.is_any().then(|| {
            let config = accrue_saga::Config {
                work,
                answers_kept: TimeDelta::days(i64::from(config.idempotency_days)),
                payments: payments.clone(),
                feeds,
                ..accrue_saga::Config::default()
            };
            accrue_saga::start(ledger.clone(), config, &mut registry, &stop)
        });
        let kafka = config.kafka.clone().filter(|_| roles.relay);
        let relay = kafka.map(|kafka| {
            accrue_kafka::relay::start(ledger.clone(), kafka, &mut registry, stop.clone())
        });
        let kafka = config.kafka.clone().filter(|_| roles.api && config.kafka_commands);
        let commands = kafka.map(|kafka| {
            let kept = TimeDelta::days(i64::from(config.idempotency_days));
            let kept = Some(kept).filter(|_| !config.kafka_commands_any_age);
            let executes = Arc::new(Commands::new(ledger.clone(), kept));
            accrue_kafka::commands::start(kafka, executes, &mut registry, draining.clone())
        });
        let figures = figures::register(&mut registry, ledger.pool().clone());
        let alarm = Duration::from_secs(config.relay_lag_seconds_max.into());
        let published = relay
            .as_ref()
            .map(|it| Published::new(it.status.clone(), alarm, roles.is_relay_alone()));
        let published = published.inspect(|it| it.register(&mut registry));
        let stories = sagas.iter().flat_map(|sagas| sagas.awards.iter().chain(&sagas.cues));
        let health = Health::new(Checked {
            ledger: ledger.clone(),
            followers: reading.kept.iter().chain(stories).cloned().collect(),
            lag_max: config.ready_lag_max,
            replica: reading.replica.clone(),
            commands: commands.as_ref().map(|it| it.status.clone()),
            payments: Some(&payments).filter(|it| it.is_there()).cloned(),
            published,
            draining: draining.clone(),
        });
        let (lags, figures) = (health.clone().sample(stop.clone()), figures.run(stop.clone()));
        let sample = tokio::spawn(async { tokio::join!(lags, figures).0 });
        let webhooks = (roles.api || roles.saga).then(|| web::Webhooks {
            secret: payments::webhook_secret(&config.payments),
            hooks: sagas.as_ref().and_then(|sagas| sagas.hooks.clone()),
            ledger: ledger.clone(),
        });
        let mut router = web::operations(health, webhooks, registry);
        if let Some(views) = &reading.views {
            let api = accrue_command_api::router(ledger.clone())
                .merge(accrue_projections::api::router(views.clone()));
            router = router.merge(web::api(api));
        }
        let reach = if config.allow_network { Reach::Network } else { Reach::Machine };
        let replica = config.read_database.as_ref().filter(|_| roles.api);
        let replica = replica.map(|replica| replica.name.clone());
        let http = web::serve(listener, web::router(router), reach, draining.clone());
        let http = tokio::spawn(http);
        Ok(move |database| Self {
            url,
            database,
            ledger,
            reading,
            sagas,
            relay: relay.map(|it| it.task),
            commands: commands.map(|it| it.task),
            has_api: roles.api,
            replica,
            reach,
            http,
            watch,
            sample,
            draining,
            stop,
            _simulator: simulator,
            _lock: lock,
        })
    }

    /// What a newcomer needs to know.
    pub(crate) fn banner(&self) -> String {
        let Self { url, database, .. } = self;
        let data = match database.data_dir() {
            Some(dir) => format!("{} (kept across restarts)", dir.display()),
            None => database.name.clone(),
        };
        let api = match self.has_api {
            true => format!("  API      {url}/v1\n  Docs     {url}/docs\n"),
            false => String::new(),
        };
        let reads = match &self.replica {
            Some(replica) => format!("  Reads    {replica}\n"),
            None => String::new(),
        };
        let warning = match self.reach {
            Reach::Machine => "",
            Reach::Network => {
                "\n  Other machines are served, without authentication: whoever reaches the port \
                 may do everything.\n"
            }
        };
        format!(
            "\nAccrue {} is serving\n\n{api}  Metrics  {url}/metrics\n  Health   {url}/readyz\n  \
             Data     {data}\n{reads}{warning}\n  Stop with Ctrl-C (or SIGTERM to process {}).\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        )
    }

    /// Waits until all points that events up to `position` earn are awarded, and in the read
    /// models. Returns up to where those have come.
    pub(crate) async fn caught_up(&self, position: i64) -> i64 {
        if let Some(awards) = self.sagas.as_ref().and_then(|sagas| sagas.awards.as_ref()) {
            awards.reached(position).await;
        }
        let head = *self.ledger.tail().head().borrow();
        self.reading.reached(head).await;
        head
    }

    /// Stops: what was acknowledged is durable, the rest is told to come back.
    pub(crate) async fn drain(self) -> Result<()> {
        let done = tokio::time::timeout(DRAIN_MAX, self.drain_all()).await;
        done.unwrap_or_else(|_| {
            Err(anyhow!(
                "not everything could be stopped within {} s; what was acknowledged is durable",
                DRAIN_MAX.as_secs()
            ))
        })
    }

    async fn drain_all(self) -> Result<()> {
        // From here on commands get 503; those in the queue are decided, written and answered.
        self.ledger.executor().close();
        // Connections that are idle are closed, and `/readyz` says why.
        self.draining.cancel();
        // Answers that would go on for ever end.
        self.reading.end_streams();
        let mut http = self.http;
        if tokio::time::timeout(REQUESTS_DRAIN_MAX, &mut http).await.is_err() {
            tracing::warn!("requests that were still in flight are cut off");
            http.abort();
        }
        if let Some(commands) = self.commands {
            let _ended = commands.await;
        }
        self.ledger.close().await;
        self.stop.cancel();
        if let Some(sagas) = self.sagas {
            sagas.ended().await;
        }
        if let Some(relay) = self.relay {
            let _ended = relay.await;
        }
        self.reading.ended().await;
        let _sampled = self.sample.await;
        if let Some(watch) = self.watch {
            let _watched = watch.await;
        }
        self.ledger.pool().close().await;
        self.database.release().await
    }
}

async fn bind(config: &Config) -> Result<TcpListener> {
    let address = SocketAddr::new(config.listen, config.port);
    let tried = Instant::now();
    let bound = loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if tried.elapsed() > PORT_WAIT_MAX {
                    break Err(error);
                }
                tokio::time::sleep(PORT_WAIT_MAX / 10).await;
            }
            done => break done,
        }
    };
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "port {} is in use: choose another with --port, or --port 0 for any that is free",
            config.port
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("port {} is not for this user: choose one above 1023 with --port", config.port)
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

fn of_ledger(config: &Config, database: &Database) -> ledger::Config {
    ledger::Config {
        servers: database.servers.clone(),
        pool_connections_max: config.pool_connections_max,
        limits: Limits {
            queue_commands_max: config.queue_commands_max,
            cache_bytes_max: config.cache_mb.saturating_mul(1 << 20),
            // Others decide little, and on what came just before.
            fill_memory: config.roles.api,
            ..Limits::default()
        },
        codec: Codec::default(),
        clock: Arc::new(SystemClock),
    }
}

/// Runs `work` unless a signal comes first, which is told by none.
pub(crate) async fn unless_stopped<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = signals.stop() => None,
    }
}

/// Runs what has to come to its end, since something would be left behind. A signal is noted, and
/// obeyed by whoever goes on; a second one ends the wait, which is told by none.
pub(crate) async fn unless_stopped_again<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    if !signals.heard
        && let Some(done) = unless_stopped(signals, &mut work).await
    {
        return Some(done);
    }
    unless_stopped(signals, work).await
}

/// SIGTERM, Ctrl-C, and the end of the terminal.
#[derive(Debug)]
pub(crate) struct Signals {
    /// One of them came.
    heard: bool,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// None under `nohup`.
    hangup: Option<tokio::signal::unix::Signal>,
}

/// Is SIGHUP ignored, as it is under `nohup`? To listen to it would end that.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

impl Signals {
    /// Listens from here on, so that a signal during boot is not lost.
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            heard: false,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Was one of them waited for, and came?
    pub(crate) const fn heard(&self) -> bool {
        self.heard
    }

    /// Waits for one of them.
    pub(crate) async fn stop(&mut self) {
        let Self { heard, terminate, interrupt, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hung_up => {}
        }
        *heard = true;
    }
}
