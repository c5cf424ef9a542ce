//! A producer: one transaction after another under a name of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use super::reports::{Outcome, Reports};
use super::{Manner, Outgoing, PublishError};
use crate::record::{self, Form};
use crate::settings::{DELIVERY, LINGER, Settings, TRANSACTION_MAX};

/// Between two looks at whether one is to stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long an end that is asked for in passing may take; whoever comes next ends it otherwise.
const ABORT_MAX: Duration = Duration::from_secs(2);

/// A transactional producer, and what it has heard back.
pub(super) struct Lane {
    producer: ThreadedProducer<Reports>,
    form: Form,
    manner: Manner,
}

impl Lane {
    /// A producer of that name. It cannot publish yet: see [`Lane::fence`].
    pub(super) fn open(
        settings: &Settings,
        name: &str,
        manner: Manner,
    ) -> Result<Self, KafkaError> {
        let mut client = settings.client();
        let default = |client: &mut rdkafka::ClientConfig, key: &str, value: &str| {
            if client.get(key).is_none() {
                client.set(key, value);
            }
        };
        // Headers repeat from record to record; without this most bytes on the way would be theirs.
        default(&mut client, "compression.type", "lz4");
        default(&mut client, LINGER.0, LINGER.1);
        default(&mut client, DELIVERY.0, DELIVERY.1);
        client
            .set("transactional.id", name)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", settings.record_bytes_max.to_string())
            .set("transaction.timeout.ms", TRANSACTION_MAX.as_millis().to_string())
            .set("queue.buffering.max.messages", "1000000");
        if manner == Manner::Singly {
            client.set("batch.num.messages", "1");
        }
        let producer = ThreadedProducer::from_config_and_context(&client, Reports::default())?;
        Ok(Self { producer, form: settings.form, manner })
    }

    /// From here on nobody else of this name publishes anything; what another has not committed is
    /// taken back.
    pub(super) fn fence(&self, stop: &CancellationToken) -> Result<(), PublishError> {
        let limit = Instant::now() + TRANSACTION_MAX;
        insist(stop, limit, || self.producer.init_transactions(PATIENCE * 5))
    }

    /// Begins a transaction, and has the broker take these into it in the order given; the offset of
    /// each. They are not there for readers yet.
    pub(super) fn deliver(
        &self,
        batch: &[&Outgoing],
        stop: &CancellationToken,
    ) -> Result<Vec<i64>, PublishError> {
        self.producer.begin_transaction()?;
        let context = self.producer.context();
        context.begin(batch.len());
        let mut too_large = Vec::new();
        for (at, it) in batch.iter().enumerate() {
            match self.send(at, it) {
                Ok(()) => {}
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                    too_large.push(at);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !too_large.is_empty() {
            return Err(PublishError::TooLarge(too_large));
        }
        let offsets = self.wait(stop)?;
        let lost = batch.iter().zip(&offsets).find(|(it, offset)| **offset < it.offset_min);
        match lost {
            None => Ok(offsets),
            Some((it, _)) => {
                Err(PublishError::EndLost { topic: Arc::clone(&it.topic), partition: it.partition })
            }
        }
    }

    /// Readers see what was delivered from here on.
    pub(super) fn commit(&self, stop: &CancellationToken) -> Result<(), PublishError> {
        let limit = Instant::now() + TRANSACTION_MAX;
        insist(stop, limit, || self.producer.commit_transaction(PATIENCE * 5))
    }

    /// See [`super::Publisher::clear`]: a record that is taken back at once takes back with it what
    /// the partitions hold of this name.
    pub(super) fn clear(
        &self,
        topic: &str,
        partitions: &[i32],
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        self.producer.begin_transaction()?;
        let context = self.producer.context();
        context.begin(partitions.len());
        for (at, partition) in partitions.iter().enumerate() {
            let record = BaseRecord::with_opaque_to(topic, at).partition(*partition);
            let record: BaseRecord<'_, str, str, usize> = record.payload("");
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        let waited = self.wait(stop);
        self.producer.abort_transaction(ABORT_MAX * 5)?;
        waited.map(|_| ())
    }

    fn send(&self, at: usize, it: &Outgoing) -> Result<(), KafkaError> {
        let record = record::encode(&it.event, self.form);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
        }
        let outgoing = BaseRecord::with_opaque_to(&it.topic, at)
            .partition(it.partition)
            .key(record.key.as_str())
            .payload(&*record.value)
            .timestamp(record.timestamp)
            .headers(headers);
        self.producer.send(outgoing).map_err(|(error, _)| error)
    }

    /// Waits until everything was delivered; the offsets. The client's own flush would do so in
    /// steps of a tenth of a second, which is far longer than a transaction takes.
    fn wait(&self, stop: &CancellationToken) -> Result<Vec<i64>, PublishError> {
        loop {
            match self.producer.context().wait(PATIENCE) {
                Some(Outcome::Delivered(offsets)) => {
                    self.settle();
                    return Ok(offsets);
                }
                Some(Outcome::TooLarge(which)) if self.manner == Manner::Singly => {
                    return Err(PublishError::TooLarge(which));
                }
                Some(Outcome::TooLarge(_)) => return Err(PublishError::BatchTooLarge),
                Some(Outcome::Failed(error)) => return Err(error.into()),
                None if stop.is_cancelled() => return Err(PublishError::Stopped),
                None => {}
            }
        }
    }

    /// The last report is heard an instant before the client has let go of it, and a commit in that
    /// instant would wait a tenth of a second.
    fn settle(&self) {
        let limit = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 && Instant::now() < limit {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Takes back what was delivered, as far as it goes: what stays open is taken back by the next one
    /// to fence, or by the broker.
    pub(super) fn abort(&self) {
        if let Err(error) = self.producer.abort_transaction(ABORT_MAX) {
            tracing::debug!(%error, "a transaction of the relay is left to be taken back");
        }
    }
}

/// Calls again while the client says that it may be, until `limit`.
fn insist(
    stop: &CancellationToken,
    limit: Instant,
    mut call: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), PublishError> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && !error.is_fatal() && Instant::now() < limit =>
            {
                if stop.is_cancelled() {
                    return Err(PublishError::Stopped);
                }
                // Some refusals come at once, and asking again at once would spin.
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
