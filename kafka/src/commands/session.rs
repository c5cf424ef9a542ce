//! One consumer and one producer, for as long as both are of use.
//!
//! It never stops asking the consumer: what is received waits in memory, and where there is no room
//! any more for those of a topic its partitions are told to pause. A consumer that is not asked would
//! keep every other one of the group from getting its share, and would be taken for dead in the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures::stream::FuturesUnordered;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Done, Entered, Producers, is_fatal};
use super::intake::Intake;
use super::metrics::Metrics;
use super::room::Room;
use super::status::Status;
use super::{Executes, topics};
use crate::context::Quiet;
use crate::settings::{LINGER, Settings};
use crate::survey::blocking;

/// How often offsets are committed; what a crash takes is delivered again.
const COMMIT_INTERVAL_MS: &str = "250";

/// Kilobytes of records that the client reads ahead, besides those that were received.
const AHEAD_KB: &str = "16384";

/// How long a session that is to stop waits for results that are on their way.
const RESULTS_MAX: Duration = Duration::from_secs(5);

/// The partitions of topics that are paused.
type Paused = Arc<Mutex<HashMap<String, TopicPartitionList>>>;

/// Counts the assignments: what was begun under an older one moves no offset any more.
struct Context {
    assignments: Arc<AtomicU64>,
    paused: Paused,
    metrics: Metrics,
    status: Status,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.assignments.fetch_add(1, Ordering::AcqRel);
        // A partition that is given back paused would still be so when it comes again.
        let paused = std::mem::take(&mut *locked(&self.paused));
        for (topic, partitions) in paused {
            if let Err(error) = consumer.resume(&partitions) {
                tracing::warn!(%error, topic, "partitions of commands may stay paused");
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        let count = consumer.assignment().map_or(0, |it| it.count());
        self.metrics.assigned.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.status.goes_on();
    }
}

pub(super) struct Session {
    consumer: StreamConsumer<Context>,
    assignments: Arc<AtomicU64>,
    paused: Paused,
    intake: Intake,
    room: Room,
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
        status: Status,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let assignments = Arc::new(AtomicU64::new(0));
        let paused = Paused::default();
        let context = Context {
            assignments: Arc::clone(&assignments),
            paused: Arc::clone(&paused),
            metrics: metrics.clone(),
            status: status.clone(),
        };
        let client_id = format!("{}-commands", settings.prefix);
        let consumer: StreamConsumer<Context> = settings
            .member(&client_id)
            .set("client.id", &client_id)
            .set("auto.offset.reset", "earliest")
            // Every new assignment is a whole one: what was begun under the last is forgotten.
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("queued.max.messages.kbytes", AHEAD_KB)
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_INTERVAL_MS)
            .create_with_context(context)?;
        consumer.subscribe(&[&topics::pattern(&settings.prefix)])?;
        let mut producer = settings.client();
        producer
            .set("client.id", &client_id)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set(LINGER.0, LINGER.1)
            .set("message.max.bytes", settings.record_bytes_max.to_string());
        let producers = Producers::new(producer)?;
        let prefix = settings.prefix.clone();
        let maker = tokio::sync::Mutex::new(topics::Maker::new(settings)?);
        Ok(Self {
            consumer,
            assignments,
            paused,
            intake: Intake::default(),
            room: Room::default(),
            entering: None,
            work: FuturesUnordered::new(),
            desk: Arc::new(Desk { executes, producers, prefix, maker, metrics, status, stop }),
        })
    }

    /// Takes records until it is to stop.
    ///
    /// # Errors
    /// When the clients are of no use any more.
    pub(super) async fn run(mut self) -> Result<(), KafkaError> {
        let ended = self.work().await;
        // The clients say good-bye when they are dropped, which may take seconds.
        blocking(move || drop(self)).await;
        ended
    }

    async fn work(&mut self) -> Result<(), KafkaError> {
        let stop = self.desk.stop.clone();
        // A producer of commands needs somewhere to write before anybody has.
        self.desk.make("default").await;
        loop {
            self.go_on()?;
            self.hand_over();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish().await,
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    if let Some(done) = done? {
                        self.done(&done);
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
                Ok(message) => self.take(message)?,
                Err(error) if is_fatal(&error) => return Err(error),
                // The client goes on by itself, and says the same again until it can.
                Err(error) => tracing::debug!(%error, "commands from Kafka"),
            }
        }
    }

    /// Lets a topic's partitions pause while there is no room for more of it.
    fn hold_back(&self, topic: &str) -> Result<(), KafkaError> {
        let mut paused = locked(&self.paused);
        if paused.contains_key(topic) || !self.room.is_full_for(topic) {
            return Ok(());
        }
        let mut partitions = TopicPartitionList::new();
        for assigned in self.consumer.assignment()?.elements_for_topic(topic) {
            partitions.add_partition(topic, assigned.partition());
        }
        if partitions.count() > 0 {
            self.consumer.pause(&partitions)?;
            paused.insert(topic.to_owned(), partitions);
        }
        Ok(())
    }

    /// Lets topics go on that there is room for again. Only what was paused is told so: the client
    /// would throw away what it has fetched of any other.
    fn go_on(&self) -> Result<(), KafkaError> {
        let records = i64::try_from(self.room.records()).unwrap_or(i64::MAX);
        self.desk.metrics.outstanding.set(records);
        let mut paused = locked(&self.paused);
        for (_, partitions) in paused.extract_if(|topic, _| self.room.is_roomy_for(topic)) {
            self.consumer.resume(&partitions)?;
        }
        Ok(())
    }

    /// Begins with the next record, if none is being handed over. One at a time, so that records
    /// are decided in their order.
    fn hand_over(&mut self) {
        if self.entering.is_none()
            && let Some(record) = self.intake.next()
        {
            self.entering = Some(Arc::clone(&self.desk).hand_over(record).boxed());
        }
    }

    /// Waits for what was handed over, so that it need not be delivered again.
    async fn finish(&mut self) -> Result<(), KafkaError> {
        let patience = tokio::time::sleep(RESULTS_MAX);
        tokio::pin!(patience);
        self.intake.stop();
        while !self.work.is_empty() {
            tokio::select! {
                () = &mut patience => break,
                Some(done) = self.work.next() => if let Some(done) = done? {
                    self.done(&done);
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, message: OwnedMessage) -> Result<(), KafkaError> {
        let (topic, partition) = (message.topic().to_owned(), message.partition());
        let Some(program) = topics::program(&self.desk.prefix, &topic).map(str::to_owned) else {
            return Ok(());
        };
        self.keep_up();
        let held = self.room.hold(&topic, size(&message));
        if let Some(offset) = self.intake.take(message, program, held) {
            tracing::warn!(topic, partition, offset, "a partition of commands has lost its end");
            self.lower(&topic, partition, offset);
        }
        self.hold_back(&topic)
    }

    fn done(&mut self, done: &Done) {
        self.keep_up();
        if let Some(next) = self.intake.done(done) {
            self.keep(&done.topic, done.partition, next);
        }
    }

    /// An assignment begins while the consumer is asked, so between two records.
    fn keep_up(&mut self) {
        self.intake.is_under(self.assignments.load(Ordering::Acquire));
    }

    /// Has an offset committed before long.
    fn keep(&self, topic: &str, partition: i32, next: i64) {
        if let Err(error) = self.consumer.store_offset(topic, partition, next - 1) {
            // The partition is somebody else's by now, and its records too.
            tracing::debug!(%error, topic, partition, "an offset is not kept");
        }
    }

    /// Commits an offset that is lower than the one before. Of those that it is only told to keep,
    /// the client commits none that is not higher: who began there would miss what comes until then.
    fn lower(&self, topic: &str, partition: i32, next: i64) {
        self.keep(topic, partition, next);
        let mut offsets = TopicPartitionList::new();
        let listed = offsets.add_partition_offset(topic, partition, Offset::Offset(next));
        let begun = listed.and_then(|()| self.consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = begun {
            tracing::warn!(%error, topic, partition, "an offset could not be lowered");
        }
    }
}

fn locked(paused: &Paused) -> MutexGuard<'_, HashMap<String, TopicPartitionList>> {
    paused.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a record that are held in memory.
fn size(message: &OwnedMessage) -> usize {
    message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len)
}
