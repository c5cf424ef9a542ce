//! What becomes of one record: handed over, seen through, its result written.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::trace;
use chrono::DateTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use super::lanes::Lane;
use super::metrics::Metrics;
use super::room::Held;
use super::status::{Status, Waits};
use super::{Executes, Outcome, Received, topics};
use crate::context::Quiet;

/// First and longest pause before an envelope is handed over again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A header's longest text: a reason quotes what it is about.
const REASON_CHARS_MAX: usize = 1_000;

/// What is said of an envelope that brought out a defect of ours.
const FAULT: &str =
    "a fault on our side, which was logged; whether it has had an effect is not known";

/// A record on its way.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) _held: Held,
    pub(super) message: OwnedMessage,
    pub(super) program: String,
    pub(super) lane: Option<Lane>,
    /// Under which it was received.
    pub(super) assignment: u64,
    /// The run of offsets that it belongs to.
    pub(super) run: u64,
}

impl Record {
    /// That it is dealt with.
    pub(super) fn done(self) -> Done {
        let Self { message, lane, assignment, run, .. } = self;
        let (topic, partition) = (message.topic().to_owned(), message.partition());
        Done { topic, partition, offset: message.offset(), lane, assignment, run }
    }
}

/// A record that is dealt with: durable, and its result written.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) lane: Option<Lane>,
    pub(super) assignment: u64,
    pub(super) run: u64,
}

/// A record that was handed over, and what will tell what became of it.
pub(super) type Entered = (Record, BoxFuture<'static, Outcome>);

/// What every record needs.
pub(super) struct Desk {
    pub(super) executes: Arc<dyn Executes>,
    pub(super) producers: Producers,
    pub(super) prefix: String,
    pub(super) maker: Mutex<topics::Maker>,
    pub(super) metrics: Metrics,
    pub(super) status: Status,
    /// What only waits is left for whoever comes next.
    pub(super) stop: CancellationToken,
}

/// Who writes results.
pub(super) struct Producers {
    swift: FutureProducer<Quiet>,
    /// Writes each record in a batch of its own; made when it is needed first.
    single: OnceCell<FutureProducer<Quiet>>,
    config: ClientConfig,
}

impl Producers {
    pub(super) fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let swift = config.create_with_context(Quiet)?;
        Ok(Self { swift, single: OnceCell::new(), config })
    }

    async fn single(&self) -> Result<&FutureProducer<Quiet>, KafkaError> {
        let make = async || {
            let mut config = self.config.clone();
            config.set("batch.num.messages", "1").create_with_context(Quiet)
        };
        self.single.get_or_try_init(make).await
    }
}

impl Desk {
    /// Makes the topics of a program, as far as they are not there.
    pub(super) async fn make(&self, program: &str) {
        if let Err(error) = self.maker.lock().await.make(program).await {
            tracing::debug!(%error, program, "topics of commands cannot be made yet");
        }
    }

    /// Hands a record over for the first time. Records that are handed over one behind the other
    /// are decided in that order.
    pub(super) async fn hand_over(self: Arc<Self>, record: Record) -> Entered {
        // The results' topic may not be there yet; a result that finds none waits for it.
        self.make(&record.program).await;
        let outcome = enter(&*self.executes, &record).await;
        (record, outcome)
    }

    /// Sees a record through: decided, and its result written. None where that has to be left to
    /// its next delivery.
    pub(super) async fn see_to(
        &self,
        record: Record,
        first: BoxFuture<'static, Outcome>,
    ) -> Result<Option<Done>, KafkaError> {
        let (mut pause, mut outcome) = (AGAIN.0, first.await);
        let mut waits = self.status.begin();
        while let Outcome::NotNow { reason } = &outcome {
            tracing::debug!(reason, "a command from Kafka has to wait");
            self.metrics.count("again");
            waits.wait_for(reason);
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(AGAIN.1);
            outcome = enter(&*self.executes, &record).await.await;
        }
        match outcome {
            Outcome::Decided(result) => {
                self.answer(&record, &result, &mut waits).await?;
                self.metrics.count("decided");
            }
            Outcome::Unusable { reason, result } => {
                self.bury(&record, &reason, &mut waits).await?;
                self.answer(&record, &result, &mut waits).await?;
                self.metrics.count("dead");
            }
            Outcome::NotNow { .. } => return Ok(None),
        }
        Ok(Some(record.done()))
    }

    async fn answer(
        &self,
        record: &Record,
        result: &[u8],
        waits: &mut Waits,
    ) -> Result<(), KafkaError> {
        let topic = topics::results(&self.prefix, &record.program);
        self.write(&topic, record, Some(result), place(&record.message), waits).await
    }

    async fn bury(
        &self,
        record: &Record,
        reason: &str,
        waits: &mut Waits,
    ) -> Result<(), KafkaError> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        tracing::warn!(
            topic = record.message.topic(),
            partition = record.message.partition(),
            offset = record.message.offset(),
            "a record is set aside"
        );
        let headers =
            place(&record.message).insert(Header { key: "accrue-reason", value: Some(&reason) });
        let topic = topics::dead(&self.prefix, &record.program);
        self.write(&topic, record, record.message.payload(), headers, waits).await
    }

    /// Writes until it is written, or is refused for good: an offset that passed a record without
    /// its result could not be taken back.
    async fn write(
        &self,
        topic: &str,
        record: &Record,
        mut body: Option<&[u8]>,
        headers: OwnedHeaders,
        waits: &mut Waits,
    ) -> Result<(), KafkaError> {
        let (mut pause, mut producer) = (AGAIN.0, &self.producers.swift);
        let mut alone = false;
        loop {
            let mut out = FutureRecord::<[u8], [u8]>::to(topic).headers(headers.clone());
            (out.key, out.payload) = (record.message.key(), body);
            let Err((error, _)) = producer.send(out, Timeout::Never).await else {
                return Ok(());
            };
            if is_fatal(&error) {
                return Err(error);
            }
            match error.rdkafka_error_code() {
                // A broker refuses a whole batch, for its size or for one record in it.
                Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
                    if !alone =>
                {
                    producer = self.producers.single().await?;
                    alone = true;
                    continue;
                }
                // The headers still tell where it is to be found.
                Some(RDKafkaErrorCode::MessageSizeTooLarge)
                    if body.is_some_and(|body| !body.is_empty()) =>
                {
                    tracing::error!(topic, "a body is too large to be written");
                    body = Some(&[]);
                    continue;
                }
                // It would be refused for ever, as a record without a key is by a topic that keeps
                // the last of each key.
                Some(
                    RDKafkaErrorCode::MessageSizeTooLarge
                    | RDKafkaErrorCode::InvalidTopic
                    | RDKafkaErrorCode::InvalidRecord,
                ) => {
                    tracing::error!(%error, topic, "a result cannot be written");
                    return Ok(());
                }
                _ => {}
            }
            if pause == AGAIN.0 {
                tracing::warn!(%error, topic, "a result has to wait");
            }
            waits.wait_for(&format!("{topic} cannot be written to: {error}"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }
}

/// Hands an envelope over. A defect that it brings out costs those behind it nothing.
async fn enter(executes: &dyn Executes, record: &Record) -> BoxFuture<'static, Outcome> {
    let message = &record.message;
    let place = format!("\"partition\":{},\"offset\":{}", message.partition(), message.offset());
    let received = Received {
        program: &record.program,
        envelope: message.payload().unwrap_or_default(),
        place: place.clone(),
        written_at: message.timestamp().to_millis().and_then(DateTime::from_timestamp_millis),
    };
    let entering = AssertUnwindSafe(executes.enter(received)).catch_unwind();
    match trace::within(traced(message), entering).await {
        Ok(outcome) => {
            let outcome = AssertUnwindSafe(outcome).catch_unwind();
            async move { outcome.await.unwrap_or_else(|_| fault(&place)) }.boxed()
        }
        Err(_) => std::future::ready(fault(&place)).boxed(),
    }
}

/// What caused it is in the log, by the hook that panics have.
fn fault(place: &str) -> Outcome {
    let result = format!(
        "{{{place},\"status\":500,\"problem\":{{\"type\":\"/problems/fault\",\
         \"title\":\"Something went wrong on our side\",\"status\":500,\"detail\":\"{FAULT}\"}}}}"
    );
    Outcome::Unusable { reason: FAULT.to_owned(), result: result.into_bytes() }
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

pub(super) fn is_fatal(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal))
        || matches!(error, KafkaError::MessageConsumptionFatal(_))
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use serde_json::Value;

    use super::super::room::Room;
    use super::*;

    /// Has a defect, which some envelopes bring out.
    struct Defective;

    impl Executes for Defective {
        fn enter<'a>(&'a self, it: Received<'a>) -> BoxFuture<'a, BoxFuture<'static, Outcome>> {
            hand_over(it.envelope.to_vec()).boxed()
        }
    }

    async fn hand_over(body: Vec<u8>) -> BoxFuture<'static, Outcome> {
        assert_ne!(body, b"in the way in");
        let outcome = async move {
            assert_ne!(body, b"in the way through");
            Outcome::Decided(body)
        };
        outcome.boxed()
    }

    async fn outcome(body: &str) -> Outcome {
        let (body, topic) = (body.as_bytes().to_vec(), "a.commands.p".to_owned());
        let message =
            OwnedMessage::new(Some(body), None, topic, Timestamp::CreateTime(7), 3, 44, None);
        let _held = Room::default().hold("a.commands.p", 1);
        let program = "p".to_owned();
        let record = Record { _held, message, program, lane: None, assignment: 0, run: 0 };
        enter(&Defective, &record).await.await
    }

    #[tokio::test]
    async fn a_panic_costs_the_record_that_led_to_it_and_no_other() {
        assert_eq!(outcome("fine").await, Outcome::Decided(b"fine".to_vec()));
        for bad in ["in the way in", "in the way through"] {
            let Outcome::Unusable { reason, result } = outcome(bad).await else {
                panic!("{bad} is set aside");
            };
            assert!(reason.contains("fault"), "{reason}");
            let result: Value = serde_json::from_slice(&result).expect("JSON");
            assert_eq!(result["status"], 500);
            assert_eq!((&result["partition"], &result["offset"]), (&3.into(), &44.into()));
            assert_eq!(result["problem"]["type"], "/problems/fault");
        }
        assert_eq!(outcome("fine").await, Outcome::Decided(b"fine".to_vec()));
    }
}
