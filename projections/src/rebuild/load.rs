//! Filling a model's tables from the log: one task reads and decodes, one folds and writes.

use std::collections::HashMap;
use std::sync::Arc;

use accrue_event_store::codec::{Codec, DecodeError};
use accrue_event_store::follow::{FollowError, Parked, is_data_error};
use accrue_event_store::log_query::read_kinds;
use accrue_event_store::record::{Position, Recorded};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::model::{Fold, Model, Spill};

/// Events in a page of the log.
const PAGE_EVENTS: usize = 10_000;

/// Pages that are read ahead.
const PAGES_AHEAD: usize = 2;

/// Events that are tried together when there is a bad one somewhere.
const CAREFUL_EVENTS: usize = 2_000;

/// How events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As many at a time as memory allows; a bad event fails the whole.
    Fast,
    /// A few at a time, and one by one where that fails: a bad event's stream is set aside.
    Careful,
}

/// Fills tables, and remembers how far it has come.
pub(crate) struct Loader {
    model: &'static Model,
    codec: Codec,
    pace: Pace,
    fold: Box<dyn Fold>,
    position: Position,
    parked: Vec<Parked>,
    /// From which position on each parked stream is left out.
    parked_from: HashMap<(Arc<str>, Arc<str>), Position>,
}

impl Loader {
    pub(crate) fn new(model: &'static Model, codec: Codec, pace: Pace) -> Self {
        Self {
            model,
            codec,
            pace,
            fold: (model.fold)(),
            position: 0,
            parked: Vec::new(),
            parked_from: HashMap::new(),
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn parked(&self) -> &[Parked] {
        &self.parked
    }

    /// Takes everything up to `until`, read ahead over a connection of its own. What was taken may
    /// still be in memory: see [`Loader::flush`].
    pub(crate) async fn load(
        &mut self,
        conn: &mut PgConnection,
        options: &PgConnectOptions,
        until: Position,
        progress: &mut (impl FnMut(Position) + Send),
    ) -> Result<(), Error> {
        let (pages, mut ready) = mpsc::channel(PAGES_AHEAD);
        let reader = tokio::spawn(read_ahead(
            options.clone(),
            self.codec.clone(),
            self.model,
            (self.position, until),
            pages,
        ));
        while let Some(page) = ready.recv().await {
            self.take(conn, &page).await?;
            progress(self.position);
        }
        reader.await.map_err(|_| Error::ReaderLost)??;
        self.position = until;
        Ok(())
    }

    /// Takes what lies between here and `until` over the same connection: in its transaction, as
    /// its snapshot has it.
    pub(crate) async fn catch_up(
        &mut self,
        conn: &mut PgConnection,
        until: Position,
    ) -> Result<(), Error> {
        loop {
            let page = next_page(conn, &self.codec, self.model, (self.position, until)).await?;
            self.take(conn, &page).await?;
            if page.len() < PAGE_EVENTS {
                break;
            }
        }
        self.position = until.max(self.position);
        self.flush(conn).await
    }

    /// Writes everything that was taken.
    pub(crate) async fn flush(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        Ok(self.fold.spill(conn, Spill::All).await?)
    }

    /// Sets a stream aside from a position on, as somebody else has done before.
    pub(crate) fn park(&mut self, parked: Parked) {
        let stream = (parked.aggregate_type.as_str().into(), parked.aggregate_id.as_str().into());
        self.parked_from.insert(stream, parked.position);
        self.parked.push(parked);
    }

    pub(crate) async fn take(
        &mut self,
        conn: &mut PgConnection,
        page: &[Arc<Recorded>],
    ) -> Result<(), Error> {
        match self.pace {
            Pace::Fast => {
                for event in page {
                    if self.understands(event)? {
                        self.fold.event(event)?;
                    }
                }
                self.fold.spill(conn, Spill::Large).await?;
            }
            Pace::Careful => {
                for events in page.chunks(CAREFUL_EVENTS) {
                    self.take_carefully(conn, events).await?;
                }
            }
        }
        if let Some(last) = page.last() {
            self.position = last.position;
        }
        Ok(())
    }

    async fn take_carefully(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), Error> {
        match self.transact(conn, events).await {
            Err(Error::Follow(error)) if is_data_error(&error) => {}
            done => return done,
        }
        for event in events {
            match self.transact(conn, std::slice::from_ref(event)).await {
                Err(Error::Follow(error)) if is_data_error(&error) => {
                    self.park_at(event, error.to_string());
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// All of these events, or none; within a transaction it is a savepoint.
    async fn transact(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), Error> {
        self.fold = (self.model.fold)();
        let mut tx = conn.begin().await?;
        for event in events {
            if self.understands(event)? {
                self.fold.event(event)?;
            }
        }
        self.fold.spill(&mut tx, Spill::All).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Is the event to be taken? One that does not decode sets its stream aside, as it does live;
    /// one of a newer build stops everything.
    fn understands(&mut self, event: &Recorded) -> Result<bool, Error> {
        if !self.parked_from.is_empty() {
            let row = &event.row;
            let stream = (Arc::clone(&row.aggregate_type), Arc::clone(&row.aggregate_id));
            if self.parked_from.get(&stream).is_some_and(|from| event.position >= *from) {
                return Ok(false);
            }
        }
        match &event.decoded {
            Ok(_) => Ok(true),
            Err(error @ DecodeError::Unknown { .. }) => {
                let reason = format!("position {}: {error}", event.position);
                Err(FollowError::NotReady(reason).into())
            }
            Err(error @ DecodeError::Malformed { .. }) => {
                self.park_at(event, error.to_string());
                Ok(false)
            }
        }
    }

    fn park_at(&mut self, event: &Recorded, reason: String) {
        self.park(Parked {
            aggregate_type: event.row.aggregate_type.to_string(),
            aggregate_id: event.row.aggregate_id.to_string(),
            position: event.position,
            reason,
        });
    }
}

async fn next_page(
    conn: &mut PgConnection,
    codec: &Codec,
    model: &Model,
    range: (Position, Position),
) -> sqlx::Result<Vec<Arc<Recorded>>> {
    let limit = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
    read_kinds(conn, codec, range, limit, model.kinds).await
}

/// Reads a range of the log page by page, until it is done or nobody wants it any more.
async fn read_ahead(
    options: PgConnectOptions,
    codec: Codec,
    model: &'static Model,
    (mut after, until): (Position, Position),
    pages: mpsc::Sender<Vec<Arc<Recorded>>>,
) -> sqlx::Result<()> {
    let mut conn = options.application_name("accrue rebuild, reading").connect().await?;
    loop {
        let page = next_page(&mut conn, &codec, model, (after, until)).await?;
        let full = page.len() == PAGE_EVENTS;
        if let Some(last) = page.last() {
            after = last.position;
        }
        if pages.send(page).await.is_err() || !full {
            break;
        }
    }
    conn.close().await
}
