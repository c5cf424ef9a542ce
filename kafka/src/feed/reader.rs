//! A consumer and the thread that it is polled on: records are decoded here, while those before
//! them are being applied.
//!
//! Which partitions are this worker's is Kafka's to say, from where they are read is said by the
//! follower's own marks. So an assignment is only noted, and nothing is read until an order to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use accrue_event_store::codec::Codec;
use accrue_event_store::log::Names;
use accrue_event_store::record::{Position, Recorded};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, Timestamp, TopicPartitionList};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::marks::Place;
use super::metrics::Assigned;
use crate::record::{self, Incoming, Malformed};
use crate::settings::Settings;

/// Most records handed over at a time.
pub(super) const BATCH_RECORDS_MAX: usize = 2_000;

/// And most bytes of them, or nearly so.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Runs of records that wait to be taken.
const BATCHES_AHEAD: usize = 2;

/// How long a poll waits: an order is heard that late.
const POLL: Duration = Duration::from_millis(10);

/// How long this waits for room without polling: longer than a batch takes to be applied, and no
/// longer than a rebalance may be held up.
const FULL_MAX: Duration = Duration::from_millis(500);

/// Between two looks whether there is room.
const ROOM_POLL: Duration = Duration::from_millis(1);

/// How long a question to the broker may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long a consumer may take to say good-bye.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Kilobytes of records that a consumer reads ahead.
const AHEAD_KB: &str = "16384";

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// Share these topics.
    Subscribe(Vec<String>),
    /// Read these partitions from there on, none for the beginning, and nothing else.
    Read { round: u64, from: Vec<(Place, Option<i64>)> },
}

/// A record, and where it stands.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The place's number in the order.
    pub(super) at: usize,
    pub(super) offset: i64,
    pub(super) content: Result<Content, Malformed>,
}

/// What a record holds.
#[derive(Debug)]
pub(super) enum Content {
    Event(Arc<Recorded>),
    /// An event that means nothing to the follower, by its position: most followers read a kind of
    /// stream or two, and decoding is most of what a record costs.
    Other(Position),
}

impl Content {
    pub(super) fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position,
            Self::Other(position) => *position,
        }
    }
}

/// Of a run of records that mean nothing to the follower, those that tell how far the run goes: of each
/// place the first and the last one, and those recorded with the last. Where the times go back, or are
/// not those of the events, the last one may be a repeat of an earlier one, and all of them count. Of
/// the others nothing but the key is looked at.
#[derive(Debug, Default)]
struct Telling(HashMap<usize, Span>);

#[derive(Debug)]
struct Span {
    first: i64,
    last: i64,
    /// Of the last one.
    recorded: Option<i64>,
    /// Each was recorded no earlier than the one before.
    in_time: bool,
}

impl Telling {
    fn note(&mut self, at: usize, message: &BorrowedMessage<'_>) {
        let (offset, recorded) = (message.offset(), recorded(message));
        let first = Span { first: offset, last: offset, recorded, in_time: true };
        let span = self.0.entry(at).or_insert(first);
        span.in_time &= recorded.is_some() && recorded >= span.recorded;
        (span.last, span.recorded) = (offset, recorded);
    }

    fn tells(&self, at: usize, message: &BorrowedMessage<'_>) -> bool {
        self.0.get(&at).is_none_or(|span| {
            let is_end = [span.first, span.last].contains(&message.offset());
            is_end || !span.in_time || recorded(message) == span.recorded
        })
    }
}

/// When the event was recorded, in Unix milliseconds; a broker may be set to write down another time.
fn recorded(message: &BorrowedMessage<'_>) -> Option<i64> {
    match message.timestamp() {
        Timestamp::CreateTime(at) => Some(at),
        Timestamp::LogAppendTime(_) | Timestamp::NotAvailable => None,
    }
}

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Said {
    /// Records, as the order of that round asked for.
    Records { round: u64, records: Vec<Fetched> },
    /// An offset that was asked for is not there.
    OutOfRange { round: u64 },
    /// The consumer is of no use any more.
    Dead(KafkaError),
}

/// Which partitions are this worker's.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// How often that has changed.
    changes: watch::Sender<u64>,
    places: Mutex<Vec<Place>>,
    stop: AtomicBool,
}

impl Assignment {
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, places: Vec<Place>) {
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Notes assignments.
struct Context {
    assignment: Arc<Assignment>,
    assigned: Assigned,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "Kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let ours = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let places: Vec<Place> = match ours {
            true => partitions
                .elements()
                .iter()
                .map(|it| (it.topic().to_owned(), it.partition()))
                .collect(),
            false => Vec::new(),
        };
        // Nothing is read before the marks are known.
        let done = match ours {
            true => consumer.assign(&TopicPartitionList::new()),
            false => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::debug!(%error, "an assignment is not taken");
        }
        self.assigned.set(places.len());
        self.assignment.set(places);
    }
}

/// A consumer at work. It leaves its group when it is ended.
pub(super) struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    pub(super) assignment: Arc<Assignment>,
    orders: std_mpsc::Sender<Order>,
    pub(super) said: mpsc::Receiver<Said>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// A consumer in the group of that follower, that reads nothing yet. `kinds` are those of the
    /// streams that mean something to the follower.
    pub(super) fn open(
        settings: &Settings,
        codec: &Codec,
        follower: &str,
        kinds: &[&'static str],
        assigned: Assigned,
    ) -> Result<Self, KafkaError> {
        let assignment = Arc::new(Assignment::default());
        let context = Context { assignment: Arc::clone(&assignment), assigned };
        let consumer: BaseConsumer<Context> = settings
            .member(&format!("{}.{follower}", settings.prefix))
            .set("client.id", format!("{}-{follower}", settings.prefix))
            .set("partition.assignment.strategy", "roundrobin")
            .set("enable.auto.commit", "false")
            // An offset that is not there is for us to understand.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", AHEAD_KB)
            .create_with_context(context)?;
        let consumer = Arc::new(consumer);
        let ((orders, given), (out, said)) = (std_mpsc::channel(), mpsc::channel(BATCHES_AHEAD));
        let polling = Polling {
            consumer: Arc::clone(&consumer),
            assignment: Arc::clone(&assignment),
            codec: codec.clone(),
            kinds: kinds.to_vec(),
            round: 0,
            places: HashMap::new(),
            out,
        };
        let thread = tokio::task::spawn_blocking(move || polling.run(&given));
        Ok(Self { consumer, assignment, orders, said, thread })
    }

    pub(super) fn subscribe(&self, topics: Vec<String>) {
        // Nobody hears where the thread has ended, which is told by `said`.
        let _ = self.orders.send(Order::Subscribe(topics));
    }

    pub(super) fn read(&self, round: u64, from: Vec<(Place, Option<i64>)>) {
        let _ = self.orders.send(Order::Read { round, from });
    }

    /// The first offset of a partition that is kept, and the one behind the last.
    pub(super) async fn watermarks(&self, place: &Place) -> Result<(i64, i64), KafkaError> {
        let (consumer, (topic, partition)) = (Arc::clone(&self.consumer), place.clone());
        crate::survey::blocking(move || consumer.fetch_watermarks(&topic, partition, ANSWER_MAX))
            .await
    }

    /// Tells Kafka how far this worker is, for whoever watches groups there. Nothing goes by it.
    pub(super) fn tell(&self, next: impl Iterator<Item = (Place, i64)>) {
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in next {
            let _ = offsets.add_partition_offset(&topic, partition, Offset::Offset(offset));
        }
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::debug!(%error, "Kafka is not told how far a follower is");
        }
    }

    /// Leaves the group, so that others take over at once.
    pub(super) async fn end(self) {
        let Self { consumer, assignment, orders, said, thread } = self;
        assignment.stop.store(true, Ordering::Release);
        drop((orders, said));
        // Whichever is the last to let go of it waits for the good-bye, and may.
        let ours = tokio::task::spawn_blocking(move || drop(consumer));
        let left = async { tokio::join!(ours, thread) };
        let _ = tokio::time::timeout(LEAVE_MAX, left).await;
    }
}

/// The thread.
struct Polling {
    consumer: Arc<BaseConsumer<Context>>,
    assignment: Arc<Assignment>,
    codec: Codec,
    kinds: Vec<&'static str>,
    round: u64,
    /// The numbers of places, by topic and partition.
    places: HashMap<String, HashMap<i32, usize>>,
    out: mpsc::Sender<Said>,
}

impl Polling {
    fn run(mut self, orders: &std_mpsc::Receiver<Order>) {
        while !self.assignment.stop.load(Ordering::Acquire) && !self.out.is_closed() {
            for order in orders.try_iter() {
                if let Err(error) = self.obey(order) {
                    tracing::debug!(%error, "Kafka client");
                    let _ = self.out.blocking_send(Said::Dead(error));
                    return;
                }
            }
            if let Some(said) = self.poll()
                && !self.hand_over(said)
            {
                return;
            }
        }
    }

    /// Hands it over; false when nobody is there any more. Where nobody takes it for a while, this goes
    /// on polling, without reading: a member that does not poll holds up every rebalance of its group.
    /// Not before: the client throws away what it has read ahead in partitions that are paused.
    fn hand_over(&self, mut said: Said) -> bool {
        let (begun, mut paused) = (Instant::now(), None);
        let taken = loop {
            match self.out.try_send(said) {
                Ok(()) => break true,
                Err(TrySendError::Closed(_)) => break false,
                Err(TrySendError::Full(kept)) => said = kept,
            }
            if self.assignment.stop.load(Ordering::Acquire) {
                break false;
            }
            if begun.elapsed() < FULL_MAX {
                std::thread::sleep(ROOM_POLL);
                continue;
            }
            if paused.is_none() {
                let list = self.consumer.assignment().ok();
                paused = list.filter(|list| self.consumer.pause(list).is_ok());
            }
            match self.consumer.poll(POLL) {
                // On its way before the pause.
                Some(Ok(message)) => {
                    if let Said::Records { records, .. } = &mut said {
                        records.extend(self.fetched(&[message]));
                    }
                }
                // Records before it come again.
                Some(Err(error)) => said = complaint(self.round, error).unwrap_or(said),
                None => {}
            }
        };
        if let Some(list) = paused
            && let Err(error) = self.consumer.resume(&list)
        {
            tracing::debug!(%error, "Kafka client");
        }
        taken
    }

    /// The messages as records of the present order, those that are, but for such as nothing depends
    /// on. The last of them by position is decoded in any case: by it they are compared with the log.
    fn fetched(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Fetched> {
        let (mut names, mut telling) = (Names::default(), Telling::default());
        let known = messages.iter().filter_map(|message| {
            let at = *self.places.get(message.topic())?.get(&message.partition())?;
            let other = record::kind(message).is_some_and(|kind| !self.kinds.contains(&kind));
            Some((at, other, message))
        });
        let known: Vec<_> = known.collect();
        known.iter().filter(|it| it.1).for_each(|(at, _, message)| telling.note(*at, message));
        let mut decode = |message: &BorrowedMessage<'_>| {
            let event = record::decode(&self.codec, &mut names, &Incoming::of(message));
            event.map(Arc::new).map(Content::Event)
        };
        let mut fetched: Vec<Fetched> = Vec::with_capacity(known.len());
        let mut last: Option<(Position, usize, &BorrowedMessage<'_>)> = None;
        for (at, other, message) in known {
            if other && !telling.tells(at, message) {
                continue;
            }
            let content = match other.then(|| record::position(message)).flatten() {
                Some(position) => Ok(Content::Other(position)),
                None => decode(message),
            };
            if let Ok(position) = content.as_ref().map(Content::position)
                && last.is_none_or(|(known, ..)| known < position)
            {
                last = Some((position, fetched.len(), message));
            }
            fetched.push(Fetched { at, offset: message.offset(), content });
        }
        if let Some((_, at, message)) = last
            && let Ok(Content::Other(_)) = fetched[at].content
        {
            fetched[at].content = decode(message);
        }
        fetched
    }

    fn obey(&mut self, order: Order) -> Result<(), KafkaError> {
        match order {
            Order::Subscribe(topics) => {
                let topics: Vec<_> = topics.iter().map(String::as_str).collect();
                self.consumer.subscribe(&topics)
            }
            Order::Read { round, from } => {
                self.round = round;
                self.places.clear();
                let mut list = TopicPartitionList::new();
                for (at, ((topic, partition), offset)) in from.into_iter().enumerate() {
                    let offset = offset.map_or(Offset::Beginning, Offset::Offset);
                    list.add_partition_offset(&topic, partition, offset)?;
                    self.places.entry(topic).or_default().insert(partition, at);
                }
                self.consumer.assign(&list)?;
                // One that was taken away while it was paused would stay so.
                self.consumer.resume(&list)
            }
        }
    }

    /// What there is, as much as is handed over at a time.
    fn poll(&self) -> Option<Said> {
        let mut messages = Vec::new();
        let (mut wait, mut bytes) = (POLL, 0);
        while messages.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    wait = Duration::ZERO;
                    bytes += message.payload_len();
                    messages.push(message);
                }
                Some(Err(error)) => match complaint(self.round, error) {
                    // Records before it come again.
                    Some(said) => return Some(said),
                    None => break,
                },
            }
        }
        let records = self.fetched(&messages);
        (!records.is_empty()).then(|| Said::Records { round: self.round, records })
    }
}

/// What an error comes to; nothing where the client goes on by itself.
fn complaint(round: u64, error: KafkaError) -> Option<Said> {
    match &error {
        KafkaError::MessageConsumptionFatal(_) => Some(Said::Dead(error)),
        _ => match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::LogTruncation,
            ) => Some(Said::OutOfRange { round }),
            _ => {
                tracing::debug!(%error, "Kafka client");
                None
            }
        },
    }
}
