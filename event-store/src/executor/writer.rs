//! The one task that writes: a batch at a time, over a connection of its own. Nobody is answered
//! before the outcome of the batch is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Parts;
use super::batch::{Decided, Pending};
use super::request::Work;
use crate::ledger::PLANS;
use crate::log::{self, Batch};
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt};
use crate::record::{Position, Recorded};
use crate::tail::Tail;

/// A batch for the writer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pending: Pending,
    /// Some of its commands have keys.
    pub(super) keyed: bool,
    pub(super) now: DateTime<Utc>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Report {
    /// It is durable and answered.
    Committed,
    /// It surely did not happen: another process's event, or a used key, stood in the way.
    Rejected {
        /// Its commands, in order.
        decided: Vec<Decided>,
        /// It was a key.
        by_key: bool,
    },
    /// It surely did not happen, and its callers know.
    Failed,
    /// The database is out of reach; one of the others follows when it is back.
    Degraded,
}

/// First and longest pause between attempts to reach the database.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Attempts of a statement that Postgres itself says may succeed when repeated.
const TRANSIENT_ATTEMPTS_MAX: u32 = 5;

pub(super) struct Writer {
    options: PgConnectOptions,
    session: Option<Session>,
    jobs: mpsc::Receiver<Job>,
    reports: mpsc::Sender<Report>,
    tail: Tail,
    metrics: Metrics,
    timeout: Duration,
}

/// A connection, and how to name its backend to another one.
struct Session {
    conn: PgConnection,
    pid: i32,
    started: DateTime<Utc>,
}

/// What one attempt to append came to.
enum Attempt {
    Committed(Position),
    Rejected {
        by_key: bool,
    },
    Transient(sqlx::Error),
    Refused(sqlx::Error),
    /// No connection: nothing was sent.
    Unreachable(sqlx::Error),
    Unknown(String),
}

impl Writer {
    pub(super) fn start(parts: Parts, reports: mpsc::Sender<Report>) -> mpsc::Sender<Job> {
        let (jobs_tx, jobs) = mpsc::channel(1);
        let writer = Self {
            options: parts.options,
            session: None,
            jobs,
            reports,
            tail: parts.tail,
            metrics: parts.metrics,
            timeout: parts.limits.append_timeout,
        };
        super::guarded("writer", writer.run());
        jobs_tx
    }

    async fn run(mut self) {
        while let Some(job) = self.jobs.recv().await {
            let report = self.write(job).await;
            if self.reports.send(report).await.is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, job: Job) -> Report {
        if job.pending.changes_nothing() && !job.keyed {
            let head = *self.tail.head().borrow();
            self.commit(job.pending, head);
            return Report::Committed;
        }
        let batch = job.pending.to_log(Uuid::now_v7(), job.now);
        let mut transient = 0;
        loop {
            let begun = Instant::now();
            match self.attempt(&batch).await {
                Attempt::Committed(base) => {
                    self.metrics.append_seconds.observe(begun.elapsed().as_secs_f64());
                    self.commit(job.pending, base);
                    return Report::Committed;
                }
                Attempt::Rejected { by_key } => {
                    self.metrics.append_stalled.set(0);
                    self.metrics.batches_rejected.inc();
                    return Report::Rejected { decided: job.pending.decided, by_key };
                }
                Attempt::Transient(error) if transient < TRANSIENT_ATTEMPTS_MAX => {
                    tracing::warn!(%error, "append will be repeated");
                    transient += 1;
                    tokio::time::sleep(BACKOFF.0 * transient).await;
                }
                Attempt::Unreachable(error) => {
                    tracing::warn!(%error, "the database is out of reach");
                    tokio::time::sleep(BACKOFF.0).await;
                    fail(job.pending);
                    return Report::Failed;
                }
                Attempt::Transient(error) | Attempt::Refused(error) => {
                    tracing::error!(%error, "append was refused by the database");
                    // A server that has become read-only would refuse for ever.
                    self.session = None;
                    self.metrics.append_stalled.set(0);
                    fail(job.pending);
                    return Report::Failed;
                }
                Attempt::Unknown(reason) => {
                    tracing::warn!(reason, batch = %batch.id, "outcome of an append is unknown");
                    self.metrics.batches_unknown.inc();
                    self.metrics.append_stalled.set(1);
                    if self.reports.send(Report::Degraded).await.is_err() {
                        return Report::Failed;
                    }
                    if let Some(base) = self.resolve(&batch).await {
                        tracing::info!(batch = %batch.id, "the append had been committed");
                        self.commit(job.pending, base);
                        return Report::Committed;
                    }
                    tracing::info!(batch = %batch.id, "the append had not been committed");
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Attempt {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match self.connect().await {
                Ok(session) => session,
                Err(error) => return Attempt::Unreachable(error),
            },
        };
        let answer =
            tokio::time::timeout(self.timeout, log::append(&mut session.conn, batch)).await;
        let attempt = match answer {
            Ok(Ok(base)) => Attempt::Committed(base),
            Ok(Err(error)) => judge(error),
            Err(_) => Attempt::Unknown("no answer in time".to_owned()),
        };
        // A session in doubt is kept: its backend has to be ended before the batch is looked up.
        self.session = Some(session);
        attempt
    }

    /// Finds out what became of a batch whose answer was lost. Its old backend may still be at
    /// work on it, so that is ended first; only then is a look into `commits` final.
    async fn resolve(&mut self, batch: &Batch) -> Option<Position> {
        let doubtful = self.session.take().map(|session| (session.pid, session.started));
        let mut pause = BACKOFF.0;
        loop {
            let look_up = tokio::time::timeout(self.timeout, self.look_up(doubtful, batch.id));
            match look_up.await {
                Ok(Ok((session, base))) => {
                    self.session = Some(session);
                    return base;
                }
                Ok(Err(error)) => tracing::debug!(%error, "the database is out of reach"),
                Err(_) => tracing::debug!("the database does not answer in time"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn look_up(
        &self,
        doubtful: Option<(i32, DateTime<Utc>)>,
        id: Uuid,
    ) -> sqlx::Result<(Session, Option<Position>)> {
        let mut session = self.connect().await?;
        if let Some((pid, started)) = doubtful {
            while backend_lives(&mut session.conn, pid, started).await? {
                tokio::time::sleep(BACKOFF.0).await;
            }
        }
        let base = log::base_of_batch(&mut session.conn, id).await?;
        Ok((session, base))
    }

    async fn connect(&self) -> sqlx::Result<Session> {
        let connected = tokio::time::timeout(self.timeout, self.session()).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn session(&self) -> sqlx::Result<Session> {
        // Durability is this server's promise, whatever the database's default is.
        let options = self.options.clone().application_name("accrue log writer");
        let options = options.options(PLANS).options([("synchronous_commit", "on")]);
        let mut conn = options.connect().await?;
        let (pid, started) = sqlx::query_as(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .fetch_one(&mut conn)
        .await?;
        Ok(Session { conn, pid, started })
    }

    /// Publishes and answers a durable batch.
    fn commit(&self, pending: Pending, base: Position) {
        self.metrics.append_stalled.set(0);
        let mut position = base;
        let fresh = pending.events.into_iter();
        let events: Vec<Arc<Recorded>> = fresh
            .map(|event| {
                position += 1;
                Arc::new(Recorded {
                    position,
                    stream: event.stream,
                    sequence: event.sequence,
                    decoded: match event.decoded {
                        // A raw append to one of our streams is decoded as any reader would.
                        crate::record::Decoded::Foreign => self.tail.codec().decode(
                            &event.row.aggregate_type,
                            &event.row.event_type,
                            &event.row.event_version,
                            &event.row.payload,
                        ),
                        decoded => Ok(decoded),
                    },
                    row: event.row,
                })
            })
            .collect();
        if !events.is_empty() {
            self.metrics.batches.inc();
            self.metrics.events.inc_by(events.len() as u64);
            self.metrics.batch_events.observe(observed(events.len()));
            self.metrics.head.set(position);
        }
        self.tail.push(events.clone());
        for decided in pending.decided {
            answer(decided, &events, base);
        }
    }
}

fn answer(decided: Decided, events: &[Arc<Recorded>], base: Position) {
    let end = decided.first + decided.count;
    let answer = match decided.refusal {
        Some(refusal) => Err(ExecuteError::Refused { refusal, replayed: false }),
        None => Ok(Receipt {
            command_id: match &decided.request.work {
                Work::Command(envelope) => envelope.id.clone(),
                Work::Raw { .. } => raw_id(),
            },
            position: base + Position::try_from(end).unwrap_or(0),
            version: decided.version,
            events: events[decided.first..end].to_vec(),
            replayed: false,
        }),
    };
    decided.request.answer(answer);
}

fn raw_id() -> accrue_domain::id::CommandId {
    accrue_domain::id::CommandId::new("append").expect("a plain word is a command id")
}

fn fail(pending: Pending) {
    for decided in pending.decided {
        decided.request.answer(Err(ExecuteError::Unavailable));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand events at most")]
fn observed(events: usize) -> f64 {
    events as f64
}

/// Tells an error that surely undid the statement from one that leaves its outcome open.
fn judge(error: sqlx::Error) -> Attempt {
    let database = match &error {
        sqlx::Error::Database(database) => database,
        // The statement could not even be written down.
        sqlx::Error::Encode(_) => return Attempt::Refused(error),
        _ => return Attempt::Unknown(error.to_string()),
    };
    let postgres = database.try_downcast_ref::<PgDatabaseError>();
    let severity = postgres.map(PgDatabaseError::severity);
    // FATAL and PANIC end the session, perhaps between the commit and its answer.
    if !matches!(severity, Some(PgSeverity::Error)) {
        return Attempt::Unknown(error.to_string());
    }
    match database.code().as_deref() {
        Some("23505") => Attempt::Rejected { by_key: database.table() == Some("idempotency") },
        // Serialisation failure, deadlock, lock not available, statement cancelled.
        Some("40001" | "40P01" | "55P03" | "57014") => Attempt::Transient(error),
        _ => Attempt::Refused(error),
    }
}

/// Asks a backend to end, and whether it is still there.
async fn backend_lives(
    conn: &mut PgConnection,
    pid: i32,
    started: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let found: Option<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
          WHERE pid = $1 AND backend_start = $2",
    )
    .bind(pid)
    .bind(started)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            tokio::spawn(async move {
                let _ = session.conn.close().await;
            });
        }
    }
}
