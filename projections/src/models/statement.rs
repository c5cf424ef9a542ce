//! Read model: every event of an account as a line of its statement.
//!
//! Fed by: account events. Read by: `GET /v1/accounts/{account}/statement`, `GET /v1/sales/{sale}`.
//! Rebuild: drop the table and replay; nothing here is a source of truth.
//! Invariant: over an account's entries, `points` sum to all of its points, `held` to those that
//! open holds pin, `debt` to what it owes.

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Recorded;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::copy::Rows;
use crate::model::{Fold, Map, Model};
use crate::models::split;

mod line;
mod read;

pub use line::Cause;
use line::{Award, Line};
pub use read::{Entry, Key, OfSale, Order, of_account, of_sale};

/// The model.
pub static MODEL: Model = Model {
    name: "statement",
    version: 2,
    tables: &["statement_entries"],
    kinds: &[Kind::Account],
    ddl: include_str!("statement.sql"),
    fold: || Box::<Statement>::default(),
};

/// Entries that a load keeps before it writes them.
const PENDING_MAX: usize = 10_000;

/// Entries to be written.
#[derive(Debug, Default)]
struct Statement {
    pending: Vec<Pending>,
    /// The awards among them, by account and lot.
    awards: Map<(Arc<str>, String), Award>,
}

#[derive(Debug)]
struct Pending {
    id: Arc<str>,
    position: i64,
    ordinal: i32,
    line: Line,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

#[async_trait]
impl Fold for Statement {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        let poison = |reason: String| FollowError::Poison { position: it.position, reason };
        let events = it.events();
        if events.is_empty() {
            return Ok(());
        }
        let metadata = it.metadata().map_err(|error| poison(error.to_string()))?;
        for (ordinal, event) in (0..).zip(events) {
            let Event::Account(event) = event else { continue };
            let mut line = Line::of(event, &metadata).map_err(|error| poison(error.to_string()))?;
            self.attribute(&it.row.aggregate_id, &mut line);
            self.pending.push(Pending {
                id: Arc::clone(&it.row.aggregate_id),
                position: it.position,
                ordinal,
                line,
                occurred_at: metadata.occurred_at,
                recorded_at: it.row.recorded_at,
            });
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        if self.pending.len() < PENDING_MAX {
            return None;
        }
        self.awards.clear();
        let pending = std::mem::take(&mut self.pending);
        Some(Box::new(Self { pending, awards: Map::default() }))
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        self.awards.clear();
        let mut pending = std::mem::take(&mut self.pending);
        attribute_older(conn, &mut pending).await?;
        insert(conn, &pending).await
    }
}

impl Statement {
    /// A reversal has the cause of the award that it takes back, if that is among these events; else
    /// the database knows.
    fn attribute(&mut self, id: &Arc<str>, line: &mut Line) {
        let Some(lot) = &line.lot else { return };
        let key = (Arc::clone(id), lot.clone());
        if let Some(award) = line.award() {
            self.awards.insert(key, award);
        } else if line.is_open()
            && let Some(award) = self.awards.get(&key)
        {
            line.takes_back(award.clone());
        }
    }
}

/// Finds the causes of lots that were awarded before.
async fn attribute_older(conn: &mut PgConnection, rows: &mut [Pending]) -> Result<(), FollowError> {
    let mut open: Vec<_> = rows.iter_mut().filter(|row| row.line.is_open()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let known: Vec<(i64, Option<String>, String, i64)> = sqlx::query_as(
        r#"SELECT d.ordinal, e.sale, e.cause, e.position
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                  AS d(program, account, lot, ordinal)
             JOIN statement_entries e
               ON e.program = d.program AND e.account = d.account AND e.lot = d.lot
              AND e.kind = 'issued' AND e.cause LIKE '%"campaign":%'"#,
    )
    .bind(open.iter().map(|row| split(&row.id).0).collect::<Vec<_>>())
    .bind(open.iter().map(|row| split(&row.id).1).collect::<Vec<_>>())
    .bind(open.iter().map(|row| row.line.lot.as_deref()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    for (ordinal, sale, cause, position) in known {
        let cause: Cause = serde_json::from_str(&cause)
            .map_err(|error| FollowError::Poison { position, reason: error.to_string() })?;
        if let Some(row) = usize::try_from(ordinal - 1).ok().and_then(|at| open.get_mut(at)) {
            let Cause { campaign, version, .. } = cause;
            row.line.takes_back(Award { campaign, version, sale });
        }
    }
    Ok(())
}

async fn insert(conn: &mut PgConnection, pending: &[Pending]) -> Result<(), FollowError> {
    let mut rows = Rows::new(
        "statement_entries (program, account, position, ordinal, kind, points, held, debt, lot,
                            sale, cause, lots, occurred_at, recorded_at)",
        14,
    );
    for it in pending {
        let ((program, account), line) = (split(&it.id), &it.line);
        rows.begin();
        rows.text(program).text(account).bigint(it.position).integer(it.ordinal).text(line.kind);
        rows.bigint(line.points).bigint(line.held).bigint(line.debt);
        rows.optional(line.lot.as_deref()).optional(line.sale.as_deref());
        let poison = |error: serde_json::Error| {
            let reason = error.to_string();
            FollowError::Poison { position: it.position, reason }
        };
        rows.text(&serde_json::to_string(&line.cause).map_err(poison)?).text(&line.lots);
        rows.instant(Some(it.occurred_at)).instant(Some(it.recorded_at));
    }
    Ok(rows.send(conn).await?)
}
