//! The one task that writes: a batch at a time, over a connection of its own. Nobody is answered
//! before the outcome of the batch is known.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Parts;
use super::batch::{Decided, Pending};
use super::publisher::Durable;
use crate::backend::Backend;
use crate::confirm::Confirming;
use crate::ledger::PLANS;
use crate::log::{self, Batch};
use crate::metrics::Metrics;
use crate::receipt::ExecuteError;
use crate::record::Position;
use crate::servers::Servers;
use crate::tail::Tail;

/// Something for the writer to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Take the log's lock, and keep it until the next batch is written.
    Lock,
    /// Write a batch, under the lock if it is held, and let go of that.
    Write(Box<Write>),
}

/// A batch for the writer.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) pending: Pending,
    /// Some of its commands have keys.
    pub(super) keyed: bool,
    pub(super) now: DateTime<Utc>,
}

/// What became of a job.
#[derive(Debug)]
pub(super) enum Report {
    /// The lock is held: nobody else writes until the next batch is written.
    Locked,
    /// The lock could not be had.
    NotLocked,
    /// The batch is durable; its callers are about to hear of it.
    Committed {
        /// From sending it to its answer, where that is known; with the connecting, if it was the first.
        took: Option<Duration>,
    },
    /// It surely did not happen, but what it was made of may.
    Rejected {
        /// Its commands, in order.
        decided: Vec<Decided>,
        /// What stood in the way.
        reason: Reason,
    },
    /// It surely did not happen, and its callers know.
    Failed,
    /// It was one command, which the database cannot digest; its caller knows.
    Indigestible,
    /// Another server has the log now, perhaps without the last that the one before had. The
    /// batch, if there was one, surely did not happen, and its callers know; nothing that memory
    /// holds is to be trusted.
    Moved,
    /// The database is out of reach; one of the others follows when it is back.
    Degraded,
}

/// Why a batch did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another process's event.
    Event,
    /// A used key.
    Key,
    /// The database cannot digest something in it.
    Indigestible,
}

/// First and longest pause between attempts to reach the database.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Attempts of a statement that Postgres itself says may succeed when repeated.
const TRANSIENT_ATTEMPTS_MAX: u32 = 5;

/// Attempts whose answers were lost and whose batch turned out not to be there.
const UNKNOWN_ATTEMPTS_MAX: u32 = 5;

/// How long Postgres lets a session hold the log's lock without a word: beyond the longest load,
/// so that only a process that hangs is cut off.
const LOCK_IDLE_MAX: &str = "60s";

pub(super) struct Writer {
    servers: Servers,
    tail: Tail,
    session: Option<Session>,
    /// Of a session that was given up on: it is ended before there is another.
    given_up: Option<Backend>,
    confirming: Confirming,
    /// The timeline of the last session. A server that was promoted writes on a new one.
    timeline: String,
    /// The timeline has changed, and the decider does not know yet.
    moved: bool,
    /// The last batch that was committed: a server that does not have it has lost it.
    last: Option<Uuid>,
    jobs: mpsc::Receiver<Job>,
    reports: mpsc::Sender<Report>,
    publisher: mpsc::Sender<Durable>,
    /// Written by the job before, and not told yet.
    durable: Option<Durable>,
    metrics: Metrics,
    timeout: Duration,
}

/// A connection, and how to name its backend to another one.
struct Session {
    conn: PgConnection,
    /// Of [`Servers::term`].
    term: u64,
    backend: Backend,
    /// Everything that showed when it was made is with the synchronous standby.
    confirmed: bool,
    /// It is in a transaction that holds the log's lock.
    locked: bool,
}

/// What one attempt to append came to.
enum Attempt {
    Committed(Position),
    Rejected(Reason),
    Transient(sqlx::Error),
    Refused(sqlx::Error),
    /// No connection: nothing was sent.
    Unreachable(sqlx::Error),
    Unknown(String),
}

impl Writer {
    pub(super) fn new(
        parts: &Parts,
        jobs: mpsc::Receiver<Job>,
        reports: mpsc::Sender<Report>,
        publisher: mpsc::Sender<Durable>,
    ) -> Self {
        Self {
            servers: parts.servers.clone(),
            tail: parts.tail.clone(),
            session: None,
            given_up: None,
            confirming: Confirming::default(),
            timeline: parts.timeline.clone(),
            moved: false,
            last: None,
            jobs,
            reports,
            publisher,
            durable: None,
            metrics: parts.metrics.clone(),
            timeout: parts.limits.append_timeout,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(job) = self.next().await {
            let report = match job {
                Job::Lock => self.lock().await,
                Job::Write(write) => self.write(*write).await,
            };
            // The decider first: whoever is answered may come back before the next line runs.
            if self.reports.send(report).await.is_err() {
                break;
            }
        }
        self.tell().await;
        if let Some(session) = self.session.take() {
            let _ = tokio::time::timeout(self.timeout, session.conn.close()).await;
        }
    }

    /// The next job. A batch that is there already is sent before what is durable is told: Postgres
    /// would have nothing to do meanwhile.
    async fn next(&mut self) -> Option<Job> {
        // The decider has its turn, since it knows of the last by now.
        tokio::task::yield_now().await;
        if let Ok(job) = self.jobs.try_recv() {
            return Some(job);
        }
        self.tell().await;
        self.jobs.recv().await
    }

    /// Hands over to the publisher what has become durable.
    async fn tell(&mut self) {
        if let Some(durable) = self.durable.take() {
            publish(&self.publisher, durable).await;
        }
    }

    /// Takes the log's lock: the batch will commit with it.
    async fn lock(&mut self) -> Report {
        self.tell().await;
        match self.locked().await {
            Ok(()) if std::mem::take(&mut self.moved) => {
                self.session = None;
                Report::Moved
            }
            Ok(()) => Report::Locked,
            // The session is gone, and with it whatever it had got hold of.
            Err(error) => {
                self.give_up();
                tracing::warn!(%error, "the log could not be locked");
                Report::NotLocked
            }
        }
    }

    async fn locked(&mut self) -> sqlx::Result<()> {
        self.connected().await?;
        // Kept while it waits: whoever gives up on it has to know which it was.
        let Some(session) = self.session.as_mut() else { return Err(sqlx::Error::PoolClosed) };
        let (term, conn) = (session.term, &mut session.conn);
        let lock = async {
            sqlx::query("BEGIN").execute(&mut *conn).await?;
            log::lock(conn).await
        };
        self.servers.answer(term, self.timeout, lock).await?;
        session.locked = true;
        Ok(())
    }

    /// Lets go of the lock without a batch.
    async fn unlock(&mut self) {
        let Some(session) = self.session.as_mut().filter(|session| session.locked) else { return };
        session.locked = false;
        let done = sqlx::query("ROLLBACK").execute(&mut session.conn);
        if self.servers.answer(session.term, self.timeout, done).await.is_err() {
            self.give_up();
        }
    }

    async fn write(&mut self, job: Write) -> Report {
        if job.pending.changes_nothing() && !job.keyed {
            // There is no batch on its way beside which it could be told.
            self.tell().await;
            self.unlock().await;
            return self.write_nothing(job.pending).await;
        }
        let batch = job.pending.to_log(Uuid::now_v7(), job.now);
        let (mut transient, mut unknown) = (0, 0);
        loop {
            let begun = Instant::now();
            let attempt = match self.connected().await {
                // What was decided on the word of another server is decided again, if at all.
                Ok(()) if std::mem::take(&mut self.moved) => {
                    self.metrics.append_stalled.set(0);
                    fail(job.pending);
                    return Report::Moved;
                }
                Ok(()) => self.attempt(&batch).await,
                Err(error) => Attempt::Unreachable(error),
            };
            match attempt {
                Attempt::Committed(base) => {
                    let took = begun.elapsed();
                    self.metrics.append_seconds.observe(took.as_secs_f64());
                    self.committed(&batch);
                    return self.commit(job.pending, Some(base), Some(took));
                }
                Attempt::Rejected(Reason::Indigestible) if job.pending.decided.len() == 1 => {
                    self.metrics.append_stalled.set(0);
                    for decided in job.pending.decided {
                        decided.request.answer(Err(ExecuteError::Fault));
                    }
                    return Report::Indigestible;
                }
                Attempt::Rejected(reason) => {
                    self.metrics.append_stalled.set(0);
                    self.metrics.batches_rejected.inc();
                    return Report::Rejected { decided: job.pending.decided, reason };
                }
                Attempt::Transient(error) if transient < TRANSIENT_ATTEMPTS_MAX => {
                    tracing::warn!(%error, "append will be repeated");
                    transient += 1;
                    tokio::time::sleep(BACKOFF.0 * transient).await;
                }
                Attempt::Unreachable(error) => {
                    if !self.servers.outage().met(&error) {
                        tracing::warn!(%error, "no connection for an append");
                    }
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
                        self.committed(&batch);
                        return self.commit(job.pending, Some(base), None);
                    }
                    tracing::info!(batch = %batch.id, "the append had not been committed");
                    unknown += 1;
                    if unknown >= UNKNOWN_ATTEMPTS_MAX {
                        self.metrics.append_stalled.set(0);
                        fail(job.pending);
                        return Report::Failed;
                    }
                }
            }
        }
    }

    /// Nothing is to be written. Who is told that the work is done already is told so on the word of
    /// what was loaded, which the standby need not have.
    async fn write_nothing(&mut self, pending: Pending) -> Report {
        if pending.accepts() {
            let confirmed = self.confirmed().await;
            if std::mem::take(&mut self.moved) {
                fail(pending);
                return Report::Moved;
            }
            if let Err(error) = confirmed {
                if !self.servers.outage().met(&error) {
                    tracing::warn!(%error, "it is not known whether the standby has it");
                }
                self.give_up();
                fail(pending);
                return Report::Failed;
            }
        }
        self.commit(pending, None, None)
    }

    /// Makes sure that the standby has what shows here. It is asked once a session, since only a
    /// primary that is started anew shows what it has not, and that ends the session.
    async fn confirmed(&mut self) -> sqlx::Result<()> {
        self.connected().await?;
        let Some(session) = self.session.as_mut() else { return Err(sqlx::Error::PoolClosed) };
        let (term, was, conn) = (session.term, session.confirmed, &mut session.conn);
        let confirm =
            async { if was { conn.ping().await } else { self.confirming.confirm(conn).await } };
        self.servers.answer(term, self.timeout, confirm).await?;
        session.confirmed = true;
        Ok(())
    }

    /// The batch is durable: whoever waits for it hears of it elsewhere, so that the next one can
    /// be written meanwhile.
    fn commit(
        &mut self,
        pending: Pending,
        base: Option<Position>,
        took: Option<Duration>,
    ) -> Report {
        self.metrics.append_stalled.set(0);
        self.durable = Some(Durable { pending, base });
        Report::Committed { took }
    }

    /// Makes sure of a session with the server that is chosen.
    async fn connected(&mut self) -> sqlx::Result<()> {
        let term = self.servers.term();
        if self.session.as_ref().is_some_and(|session| session.term != term) {
            self.give_up();
        }
        if self.session.is_none() {
            // That may take long, and may find another server, whose log is not the one told of.
            self.tell().await;
            self.session = Some(self.connect().await?);
        }
        Ok(())
    }

    /// Goes on without the session. What it may have got hold of is taken from it before the next.
    fn give_up(&mut self) {
        if let Some(session) = self.session.take() {
            self.given_up = Some(session.backend);
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Attempt {
        let Some(mut session) = self.session.take() else {
            return Attempt::Unreachable(sqlx::Error::PoolClosed);
        };
        let locked = std::mem::take(&mut session.locked);
        let append = append(&mut session.conn, batch, locked);
        let answer = self.servers.answer(session.term, self.timeout, append);
        let attempt = match beside(answer, &self.publisher, self.durable.take()).await {
            Ok(base) => {
                // Its commit has waited for the standby.
                session.confirmed = true;
                Attempt::Committed(base)
            }
            Err(error) => judge(error),
        };
        // A session in doubt is kept: its backend has to be ended before the batch is looked up.
        self.session = Some(session);
        attempt
    }

    /// A batch without events has no row to be looked for.
    fn committed(&mut self, batch: &Batch) {
        if !batch.events.is_empty() {
            self.last = Some(batch.id);
        }
    }

    /// Finds out what became of a batch whose answer was lost. Its old backend may still be at
    /// work on it, so that is ended first; only then is a look into `commits` final.
    async fn resolve(&mut self, batch: &Batch) -> Option<Position> {
        let doubtful = self.session.take().map(|session| session.backend);
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
        &mut self,
        doubtful: Option<Backend>,
        id: Uuid,
    ) -> sqlx::Result<(Session, Option<Position>)> {
        let mut session = self.connect().await?;
        if let Some(backend) = doubtful {
            let mut pause = BACKOFF.0;
            while backend.lives(&mut session.conn).await? {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
        let base = log::base_of_batch(&mut session.conn, id).await?;
        if base.is_some() {
            // A backend that is ended just as it begins to wait for a synchronous standby waits no
            // more, nor does a primary that was started anew; the commit then shows here alone.
            self.confirming.confirm(&mut session.conn).await?;
        }
        Ok((session, base))
    }

    async fn connect(&mut self) -> sqlx::Result<Session> {
        let connected = tokio::time::timeout(self.timeout, self.session()).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn session(&mut self) -> sqlx::Result<Session> {
        let (mut term, mut conn) = self.servers.connect_in_term(writing).await?;
        if let Some(given_up) = self.given_up {
            let _ending = given_up.lives(&mut conn).await?;
            self.given_up = None;
        }
        let backend = Backend::of(&mut conn).await?;
        let timeline = log::timeline(&mut conn).await?;
        if self.timeline != timeline {
            self.moved = true;
            // Before anything is written here: nobody may take an old position for a new one.
            let begun = self.tail.is_on(&timeline, None);
            // By this session, so it is of that term, unless another was chosen in between.
            if begun == Some(term + 1) {
                term += 1;
            }
            tracing::warn!(timeline, "another server has the log now");
            if let Some(last) = self.last.take()
                && log::base_of_batch(&mut conn, last).await?.is_none()
            {
                tracing::error!(batch = %last, "the database has lost commits that were acknowledged");
            }
        }
        self.timeline = timeline;
        Ok(Session { conn, term, backend, confirmed: false, locked: false })
    }
}

/// How the writer connects.
fn writing(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("accrue log writer").options(PLANS).options([
        // Durability is this server's promise, whatever the database's default is.
        ("synchronous_commit", "on"),
        // How long an append may take is for us to say, whatever the database's default is.
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", LOCK_IDLE_MAX),
    ])
}

/// Appends the batch, and ends the transaction that holds the log's lock, if there is one.
async fn append(conn: &mut PgConnection, batch: &Batch, locked: bool) -> sqlx::Result<Position> {
    let appended = log::append(&mut *conn, batch).await;
    if locked {
        let end = if appended.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = sqlx::query(end).execute(conn).await;
        // The append's own error says more than that of a session that went with it.
        return appended.and_then(|base| ended.map(|_| base));
    }
    appended
}

/// Waits for the answer to a batch, and hands over what became durable before it, once the batch is
/// sent: it goes out with the first poll.
async fn beside<T>(
    answer: impl Future<Output = T>,
    publisher: &mpsc::Sender<Durable>,
    durable: Option<Durable>,
) -> T {
    let told = async {
        if let Some(durable) = durable {
            publish(publisher, durable).await;
        }
    };
    let (answer, ()) = tokio::join!(biased; answer, told);
    answer
}

async fn publish(publisher: &mpsc::Sender<Durable>, durable: Durable) {
    if publisher.send(durable).await.is_err() {
        tracing::error!("the publisher of the log has stopped");
    }
}

fn fail(pending: Pending) {
    for decided in pending.decided {
        decided.request.answer(Err(ExecuteError::Unavailable));
    }
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
        Some("23505") if database.table() == Some("idempotency") => Attempt::Rejected(Reason::Key),
        Some("23505") => Attempt::Rejected(Reason::Event),
        // Serialisation failure, deadlock, lock not available, statement cancelled.
        Some("40001" | "40P01" | "55P03" | "57014") => Attempt::Transient(error),
        // Data exception, integrity constraint, program limit exceeded: the fault of a value.
        Some(code) if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
            tracing::error!(%error, "the database cannot digest a batch");
            Attempt::Rejected(Reason::Indigestible)
        }
        _ => Attempt::Refused(error),
    }
}
