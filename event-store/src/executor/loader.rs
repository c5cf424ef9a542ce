//! Loads what the decider misses beside it: many streams together, and many keys.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::hash::{HashMap, HashSet};
use super::request::{Key, RawStream, Request, Work};
use super::{LOADS_MAX, Parts};
use crate::codec::{Codec, DecodeError};
use crate::confirm::Confirming;
use crate::fold::{self, Folded};
use crate::idempotency::{self, Stored};
use crate::log;
use crate::receipt::{ExecuteError, Receipt};
use crate::servers::{Pool, Servers};
use crate::snapshots;
use crate::stream::StreamKey;

/// How long a load may take; a half-open connection answers never.
const LOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// What the decider misses.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) streams: HashSet<StreamKey>,
    pub(super) versions: HashSet<StreamKey>,
    keys: HashSet<Key>,
    raws: HashSet<RawStream>,
}

/// What a load that is under way will bring.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) number: u64,
    pub(super) streams: HashSet<StreamKey>,
    pub(super) keys: HashSet<Key>,
}

impl Load {
    /// Does the request wait for something of it?
    pub(super) fn concerns(&self, request: &Request) -> bool {
        let raw = matches!(request.work, Work::Raw { .. });
        let mut streams = request.streams.iter().chain(&request.settings);
        raw || request.needs_proof
            || streams.any(|stream| self.streams.contains(stream))
            || (request.check && request.key.as_ref().is_some_and(|key| self.keys.contains(key)))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) number: u64,
    pub(super) streams: Vec<(StreamKey, Box<Folded>)>,
    /// Sequences of the last events in the database.
    pub(super) versions: HashMap<StreamKey, i64>,
    pub(super) answers: HashMap<Key, Found>,
    pub(super) raws: HashMap<RawStream, i64>,
    /// Streams with an event that this build does not understand, and what to tell callers.
    pub(super) unreadable: HashMap<StreamKey, ExecuteError>,
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
        self.streams.is_empty()
            && self.versions.is_empty()
            && self.keys.is_empty()
            && self.raws.is_empty()
    }

    /// Notes that the request's key, or its raw stream's sequence, is to be looked up.
    pub(super) fn check(&mut self, request: &Request) {
        if let Work::Raw { stream, .. } = &request.work {
            self.raws.insert(stream.clone());
        }
        self.keys.extend(request.key.clone());
    }
}

#[derive(Debug)]
pub(super) struct Loader {
    runtime: Handle,
    servers: Servers,
    /// For loads, as many at a time as it has connections.
    loads: Pool,
    /// For snapshots.
    pool: Pool,
    codec: Codec,
    confirming: Arc<Confirming>,
    loaded: mpsc::UnboundedSender<Loaded>,
}

/// A load that was begun: whatever becomes of its task, the decider hears of it.
struct Promise {
    loaded: mpsc::UnboundedSender<Loaded>,
    number: u64,
    kept: bool,
}

impl Promise {
    fn keep(mut self, found: Loaded) {
        self.kept = true;
        // A decider that is gone needs nothing any more.
        let _ = self.loaded.send(Loaded { number: self.number, ..found });
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.kept {
            let lost = Loaded { number: self.number, failed: true, ..Loaded::default() };
            let _ = self.loaded.send(lost);
        }
    }
}

impl Loader {
    /// `runtime` is where the pools' connections live.
    pub(super) fn new(
        runtime: Handle,
        parts: &Parts,
        loaded: mpsc::UnboundedSender<Loaded>,
    ) -> Self {
        let (loads, pool) = (parts.loads.clone(), parts.pool.clone());
        let (codec, confirming) = (parts.codec.clone(), Arc::default());
        let servers = parts.servers.clone();
        Self { runtime, servers, loads, pool, codec, confirming, loaded }
    }

    /// Loads beside the caller; the result comes over the channel, whatever happens.
    pub(super) fn load(&self, number: u64, wanted: Wanted) -> Load {
        let load = Load { number, streams: wanted.streams.clone(), keys: wanted.keys.clone() };
        let (pool, codec) = (self.loads.clone(), self.codec.clone());
        let (servers, confirming) = (self.servers.clone(), Arc::clone(&self.confirming));
        let promise = Promise { loaded: self.loaded.clone(), number, kept: false };
        self.runtime.spawn(async move {
            // A task of its own, so that a panic in it is a load that failed.
            let find = tokio::spawn(async move { find(&pool, &codec, &confirming, &wanted).await });
            let found = match find.await {
                Ok(Ok(found)) => found,
                failed => {
                    if !matches!(&failed, Ok(Err(error)) if servers.outage().met(error)) {
                        tracing::warn!(?failed, "aggregates could not be loaded");
                    }
                    Loaded { failed: true, ..Loaded::default() }
                }
            };
            promise.keep(found);
        });
        load
    }

    /// Takes a snapshot of a stream that has grown, beside everything else.
    pub(super) fn snapshot(&self, stream: StreamKey) {
        let (pool, codec) = (self.pool.clone(), self.codec.clone());
        let servers = self.servers.clone();
        self.runtime.spawn(async move {
            let taken = pool.ask(async |conn| snapshots::take(conn, &codec, &stream).await).await;
            if let Err(error) = taken
                && !servers.outage().met(&error)
            {
                tracing::warn!(%error, stream = %stream, "no snapshot was taken");
            }
        });
    }
}

async fn find(
    pool: &Pool,
    codec: &Codec,
    confirming: &Confirming,
    wanted: &Wanted,
) -> sqlx::Result<Loaded> {
    // A Postgres that was started anew has left every session of the pool behind, which shows at
    // its next use: nobody need be refused for that.
    let once = || pool.within(find_once(pool, codec, confirming, wanted));
    for _ in 0..LOADS_MAX {
        match once().await {
            Err(error) if is_gone(&error) => tracing::debug!(%error, "a session is gone"),
            done => return done,
        }
    }
    once().await
}

/// Was the session ended by the other side?
fn is_gone(error: &sqlx::Error) -> bool {
    match error {
        // Or another server is chosen, which is to be asked in its place.
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed => true,
        // By a shutdown, or because another backend crashed: the last words of a closed session.
        sqlx::Error::Database(told) => matches!(told.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

async fn find_once(
    pool: &Pool,
    codec: &Codec,
    confirming: &Confirming,
    wanted: &Wanted,
) -> sqlx::Result<Loaded> {
    let mut conn = pool.acquire().await?;
    match tokio::time::timeout(LOAD_TIMEOUT, find_on(&mut conn, codec, confirming, wanted)).await {
        Ok(found) => found,
        Err(_) => {
            // The pool would first wait for its answer, and nobody else could load meanwhile.
            drop(conn.detach());
            Err(sqlx::Error::PoolTimedOut)
        }
    }
}

async fn find_on(
    conn: &mut PgConnection,
    codec: &Codec,
    confirming: &Confirming,
    wanted: &Wanted,
) -> sqlx::Result<Loaded> {
    let mut loaded = Loaded::default();
    if !(wanted.streams.is_empty() && wanted.versions.is_empty()) {
        let streams: Vec<_> = wanted.streams.iter().cloned().collect();
        let compared: Vec<_> = wanted.versions.iter().cloned().collect();
        let (folded, versions) = fold::load_beside(conn, codec, &streams, &compared).await?;
        loaded.versions = compared.into_iter().zip(versions).collect();
        for (key, folded) in streams.into_iter().zip(folded) {
            match folded {
                Ok(folded) => loaded.streams.push((key, Box::new(folded))),
                Err(error) => {
                    tracing::error!(stream = ?key, %error, "a stream cannot be read");
                    // A newer build's event is no defect: that build will answer.
                    let newer = matches!(error, DecodeError::Unknown { .. });
                    let told = if newer { ExecuteError::Unavailable } else { ExecuteError::Fault };
                    loaded.unreadable.insert(key, told);
                }
            }
        }
    }
    if !wanted.keys.is_empty() {
        loaded.answers = answers(conn, codec, confirming, &wanted.keys).await?;
    }
    for stream in &wanted.raws {
        let (kind, id) = (&*stream.aggregate_type, &*stream.aggregate_id);
        let sequence = log::version(conn, kind, id).await?;
        loaded.raws.insert(stream.clone(), sequence);
    }
    Ok(loaded)
}

async fn answers(
    conn: &mut PgConnection,
    codec: &Codec,
    confirming: &Confirming,
    keys: &HashSet<Key>,
) -> sqlx::Result<HashMap<Key, Found>> {
    let keys: Vec<Key> = keys.iter().cloned().collect();
    let pairs: Vec<_> = keys.iter().map(|key| (&key.program, key.command)).collect();
    let stored = idempotency::find(conn, codec, &pairs).await?;
    if stored.iter().any(Option::is_some) {
        // Another process may have written it, and have been told nothing yet.
        confirming.confirm(conn).await?;
    }
    let found = stored.into_iter().map(|it| it.map_or(Found::Nothing, Found::Answer));
    Ok(keys.into_iter().zip(found).collect())
}

impl Stored {
    /// The stored answer to a request that came under its key.
    pub(super) fn for_request(self, request: &Request) -> Result<Receipt, ExecuteError> {
        let Work::Command(envelope) = &request.work else {
            return Err(ExecuteError::KeyReused);
        };
        self.answer(envelope)
    }
}
