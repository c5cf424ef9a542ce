//! How the server is doing: `/livez` says that it runs, `/readyz` that it can work.

mod follower;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accrue_event_store::follow::Status;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::record::Position;
use accrue_gateways::breaker;
use accrue_kafka::commands;
use accrue_projections::live::Views;
use accrue_saga::purchases::payments::Payments;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use follower::Watched;

/// How long the database may take to answer a check.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How often the followers' progress is noted.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// What the checks look at. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    followers: Mutex<Vec<Watched>>,
    lag_max: Option<Duration>,
    replica: Option<Views>,
    payments: Option<Payments>,
    commands: Option<commands::Status>,
    /// The relay, where this process has one.
    published: Option<Arc<Published>>,
    draining: CancellationToken,
}

/// How far Kafka is, and from when on that is told as a fault.
#[derive(Debug)]
pub(crate) struct Published {
    status: Status,
    lag_max: Duration,
    alarm: Gauge,
    /// This process does nothing else.
    alone: bool,
}

impl Published {
    pub(crate) fn new(status: Status, lag_max: Duration, alone: bool) -> Self {
        Self { status, lag_max, alarm: Gauge::default(), alone }
    }

    /// Registers the alarm.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "1 while Kafka is further behind the log than relay_lag_seconds_max";
        registry.register("accrue_relay_alarm", help, self.alarm.clone());
    }

    fn note(&self, lag: Duration) {
        let behind = lag > self.lag_max;
        if behind && self.alarm.get() == 0 {
            tracing::error!(lag_seconds = lag.as_secs(), "Kafka is behind the log");
        }
        self.alarm.set(behind.into());
    }
}

/// What is checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its database and its log.
    pub(crate) ledger: Ledger,
    /// What this process follows the log with.
    pub(crate) followers: Vec<Status>,
    /// The lag beyond which a follower is not well; none: any will do.
    pub(crate) lag_max: Option<Duration>,
    /// The replica, where reads go to one.
    pub(crate) replica: Option<Views>,
    /// The payment provider, where this process calls one.
    pub(crate) payments: Option<Payments>,
    /// The commands by Kafka, where this process takes any.
    pub(crate) commands: Option<commands::Status>,
    /// The relay, where this process has one.
    pub(crate) published: Option<Published>,
    /// Cancelled when the server goes down.
    pub(crate) draining: CancellationToken,
}

/// Whether the server can work, and each check behind that.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// All checks pass.
    ready: bool,
    /// The server is going down.
    shutting_down: bool,
    /// Each check.
    checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Check {
    /// `database`, `log`, `read_database`, `payments`, `kafka_commands`, or the name of a follower.
    name: String,
    /// It passes.
    ok: bool,
    /// Why it does not; of `payments`, which always passes, why calls are not made, of `relay`, which
    /// does too where a process does anything else, why Kafka is behind, of `kafka_commands`, likewise, why commands wait, and of
    /// `read_database` also why the primary answers reads in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Position in the log: its head, or how far a follower has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// A follower's place behind the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<Lag>,
}

/// How far a follower is behind.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Lag {
    /// Events before it.
    events: i64,
    /// Age of the oldest of them; absent where only their number is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// Seconds since it last looked at the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    polled_seconds_ago: Option<f64>,
    /// Streams that it has set aside, because an event in them could not be digested.
    parked: usize,
}

impl Health {
    /// Checks on these.
    pub(crate) fn new(checked: Checked) -> Self {
        let Checked {
            ledger,
            followers,
            lag_max,
            replica,
            payments,
            commands,
            published,
            draining,
        } = checked;
        let now = Instant::now();
        let relay = published.as_ref().map(|it| it.status.clone());
        let followers = followers.into_iter().chain(relay);
        let followers = followers.map(|status| Watched::new(status, now)).collect();
        let (followers, published) = (Mutex::new(followers), published.map(Arc::new));
        let inner =
            Inner { ledger, followers, lag_max, replica, payments, commands, published, draining };
        Self(Arc::new(inner))
    }

    /// Notes the followers' progress until `stop`, so that an answer does not depend on how often
    /// somebody asks.
    pub(crate) async fn sample(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let behind = self.note_progress();
            if let Err(error) = self.0.ledger.pool().within(self.note_lag(behind)).await {
                tracing::debug!(%error, "the followers' lag cannot be measured");
            }
        }
    }

    fn followers(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the relay, how far behind it may be.
    fn published(&self, follower: &str) -> Option<&Published> {
        self.0.published.as_deref().filter(|it| it.status.name() == follower)
    }

    fn head(&self) -> Position {
        *self.0.ledger.tail().head().borrow()
    }

    /// Who is behind, and where.
    fn note_progress(&self) -> Vec<(usize, Position)> {
        let (head, now) = (self.head(), Instant::now());
        let mut followers = self.followers();
        let behind = followers.iter_mut().enumerate().filter_map(|(at, follower)| {
            let position = follower.note(head, now);
            // Where one is that has not begun is not known, and no reason for an alarm.
            (0..head).contains(&position).then_some((at, position))
        });
        behind.collect()
    }

    /// The age of the first event that each of them has before it.
    async fn note_lag(&self, behind: Vec<(usize, Position)>) -> sqlx::Result<()> {
        let next: Vec<i64> = behind.iter().map(|(_, position)| position + 1).collect();
        let recorded = if next.is_empty() {
            Vec::new()
        } else {
            let sql = "SELECT position, recorded_at FROM events WHERE position = ANY($1)";
            sqlx::query_as::<_, (i64, chrono::DateTime<chrono::Utc>)>(sql)
                .bind(&next)
                .fetch_all(&self.0.ledger.pool().current())
                .await?
        };
        let now = self.0.ledger.clock().now();
        let metrics = self.0.ledger.metrics();
        for (at, follower) in self.followers().iter_mut().enumerate() {
            let position = behind.iter().find(|(it, _)| *it == at).map(|(_, position)| *position);
            let first = recorded.iter().find(|(it, _)| Some(it - 1) == position);
            let age = first.and_then(|(_, recorded_at)| (now - recorded_at).to_std().ok());
            follower.lag = age.unwrap_or_default();
            let of = accrue_event_store::metrics::Of { follower: follower.name().to_owned() };
            metrics.follower_lag_seconds.get_or_create(&of).set(follower.lag.as_secs_f64());
            if let Some(published) = self.published(follower.name()) {
                published.note(follower.lag);
            }
        }
        Ok(())
    }

    async fn readiness(&self) -> Readiness {
        let shutting_down = self.0.draining.is_cancelled();
        let mut checks = vec![self.database().await, self.log()];
        let (head, now) = (self.head(), self.0.ledger.clock().now());
        let lag_max = self.0.lag_max;
        let check = |it: &Watched| match self.published(it.name()) {
            Some(published) => behind(it.check(head, now, Instant::now(), None), published),
            None => it.check(head, now, Instant::now(), lag_max),
        };
        checks.extend(self.followers().iter().map(check));
        if let Some(replica) = &self.0.replica {
            checks.push(replica_check(replica, head).await);
        }
        checks.extend(self.0.payments.as_ref().map(provider));
        checks.extend(self.0.commands.as_ref().map(commands_check));
        let ready = !shutting_down && checks.iter().all(|check| check.ok);
        Readiness { ready, shutting_down, checks }
    }

    async fn database(&self) -> Check {
        let reason =
            answer(sqlx::query("SELECT 1").execute(&self.0.ledger.pool().current())).await.err();
        Check {
            name: "database".to_owned(),
            ok: reason.is_none(),
            reason,
            position: None,
            lag: None,
        }
    }

    fn log(&self) -> Check {
        let stalled = self.0.ledger.metrics().append_stalled.get() != 0;
        let reason = stalled.then(|| "the outcome of an append is not known yet".to_owned());
        let position = Some(self.head());
        Check { name: "log".to_owned(), ok: !stalled, reason, position, lag: None }
    }
}

/// A Kafka that is away is no reason to send nobody here, where anything else is done here:
/// commands are taken and reads answered without it. That it is behind is said, and is an alarm of
/// its own.
fn behind(mut check: Check, published: &Published) -> Check {
    let lag_max = published.lag_max;
    let lag = check.lag.as_ref().and_then(|lag| lag.seconds).unwrap_or_default();
    if check.reason.is_none() && lag > lag_max.as_secs_f64() {
        check.reason = Some(format!("Kafka is {lag:.0} s behind the log"));
    }
    check.ok = !published.alone || check.reason.is_none();
    check
}

/// What a database answers, or why it does not.
async fn answer<T>(ask: impl Future<Output = sqlx::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_MAX, ask).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

/// A replica answers, and has every read model. How far it is behind is told and no reason to send
/// nobody here: whoever needs a position waits for it. Nor is one that was promoted, in whose place
/// the primary answers.
async fn replica_check(replica: &Views, head: Position) -> Check {
    let missing = replica.statuses().into_iter().find(|it| *it.position().borrow() < 0);
    let (ok, reason) = match (answer(replica.is_standby()).await, missing) {
        (Err(reason), _) => (false, Some(reason)),
        (_, Some(missing)) => (false, Some(format!("it has no read model {} yet", missing.name()))),
        (Ok(true), None) => (true, None),
        (Ok(false), None) => {
            (true, Some("it is no standby, so reads are answered by the primary".to_owned()))
        }
    };
    let position = (*replica.head().borrow()).max(0);
    Check {
        name: "read_database".to_owned(),
        ok,
        reason,
        position: Some(position),
        lag: Some(Lag {
            events: (head - position).max(0),
            seconds: None,
            polled_seconds_ago: None,
            parked: 0,
        }),
    }
}

/// A provider that is down is no reason to send nobody here: everything else goes on, and
/// purchases that need it wait.
fn provider(payments: &Payments) -> Check {
    let reason = match payments.breaker_state() {
        breaker::State::Closed => None,
        breaker::State::HalfOpen => Some("the provider failed, and is tried with one call"),
        breaker::State::Open => Some("the provider failed, and is not called for a while"),
    };
    let (name, reason) = ("payments".to_owned(), reason.map(str::to_owned));
    Check { name, ok: true, reason, position: None, lag: None }
}

/// Commands that wait in Kafka are no reason to send nobody here: those that come by HTTP are taken,
/// or refused one by one.
fn commands_check(commands: &commands::Status) -> Check {
    let (name, reason) = ("kafka_commands".to_owned(), commands.reason());
    Check { name, ok: true, reason, position: None, lag: None }
}

/// The server runs
#[utoipa::path(
    get, path = "/livez", tag = "operations",
    responses((status = 200, description = "It does", body = Object))
)]
pub(crate) async fn live() -> Response {
    no_store(StatusCode::OK, Json(serde_json::json!({"live": true})))
}

/// The server can work, check by check
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "Every check passes", body = Readiness),
        (status = 503, description = "Some check fails", body = Readiness)
    )
)]
pub(crate) async fn ready(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    no_store(status, Json(readiness))
}

fn no_store(status: StatusCode, body: impl IntoResponse) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}
