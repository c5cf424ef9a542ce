//! Questions to `statement`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

use super::line::Cause;

/// One line of a statement. Over all of an account's entries `points` sum to all of its points
/// (those that holds pin included), `held` to those that open holds pin, `debt` to what it owes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementEntry)]
pub struct Entry {
    /// Position of the event.
    pub position: i64,
    /// `opened`, `issued`, `redeemed`, `credited`, `debited`, `reversed`, `debt_repaid`,
    /// `hold_placed`, `hold_captured`, `hold_released` or `expired`.
    #[schema(example = "issued")]
    pub kind: String,
    /// What it changes in all of the account's points.
    pub points: i64,
    /// What it changes in the points that holds pin.
    pub held: i64,
    /// What it changes in the debt.
    pub debt: i64,
    /// The lot that was issued, or whose issue was reversed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// The sale that the lot was awarded for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale: Option<String>,
    /// What led to it.
    #[schema(value_type = Cause)]
    pub cause: Box<RawValue>,
    /// The parts of lots that it moved.
    #[schema(value_type = Vec<LotPart>)]
    pub lots: Box<RawValue>,
    /// Business time.
    pub occurred_at: DateTime<Utc>,
    /// The server's clock.
    pub recorded_at: DateTime<Utc>,
    #[serde(skip)]
    ordinal: i32,
}

/// Part of a lot.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what is kept as JSON, for OpenAPI")]
pub(crate) struct LotPart {
    /// The lot.
    lot: String,
    /// So many of its points.
    points: i64,
}

/// Which end of the statement comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StatementOrder)]
pub enum Order {
    /// The last entry first.
    #[default]
    Newest,
    /// The first entry first.
    Oldest,
}

/// The place of an entry in its account's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Position of the event.
    pub position: i64,
    /// Place among the entries of that event.
    pub ordinal: i32,
}

impl Key {
    /// The key as text, for a cursor.
    #[must_use]
    pub fn text(self) -> String {
        format!("{}.{}", self.position, self.ordinal)
    }

    /// The key of that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (position, ordinal) = text.split_once('.')?;
        Some(Self { position: position.parse().ok()?, ordinal: ordinal.parse().ok()? })
    }
}

impl Entry {
    /// Its place.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { position: self.position, ordinal: self.ordinal }
    }
}

/// Entries of an account behind `after`, in that order.
///
/// # Errors
/// As Postgres gives them.
pub async fn of_account(
    conn: &mut PgConnection,
    (program, account): (&str, &str),
    order: Order,
    after: Option<Key>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    const NEWEST: &str = "
        SELECT position, ordinal, kind, points, held, debt, lot, sale, cause, lots, occurred_at,
               recorded_at
          FROM statement_entries
         WHERE program = $1 AND account = $2 AND (position, ordinal) < ($3, $4)
         ORDER BY position DESC, ordinal DESC LIMIT $5";
    const OLDEST: &str = "
        SELECT position, ordinal, kind, points, held, debt, lot, sale, cause, lots, occurred_at,
               recorded_at
          FROM statement_entries
         WHERE program = $1 AND account = $2 AND (position, ordinal) > ($3, $4)
         ORDER BY position, ordinal LIMIT $5";
    let (sql, edge) = match order {
        Order::Newest => (NEWEST, Key { position: i64::MAX, ordinal: 0 }),
        Order::Oldest => (OLDEST, Key { position: 0, ordinal: 0 }),
    };
    let Key { position, ordinal } = after.unwrap_or(edge);
    let rows = sqlx::query(sql)
        .bind(program)
        .bind(account)
        .bind(position)
        .bind(ordinal)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> sqlx::Result<Entry> {
    let raw = |text: String| {
        RawValue::from_string(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    Ok(Entry {
        position: row.try_get(0)?,
        ordinal: row.try_get(1)?,
        kind: row.try_get(2)?,
        points: row.try_get(3)?,
        held: row.try_get(4)?,
        debt: row.try_get(5)?,
        lot: row.try_get(6)?,
        sale: row.try_get(7)?,
        cause: raw(row.try_get(8)?)?,
        lots: raw(row.try_get(9)?)?,
        occurred_at: row.try_get(10)?,
        recorded_at: row.try_get(11)?,
    })
}

/// What a sale brought its member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = SalePoints)]
pub struct OfSale {
    /// Points that were awarded for it.
    pub earned: i64,
    /// How many of these were taken back, or are owed.
    pub reversed: i64,
}

/// What was awarded for a sale.
///
/// # Errors
/// As Postgres gives them.
pub async fn of_sale(conn: &mut PgConnection, program: &str, sale: &str) -> sqlx::Result<OfSale> {
    sqlx::query_as(
        "SELECT coalesce(sum(points) FILTER (WHERE kind = 'issued'), 0)::bigint AS earned,
                coalesce(sum(debt - points) FILTER (WHERE kind = 'reversed'), 0)::bigint AS reversed
           FROM statement_entries WHERE program = $1 AND sale = $2",
    )
    .bind(program)
    .bind(sale)
    .fetch_one(conn)
    .await
}
