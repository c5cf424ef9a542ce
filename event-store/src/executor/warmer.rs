//! Fills memory when a server starts, beside its work: whose account was used last comes first.
//!
//! Commands find their accounts anyway, one load for what a few of them miss. What is read here
//! beforehand they need not wait for, and it is read many accounts at a time.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use accrue_domain::aggregate::Kind;
use foldhash::fast::FixedState;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Parts;
use super::packed::Packed;
use crate::codec::Codec;
use crate::fold;
use crate::metrics::Metrics;
use crate::servers::{Pool, Servers};
use crate::stream::StreamKey;

/// Positions that are looked through at a time for the streams in them.
const WINDOW: i64 = 20_000;

/// Positions that are looked through at most: a log of few accounts may be long.
const LOOK_BACK_MAX: i64 = 10_000_000;

/// Streams that are read at a time: some milliseconds of Postgres.
const CHUNK: usize = 256;

/// While commands come, the pause behind each chunk, by the time that it took.
const PAUSE: u32 = 9;

/// What the decider says of the memory that is being filled.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// What was read in an earlier epoch may be true no more.
    epoch: AtomicU64,
    is_full: AtomicBool,
}

impl Warming {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
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
    head: i64,
    warming: Arc<Warming>,
    warm: mpsc::Sender<Warm>,
}

/// Begins to read; what is read comes through the channel.
pub(super) fn start(parts: &Parts) -> (Arc<Warming>, mpsc::Receiver<Warm>) {
    // Few at a time: what waits long to be taken in is old by then.
    let (warm, states) = mpsc::channel(1);
    let warming = Arc::<Warming>::default();
    let warmer = Warmer {
        servers: parts.servers.clone(),
        pool: parts.pool.clone(),
        codec: parts.codec.clone(),
        metrics: parts.metrics.clone(),
        head: *parts.tail.head().borrow(),
        warming: Arc::clone(&warming),
        warm,
    };
    warmer.metrics.cache_filling.set(1);
    tokio::spawn(warmer.run());
    (warming, states)
}

impl Warmer {
    /// Ends when memory is full, the log's start is reached, or nobody decides any more.
    async fn run(self) {
        let filled = self.fill().await;
        // There is room again once the last states are taken.
        let _taken = self.warm.reserve().await;
        self.metrics.cache_filling.set(0);
        match filled {
            Ok(accounts) => tracing::info!(accounts, "memory is filled"),
            Err(error) if self.servers.outage().met(&error) => {}
            Err(error) => tracing::warn!(%error, "memory is not filled beforehand"),
        }
    }

    /// How many streams were read.
    async fn fill(&self) -> sqlx::Result<usize> {
        // By their hashes: one that is taken for another is loaded when it is needed.
        let (mut seen, hasher) = (HashSet::new(), FixedState::default());
        let mut count = 0;
        let least = self.head.saturating_sub(LOOK_BACK_MAX).max(0);
        let mut until = self.head;
        while until > least {
            let from = until.saturating_sub(WINDOW).max(least);
            let mut streams =
                self.pool.ask(async |conn| streams_between(conn, from, until).await).await?;
            streams.retain(|stream| seen.insert(hasher.hash_one(stream)));
            for chunk in streams.chunks(CHUNK) {
                let more = self.read(chunk).await?;
                count += chunk.len();
                if !more {
                    return Ok(count);
                }
            }
            until = from;
        }
        Ok(count)
    }

    /// Reads these streams; whether there is room for more.
    async fn read(&self, streams: &[StreamKey]) -> sqlx::Result<bool> {
        let (began, batches) = (Instant::now(), self.metrics.batches.get());
        let epoch = self.warming.epoch();
        let load = async |conn: &mut PgConnection| fold::load(conn, &self.codec, streams).await;
        let folds = self.pool.ask(load).await?;
        let packed = |(stream, fold): (&StreamKey, fold::Fold)| {
            Some((stream.clone(), Packed::of(&fold.ok()?)?))
        };
        let states = streams.iter().zip(folds).filter_map(packed).collect();
        if self.warm.send(Warm { epoch, states }).await.is_err() || self.warming.is_full() {
            return Ok(false);
        }
        if self.metrics.batches.get() != batches {
            sleep(began.elapsed() * PAUSE).await;
        }
        Ok(true)
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
