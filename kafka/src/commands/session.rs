//! One consumer and one producer, for as long as both are of use.
//!
//! It never stops asking the consumer: what is received waits in memory, and where there is no room
//! any more the partitions are told to pause. A consumer that is not asked would keep every other
//! one of the group from getting its share, and would be taken for dead in the end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures::stream::FuturesUnordered;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Done, Entered, Record, is_fatal};
use super::lanes::Lanes;
use super::metrics::Metrics;
use super::room::Room;
use super::track::Track;
use super::{Executes, topics};
use crate::settings::Settings;

/// How often offsets are committed; what a crash takes is delivered again.
const COMMIT_INTERVAL_MS: &str = "250";

/// Partitions that are paused, if any are.
type Paused = Arc<Mutex<Option<TopicPartitionList>>>;

/// Counts the assignments: what was begun under an older one moves no offset any more.
struct Context {
    generation: Arc<AtomicU64>,
    paused: Paused,
    metrics: Metrics,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        // A partition that is given back paused would still be so when it comes again.
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(paused) = paused
            && let Err(error) = consumer.resume(&paused)
        {
            tracing::warn!(%error, "partitions of commands may stay paused");
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        let count = consumer.assignment().map_or(0, |it| it.count());
        self.metrics.assigned.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

pub(super) struct Session {
    consumer: StreamConsumer<Context>,
    generation: Arc<AtomicU64>,
    /// The assignment that `tracks`, `lanes` and `waiting` belong to.
    seen: u64,
    paused: Paused,
    tracks: HashMap<(String, i32), Track>,
    lanes: Lanes<Record>,
    room: Arc<Room>,
    /// To be handed over, in this order.
    waiting: VecDeque<Record>,
    /// Being handed over.
    entering: Option<BoxFuture<'static, Entered>>,
    work: FuturesUnordered<BoxFuture<'static, Result<Option<Done>, KafkaError>>>,
    desk: Arc<Desk>,
}

impl Session {
    pub(super) fn open(
        settings: &Settings,
        executes: Arc<dyn Executes>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let generation = Arc::new(AtomicU64::new(0));
        let paused = Paused::default();
        let context = Context {
            generation: Arc::clone(&generation),
            paused: Arc::clone(&paused),
            metrics: metrics.clone(),
        };
        let client_id = format!("{}-commands", settings.prefix);
        let consumer: StreamConsumer<Context> = settings
            .member(&client_id)
            .set("client.id", &client_id)
            .set("auto.offset.reset", "earliest")
            // Every new assignment is a whole one: what was begun under the last is forgotten.
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_INTERVAL_MS)
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
        let maker = tokio::sync::Mutex::new(topics::Maker::new(settings)?);
        Ok(Self {
            consumer,
            generation,
            seen: 0,
            paused,
            tracks: HashMap::new(),
            lanes: Lanes::default(),
            room: Arc::default(),
            waiting: VecDeque::new(),
            entering: None,
            work: FuturesUnordered::new(),
            desk: Arc::new(Desk { executes, producer, prefix, maker, metrics, stop }),
        })
    }

    /// Takes records until it is to stop.
    ///
    /// # Errors
    /// When the clients are of no use any more.
    pub(super) async fn run(mut self) -> Result<(), KafkaError> {
        let stop = self.desk.stop.clone();
        // A producer of commands needs somewhere to write before anybody has.
        self.desk.make("default").await;
        loop {
            self.hold_back()?;
            self.hand_over();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish().await,
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    if let Some(done) = done? {
                        self.done(done);
                    }
                    continue;
                }
                Some((record, outcome)) = OptionFuture::from(self.entering.as_mut()) => {
                    self.entering = None;
                    let desk = Arc::clone(&self.desk);
                    self.work.push(async move { desk.see_to(record, outcome).await }.boxed());
                    continue;
                }
                received = self.consumer.recv() => received.map(|message| message.detach()),
            };
            match received {
                Ok(message) => self.take(message),
                Err(error) if is_fatal(&error) => return Err(error),
                // The client goes on by itself, and says the same again until it can.
                Err(error) => tracing::debug!(%error, "commands from Kafka"),
            }
        }
    }

    /// Lets the partitions pause while there is no room for more of them. Only what was paused is told
    /// to go on: the client would throw away what it has fetched of any other.
    fn hold_back(&mut self) -> Result<(), KafkaError> {
        let records = i64::try_from(self.room.records()).unwrap_or(i64::MAX);
        self.desk.metrics.outstanding.set(records);
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_none() && self.room.is_full() {
            let assigned = self.consumer.assignment()?;
            if assigned.count() > 0 {
                self.consumer.pause(&assigned)?;
                *paused = Some(assigned);
            }
        } else if self.room.is_roomy()
            && let Some(paused) = paused.take()
        {
            self.consumer.resume(&paused)?;
        }
        Ok(())
    }

    /// Begins with the next record, if none is being handed over. One at a time, so that records
    /// are decided in their order.
    fn hand_over(&mut self) {
        if self.entering.is_none()
            && let Some(record) = self.waiting.pop_front()
        {
            self.entering = Some(Arc::clone(&self.desk).hand_over(record).boxed());
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
                    self.done(done);
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, message: OwnedMessage) {
        self.keep_up();
        let topic = message.topic().to_owned();
        let Some(program) = topics::program(&self.desk.prefix, &topic).map(str::to_owned) else {
            return;
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
        self.waiting.extend(self.lanes.enter(lane.as_ref(), record));
    }

    fn done(&mut self, done: Done) {
        self.keep_up();
        let Done { topic, partition, offset, lane, generation } = done;
        if generation != self.seen {
            return;
        }
        let track = self.tracks.entry((topic.clone(), partition)).or_default();
        if let Some(next) = track.end(offset)
            && let Err(error) = self.consumer.store_offset(&topic, partition, next - 1)
        {
            // The partition is somebody else's by now, and its records too.
            tracing::debug!(%error, topic, partition, "an offset is not kept");
        }
        self.waiting.extend(self.lanes.leave(lane.as_ref()));
    }

    /// After a new assignment everything that is not committed comes again.
    fn keep_up(&mut self) {
        let now = self.generation.load(Ordering::Acquire);
        if now != self.seen {
            self.seen = now;
            self.tracks.clear();
            self.lanes.clear();
            self.waiting.clear();
        }
    }
}

/// Bytes of a record that are held in memory.
fn size(message: &OwnedMessage) -> usize {
    message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len)
}
