//! Read model: every event of an account as a line of its statement.
//!
//! Fed by: account events. Read by: `GET /v1/accounts/{id}/statement`, `GET /v1/sales/{id}`.
//! Rebuild: drop the table and replay; nothing here is a source of truth.
//! Invariant: over an account's entries, `points` sum to all of its points, `held` to those that
//! open holds pin, `debt` to what it owes.

use std::collections::HashMap;
use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Recorded;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::model::{Fold, Model, Spill};
use crate::models::split;

mod line;
mod read;

pub use line::Cause;
use line::Line;
pub use read::{Entry, Key, OfSale, Order, of_account, of_sale};

/// The model.
pub static MODEL: Model = Model {
    name: "statement",
    version: 1,
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
    /// The sales of the awards among them.
    sales: HashMap<(Arc<str>, String), String>,
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

    async fn spill(&mut self, conn: &mut PgConnection, spill: Spill) -> Result<(), FollowError> {
        if self.pending.is_empty() || (spill == Spill::Large && self.pending.len() < PENDING_MAX) {
            return Ok(());
        }
        self.sales.clear();
        write(conn, std::mem::take(&mut self.pending)).await?;
        Ok(())
    }
}

impl Statement {
    /// A reversal belongs to the sale of the lot that it reverses, if that is among these events;
    /// else the database knows.
    fn attribute(&mut self, id: &Arc<str>, line: &mut Line) {
        let Some(lot) = &line.lot else { return };
        let key = (Arc::clone(id), lot.clone());
        match (line.kind, &line.sale) {
            ("issued", Some(sale)) => {
                self.sales.insert(key, sale.clone());
            }
            ("reversed", None) => line.sale = self.sales.get(&key).cloned(),
            _ => {}
        }
    }
}

async fn write(conn: &mut PgConnection, rows: Vec<Pending>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO statement_entries (program, account, position, ordinal, kind, points, held,
                                        debt, lot, sale, cause, lots, occurred_at, recorded_at)
         SELECT d.program, d.account, d.position, d.ordinal, d.kind, d.points, d.held, d.debt,
                d.lot,
                CASE WHEN d.kind = 'reversed' AND d.sale IS NULL
                     THEN (SELECT e.sale FROM statement_entries e
                            WHERE e.program = d.program AND e.account = d.account
                              AND e.lot = d.lot AND e.kind = 'issued' AND e.sale IS NOT NULL)
                     ELSE d.sale END,
                d.cause, d.lots, d.occurred_at, d.recorded_at
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::text[],
                       $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[],
                       $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[])
                AS d(program, account, position, ordinal, kind, points, held, debt, lot, sale,
                     cause, lots, occurred_at, recorded_at)",
    )
    .bind(rows.iter().map(|row| split(&row.id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| split(&row.id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.ordinal).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.kind).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.points).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.debt).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.lot.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.sale.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.cause.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.line.lots.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.recorded_at).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
