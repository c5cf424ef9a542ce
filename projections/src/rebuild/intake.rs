//! Events of the log on their way into a fold: read, decoded, and left out where they must be.

use std::collections::HashMap;
use std::sync::Arc;

use accrue_event_store::codec::{Codec, DecodeError};
use accrue_event_store::follow::{Applied, FollowError, Parked};
use accrue_event_store::log_query::read_kinds;
use accrue_event_store::record::{Position, Recorded};
use sqlx::PgConnection;

use crate::error::Error;
use crate::model::{Fold, Model};

/// Events in a page of the log: few enough to be folded before they leave the processor's cache.
pub(super) const PAGE_EVENTS: usize = 4_000;

/// What was taken in so far.
pub(super) struct Intake {
    model: &'static Model,
    codec: Codec,
    pub(super) fold: Box<dyn Fold>,
    /// Everything up to here is in the fold or in rows.
    pub(super) position: Position,
    pub(super) parked: Vec<Parked>,
    /// Behind this position only what is applied there is taken.
    only: Option<(Position, Applied)>,
    /// From which position on each parked stream is left out.
    parked_from: HashMap<(Arc<str>, Arc<str>), Position>,
}

impl Intake {
    pub(super) fn new(model: &'static Model, codec: Codec) -> Self {
        let fold = (model.fold)();
        let (parked, parked_from) = (Vec::new(), HashMap::new());
        Self { model, codec, fold, position: 0, parked, only: None, parked_from }
    }

    /// The next events up to `until`; fewer than [`PAGE_EVENTS`] when these are the last.
    pub(super) async fn page(
        &self,
        conn: &mut PgConnection,
        until: Position,
    ) -> sqlx::Result<Vec<Arc<Recorded>>> {
        let limit = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
        read_kinds(conn, &self.codec, (self.position, until), limit, self.model.kinds).await
    }

    /// Folds events in.
    pub(super) fn take(&mut self, events: &[Arc<Recorded>]) -> Result<(), Error> {
        for event in events {
            if self.understands(event)? {
                self.fold.event(event)?;
            }
        }
        Ok(())
    }

    /// Takes of the events behind `position` only those that are applied there.
    pub(super) fn only(&mut self, position: Position, applied: Applied) {
        self.only = Some((position, applied));
    }

    /// Begins an empty fold: what was in the one before is in rows, or was rolled back.
    pub(super) fn clear(&mut self) {
        self.fold = (self.model.fold)();
    }

    /// Sets a stream aside from a position on.
    pub(super) fn park(&mut self, parked: Parked) {
        let stream = (parked.aggregate_type.as_str().into(), parked.aggregate_id.as_str().into());
        self.parked_from.insert(stream, parked.position);
        self.parked.push(parked);
    }

    pub(super) fn park_at(&mut self, event: &Recorded, reason: String) {
        self.park(Parked {
            aggregate_type: event.row.aggregate_type.to_string(),
            aggregate_id: event.row.aggregate_id.to_string(),
            position: event.position,
            reason,
        });
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
        if let Some((position, applied)) = &self.only
            && event.position > *position
            && !applied.has(event)
        {
            return Ok(false);
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
}
