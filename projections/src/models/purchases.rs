//! Purchases as read models fold them: the whole state of each, kept as JSON in a table.
//!
//! What a purchase has come to follows from its whole trail, and the rules of that are the
//! domain's. So the domain folds the state, and columns are made of it, rather than telling the
//! same rules again in SQL. The price is a kilobyte or two a purchase.
//!
//! Tokens of payment methods are left out: they belong to the saga that sends them, not into tables
//! that are asked for lists.
//!
//! A state of another shape cannot be read: whoever changes `Purchase` raises the versions of the
//! models that keep it. A test holds that.

use std::borrow::Cow;
use std::sync::Arc;

use accrue_domain::aggregate::Aggregate as _;
use accrue_domain::event::Event;
use accrue_domain::payment_method::PaymentMethod;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::event::Event as Happened;
use accrue_domain::purchase::order::Tender;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row as _};

use crate::model::Map;
use crate::models::split;

/// Purchases that a load keeps before it writes them.
const PENDING_MAX: usize = 10_000;

/// `program/purchase`, as the log has it.
pub(crate) type Id = Arc<str>;

/// A purchase, and what its events tell beside its state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Story {
    pub(crate) purchase: Purchase,
    /// Position of its first event: purchases were placed in this order.
    pub(crate) placed_position: Position,
    pub(crate) place: Place,
}

/// Where a purchase's last event is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// In the log.
    pub(crate) position: Position,
    /// In its stream.
    pub(crate) version: i64,
    /// By the clock of the log.
    pub(crate) updated_at: DateTime<Utc>,
}

/// A purchase that events have changed.
pub(crate) struct Told {
    pub(crate) id: Id,
    pub(crate) story: Story,
    /// Was it placed among these events? There is no row of it then.
    pub(crate) fresh: bool,
}

/// Purchases that events change, until they are written.
#[derive(Debug, Default)]
pub(crate) struct Purchases(Map<Id, Change>);

#[derive(Debug)]
enum Change {
    /// It was placed among these events.
    Whole(Box<Story>),
    /// It was placed before: these follow on what the table has.
    More(Vec<(Place, Happened)>),
}

impl Story {
    fn take(&mut self, place: Place, event: &Happened) {
        self.purchase.evolve(&without_tokens(event));
        self.place = place;
    }

    /// As a table keeps it.
    pub(crate) fn json(&self) -> Result<String, FollowError> {
        serde_json::to_string(self).map_err(|error| poison(self.place.position, error.to_string()))
    }
}

/// The event as a table may keep it.
fn without_tokens(event: &Happened) -> Cow<'_, Happened> {
    let mut event = Cow::Borrowed(event);
    if let Happened::PurchasePlaced { tenders, .. } = &*event
        && tenders.iter().any(|it| matches!(it, Tender::Card { .. }))
        && let Ok(hidden) = PaymentMethod::parse("hidden")
        && let Happened::PurchasePlaced { tenders, .. } = event.to_mut()
    {
        for tender in tenders {
            if let Tender::Card { payment_method, .. } = tender {
                payment_method.clone_from(&hidden);
            }
        }
    }
    event
}

impl Purchases {
    /// Takes an event in.
    pub(crate) fn event(&mut self, it: &Recorded) {
        let (position, version, updated_at) = (it.position, it.sequence, it.row.recorded_at);
        let place = Place { position, version, updated_at };
        for event in it.events() {
            let Event::Purchase(event) = event else { continue };
            let change = self.0.entry(Arc::clone(&it.row.aggregate_id));
            let change = change.or_insert_with(|| match event {
                Happened::PurchasePlaced { .. } => {
                    Change::Whole(Box::new(Story { placed_position: position, ..Story::default() }))
                }
                _ => Change::More(Vec::new()),
            });
            match change {
                Change::Whole(story) => story.take(place, event),
                Change::More(events) => events.push((place, event.clone())),
            }
        }
    }

    /// All of them, when they are many; those that come later find these in the table.
    pub(crate) fn part(&mut self) -> Option<Self> {
        (self.0.len() > PENDING_MAX).then(|| std::mem::take(self))
    }

    /// The purchases as these events have left them, in the order of their ids, over what `table`
    /// has of those that were placed before.
    pub(crate) async fn told(
        self,
        conn: &mut PgConnection,
        table: &str,
    ) -> Result<Vec<Told>, FollowError> {
        let (mut told, mut older) = (Vec::with_capacity(self.0.len()), Vec::new());
        for (id, change) in self.0 {
            match change {
                Change::Whole(story) => told.push(Told { id, story: *story, fresh: true }),
                Change::More(events) => older.push((id, events)),
            }
        }
        let ids: Vec<_> = older.iter().map(|(id, _)| &**id).collect();
        let mut known = stories(conn, table, &ids).await?;
        for (id, events) in older {
            let first = events.first().map_or(0, |(place, _)| place.position);
            let json = known.remove(&*id).ok_or_else(|| poison(first, "it was never placed"))?;
            let mut story: Story =
                serde_json::from_str(&json).map_err(|error| poison(first, error.to_string()))?;
            for (place, event) in &events {
                story.take(*place, event);
            }
            told.push(Told { id, story, fresh: false });
        }
        told.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(told)
    }
}

async fn stories(
    conn: &mut PgConnection,
    table: &str,
    ids: &[&str],
) -> sqlx::Result<Map<Id, String>> {
    if ids.is_empty() {
        return Ok(Map::default());
    }
    let sql = format!(
        "SELECT s.program || '/' || s.purchase AS id, s.story
           FROM unnest($1::text[], $2::text[]) AS d(program, purchase)
           JOIN {table} s ON s.program = d.program AND s.purchase = d.purchase"
    );
    let rows = sqlx::query(&sql)
        .bind(ids.iter().map(|id| split(id).0).collect::<Vec<_>>())
        .bind(ids.iter().map(|id| split(id).1).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let pair = |row: sqlx::postgres::PgRow| -> sqlx::Result<(Id, String)> {
        Ok((row.try_get::<&str, _>("id")?.into(), row.try_get("story")?))
    };
    rows.into_iter().map(pair).collect()
}

/// Takes the rows of purchases out of a table, before their new ones are written.
pub(crate) async fn remove(
    conn: &mut PgConnection,
    table: &str,
    told: &[Told],
) -> sqlx::Result<()> {
    let ids: Vec<_> = told.iter().filter(|it| !it.fresh).map(|it| split(&it.id)).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "DELETE FROM {table} t USING unnest($1::text[], $2::text[]) AS d(program, purchase)
          WHERE t.program = d.program AND t.purchase = d.purchase"
    );
    sqlx::query(&sql)
        .bind(ids.iter().map(|(program, _)| *program).collect::<Vec<_>>())
        .bind(ids.iter().map(|(_, purchase)| *purchase).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// An event that cannot be: its stream is set aside.
pub(crate) fn poison(position: Position, reason: impl Into<String>) -> FollowError {
    FollowError::Poison { position, reason: reason.into() }
}
