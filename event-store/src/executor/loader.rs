//! Loads what the decider misses: many streams and keys in a few queries, beside it.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, PgPool};
use tokio::sync::mpsc;

use super::cache::Entry;
use super::request::{Key, RawStream, Request, Work};
use crate::codec::Codec;
use crate::idempotency::{self, Stored};
use crate::snapshots::{self, Folded};
use crate::stream::StreamKey;

/// What the decider misses.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) streams: HashSet<StreamKey>,
    keys: HashSet<Key>,
    raws: HashSet<RawStream>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) streams: Vec<(StreamKey, Entry)>,
    pub(super) answers: HashMap<Key, Found>,
    pub(super) raws: HashMap<RawStream, i64>,
    /// Streams with an event that this build does not understand.
    pub(super) unreadable: HashSet<StreamKey>,
    /// The database did not answer; nothing was found.
    pub(super) failed: bool,
}

/// What was found under a key.
#[derive(Debug)]
pub(super) enum Found {
    /// It is free.
    Nothing,
    /// It was used.
    Answer(Stored),
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.keys.is_empty() && self.raws.is_empty()
    }

    /// Notes that the request's key, or its raw stream's sequence, is to be looked up.
    pub(super) fn check(&mut self, request: &Request) {
        if let Work::Raw { stream, .. } = &request.work {
            self.raws.insert(stream.clone());
        }
        self.keys.extend(request.key());
    }
}

#[derive(Debug)]
pub(super) struct Loader {
    pool: PgPool,
    codec: Codec,
    loaded: mpsc::Sender<Loaded>,
}

impl Loader {
    pub(super) fn new(pool: PgPool, codec: Codec, loaded: mpsc::Sender<Loaded>) -> Self {
        Self { pool, codec, loaded }
    }

    /// Loads beside the caller; the result comes over the channel.
    pub(super) fn load(&self, wanted: Wanted) {
        let (pool, codec, loaded) = (self.pool.clone(), self.codec.clone(), self.loaded.clone());
        tokio::spawn(async move {
            let found = find(&pool, &codec, wanted).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "aggregates could not be loaded");
                Loaded { failed: true, ..Loaded::default() }
            });
            // A decider that is gone needs nothing any more.
            let _ = loaded.send(found).await;
        });
    }

    /// Takes a snapshot of a stream that has grown, beside everything else.
    pub(super) fn snapshot(&self, stream: StreamKey) {
        let (pool, codec) = (self.pool.clone(), self.codec.clone());
        tokio::spawn(async move {
            if let Err(error) = snapshots::take(&pool, &codec, &stream).await {
                tracing::warn!(%error, stream = %stream, "no snapshot was taken");
            }
        });
    }
}

async fn find(pool: &PgPool, codec: &Codec, wanted: Wanted) -> sqlx::Result<Loaded> {
    let mut conn = pool.acquire().await?;
    let mut loaded = Loaded::default();
    if !wanted.streams.is_empty() {
        let streams: Vec<_> = wanted.streams.into_iter().collect();
        let folded = snapshots::load(&mut conn, codec, &streams).await?;
        for (key, folded) in streams.into_iter().zip(folded) {
            match folded {
                Ok(Folded { state, sequence, snapshot }) => {
                    loaded.streams.push((key, Entry { state, sequence, snapshot }));
                }
                Err(error) => {
                    tracing::error!(stream = ?key, %error, "a stream cannot be read");
                    loaded.unreadable.insert(key);
                }
            }
        }
    }
    if !wanted.keys.is_empty() {
        loaded.answers = answers(&mut conn, codec, wanted.keys).await?;
    }
    for stream in wanted.raws {
        let sequence = sqlx::query_scalar(
            "SELECT coalesce(max(sequence), 0) FROM events \
              WHERE aggregate_type = $1 AND aggregate_id = $2",
        )
        .bind(&*stream.aggregate_type)
        .bind(&*stream.aggregate_id)
        .fetch_one(&mut *conn)
        .await?;
        loaded.raws.insert(stream, sequence);
    }
    Ok(loaded)
}

async fn answers(
    conn: &mut PgConnection,
    codec: &Codec,
    keys: HashSet<Key>,
) -> sqlx::Result<HashMap<Key, Found>> {
    let keys: Vec<Key> = keys.into_iter().collect();
    let pairs: Vec<_> = keys.iter().map(|key| (&key.program, &key.id)).collect();
    let stored = idempotency::find(conn, codec, &pairs).await?;
    let found = stored.into_iter().map(|it| it.map_or(Found::Nothing, Found::Answer));
    Ok(keys.into_iter().zip(found).collect())
}

impl Stored {
    /// The stored answer to a request that came under its key.
    pub(super) fn for_request(
        self,
        request: &Request,
    ) -> Result<crate::receipt::Receipt, crate::receipt::ExecuteError> {
        let Work::Command(envelope) = &request.work else {
            return Err(crate::receipt::ExecuteError::KeyReused);
        };
        self.answer(&envelope.id, envelope.fingerprint.as_ref())
    }
}
