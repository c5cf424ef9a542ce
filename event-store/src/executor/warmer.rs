//! Fills memory when a server starts, beside its work: whose account was used last comes first.
//!
//! Commands find their accounts anyway, one load for what a few of them miss. What is read here
//! beforehand they need not wait for, and it is read many accounts at a time.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use accrue_domain::aggregate::Kind;
use foldhash::fast::FixedState;
use sqlx::PgConnection;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use super::Parts;
use super::hash::HashSet;
use super::packed::Packed;
use crate::codec::Codec;
use crate::fold::{self, Fold};
use crate::metrics::Metrics;
use crate::servers::{Pool, Servers};
use crate::stream::StreamKey;
use crate::tail::Tail;

/// Positions that are looked through at a time for the streams in them.
const WINDOW: i64 = 20_000;

/// Positions that are looked through at most: a log of few accounts may be long.
const LOOK_BACK_MAX: i64 = 10_000_000;

/// Streams that are read at a time: some milliseconds of Postgres.
const CHUNK: usize = 256;

/// While the log grows, the pause behind each query, by the time that it took.
const PAUSE: u32 = 9;

/// Least pause behind a query that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How often a query may fail while Postgres is there, before it is given up.
const TRIES_MAX: u32 = 5;

/// What the decider says of the memory that is being filled.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// What was read in an earlier epoch may be true no more.
    epoch: AtomicU64,
    /// How often all of memory was lost.
    losses: AtomicU64,
    lost: Notify,
    is_full: AtomicBool,
}

impl Warming {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// There is nothing in memory any more.
    pub(super) fn begin_anew(&self) {
        self.end_epoch();
        self.is_full.store(false, Ordering::Release);
        self.losses.fetch_add(1, Ordering::AcqRel);
        self.lost.notify_one();
    }

    pub(super) fn fill(&self) {
        self.is_full.store(true, Ordering::Release);
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }
}

/// States as they were within an epoch.
#[derive(Debug)]
pub(super) struct Warm {
    pub(super) epoch: u64,
    pub(super) states: Vec<(StreamKey, Packed)>,
}

#[derive(Debug)]
struct Warmer {
    servers: Servers,
    pool: Pool,
    codec: Codec,
    metrics: Metrics,
    tail: Tail,
    /// Where the log ended behind the query before.
    head: AtomicI64,
    warming: Arc<Warming>,
    warm: mpsc::Sender<Warm>,
}

/// Begins to read, where that is wanted; what is read comes through the channel.
pub(super) fn start(parts: &Parts) -> (Arc<Warming>, mpsc::Receiver<Warm>) {
    // Few at a time: what waits long to be taken in is old by then.
    let (warm, states) = mpsc::channel(1);
    let warming = Arc::<Warming>::default();
    if parts.limits.fill_memory {
        let warmer = Warmer {
            servers: parts.servers.clone(),
            pool: parts.pool.clone(),
            codec: parts.codec.clone(),
            metrics: parts.metrics.clone(),
            tail: parts.tail.clone(),
            head: AtomicI64::new(*parts.tail.head().borrow()),
            warming: Arc::clone(&warming),
            warm: warm.clone(),
        };
        warmer.metrics.cache_filling.set(1);
        tokio::spawn(async move {
            tokio::select! {
                () = warm.closed() => {}
                () = warmer.run() => {}
            }
        });
    }
    (warming, states)
}

impl Warmer {
    /// Fills memory, and again whenever all of it was lost. Goes on until it is dropped.
    async fn run(self) {
        loop {
            self.metrics.cache_filling.set(1);
            let losses = self.warming.losses();
            let accounts = self.fill(losses).await;
            // There is room again once the last states are taken.
            let _taken = self.warm.reserve().await;
            if losses == self.warming.losses() {
                self.metrics.cache_filling.set(0);
                tracing::info!(accounts, "memory is filled");
            }
            // A loss of before may still be told.
            while losses == self.warming.losses() {
                self.warming.lost.notified().await;
            }
        }
    }

    /// How many streams were read until memory was full, lost, or the log's start was reached.
    async fn fill(&self, losses: u64) -> usize {
        // By their hashes: one that is taken for another is loaded when it is needed.
        let (mut seen, hasher) = (HashSet::<u64>::default(), FixedState::default());
        let mut count = 0;
        let mut until = *self.tail.head().borrow();
        let least = until.saturating_sub(LOOK_BACK_MAX).max(0);
        while until > least {
            let from = until.saturating_sub(WINDOW).max(least);
            let mut streams = Vec::new();
            let mut failures = 0;
            while failures < TRIES_MAX {
                let asked = Instant::now();
                let found =
                    self.pool.ask(async |conn| streams_between(conn, from, until).await).await;
                if let Some((found, pause)) = self.heard(asked, found, &mut failures).await {
                    sleep(pause).await;
                    streams = found;
                    break;
                }
            }
            streams.retain(|stream| seen.insert(hasher.hash_one(stream)));
            for chunk in streams.chunks(CHUNK) {
                self.read(chunk).await;
                count += chunk.len();
                if self.warming.is_full() || self.warming.losses() != losses {
                    return count;
                }
            }
            until = from;
        }
        count
    }

    /// Reads these streams and hands them over. Where memory was shown to be stale meanwhile, others
    /// write too, and a few are not worth a second try.
    async fn read(&self, streams: &[StreamKey]) {
        let mut failures = 0;
        while failures < TRIES_MAX {
            let (epoch, asked) = (self.warming.epoch(), Instant::now());
            let load = async |conn: &mut PgConnection| fold::load(conn, &self.codec, streams).await;
            let folds = self.pool.ask(load).await;
            if let Some((folds, pause)) = self.heard(asked, folds, &mut failures).await {
                let packed = |(stream, fold): (&StreamKey, Fold)| {
                    Some((stream.clone(), Packed::of(&fold.ok()?)?))
                };
                let states = streams.iter().zip(folds).filter_map(packed).collect();
                // Without anybody to take them this ends with the whole.
                let _ = self.warm.send(Warm { epoch, states }).await;
                return sleep(pause).await;
            }
        }
    }

    /// The answer, and for how long Postgres is then left to those who write; none where it has to be
    /// asked again.
    async fn heard<T>(
        &self,
        asked: Instant,
        answer: sqlx::Result<T>,
        failures: &mut u32,
    ) -> Option<(T, Duration)> {
        let pause = asked.elapsed() * PAUSE;
        match answer {
            Ok(found) => {
                // What other processes write is seen some times a second, which may be between queries.
                let head = *self.tail.head().borrow();
                let grows = self.head.swap(head, Ordering::Relaxed) != head;
                return Some((found, if grows { pause } else { Duration::ZERO }));
            }
            Err(error) if self.servers.outage().met(&error) => {}
            Err(error) => {
                *failures += 1;
                if *failures == TRIES_MAX {
                    tracing::warn!(%error, "some accounts are not read beforehand");
                }
            }
        }
        sleep(pause.max(RETRY)).await;
        None
    }
}

/// The streams that are packed, with an event behind `from` and up to `until`.
async fn streams_between(
    conn: &mut PgConnection,
    from: i64,
    until: i64,
) -> sqlx::Result<Vec<StreamKey>> {
    let kinds = Kind::ALL.into_iter().filter(|kind| Packed::takes(*kind)).map(Kind::as_str);
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT aggregate_type, aggregate_id FROM events
          WHERE position > $1 AND position <= $2 AND aggregate_type = ANY($3)",
    )
    .bind(from)
    .bind(until)
    .bind(kinds.collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    Ok(found.iter().filter_map(|(kind, id)| StreamKey::from_columns(kind, id)).collect())
}
