//! Filling a model's tables from the log.
//!
//! In a fast load one task reads, decodes and folds, and another writes: each has a core and a
//! Postgres backend of its own to wait for.

use std::sync::Arc;

use accrue_event_store::codec::Codec;
use accrue_event_store::follow::{Applied, Parked, is_data_error};
use accrue_event_store::ledger::PLANS;
use accrue_event_store::record::{Position, Recorded};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::mpsc;

use super::intake::{Intake, PAGE_EVENTS};
use crate::error::Error;
use crate::model::{Fold, Model};

/// Parts that wait to be written.
const PARTS_AHEAD: usize = 1;

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
    intake: Intake,
}

/// What a fast load hands from the task that folds to the one that writes.
struct Step {
    part: Option<Box<dyn Fold>>,
    position: Position,
}

impl Loader {
    pub(crate) fn new(model: &'static Model, codec: Codec, pace: Pace) -> Self {
        let intake = Intake::new(model, codec.clone());
        Self { model, codec, pace, intake }
    }

    pub(crate) fn position(&self) -> Position {
        self.intake.position
    }

    pub(crate) fn parked(&self) -> &[Parked] {
        &self.intake.parked
    }

    /// Sets a stream aside from a position on, as somebody else has done before.
    pub(crate) fn park(&mut self, parked: Parked) {
        self.intake.park(parked);
    }

    /// Takes of the events behind `position` only those that are applied there.
    pub(crate) fn only(&mut self, position: Position, applied: Applied) {
        self.intake.only(position, applied);
    }

    /// Takes everything up to `until`, of which part may stay in memory: see
    /// [`Loader::catch_up`].
    pub(crate) async fn load(
        &mut self,
        conn: &mut PgConnection,
        options: &PgConnectOptions,
        until: Position,
        progress: &mut (impl FnMut(Position) + Send),
    ) -> Result<(), Error> {
        if self.pace == Pace::Careful {
            return self.read(conn, until, progress).await;
        }
        let (steps, mut ready) = mpsc::channel(PARTS_AHEAD);
        let intake =
            std::mem::replace(&mut self.intake, Intake::new(self.model, self.codec.clone()));
        let folding = tokio::spawn(fold_ahead(options.clone(), intake, until, steps));
        while let Some(Step { part, position }) = ready.recv().await {
            if let Some(mut part) = part {
                part.write(conn).await?;
            }
            progress(position);
        }
        self.intake = folding.await.map_err(|_| Error::ReaderLost)??;
        Ok(())
    }

    /// Takes what lies between here and `until` over the same connection, in its transaction and
    /// as its snapshot has it, and writes everything.
    pub(crate) async fn catch_up(
        &mut self,
        conn: &mut PgConnection,
        until: Position,
    ) -> Result<(), Error> {
        self.read(conn, until, &mut |_| {}).await?;
        Ok(self.intake.fold.write(conn).await?)
    }

    /// Takes everything up to `until` over one connection.
    pub(crate) async fn read(
        &mut self,
        conn: &mut PgConnection,
        until: Position,
        progress: &mut (impl FnMut(Position) + Send),
    ) -> Result<(), Error> {
        while self.position() < until {
            let page = self.intake.page(conn, until).await?;
            match self.pace {
                Pace::Fast => {
                    self.intake.take(&page)?;
                    if let Some(mut part) = self.intake.fold.part() {
                        part.write(conn).await?;
                    }
                }
                Pace::Careful => {
                    for events in page.chunks(CAREFUL_EVENTS) {
                        self.take_carefully(conn, events).await?;
                    }
                }
            }
            self.intake.position = end(&page, until);
            progress(self.position());
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
                    self.intake.park_at(event, error.to_string());
                }
                done => done?,
            }
        }
        self.intake.clear();
        Ok(())
    }

    /// All of these events, or none; within a transaction it is a savepoint.
    async fn transact(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), Error> {
        self.intake.clear();
        let mut tx = conn.begin().await?;
        self.intake.take(events)?;
        self.intake.fold.write(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Where a page ends: at its last event while it is full, else at the end of what was asked for.
fn end(page: &[Arc<Recorded>], until: Position) -> Position {
    page.last().filter(|_| page.len() == PAGE_EVENTS).map_or(until, |last| last.position)
}

/// Reads and folds up to `until`, and hands on what is to be written, until it is done or nobody
/// wants it any more.
async fn fold_ahead(
    options: PgConnectOptions,
    mut intake: Intake,
    until: Position,
    steps: mpsc::Sender<Step>,
) -> Result<Intake, Error> {
    let mut conn =
        options.application_name("accrue rebuild, reading").options(PLANS).connect().await?;
    while intake.position < until {
        let page = intake.page(&mut conn, until).await?;
        intake.take(&page)?;
        intake.position = end(&page, until);
        let step = Step { part: intake.fold.part(), position: intake.position };
        if steps.send(step).await.is_err() {
            break;
        }
    }
    conn.close().await?;
    Ok(intake)
}
