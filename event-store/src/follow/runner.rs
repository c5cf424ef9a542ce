//! Runs one follower: batches as its feed gives them, a transaction each, for as long as the server
//! lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accrue_domain::aggregate::Kind;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::{self, Parked};
use super::{Feed, FollowError, Follower, Next, Status, UNKNOWN};
use crate::codec::DecodeError;
use crate::ledger::Ledger;
use crate::metrics::Of;
use crate::record::{Position, Recorded};

/// First and longest pause after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a follower keeps what others could take over while all it tries fails.
const FRUITLESS_MAX: Duration = Duration::from_secs(10);

/// How often a batch is tried again at once that lost against others for the same rows.
const CLASHES_MAX: u32 = 10;

/// A follower with what it needs to run.
pub struct Runner<F> {
    ledger: Ledger,
    follower: F,
    feed: Box<dyn Feed>,
    status: Status,
    /// Streams that are set aside, and from which event on.
    parked: HashMap<(Arc<str>, Arc<str>), Position>,
}

impl<F: Follower> std::fmt::Debug for Runner<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("status", &self.status).finish_non_exhaustive()
    }
}

/// How a session ended, if not in error.
enum Over {
    /// Somebody else has moved the checkpoint.
    NotOurs,
    /// The work is another by now.
    Anew,
}

/// A batch, ready for a follower.
#[derive(Default)]
struct Page {
    events: Vec<Arc<Recorded>>,
    /// For each of them, how many of the batch are done with it.
    counts: Vec<usize>,
    /// How many of the batch are done with the page.
    count: usize,
    /// An event behind the page that must not be passed.
    barrier: Option<String>,
    /// An event behind the page that does not decode; its stream is to be parked.
    damaged: Option<(Arc<Recorded>, String)>,
}

impl<F: Follower> Runner<F> {
    /// A runner, and a view on how it will be doing.
    pub fn new(ledger: Ledger, follower: F, feed: Box<dyn Feed>) -> (Self, Status) {
        let status = Status::new(follower.name());
        ledger.tail().invalidates(status.clone());
        let runner =
            Self { ledger, follower, feed, status: status.clone(), parked: HashMap::new() };
        (runner, status)
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let until = stop.clone();
        tokio::select! {
            () = until.cancelled() => {}
            () = self.sessions(stop) => {}
        }
        self.feed.end().await;
    }

    async fn sessions(&mut self, stop: CancellationToken) {
        let mut pause = BACKOFF.0;
        let mut fruitless: Option<Instant> = None;
        while !stop.is_cancelled() {
            let before = self.feed.position();
            let (mut moves, status) = (self.ledger.tail().moves(), self.status.clone());
            let servers = self.ledger.servers().clone();
            let term = servers.term();
            let left = async {
                tokio::select! {
                    _ = moves.changed() => {}
                    () = servers.left(term) => {}
                }
            };
            let end = tokio::select! {
                biased;
                // Whatever it waits for: a server that has vanished will never answer.
                () = left => {
                    status.moved(UNKNOWN);
                    Ok(Over::NotOurs)
                }
                end = self.session() => end,
            };
            if self.feed.position() > before {
                pause = BACKOFF.0;
                fruitless = None;
            }
            let error = match end {
                Ok(Over::Anew) => continue,
                Ok(Over::NotOurs) => {
                    // Somebody else is at the same work; there is no hurry.
                    tokio::time::sleep(BACKOFF.0).await;
                    continue;
                }
                Err(error) => error,
            };
            let (follower, outage) = (self.status.name(), servers.outage());
            if matches!(&error, FollowError::Database(error) if outage.met(error)) {
                tracing::debug!(follower, %error, "follower will try again");
            } else {
                tracing::warn!(follower, %error, "follower will try again");
            }
            // Until it is read again, nobody may be told that it has come so far.
            self.status.moved(UNKNOWN);
            self.status.update(|health| health.stopped = Some(error.to_string()));
            self.stopped(true);
            if fruitless.get_or_insert_with(Instant::now).elapsed() > FRUITLESS_MAX {
                // Others may be able to do what this one is not, say because they are newer.
                self.feed.end().await;
                fruitless = None;
                pause = pause.max(self.feed.respite());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Follows over one connection.
    async fn session(&mut self) -> Result<Over, FollowError> {
        let name = self.follower.name().to_owned();
        let mut conn = self.connect().await?;
        self.ledger.tail().agree(&mut conn).await?;
        let kinds = Kind::ALL.into_iter().filter(|kind| self.follower.reads(*kind));
        let kinds: Vec<_> = kinds.map(Kind::as_str).collect();
        self.feed.begin(&mut conn, &kinds).await?;
        let parked = checkpoint::parked(&mut conn, &name).await?;
        self.parked = parked
            .into_iter()
            .map(|it| ((it.aggregate_type.into(), it.aggregate_id.into()), it.position))
            .collect();
        self.follower.reset(&mut conn, self.feed.position()).await?;
        self.status.moved(self.feed.position());
        loop {
            let before = self.feed.position();
            let next = self.feed.next(&mut conn).await?;
            // By what others have applied. Only then: what is said here would undo that the tail
            // says that nothing is known any more.
            if self.feed.position() != before {
                self.status.moved(self.feed.position());
            }
            match next {
                Next::Anew => return Ok(Over::Anew),
                Next::Nothing => {}
                Next::Events(events) => {
                    if !self.take(&mut conn, events).await? {
                        return Ok(Over::NotOurs);
                    }
                }
            }
            // Also where another has taken the events that this one stood still at.
            self.status.update(|health| health.stopped = None);
            self.stopped(false);
            self.report();
        }
    }

    /// Takes a run of events as far as it goes; false when somebody else moved the checkpoint.
    async fn take(
        &mut self,
        conn: &mut PgConnection,
        events: Vec<Arc<Recorded>>,
    ) -> Result<bool, FollowError> {
        let mut done = 0;
        while done < events.len() {
            let page = self.page(&events, done);
            if page.count > done && !self.batch(conn, &page).await? {
                return Ok(false);
            }
            if let Some(reason) = page.barrier {
                return Err(FollowError::NotReady(reason));
            }
            done = page.count;
            if let Some((event, reason)) = page.damaged {
                // A feed does not give again what is behind it, so that is taken here.
                done += 1;
                if !self.park(conn, &event, done, reason).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What is behind the first `done` of the events, up to the first that this build must not pass,
    /// without parked streams.
    fn page(&self, events: &[Arc<Recorded>], done: usize) -> Page {
        let mut page = Page { count: done, ..Page::default() };
        for (count, event) in (1..).zip(events).skip(done) {
            if self.is_parked(event) {
                page.count = count;
                continue;
            }
            let kind = event.stream.as_ref().map(|stream| stream.kind());
            match &event.decoded {
                Err(error) if kind.is_none_or(|kind| self.follower.reads(kind)) => match error {
                    DecodeError::Unknown { .. } => {
                        page.barrier = Some(format!("position {}: {error}", event.position));
                        return page;
                    }
                    DecodeError::Malformed { .. } => {
                        page.damaged = Some((Arc::clone(event), error.to_string()));
                        return page;
                    }
                },
                _ => {
                    page.count = count;
                    page.counts.push(count);
                    page.events.push(Arc::clone(event));
                }
            }
        }
        page
    }

    /// Takes a batch whole; where an event in it cannot be digested, one by one.
    async fn batch(&mut self, conn: &mut PgConnection, page: &Page) -> Result<bool, FollowError> {
        match self.transact(conn, &page.events, page.count).await {
            Err(error) if is_data_error(&error) => {
                tracing::warn!(follower = self.status.name(), %error, "looking for a bad event");
            }
            done => return done,
        }
        self.follower.reset(conn, self.feed.position()).await?;
        let mut taken = 0;
        for (event, count) in page.events.iter().zip(&page.counts) {
            if self.is_parked(event) {
                continue;
            }
            let single = std::slice::from_ref(event);
            let done = match self.transact(conn, single, *count).await {
                Err(error) if is_data_error(&error) => {
                    self.park(conn, event, *count, error.to_string()).await?
                }
                done => done?,
            };
            if !done {
                return Ok(false);
            }
            taken = *count;
        }
        if taken < page.count {
            return self.transact(conn, &[], page.count).await;
        }
        Ok(true)
    }

    fn is_parked(&self, event: &Recorded) -> bool {
        // Most followers have nothing parked, and this is asked for every event.
        if self.parked.is_empty() {
            return false;
        }
        let row = &event.row;
        let id = (Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id));
        // What stands before the event at fault may still come: where Kafka does not take an event,
        // its stream is set aside before the follower has got there.
        self.parked.get(&id).is_some_and(|from| event.position >= *from)
    }

    /// Takes these events, with which so many of the batch are done.
    async fn transact(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
        count: usize,
    ) -> Result<bool, FollowError> {
        let mut clashes = 0;
        loop {
            match self.attempt(conn, events, count).await {
                Err(error) if is_clash(&error) && clashes < CLASHES_MAX => {
                    tracing::debug!(follower = self.status.name(), %error, "taken once more");
                    clashes += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
        count: usize,
    ) -> Result<bool, FollowError> {
        if !events.is_empty() {
            self.follower.prepare(events).await?;
        }
        let mut tx = conn.begin().await?;
        if !self.feed.advance(&mut tx, count).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        if !events.is_empty() {
            self.follower.write(&mut tx, events).await?;
        }
        tx.commit().await?;
        self.moved(count);
        Ok(true)
    }

    /// Sets a stream aside from this event on, and goes on behind it.
    async fn park(
        &mut self,
        conn: &mut PgConnection,
        event: &Recorded,
        count: usize,
        reason: String,
    ) -> Result<bool, FollowError> {
        let row = &event.row;
        tracing::error!(
            follower = self.status.name(),
            position = event.position,
            stream = row.subject(),
            reason,
            "stream parked"
        );
        let parked = Parked {
            aggregate_type: row.aggregate_type.to_string(),
            aggregate_id: row.aggregate_id.to_string(),
            position: event.position,
            reason,
        };
        let mut tx = conn.begin().await?;
        if !self.feed.advance(&mut tx, count).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        checkpoint::park(&mut tx, self.follower.name(), &parked).await?;
        tx.commit().await?;
        let id = (Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id));
        self.parked.insert(id, event.position);
        self.moved(count);
        self.follower.reset(conn, self.feed.position()).await?;
        Ok(true)
    }

    /// So many of the batch are committed.
    fn moved(&mut self, count: usize) {
        self.feed.advanced(count);
        self.status.moved(self.feed.position());
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let name = format!("accrue {}", self.status.name());
        let adapt = |options: PgConnectOptions| {
            options.application_name(&name).options([
                ("search_path", "read,public"),
                // What a follower writes can be made again from the log; its checkpoint goes
                // with it.
                ("synchronous_commit", "off"),
                // One that is paused in the middle of a transaction would keep whoever takes
                // over waiting for its rows. Postgres ends its session instead.
                ("idle_in_transaction_session_timeout", "5000"),
                ("statement_timeout", "60000"),
            ])
        };
        self.ledger.servers().connect(adapt).await
    }

    fn stopped(&self, stopped: bool) {
        let of = Of { follower: self.status.name().to_owned() };
        let metrics = self.ledger.metrics();
        metrics.follower_stopped.get_or_create(&of).set(i64::from(stopped));
    }

    fn report(&self) {
        let now = self.ledger.clock().now();
        let head = *self.ledger.tail().head().borrow();
        let position = self.feed.position();
        let lag = (head - position).max(0);
        let of = Of { follower: self.status.name().to_owned() };
        let metrics = self.ledger.metrics();
        metrics.follower_position.get_or_create(&of).set(position);
        metrics.follower_lag_events.get_or_create(&of).set(lag);
        metrics.follower_polled_at.get_or_create(&of).set(now.timestamp());
        let parked = self.parked.len();
        let count = i64::try_from(parked).unwrap_or(i64::MAX);
        metrics.follower_parked.get_or_create(&of).set(count);
        self.status.update(|health| {
            health.polled_at = Some(now);
            health.parked = parked;
        });
    }
}

/// Does the error lie in the data, so that repeating the batch cannot help?
#[must_use]
pub fn is_data_error(error: &FollowError) -> bool {
    match error {
        FollowError::Poison { .. } => true,
        FollowError::NotReady(_) => false,
        FollowError::Database(sqlx::Error::Database(error)) => {
            // Data exceptions and violated constraints.
            error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }
        FollowError::Database(error) => {
            matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_))
        }
    }
}

/// Did the batch lose against another that touched the same rows?
fn is_clash(error: &FollowError) -> bool {
    // Serialization failure, deadlock.
    matches!(error, FollowError::Database(sqlx::Error::Database(error))
        if matches!(error.code().as_deref(), Some("40001" | "40P01")))
}
