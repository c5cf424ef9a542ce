//! Questions to `takings`.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

/// What was taken and given back on a day, in one currency and one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Takings)]
pub struct TakingsView {
    /// The UTC day: of a purchase's business time, and of a refund's recording.
    pub day: NaiveDate,
    /// ISO 4217.
    pub currency: String,
    /// `points`, `wallet` or `card`.
    pub tender: String,
    /// Purchases that were completed and paid this way, alone or among others.
    pub sales: i64,
    /// What it paid, in minor units; of points, what they stood for.
    pub taken: i64,
    /// What of purchases of any day was given back, in minor units.
    pub returned: i64,
    /// Points that paid.
    pub points_taken: i64,
    /// Points that were given back.
    pub points_returned: i64,
}

/// Which days are asked for, both ends included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// The first.
    pub from: Option<NaiveDate>,
    /// The last.
    pub to: Option<NaiveDate>,
}

/// A place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    day: NaiveDate,
    currency: String,
    tender: String,
}

impl Cursor {
    /// Behind this line.
    #[must_use]
    pub fn behind(line: &TakingsView) -> Self {
        Self { day: line.day, currency: line.currency.clone(), tender: line.tender.clone() }
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.day, self.currency, self.tender)
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let day = parts.next()?.parse().ok().filter(is_known)?;
        let (currency, tender) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { day, currency, tender })
    }
}

/// Is it a day that the log's instants can have, and that Postgres knows?
#[must_use]
pub fn is_known(day: &NaiveDate) -> bool {
    use chrono::Datelike as _;
    (0..=9_999).contains(&day.year())
}

/// A program's takings, by day, currency and way of paying.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    range: Range,
    after: Option<&Cursor>,
    limit: i64,
) -> sqlx::Result<Vec<TakingsView>> {
    let rows = sqlx::query(
        "SELECT day, currency, tender, sales, taken, returned, points_taken, points_returned
           FROM takings
          WHERE program = $1 AND day >= coalesce($2, '-infinity'::date)
            AND day <= coalesce($3, 'infinity'::date)
            AND (day, currency, tender) > (coalesce($4, '-infinity'::date), $5, $6)
          ORDER BY day, currency, tender LIMIT $7",
    )
    .bind(program)
    .bind(range.from)
    .bind(range.to)
    .bind(after.map(|it| it.day))
    .bind(after.map_or("", |it| &it.currency))
    .bind(after.map_or("", |it| &it.tender))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(line).collect()
}

fn line(row: &PgRow) -> sqlx::Result<TakingsView> {
    Ok(TakingsView {
        day: row.try_get("day")?,
        currency: row.try_get("currency")?,
        tender: row.try_get("tender")?,
        sales: row.try_get("sales")?,
        taken: row.try_get("taken")?,
        returned: row.try_get("returned")?,
        points_taken: row.try_get("points_taken")?,
        points_returned: row.try_get("points_returned")?,
    })
}
