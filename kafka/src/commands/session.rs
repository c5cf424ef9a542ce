//! One consumer and one producer, for as long as both are of use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use accrue_event_store::trace;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio_util::sync::CancellationToken;

use super::lanes::{Lane, Lanes};
use super::metrics::Metrics;
use super::track::Track;
use super::{Executes, Outcome, topics};
use crate::settings::Settings;

/// Most records without a result, and most bytes of them; then no more are read.
const OUTSTANDING_MAX: usize = 2_048;
const OUTSTANDING_BYTES_MAX: usize = 64 << 20;

/// First and longest pause before an envelope is handed over again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often offsets are committed; what a crash takes is delivered again.
const COMMIT_INTERVAL_MS: &str = "250";

/// How soon a topic that somebody has made is noticed.
const METADATA_INTERVAL_MS: &str = "5000";

/// A header's longest text: a reason quotes what it is about.
const REASON_CHARS_MAX: usize = 1_000;

/// Counts the assignments: what was begun under an older one moves no offset any more.
struct Context {
    generation: Arc<AtomicU64>,
    metrics: Metrics,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        let count = consumer.assignment().map_or(0, |it| it.count());
        self.metrics.assigned.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

pub(super) struct Session {
    consumer: StreamConsumer<Context>,
    generation: Arc<AtomicU64>,
    /// The assignment that `tracks` and `lanes` belong to.
    seen: u64,
    tracks: HashMap<(String, i32), Track>,
    lanes: Lanes<Record>,
    room: Arc<Room>,
    work: FuturesUnordered<BoxFuture<'static, Result<Option<Done>, KafkaError>>>,
    maker: topics::Maker,
    desk: Arc<Desk>,
}

/// What is held in memory of records without a result: at work, or behind one of the same key.
#[derive(Debug, Default)]
struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    fn is_there(&self) -> bool {
        self.records.load(Ordering::Acquire) < OUTSTANDING_MAX
            && self.bytes.load(Ordering::Acquire) < OUTSTANDING_BYTES_MAX
    }

    fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.records.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Held { room: Arc::clone(self), bytes }
    }
}

/// A record's part of the room, given back when it is dropped.
#[derive(Debug)]
struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.records.fetch_sub(1, Ordering::AcqRel);
        self.room.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A record on its way.
#[derive(Debug)]
struct Record {
    _held: Held,
    message: OwnedMessage,
    program: String,
    lane: Option<Lane>,
    generation: u64,
}

/// A record that is dealt with: durable, and its result written.
#[derive(Debug)]
struct Done {
    topic: String,
    partition: i32,
    offset: i64,
    lane: Option<Lane>,
    generation: u64,
}

/// What every record needs.
struct Desk {
    executes: Arc<dyn Executes>,
    producer: FutureProducer,
    prefix: String,
    metrics: Metrics,
    /// What only waits is left for whoever comes next.
    stop: CancellationToken,
}

impl Session {
    pub(super) fn open(
        settings: &Settings,
        executes: Arc<dyn Executes>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let generation = Arc::new(AtomicU64::new(0));
        let context = Context { generation: Arc::clone(&generation), metrics: metrics.clone() };
        let client_id = format!("{}-commands", settings.prefix);
        let mut client = settings.client();
        if client.get("session.timeout.ms").is_none() {
            // The partitions of a process that was killed go to another after this long.
            client.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "1500");
        }
        let consumer: StreamConsumer<Context> = client
            .set("client.id", &client_id)
            .set("group.id", &client_id)
            .set("auto.offset.reset", "earliest")
            // Every new assignment is a whole one: what was begun under the last is forgotten.
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_INTERVAL_MS)
            // What may be committed is told record by record.
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("topic.metadata.refresh.interval.ms", METADATA_INTERVAL_MS)
            .set("allow.auto.create.topics", "false")
            .create_with_context(context)?;
        consumer.subscribe(&[&topics::pattern(&settings.prefix)])?;
        let producer = settings
            .client()
            .set("client.id", &client_id)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("message.max.bytes", settings.record_bytes_max.to_string())
            .create()?;
        let prefix = settings.prefix.clone();
        Ok(Self {
            consumer,
            generation,
            seen: 0,
            tracks: HashMap::new(),
            lanes: Lanes::default(),
            room: Arc::default(),
            work: FuturesUnordered::new(),
            maker: topics::Maker::new(settings)?,
            desk: Arc::new(Desk { executes, producer, prefix, metrics, stop }),
        })
    }

    /// Takes records until it is to stop.
    ///
    /// # Errors
    /// When the clients are of no use any more.
    pub(super) async fn run(mut self) -> Result<(), KafkaError> {
        let stop = self.desk.stop.clone();
        // A producer of commands needs somewhere to write before anybody has.
        if let Err(error) = self.maker.make("default").await {
            tracing::debug!(%error, "the topics of commands cannot be made yet");
        }
        loop {
            let outstanding = self.room.records.load(Ordering::Acquire);
            let count = i64::try_from(outstanding).unwrap_or(i64::MAX);
            self.desk.metrics.outstanding.set(count);
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish().await,
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    if let Some(done) = done? {
                        self.done(done).await?;
                    }
                    continue;
                }
                received = self.consumer.recv(), if self.room.is_there() => {
                    received.map(|message| message.detach())
                }
            };
            match received {
                Ok(message) => self.take(message).await?,
                Err(error) if is_fatal(&error) => return Err(error),
                // The client goes on by itself, and says the same again until it can.
                Err(error) => tracing::debug!(%error, "commands from Kafka"),
            }
        }
    }

    /// Waits for what was handed over, so that it need not be delivered again.
    async fn finish(mut self) -> Result<(), KafkaError> {
        let patience = tokio::time::sleep(Duration::from_secs(5));
        tokio::pin!(patience);
        self.lanes.clear();
        while !self.work.is_empty() {
            tokio::select! {
                () = &mut patience => break,
                Some(done) = self.work.next() => if let Some(done) = done? {
                    self.done(done).await?;
                },
            }
        }
        Ok(())
    }

    async fn take(&mut self, message: OwnedMessage) -> Result<(), KafkaError> {
        self.keep_up();
        let topic = message.topic().to_owned();
        let Some(program) = topics::program(&self.desk.prefix, &topic).map(str::to_owned) else {
            return Ok(());
        };
        let (partition, offset) = (message.partition(), message.offset());
        let track = self.tracks.entry((topic.clone(), partition)).or_default();
        if !track.begin(offset) {
            // The topic has lost its end, or is another of the same name: offsets begin anew.
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.keep_up();
            let fresh = self.tracks.entry((topic.clone(), partition)).or_default();
            let _first = fresh.begin(offset);
        }
        let lane = message.key().map(|key| (topic, partition, key.to_vec()));
        let _held = self.room.hold(size(&message));
        let generation = self.seen;
        let record = Record { _held, message, program, lane: lane.clone(), generation };
        match self.lanes.enter(lane.as_ref(), record) {
            Some(record) => self.begin(record).await,
            None => Ok(()),
        }
    }

    async fn begin(&mut self, record: Record) -> Result<(), KafkaError> {
        // The results' topic may not be there yet; a result that finds none waits for it.
        if let Err(error) = self.maker.make(&record.program).await {
            tracing::debug!(%error, "the topics of results cannot be made yet");
        }
        // Handed over here, so that records are decided in their order.
        let first = self.desk.enter(&record).await;
        let desk = Arc::clone(&self.desk);
        self.work.push(Box::pin(async move { desk.see_to(record, first).await }));
        Ok(())
    }

    async fn done(&mut self, done: Done) -> Result<(), KafkaError> {
        self.keep_up();
        let Done { topic, partition, offset, lane, generation } = done;
        if generation != self.seen {
            return Ok(());
        }
        let track = self.tracks.entry((topic.clone(), partition)).or_default();
        if let Some(next) = track.end(offset)
            && let Err(error) = self.consumer.store_offset(&topic, partition, next - 1)
        {
            // The partition is somebody else's by now, and its records too.
            tracing::debug!(%error, topic, partition, "an offset is not kept");
        }
        match self.lanes.leave(lane.as_ref()) {
            Some(next) => self.begin(next).await,
            None => Ok(()),
        }
    }

    /// After a new assignment everything that is not committed comes again.
    fn keep_up(&mut self) {
        let now = self.generation.load(Ordering::Acquire);
        if now != self.seen {
            self.seen = now;
            self.tracks.clear();
            self.lanes.clear();
        }
    }
}

impl Desk {
    async fn enter(&self, record: &Record) -> BoxFuture<'static, Outcome> {
        let message = &record.message;
        let place =
            format!("\"partition\":{},\"offset\":{}", message.partition(), message.offset());
        let envelope = message.payload().unwrap_or_default();
        let entering = self.executes.enter(&record.program, envelope, place);
        trace::within(traced(message), entering).await
    }

    /// Sees a record through: decided, and its result written. None where that has to be left to
    /// its next delivery.
    async fn see_to(
        &self,
        record: Record,
        first: BoxFuture<'static, Outcome>,
    ) -> Result<Option<Done>, KafkaError> {
        let (mut pause, mut outcome) = (AGAIN.0, first.await);
        while let Outcome::NotNow { reason } = &outcome {
            tracing::debug!(reason, "a command from Kafka has to wait");
            self.metrics.count("again");
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(AGAIN.1);
            outcome = self.enter(&record).await.await;
        }
        match outcome {
            Outcome::Decided(result) => {
                self.answer(&record, &result).await?;
                self.metrics.count("decided");
            }
            Outcome::Unusable { reason, result } => {
                self.bury(&record, &reason).await?;
                self.answer(&record, &result).await?;
                self.metrics.count("dead");
            }
            Outcome::NotNow { .. } => return Ok(None),
        }
        let Record { message, lane, generation, .. } = record;
        let (topic, partition) = (message.topic().to_owned(), message.partition());
        Ok(Some(Done { topic, partition, offset: message.offset(), lane, generation }))
    }

    async fn answer(&self, record: &Record, result: &[u8]) -> Result<(), KafkaError> {
        let topic = topics::results(&self.prefix, &record.program);
        self.write(&topic, record, result, place(&record.message)).await
    }

    async fn bury(&self, record: &Record, reason: &str) -> Result<(), KafkaError> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        tracing::warn!(
            topic = record.message.topic(),
            partition = record.message.partition(),
            offset = record.message.offset(),
            "a record is no command"
        );
        let headers =
            place(&record.message).insert(Header { key: "accrue-reason", value: Some(&reason) });
        let topic = topics::dead(&self.prefix, &record.program);
        let body = record.message.payload().unwrap_or_default();
        self.write(&topic, record, body, headers).await
    }

    /// Writes until it is written: an offset that passed a record without its result could not be
    /// taken back.
    async fn write(
        &self,
        topic: &str,
        record: &Record,
        mut body: &[u8],
        headers: OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let mut pause = AGAIN.0;
        loop {
            let mut out = FutureRecord::<[u8], [u8]>::to(topic).payload(body);
            out = out.headers(headers.clone());
            if let Some(key) = record.message.key() {
                out = out.key(key);
            }
            let Err((error, _)) = self.producer.send(out, Timeout::Never).await else {
                return Ok(());
            };
            if is_fatal(&error) {
                return Err(error);
            }
            match error.rdkafka_error_code() {
                // The headers still tell where it is to be found.
                Some(RDKafkaErrorCode::MessageSizeTooLarge) if !body.is_empty() => {
                    tracing::error!(topic, "a body is too large to be written");
                    body = &[];
                    continue;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidTopic) => {
                    tracing::error!(%error, topic, "a result cannot be written");
                    return Ok(());
                }
                _ => {}
            }
            if pause == AGAIN.0 {
                tracing::warn!(%error, topic, "a result has to wait");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }
}

/// Bytes of a record that are held in memory.
fn size(message: &OwnedMessage) -> usize {
    message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len)
}

/// The trace that a record belongs to.
fn traced(message: &OwnedMessage) -> Option<Arc<str>> {
    let header = message.headers()?.iter().find(|it| it.key == trace::TRACEPARENT)?;
    trace::parse(std::str::from_utf8(header.value?).ok()?)
}

/// Where a record came from, as headers.
fn place(message: &OwnedMessage) -> OwnedHeaders {
    let text = |key, value: &str| (key, value.to_owned());
    let all = [
        text("accrue-topic", message.topic()),
        text("accrue-partition", &message.partition().to_string()),
        text("accrue-offset", &message.offset().to_string()),
    ];
    all.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal))
        || matches!(error, KafkaError::MessageConsumptionFatal(_))
}
