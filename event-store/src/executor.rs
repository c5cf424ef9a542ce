//! The executor: one thread decides and writes; callers are answered when it is durable.
//!
//! The shape is that of LMAX and TigerBeetle. The decider owns the aggregates in memory, applies
//! a command's events to them at once and goes on; while the writer waits for Postgres the next
//! batch grows, so the size of a batch follows the load by itself. What is durable is handed to a
//! third task, the publisher, so that answering costs the log no time.
//!
//! Decider and writer are tasks of one thread. On two, each batch waited twice for the scheduler
//! on its way from one to the other while Postgres had nothing to do, and the writer's own work is
//! a fifth of the decider's.

mod batch;
mod cache;
mod decider;
mod hash;
mod loader;
mod packed;
mod publisher;
mod request;
mod warmer;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use accrue_domain::aggregate::{Kind, RefusalKind};
use accrue_domain::envelope::Envelope;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::codec::Codec;
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt, Refusal};
use crate::servers::{Pool, Servers};
use crate::stream::StreamKey;
use crate::tail::Tail;

use decider::Decider;
use publisher::Publisher;
pub use request::{RawEvent, RawStream};
use request::{Request, Work};
use writer::Writer;

/// Most loads at a time: while one is on its way, what is missed meanwhile does not wait for it.
/// More of them would load less each, and a query costs more than a row.
pub(crate) const LOADS_MAX: u32 = 2;

/// Bounds and sizes of an executor.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most commands waiting to be decided; beyond it a caller is told to come back.
    pub queue_commands_max: usize,
    /// Most that the aggregates kept in memory take of it, in bytes, by estimate. As many as were used
    /// last, some ten thousand, stay in any case.
    pub cache_bytes_max: usize,
    /// Whether the accounts that were used last are read into memory beforehand.
    pub fill_memory: bool,
    /// How long one append may take before its outcome counts as unknown.
    pub append_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_commands_max: 16_384,
            cache_bytes_max: 768 << 20,
            fill_memory: true,
            append_timeout: Duration::from_secs(30),
        }
    }
}

/// What a busy caller is told to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Executor {
    queue: mpsc::Sender<Box<Request>>,
    closing: CancellationToken,
    codec: Codec,
    // Behind one pointer: a handle is cloned with every bulk command.
    metrics: Arc<Metrics>,
}

/// What is to be read anew, since no conflict would tell.
#[derive(Debug)]
pub(crate) enum Others {
    /// Other processes have changed these streams.
    Changed(Vec<StreamKey>),
    /// Another server has the log now, perhaps without the last that the one before had.
    Moved,
}

/// What an executor works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) servers: Servers,
    /// Of the server that memory begins from.
    pub(crate) timeline: String,
    /// For snapshots, and for filling memory.
    pub(crate) pool: Pool,
    /// For loading aggregates: [`LOADS_MAX`] connections.
    pub(crate) loads: Pool,
    pub(crate) codec: Codec,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tail: Tail,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
}

impl Executor {
    /// Starts deciding and writing. `others` tells what others have changed, where no conflict
    /// would. All ends when the last handle is gone and the queue is empty;
    /// the returned receiver resolves when everybody has been answered.
    pub(crate) fn start(
        parts: Parts,
        others: mpsc::Receiver<Others>,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (queue, requests) = mpsc::channel(parts.limits.queue_commands_max);
        let (jobs_tx, jobs) = mpsc::channel(1);
        let (reports_tx, reports) = mpsc::channel(4);
        let (durable_tx, durable) = mpsc::channel(4);
        let (ended_tx, ended) = oneshot::channel();
        let closing = CancellationToken::new();
        let shut = closing.clone();
        let decider = Decider::new(&parts, others, requests, shut, jobs_tx, reports);
        let writer = Writer::new(&parts, jobs, reports_tx, durable_tx);
        let Parts { tail, metrics, codec, .. } = parts;
        let publisher = Publisher { durable, tail, metrics: metrics.clone() };
        on_thread("accrue-log", async move {
            let writing = guarded("writer", writer.run());
            // A task as the writer is: what is awaited here itself would be polled ahead of it.
            let _decided = guarded("decider", decider.run()).await;
            // The last batch, and the end of its session.
            let _ended = writing.await;
        })?;
        let _publishing = guarded("publisher", async move {
            publisher.run().await;
            let _ = ended_tx.send(());
        });
        Ok((Self { queue, closing, codec, metrics: Arc::new(metrics) }, ended))
    }

    /// Executes a command: all of its actions, or none. Returns when its events are durable.
    ///
    /// Dropping the future does not cancel the command.
    ///
    /// # Errors
    /// [`ExecuteError`]; every variant means that this delivery surely changed nothing.
    pub async fn execute(&self, envelope: Envelope) -> Result<Receipt, ExecuteError> {
        let (request, answer) = Request::new(Work::Command(envelope), false);
        self.offer(request)?;
        self.answer(answer).await
    }

    /// As [`Executor::execute`], but waits for room in the queue: for callers that bring many
    /// commands and can be held back.
    ///
    /// # Errors
    /// As [`Executor::execute`], never [`ExecuteError::Busy`].
    pub async fn submit(
        &self,
        envelope: Envelope,
    ) -> Result<impl Future<Output = Result<Receipt, ExecuteError>> + use<>, ExecuteError> {
        if self.closing.is_cancelled() {
            return Err(ExecuteError::ShuttingDown);
        }
        let (request, answer) = Request::new(Work::Command(envelope), false);
        self.queue.send(request).await.map_err(|_| ExecuteError::ShuttingDown)?;
        let this = self.clone();
        Ok(async move { this.answer(answer).await })
    }

    /// Decides a command as [`Executor::execute`] would, and keeps nothing of it.
    ///
    /// # Errors
    /// As [`Executor::execute`].
    pub async fn dry_run(&self, envelope: Envelope) -> Result<Receipt, ExecuteError> {
        let (request, answer) = Request::new(Work::Command(envelope), true);
        self.offer(request)?;
        self.answer(answer).await
    }

    /// Appends events that were decided elsewhere, behind `sequence` of their stream.
    ///
    /// # Errors
    /// [`ExecuteError::Conflict`] when the stream is not at `sequence` (any more);
    /// [`ExecuteError::Refused`] for events that no reader could digest: the log is for ever.
    pub async fn append(
        &self,
        stream: RawStream,
        sequence: i64,
        events: Vec<RawEvent>,
    ) -> Result<Receipt, ExecuteError> {
        if let Err(detail) = readable(&self.codec, &stream, &events) {
            let refusal = Refusal {
                code: "invalid-event".to_owned(),
                kind: RefusalKind::Invalid,
                detail,
                field: None,
                expected_version: None,
            };
            return Err(ExecuteError::Refused { refusal, replayed: false });
        }
        let (request, answer) = Request::new(Work::Raw { stream, sequence, events }, false);
        self.offer(request)?;
        self.answer(answer).await
    }

    /// No command comes in from here on; those in the queue are still decided and written.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn offer(&self, request: Box<Request>) -> Result<(), ExecuteError> {
        if self.closing.is_cancelled() {
            return Err(ExecuteError::ShuttingDown);
        }
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ExecuteError::Busy { retry_after: RETRY_AFTER },
            mpsc::error::TrySendError::Closed(_) => ExecuteError::ShuttingDown,
        })
    }

    async fn answer(
        &self,
        answer: oneshot::Receiver<Result<Receipt, ExecuteError>>,
    ) -> Result<Receipt, ExecuteError> {
        let answer = answer.await.unwrap_or(Err(ExecuteError::ShuttingDown));
        self.metrics.answered(match &answer {
            Ok(receipt) if receipt.replayed => "replayed",
            Ok(_) => "accepted",
            Err(ExecuteError::Refused { .. } | ExecuteError::KeyReused) => "refused",
            Err(ExecuteError::Conflict) => "conflict",
            Err(_) => "unavailable",
        });
        answer
    }
}

/// Could every reader digest these events?
fn readable(codec: &Codec, stream: &RawStream, events: &[RawEvent]) -> Result<(), String> {
    let id = &*stream.aggregate_id;
    if id.is_empty() || stream.aggregate_type.is_empty() {
        return Err("expected a stream with a type and an id".to_owned());
    }
    if Kind::parse(&stream.aggregate_type).is_some() && stream.ours().is_none() {
        return Err(format!("expected an id of the form program/id, got {id:?}"));
    }
    for event in events {
        let texts = [id, &*stream.aggregate_type, &*event.event_type, &*event.event_version];
        if texts.iter().any(|text| text.contains('\0')) {
            return Err("expected texts without NUL characters".to_owned());
        }
        for json in [&event.payload, &event.metadata] {
            serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|e| e.to_string())?;
        }
        let (name, version) = (&event.event_type, &event.event_version);
        codec
            .decode(&stream.aggregate_type, name, version, &event.payload)
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Runs a task on a thread of its own. As one among hundreds of connections it would wait for its
/// turn while the log stands idle; the system's scheduler lets a thread that has slept go first.
fn on_thread(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task))?;
    Ok(())
}

/// Runs a task without which the process is of no use; what it returns ends with it.
fn guarded(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            give_up(name);
        }
    })
}

/// A restart is safe at any moment; going on half dead is not.
fn give_up(task: &str) -> ! {
    tracing::error!(task, "a task of the executor panicked; ending the process");
    std::process::abort();
}
