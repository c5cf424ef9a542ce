//! The feed by Kafka: a follower's events from the topics of all programs, in a consumer group of
//! its own. Workers share its partitions; one that stops hands its own back, one that dies is
//! followed after `session.timeout.ms`.
//!
//! Invariants
//! - **Once.** A partition's mark moves in the transaction of the effects, by compare-and-swap, so
//!   whoever lost a partition without knowing is refused. A record whose event is not behind the
//!   mark is skipped. What is committed in Kafka tells people how far it is, and nobody else.
//! - **In order.** A partition is read from the record that was read last. If that is not the one
//!   that stands there any more, the topic was made anew or lost its end, and is read from its
//!   beginning: what was applied is skipped, and all else is there.
//! - **Of this log.** The last event of a batch is compared with the log before the batch is given:
//!   a log and its copy agree up to some event, and in nothing behind it.
//! - **Nothing passed unseen.** The follower's position is that up to which all partitions of all
//!   topics are applied: see [`marks::settle`].

mod marks;
mod metrics;
mod reader;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::follow::{self, By, Claim, Feed, Feeds, FollowError, Next};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::log;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use prometheus_client::registry::Registry;
use rdkafka::error::KafkaError;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::settings::Settings;
use crate::topics;
use marks::{Mark, Place, Step};
use metrics::Metrics;
use reader::{BATCH_RECORDS_MAX, Content, Fetched, Reader, Said};

/// Batches begin at least so far apart while they are not full.
const LINGER: Duration = Duration::from_millis(10);

/// How often it is looked whether the follower as a whole has come further, while the log is ahead;
/// and how many times as long as a look takes passes before the next, where partitions are many.
const SETTLE_INTERVAL: Duration = Duration::from_millis(25);
const SETTLE_SHARE: u32 = 10;

/// How often a follower without news says that it lives, and sees whether its database does.
const IDLE: Duration = Duration::from_millis(500);

/// How often Kafka is told how far the follower is.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// How long a worker that cannot apply anything leaves its partitions to others.
const RESPITE: Duration = Duration::from_secs(30);

/// Records of a partition that are read before that is noted without an event.
const SKIPPED_MIN: i64 = 500;

/// Feeds every follower by Kafka.
pub fn feeds(settings: Settings, registry: &mut Registry) -> Feeds {
    let (settings, metrics) = (Arc::new(settings), Metrics::new(registry));
    Feeds::new(By::Kafka, move |ledger, follower| {
        Box::new(KafkaFeed::new(ledger.clone(), &settings, follower, &metrics))
    })
}

/// The feed of one follower.
struct KafkaFeed {
    ledger: Ledger,
    settings: Arc<Settings>,
    follower: String,
    kinds: Vec<&'static str>,
    metrics: Metrics,
    reader: Option<Reader>,
    claim: Claim,
    position: Position,
    /// Topics that are shared, with their partitions.
    topics: BTreeMap<String, i32>,
    /// The assignment that was begun with.
    assignment: u64,
    /// Counts the beginnings: what was read under an older one is of no use.
    round: u64,
    partitions: Vec<Partition>,
    /// Where each of the events that were given last is.
    given: Vec<Given>,
    /// An offset was not there: each is looked at before it is read from.
    doubtful: bool,
    /// When it is looked next how far the follower has come.
    settle_at: Instant,
    /// A look is cheap: one behind each batch.
    settle_soon: bool,
    told_at: Instant,
    /// When those were looked for that were given last, while there may be no more.
    begun: Option<Instant>,
}

/// A partition of this worker.
struct Partition {
    place: Place,
    mark: Mark,
    /// The record that was read last, by its offset and the position of its event.
    last: (i64, Position),
    /// The last event that was read.
    seen: Position,
    /// Nothing was read yet: the first record tells whether the partition is what it was.
    first: First,
}

/// What the first record of a partition has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// The one that was read last.
    Last,
    /// The first of all.
    Beginning,
    /// It was that.
    Seen,
}

/// An event that was given.
#[derive(Clone, Copy)]
struct Given {
    at: usize,
    offset: i64,
    position: Position,
}

impl KafkaFeed {
    fn new(ledger: Ledger, settings: &Arc<Settings>, follower: &str, metrics: &Metrics) -> Self {
        Self {
            ledger,
            settings: Arc::clone(settings),
            follower: follower.to_owned(),
            kinds: Vec::new(),
            metrics: metrics.clone(),
            reader: None,
            claim: Claim::default(),
            position: -1,
            topics: BTreeMap::new(),
            assignment: 0,
            round: 0,
            partitions: Vec::new(),
            given: Vec::new(),
            doubtful: false,
            settle_at: Instant::now(),
            settle_soon: true,
            told_at: Instant::now(),
            begun: None,
        }
    }

    fn reader(&mut self) -> Result<&mut Reader, FollowError> {
        self.reader.as_mut().ok_or_else(|| FollowError::NotReady("Kafka: no consumer".to_owned()))
    }

    /// Shares the topics that there are.
    async fn share(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let topics = marks::topics(conn).await?;
        let prefix = &self.settings.prefix;
        if let Some(other) = topics.keys().find(|it| topics::program_of(prefix, it).is_none()) {
            return Err(FollowError::NotReady(format!(
                "events were published to {other}, which is none of {prefix}: without it the log \
                 is not whole"
            )));
        }
        if topics != self.topics {
            tracing::debug!(follower = self.follower, topics = topics.len(), "topics to share");
            let names = topics.keys().cloned().collect();
            self.reader()?.subscribe(names);
            self.topics = topics;
        }
        Ok(())
    }

    /// Takes up the partitions that are this worker's.
    async fn take_up(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let assignment = Arc::clone(&self.reader()?.assignment);
        self.assignment = *assignment.changes().borrow();
        let mut places = assignment.places();
        // Partitions that were added later stay empty.
        places.retain(|(topic, at)| self.topics.get(topic).is_some_and(|count| at < count));
        let marks = marks::enter(conn, &self.follower, &self.settings.prefix, &places).await?;
        self.partitions = places
            .into_iter()
            .zip(marks)
            .map(|(place, mark)| {
                let first = if mark.last_offset < 0 { First::Beginning } else { First::Last };
                let last = (mark.last_offset, mark.last_event);
                Partition { place, mark, last, seen: mark.position, first }
            })
            .collect();
        if std::mem::take(&mut self.doubtful) {
            self.look_at_ends().await?;
        }
        self.round += 1;
        let from = self.partitions.iter().map(|it| {
            let offset = (it.first == First::Last).then_some(it.mark.last_offset);
            (it.place.clone(), offset)
        });
        let (round, from) = (self.round, from.collect());
        self.reader()?.read(round, from);
        Ok(())
    }

    /// Reads from their beginning those partitions that do not hold the record that was read last.
    async fn look_at_ends(&mut self) -> Result<(), FollowError> {
        let Some(reader) = &self.reader else { return Ok(()) };
        for it in self.partitions.iter_mut().filter(|it| it.first == First::Last) {
            let (low, high) = reader.watermarks(&it.place).await.map_err(kafka)?;
            if it.mark.last_offset < low || it.mark.last_offset >= high {
                let (topic, partition) = &it.place;
                let offset = it.mark.last_offset;
                tracing::warn!(topic, partition, offset, low, high, "what was read is not there");
                it.first = First::Beginning;
            }
        }
        Ok(())
    }

    /// Looks how far the follower as a whole has come, if it is time; whether topics are there that
    /// are not shared.
    async fn settle(&mut self, conn: &mut PgConnection) -> Result<bool, FollowError> {
        let begun = Instant::now();
        if begun < self.settle_at {
            return Ok(false);
        }
        let standing = marks::settle(conn, &self.follower, &self.kinds).await?;
        let rest = begun.elapsed() * SETTLE_SHARE;
        self.settle_soon = rest <= SETTLE_INTERVAL;
        self.settle_at = Instant::now() + rest.max(SETTLE_INTERVAL);
        let Some(standing) = standing else {
            return Err(FollowError::NotReady("another process feeds it by the log".to_owned()));
        };
        self.position = standing.position;
        let known: i64 = self.topics.values().map(|count| i64::from(*count)).sum();
        Ok(standing.partitions != known)
    }

    /// Looks at records, and keeps those that are news.
    async fn sift(
        &mut self,
        conn: &mut PgConnection,
        records: Vec<Fetched>,
    ) -> Result<Next, FollowError> {
        let mut news: Vec<(Given, Arc<Recorded>)> = Vec::with_capacity(records.len());
        let mut skipped = 0;
        for Fetched { at, offset, content } in records {
            let Some(it) = self.partitions.get_mut(at) else { continue };
            let (topic, partition) = &it.place;
            let content = content.map_err(|error| {
                FollowError::NotReady(format!(
                    "offset {offset} in partition {partition} of {topic} is no event: {error}"
                ))
            })?;
            let position = content.position();
            match it.first {
                First::Last if (offset, position) != (it.mark.last_offset, it.mark.last_event) => {
                    tracing::warn!(
                        topic,
                        partition,
                        offset,
                        position,
                        "another record is where the last one was; read from the beginning"
                    );
                    self.forget(conn, at).await?;
                    return Ok(Next::Anew);
                }
                First::Beginning if offset > 0 && position > it.mark.position => {
                    let (place, applied) = (it.place.clone(), it.mark.position);
                    self.is_whole(conn, &place, applied, position).await?;
                }
                _ => {}
            }
            let Some(it) = self.partitions.get_mut(at) else { continue };
            it.first = First::Seen;
            it.last = (offset, position);
            if position <= it.seen {
                skipped += usize::from(offset != it.mark.last_offset);
                continue;
            }
            it.seen = position;
            if let Content::Event(event) = content {
                news.push((Given { at, offset, position }, event));
            }
        }
        let count = u64::try_from(skipped).unwrap_or_default();
        self.metrics.skipped(&self.follower).inc_by(count);
        // By position, which keeps each partition in its order.
        news.sort_by_key(|(given, _)| given.position);
        let (given, events): (Vec<_>, Vec<_>) = news.into_iter().unzip();
        self.given = given;
        if let Some(last) = events.last() {
            self.compare(conn, last).await?;
        }
        if events.is_empty()
            && self.partitions.iter().any(Partition::is_on)
            && !self.note_skipped(conn).await?
        {
            return Ok(Next::Anew);
        }
        Ok(Next::Events(events))
    }

    /// Is the event the log's own?
    async fn compare(&self, conn: &mut PgConnection, last: &Recorded) -> Result<(), FollowError> {
        let at = last.position;
        let found = log::read_range(conn, self.ledger.codec(), at, at).await?;
        let same = |ours: &Recorded| ours.row == last.row && ours.sequence == last.sequence;
        if found.first().is_some_and(|ours| same(ours)) {
            return Ok(());
        }
        Err(FollowError::NotReady(format!(
            "Kafka holds another event at position {at} than the log: {} of {}",
            last.row.subject(),
            last.row.program
        )))
    }

    /// Records before the first of a partition may have been deleted: were all of them applied?
    async fn is_whole(
        &mut self,
        conn: &mut PgConnection,
        place: &Place,
        applied: Position,
        first: Position,
    ) -> Result<(), FollowError> {
        let (low, _) = self.reader()?.watermarks(place).await.map_err(kafka)?;
        if low == 0 {
            return Ok(());
        }
        let (topic, partition) = place;
        let codec = self.ledger.codec();
        let missing = marks::between(conn, codec, &self.settings.prefix, place, (applied, first));
        let Some(missing) = missing.await? else { return Ok(()) };
        Err(FollowError::NotReady(format!(
            "partition {partition} of {topic} begins with position {first}, and only what is up to \
             {applied} is applied: position {missing} is not kept there any more"
        )))
    }

    /// Forgets which record of a partition was read last, so that it is read from its beginning.
    async fn forget(&mut self, conn: &mut PgConnection, at: usize) -> Result<(), FollowError> {
        let Some(it) = self.partitions.get(at) else { return Ok(()) };
        let to = Mark { last_offset: -1, last_event: 0, ..it.mark };
        let step = Step { place: &it.place, from: it.mark, to };
        // Where another has moved it, that one has seen to it.
        marks::advance(conn, &self.follower, &[step]).await?;
        Ok(())
    }

    /// Notes how far was read where there was nothing to apply.
    async fn note_skipped(&mut self, conn: &mut PgConnection) -> Result<bool, FollowError> {
        if !self.advance(conn, 0).await? {
            return Ok(false);
        }
        self.advanced(0);
        Ok(true)
    }

    /// The marks behind the first `count` of the events that were given last, by partition. Behind
    /// all of them, everything that was read is done with.
    fn marks_behind(&self, count: usize) -> BTreeMap<usize, Mark> {
        if count >= self.given.len() {
            let done = self.partitions.iter().map(Partition::as_done).enumerate();
            return done.filter(|(at, to)| self.partitions[*at].mark != *to).collect();
        }
        let mut marks = BTreeMap::new();
        for Given { at, offset, position } in self.given.iter().take(count) {
            let mark = self.partitions.get(*at).map(|it| it.mark);
            // Those that are committed of this batch are not taken once more.
            if mark.is_some_and(|mark| mark.position < *position) {
                let to = Mark { position: *position, last_offset: *offset, last_event: *position };
                marks.insert(*at, to);
            }
        }
        marks
    }

    fn tell(&mut self) {
        if self.told_at.elapsed() < TELL_INTERVAL {
            return;
        }
        self.told_at = Instant::now();
        if let Some(reader) = &self.reader {
            let read = self.partitions.iter().filter(|it| it.mark.last_offset >= 0);
            reader.tell(read.map(|it| (it.place.clone(), it.mark.last_offset + 1)));
        }
    }
}

impl Partition {
    /// Is it so much further than its mark that this is to be noted though there was nothing to apply?
    /// Any event counts: readers wait for its position.
    fn is_on(&self) -> bool {
        self.seen > self.mark.position || self.last.0 - self.mark.last_offset >= SKIPPED_MIN
    }

    /// Its mark, once everything that was read of it is done with.
    fn as_done(&self) -> Mark {
        let (last_offset, last_event) = self.last;
        Mark { position: self.seen, last_offset, last_event }
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn begin(
        &mut self,
        conn: &mut PgConnection,
        kinds: &[&'static str],
    ) -> Result<(), FollowError> {
        self.kinds = kinds.to_vec();
        self.given.clear();
        self.begun = None;
        let tail = self.ledger.tail();
        self.position = self.claim.make(conn, tail, &self.follower, By::Kafka).await?;
        if self.reader.is_none() {
            let (settings, follower) = (&self.settings, &self.follower);
            let assigned = self.metrics.assigned(follower);
            let (codec, kinds) = (self.ledger.codec(), &self.kinds);
            let reader = Reader::open(settings, codec, follower, kinds, assigned);
            self.reader = Some(reader.map_err(kafka)?);
            self.topics.clear();
        }
        self.share(conn).await?;
        self.take_up(conn).await
    }

    fn position(&self) -> Position {
        self.position
    }

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Next, FollowError> {
        if let Some(begun) = self.begun.take() {
            sleep_until(begun + LINGER).await;
        }
        self.tell();
        let head = *self.ledger.tail().head().borrow();
        let behind = self.position < head;
        if behind && self.settle(conn).await? {
            self.share(conn).await?;
        }
        let (assigned, round) = (self.assignment, self.round);
        let begun = Instant::now();
        let mut heads = self.ledger.tail().head();
        let position = self.position;
        let until = begun + if behind { SETTLE_INTERVAL } else { IDLE };
        let reader = self.reader()?;
        let mut changes = reader.assignment.changes();
        let said = tokio::select! {
            biased;
            _ = changes.wait_for(|now| *now != assigned) => return Ok(Next::Anew),
            said = timeout_at(until, reader.said.recv()) => said.ok(),
            // Then there is a position to be settled.
            Ok(_) = heads.wait_for(|head| *head > position), if !behind => return Ok(Next::Nothing),
        };
        let mut records = Vec::new();
        let mut said = match said {
            None if behind => return Ok(Next::Nothing),
            None => {
                // A database that died and came back may have lost our last commits.
                let found = follow::position(conn, &self.follower).await?;
                let same = found.is_some_and(|found| found >= position);
                return Ok(if same { Next::Nothing } else { Next::Anew });
            }
            Some(None) => Some(Said::Dead(KafkaError::Canceled)),
            Some(said) => said,
        };
        while let Some(it) = said {
            match it {
                Said::Records { round: of, records: more } if of == round => records.extend(more),
                Said::OutOfRange { round: of } if of == round => {
                    self.doubtful = true;
                    return Ok(Next::Anew);
                }
                Said::Records { .. } | Said::OutOfRange { .. } => {}
                Said::Dead(error) => {
                    if let Some(reader) = self.reader.take() {
                        reader.end().await;
                    }
                    return Err(kafka(error));
                }
            }
            let room = records.len() < BATCH_RECORDS_MAX;
            said = if room { self.reader()?.said.try_recv().ok() } else { None };
        }
        if records.is_empty() {
            return Ok(Next::Nothing);
        }
        self.begun = (records.len() < BATCH_RECORDS_MAX).then_some(begun);
        self.sift(conn, records).await
    }

    async fn advance(&mut self, conn: &mut PgConnection, count: usize) -> sqlx::Result<bool> {
        let marks = self.marks_behind(count);
        let step = |(at, to): (&usize, &Mark)| {
            let it = self.partitions.get(*at)?;
            Some(Step { place: &it.place, from: it.mark, to: *to })
        };
        let steps: Vec<_> = marks.iter().filter_map(step).collect();
        marks::advance(conn, &self.follower, &steps).await
    }

    fn advanced(&mut self, count: usize) {
        for (at, to) in self.marks_behind(count) {
            if let Some(it) = self.partitions.get_mut(at) {
                it.mark = to;
            }
        }
        // There may be more to it now.
        if self.settle_soon {
            self.settle_at = Instant::now();
        }
    }

    async fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.end().await;
        }
    }

    fn respite(&self) -> Duration {
        RESPITE
    }
}

fn kafka(error: KafkaError) -> FollowError {
    FollowError::NotReady(format!("Kafka: {error}"))
}
