//! Questions to `orders`.

use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::purchase::Status;
use accrue_event_store::record::Position;
use accrue_http::money::MoneySchema;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

/// Which purchases are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Placed before this position of the log.
    pub before: Option<Position>,
    /// Of this account alone.
    pub account: Option<&'a str>,
    /// In this state alone.
    pub state: Option<Status>,
}

/// A purchase in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PurchaseSummary)]
pub struct OrderView {
    /// The purchase.
    pub id: String,
    /// Who buys; absent for a guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `running`, `waiting`, `stuck`, `completed`, `rejected` or `refunded`.
    pub state: String,
    /// Why it was, or is being, rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What discounts take off, in minor units.
    pub discount: i64,
    /// The sum of the lines: what is to be paid.
    #[schema(value_type = MoneySchema)]
    pub total: Money,
    /// What was given back of it, in minor units.
    pub refunded: i64,
    /// By the server's clock.
    pub placed_at: DateTime<Utc>,
    /// Position of its last event.
    pub position: i64,
    /// Where the list goes on behind it.
    #[serde(skip)]
    pub placed_position: i64,
}

/// Every column that is asked for, behind which the filter narrows.
macro_rules! page {
    ($filter:literal) => {
        concat!(
            "SELECT purchase, account, state, reason, discount, total, currency, refunded,
                    placed_at, position, placed_position
               FROM orders
              WHERE program = $1 AND placed_position < $2 ",
            $filter,
            " ORDER BY placed_position DESC LIMIT $3"
        )
    };
}

/// A statement for each filter: each has an index that it is answered from in order, and a plan
/// that serves all of them would read the whole list for one that few pass.
const ALL: &str = page!("AND $4::text IS NULL AND $5::text IS NULL");
const OF_ACCOUNT: &str = page!("AND account = $4 AND $5::text IS NULL");
const IN_STATE: &str = page!("AND state = $5 AND $4::text IS NULL");
const OF_ACCOUNT_IN_STATE: &str = page!("AND account = $4 AND state = $5");

/// Purchases that pass the filter, the last placed first.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    filter: Filter<'_>,
    limit: i64,
) -> sqlx::Result<Vec<OrderView>> {
    let sql = match (filter.account, filter.state) {
        (None, None) => ALL,
        (Some(_), None) => OF_ACCOUNT,
        (None, Some(_)) => IN_STATE,
        (Some(_), Some(_)) => OF_ACCOUNT_IN_STATE,
    };
    let query = sqlx::query(sql)
        .bind(program)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(limit)
        .bind(filter.account)
        .bind(filter.state.map(Status::as_str));
    query.fetch_all(conn).await?.iter().map(order).collect()
}

fn order(row: &PgRow) -> sqlx::Result<OrderView> {
    let amount = Minor::new(row.try_get("total")?).map_err(decode)?;
    let currency = row.try_get::<&str, _>("currency")?.parse::<Currency>().map_err(decode)?;
    Ok(OrderView {
        id: row.try_get("purchase")?,
        account: row.try_get("account")?,
        state: row.try_get("state")?,
        reason: row.try_get("reason")?,
        discount: row.try_get("discount")?,
        total: Money { amount, currency },
        refunded: row.try_get("refunded")?,
        placed_at: row.try_get("placed_at")?,
        position: row.try_get("position")?,
        placed_position: row.try_get("placed_position")?,
    })
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
