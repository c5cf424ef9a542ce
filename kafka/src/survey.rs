//! What a topic holds before anything is published to it: made if it is not there, its ends read,
//! compared with the log, and transactions ended that Kafka forgot the end of.

use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::codec::Codec;
use accrue_event_store::log;
use accrue_event_store::record::{Position, Recorded};
use rdkafka::admin::AdminClient;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::context::Quiet;
use crate::phases::Phases;
use crate::publisher::{Manner, PublishError, Publisher};
use crate::settings::Settings;
use crate::tails::{End, LookError, Looker};
use crate::topics;

/// How long an end that was committed may take to be seen by readers.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// How long a topic that was made may take to be there, and a transaction that was ended to be gone.
const APPEAR_MAX: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(100);

/// Why a topic cannot be published to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Look(#[from] LookError),
    /// The topic is not that of this log, or the log was set back to an older copy of itself.
    #[error("{topic} holds another event at position {position} than the log: {detail}")]
    Forked { topic: String, position: Position, detail: String },
    #[error("partition {partition} of {topic} has a transaction that does not end")]
    Hanging { topic: String, partition: i32 },
}

/// A publisher that has fenced all others of its name, and what it sees the topics with.
pub(crate) struct Survey {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) looker: Arc<Looker>,
    admin: AdminClient<Quiet>,
    settings: Arc<Settings>,
    codec: Codec,
    stop: CancellationToken,
}

impl Survey {
    /// Fences all others of that name.
    pub(crate) async fn open(
        settings: &Arc<Settings>,
        codec: &Codec,
        name: String,
        manner: Manner,
        phases: Phases,
        stop: &CancellationToken,
    ) -> Result<Self, SurveyError> {
        let (given, kind, until) = (Arc::clone(settings), codec.clone(), stop.clone());
        let opened = blocking(move || -> Result<_, SurveyError> {
            let publisher = Publisher::open(&given, &name, manner, phases)?;
            publisher.fence(&until)?;
            Ok((publisher, Looker::open(&given, &kind)?))
        });
        let (publisher, looker) = opened.await?;
        Ok(Self {
            publisher: Arc::new(publisher),
            looker: Arc::new(looker),
            admin: settings.client().create_with_context(Quiet)?,
            settings: Arc::clone(settings),
            codec: codec.clone(),
            stop: stop.clone(),
        })
    }

    /// Lets go of the producer, which takes its time.
    pub(crate) async fn close(self) {
        let Self { publisher, looker, admin, .. } = self;
        blocking(move || drop((publisher, looker, admin))).await;
    }

    /// The ends of a topic that streams are spread over so many partitions of; over all that there
    /// are, where that is not known yet.
    pub(crate) async fn ends(
        &self,
        conn: &mut PgConnection,
        topic: &str,
        known: Option<usize>,
    ) -> Result<Vec<End>, SurveyError> {
        let partitions = self.partitions(topic, known).await?;
        let ends = self.settled(topic, partitions).await?;
        self.compare(conn, topic, &ends).await?;
        Ok(ends)
    }

    /// The first event that each partition keeps.
    pub(crate) async fn firsts(
        &self,
        topic: &str,
        ends: &[End],
    ) -> Result<Vec<Option<Recorded>>, SurveyError> {
        let (looker, name, ends) = (Arc::clone(&self.looker), topic.to_owned(), ends.to_vec());
        Ok(blocking(move || looker.firsts(&name, &ends)).await?)
    }

    async fn partitions(&self, topic: &str, known: Option<usize>) -> Result<i32, SurveyError> {
        let limit = Instant::now() + APPEAR_MAX;
        let mut made = false;
        let found = loop {
            let (looker, name) = (Arc::clone(&self.looker), topic.to_owned());
            if let Some(found) = blocking(move || looker.partitions(&name)).await? {
                break found;
            }
            if !made {
                topics::make(&self.admin, &self.settings, topic).await?;
                made = true;
            } else if Instant::now() > limit {
                return Err(LookError::Slow(topic.to_owned()).into());
            } else {
                sleep(POLL).await;
            }
        };
        let count = match known {
            // Partitions that were added later stay empty: with them every stream would move.
            Some(known) if known <= found => known,
            Some(known) => {
                return Err(LookError::Partitions { topic: topic.to_owned(), found, known }.into());
            }
            None => found,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The ends without a transaction that is still open.
    async fn settled(&self, topic: &str, partitions: i32) -> Result<Vec<End>, SurveyError> {
        let begun = Instant::now();
        let mut cleared = false;
        loop {
            let (looker, name) = (Arc::clone(&self.looker), topic.to_owned());
            let ends = match blocking(move || looker.look(&name, partitions)).await {
                Err(LookError::Kafka(error))
                    if is_passing(&error) && begun.elapsed() < APPEAR_MAX =>
                {
                    sleep(POLL).await;
                    continue;
                }
                looked => looked?,
            };
            let hanging = (0..).zip(&ends).filter(|(_, it)| it.stable < it.high);
            let hanging: Vec<i32> = hanging.map(|(at, _)| at).collect();
            let Some(first) = hanging.first().copied() else { return Ok(ends) };
            if begun.elapsed() > APPEAR_MAX {
                return Err(SurveyError::Hanging { topic: topic.to_owned(), partition: first });
            }
            if begun.elapsed() > SETTLE_MAX && !cleared {
                tracing::warn!(topic, ?hanging, "transactions that Kafka forgot the end of");
                let publisher = Arc::clone(&self.publisher);
                let (name, stop) = (topic.to_owned(), self.stop.clone());
                blocking(move || publisher.clear(&name, &hanging, &stop)).await?;
                cleared = true;
            }
            sleep(POLL).await;
        }
    }

    /// Are the last events of a topic those of this log?
    async fn compare(
        &self,
        conn: &mut PgConnection,
        topic: &str,
        ends: &[End],
    ) -> Result<(), SurveyError> {
        for event in ends.iter().filter_map(|it| it.last.as_ref()) {
            let position = event.position;
            let found = log::read_range(conn, &self.codec, position, position).await?;
            let detail = match found.first() {
                Some(ours) if ours.row == event.row && ours.sequence == event.sequence => continue,
                Some(ours) => format!("{} there, {} here", event.row.subject(), ours.row.subject()),
                None => "the log does not reach so far".to_owned(),
            };
            return Err(SurveyError::Forked { topic: topic.to_owned(), position, detail });
        }
        Ok(())
    }
}

/// A topic that was just made, or a broker that just came back: there is nobody yet to ask.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}

/// Runs what blocks where that is no harm.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
