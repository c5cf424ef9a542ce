//! One producer's life: fence, look what is there, publish what is not, remember it.

mod ends;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::follow::{self, Parked};
use accrue_event_store::lease::{self, Terms};
use accrue_event_store::metrics::Of;
use accrue_event_store::record::{Position, Recorded};
use rdkafka::error::KafkaError;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep_until, timeout};

use super::Relay;
use crate::book::{Book, Plan};
use crate::progress::{self, Known, Moved, NAME, Progress};
use crate::publisher::{Manner, Outgoing, PublishError};
use crate::survey::{Survey, SurveyError, blocking};

/// Most events in a transaction. What a transaction costs is shared by so many.
const BATCH_EVENTS_MAX: usize = 10_000;

/// Fewest that a batch is cut down to after failures, as for a broker that is slow.
const BATCH_EVENTS_MIN: usize = 250;

/// Most events in a transaction whose records go singly.
const SINGLE_EVENTS_MAX: usize = 500;

/// Transactions begin at least so far apart while they are not full.
const LINGER: Duration = Duration::from_millis(5);

/// How often a relay without news says that it lives, and sees whether its database does.
const IDLE: Duration = Duration::from_millis(500);

/// How often the end of a topic is compared with what was published there: a partition that nothing
/// is written to would not tell otherwise that it has lost its end.
const ENDS_INTERVAL: Duration = Duration::from_secs(5);

/// How a session goes about its work, learnt from those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    events_max: usize,
    manner: Manner,
}

impl Default for Pace {
    fn default() -> Self {
        Self { events_max: BATCH_EVENTS_MAX, manner: Manner::Swift }
    }
}

impl Pace {
    fn after(self, error: &PublishError) -> Self {
        match error {
            PublishError::BatchTooLarge => {
                Self { events_max: self.events_max.min(SINGLE_EVENTS_MAX), manner: Manner::Singly }
            }
            _ => Self { events_max: (self.events_max / 2).max(BATCH_EVENTS_MIN), ..self },
        }
    }

    fn after_success(self) -> Self {
        Self { events_max: (self.events_max * 2).min(BATCH_EVENTS_MAX), ..self }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Survey(#[from] SurveyError),
    #[error("{0} is shorter than what was published there")]
    Shorter(String),
}

/// Why a session is over without anything being wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The lease or the checkpoint is somebody else's.
    NotOurs,
    /// The next is to go about it in another manner.
    OtherManner,
}

/// A producer that may publish, and all that it goes by.
pub(super) struct Session<'a> {
    relay: &'a Relay,
    terms: &'a Terms,
    conn: PgConnection,
    survey: Survey,
    book: Book,
    progress: Progress,
    /// Read up to here: behind the checkpoint where a partition has lost its end.
    cursor: Position,
    /// Programs, and their topics.
    names: HashMap<Arc<str>, Arc<str>>,
    /// How often the ends of topics were checked.
    checks: usize,
}

impl<'a> Session<'a> {
    /// Fences everybody else and looks what is there; none when the lease was lost meanwhile.
    pub(super) async fn open(
        relay: &'a Relay,
        terms: &'a Terms,
        pace: Pace,
    ) -> Result<Option<Self>, Error> {
        let mut conn = connect(relay).await?;
        let name = format!("{}.relay", relay.settings.prefix);
        let (codec, stop) = (relay.ledger.codec(), terms.over());
        let phases = relay.metrics.phases.clone();
        let survey = Survey::open(&relay.settings, codec, name, pace.manner, phases, stop).await?;
        // Behind the fence, and not before: whoever fences later has a higher epoch, or ends here.
        if !lease::guard(&mut conn, NAME, terms.epoch()).await? {
            return Ok(None);
        }
        let progress = progress::read(&mut conn).await?;
        // The two are written together; a checkpoint that is further came about otherwise, and would
        // leave events out.
        let last = progress.topics.values().flatten().map(|it| it.position).max();
        let cursor = progress.position.min(last.unwrap_or_default());
        let mut session = Self {
            relay,
            terms,
            survey,
            checks: 0,
            book: Book::default(),
            cursor,
            progress,
            names: HashMap::new(),
            conn,
        };
        let topics: Vec<String> = session.progress.topics.keys().cloned().collect();
        for topic in topics {
            if !session.enter(&topic).await? {
                return Ok(None);
            }
        }
        session.report(pace);
        relay.status.update(|health| health.stopped = None);
        Ok(Some(session))
    }

    /// Publishes until the lease ends; says when all was last published that there was to publish in
    /// a turn, be it nothing.
    pub(super) async fn run(
        &mut self,
        pace: &mut Pace,
        went_well_at: &mut Instant,
    ) -> Result<Over, Error> {
        let tail = self.relay.ledger.tail().clone();
        let mut heads = tail.head();
        let mut moves = tail.moves();
        let (mut ahead, mut looked_at) = (None, Instant::now());
        while !self.terms.over().is_cancelled() {
            let begun = Instant::now();
            let max = pace.events_max;
            let page = match ahead.take() {
                Some(page) => page,
                None => tail.read(self.cursor, max).await?,
            };
            let full = page.len() >= max;
            if moves.has_changed().unwrap_or(true) {
                break;
            }
            let mut over = None;
            if let Some(until) = page.last().map(|it| it.position) {
                // While a full batch is on its way the next is read: it will be full as well, or
                // nearly so.
                let next =
                    async { if full { tail.read(until, max).await.map(Some) } else { Ok(None) } };
                let (next, taken) = (next, self.take(page, pace));
                let (next, taken) = tokio::join!(next, taken);
                over = taken?;
                ahead = next?;
            }
            *went_well_at = Instant::now();
            if let Some(over) = over {
                return Ok(over);
            }
            self.report(*pace);
            if looked_at.elapsed() > ENDS_INTERVAL {
                self.check_ends().await?;
                looked_at = Instant::now();
            }
            if full {
                continue;
            }
            sleep_until(begun + LINGER).await;
            let cursor = self.cursor;
            let idle = tokio::select! {
                () = self.terms.over().cancelled() => break,
                // Another server, and perhaps not all of the log: what is in Kafka is compared anew.
                _ = moves.changed() => break,
                news = timeout(IDLE, heads.wait_for(|head| *head > cursor)) => news.is_err(),
            };
            if idle && !self.is_as_it_was().await? {
                break;
            }
        }
        Ok(Over::NotOurs)
    }

    /// Lets go of the producer, which takes its time.
    pub(super) async fn close(self) {
        self.survey.close().await;
    }

    /// Publishes a run of events; says when the session is over.
    async fn take(
        &mut self,
        page: Vec<Arc<Recorded>>,
        pace: &mut Pace,
    ) -> Result<Option<Over>, Error> {
        let Some(until) = page.last().map(|it| it.position) else { return Ok(None) };
        if !self.enter_all(&page).await? {
            return Ok(Some(Over::NotOurs));
        }
        loop {
            let Plan { outgoing, .. } = self.plan(&page);
            let sent = outgoing.len();
            let (outgoing, published) = self.send(outgoing).await;
            match published {
                Ok(offsets) => {
                    let acknowledged = Instant::now();
                    if !self.remember(&outgoing, &offsets, until).await? {
                        return Ok(Some(Over::NotOurs));
                    }
                    self.relay.metrics.phases.took("remember", acknowledged.elapsed());
                    self.relay.metrics.published.inc_by(u64::try_from(sent).unwrap_or(u64::MAX));
                    *pace = pace.after_success();
                    if pace.manner == Manner::Singly {
                        pace.manner = Manner::Swift;
                        return Ok(Some(Over::OtherManner));
                    }
                    return Ok(None);
                }
                // Their streams are set aside, and the rest of the batch goes without them.
                Err(PublishError::TooLarge(which)) => {
                    for at in which {
                        if !self.park(&outgoing[at].event).await? {
                            return Ok(Some(Over::NotOurs));
                        }
                    }
                }
                Err(PublishError::Stopped) => return Ok(Some(Over::NotOurs)),
                Err(error) => {
                    *pace = pace.after(&error);
                    return Err(error.into());
                }
            }
        }
    }

    fn plan(&self, page: &[Arc<Recorded>]) -> Plan {
        let names = &self.names;
        let topic_of = |it: &Recorded| names.get(&it.row.program).cloned();
        self.book.plan(page, &self.progress.parked, topic_of)
    }

    async fn send(
        &self,
        outgoing: Vec<Outgoing>,
    ) -> (Vec<Outgoing>, Result<Vec<i64>, PublishError>) {
        if outgoing.is_empty() {
            return (outgoing, Ok(Vec::new()));
        }
        let (publisher, stop) = (Arc::clone(&self.survey.publisher), self.terms.over().clone());
        self.relay.metrics.transactions.inc();
        blocking(move || {
            let published = publisher.publish(&outgoing, &stop);
            (outgoing, published)
        })
        .await
    }

    /// Notes what Kafka has acknowledged, and that everything up to `until` is there.
    async fn remember(
        &mut self,
        sent: &[Outgoing],
        offsets: &[i64],
        until: Position,
    ) -> Result<bool, Error> {
        let moved = self.book.published(sent, offsets).into_iter();
        let moved: Vec<Moved> = moved
            .map(|(topic, partition, at)| {
                let known = Known { position: at.position, next_offset: at.offset_min };
                Moved { topic, partition, known }
            })
            .collect();
        let from = self.progress.position;
        let (epoch, to) = (self.terms.epoch(), until.max(from));
        if !progress::write(&mut self.conn, epoch, from, to, &moved).await? {
            return Ok(false);
        }
        (self.progress.position, self.cursor) = (to, until);
        Ok(true)
    }

    /// Sets a stream aside from this event on.
    async fn park(&mut self, event: &Recorded) -> Result<bool, Error> {
        let row = &event.row;
        let id = (Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id));
        if !self.progress.parked.insert(id) {
            return Ok(true);
        }
        let reason = format!(
            "a record of {} bytes is larger than Kafka takes",
            row.payload.len() + row.metadata.len()
        );
        tracing::error!(position = event.position, stream = row.subject(), reason, "stream parked");
        let parked = Parked {
            aggregate_type: row.aggregate_type.to_string(),
            aggregate_id: row.aggregate_id.to_string(),
            position: event.position,
            reason,
        };
        Ok(progress::park(&mut self.conn, self.terms.epoch(), &parked).await?)
    }

    /// A database that died and came back may have lost our last checkpoint, which is not waited
    /// for; without an event nothing else would tell.
    async fn is_as_it_was(&mut self) -> Result<bool, Error> {
        let found = follow::position(&mut self.conn, NAME).await?;
        Ok(found == Some(self.progress.position))
    }

    fn report(&self, pace: Pace) {
        let events_max = i64::try_from(pace.events_max).unwrap_or(i64::MAX);
        self.relay.metrics.batch_max.set(events_max);
        let (ledger, status) = (&self.relay.ledger, &self.relay.status);
        let now = ledger.clock().now();
        let head = *ledger.tail().head().borrow();
        // Where a partition is being filled up again, that far.
        let position = self.progress.position.min(self.cursor);
        let of = Of { follower: NAME.to_owned() };
        let metrics = ledger.metrics();
        metrics.follower_position.get_or_create(&of).set(position);
        metrics.follower_lag_events.get_or_create(&of).set((head - position).max(0));
        metrics.follower_polled_at.get_or_create(&of).set(now.timestamp());
        let parked = self.progress.parked.len();
        let count = i64::try_from(parked).unwrap_or(i64::MAX);
        metrics.follower_parked.get_or_create(&of).set(count);
        status.moved(position);
        status.update(|health| {
            health.polled_at = Some(now);
            health.parked = parked;
        });
    }
}

async fn connect(relay: &Relay) -> sqlx::Result<PgConnection> {
    // What is lost of it is found in Kafka again.
    let named = |options: PgConnectOptions| {
        let options = options.options([("synchronous_commit", "off")]).options(lease::GUARDED);
        options.application_name(&format!("accrue {NAME}"))
    };
    relay.ledger.servers().connect(named).await
}
