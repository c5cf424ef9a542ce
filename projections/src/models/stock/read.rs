//! Questions to `stock`. Time comes in as a parameter: rows know nothing of it, and an overdue
//! hold is left out whether or not its release was recorded yet.

use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::product::Offering;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::view::{Counts, HOLDS_MAX, HoldView, ProductView, Status, StockOf, StockView};
use super::words;

/// Which products are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Behind this id.
    pub after: &'a str,
    /// Of this status alone.
    pub status: Option<Status>,
    /// Of this kind alone.
    pub kind: Option<Offering>,
    /// Each of whose words begins a word of the product's name, description or id.
    pub search: Option<&'a str>,
}

/// Units that the overdue holds of product `p` have set aside; $2 is now. Those of a service have
/// none, so it is not asked.
macro_rules! overdue {
    () => {
        "SELECT coalesce(sum(h.quantity), 0)::bigint AS units FROM stock_holds h
          WHERE p.held > 0 AND h.program = p.program AND h.product = p.product AND h.until <= $2"
    };
}

macro_rules! columns {
    () => {
        "SELECT p.product, p.name, p.description, p.image, p.price, p.currency, p.kind, p.status,
                p.version, p.on_hand, p.held - o.units AS held"
    };
}

macro_rules! filter {
    () => {
        "p.program = $1 AND p.product > $3 AND ($5::text IS NULL OR p.status = $5)
         AND ($6::text IS NULL OR p.kind = $6)"
    };
}

/// Products in the order of their ids.
const PAGE: &str = concat!(
    columns!(),
    " FROM stock_products p, LATERAL (",
    overdue!(),
    ") o WHERE ",
    filter!(),
    " ORDER BY p.product LIMIT $4"
);

/// As [`PAGE`], of those that have the words $7. Nothing but the words is asked for at first, so
/// that no plan walks the products in order until enough of them match: that reads all of them for
/// a word that few have. The words say which program they are of.
const SEARCH: &str = concat!(
    "WITH p AS MATERIALIZED (
       SELECT program, product, kind, status FROM stock_products
        WHERE words @@ $7::text::tsquery
     ), found AS MATERIALIZED (
       SELECT program, product FROM p WHERE ",
    filter!(),
    " ORDER BY p.product LIMIT $4
     ) ",
    columns!(),
    " FROM found f JOIN stock_products p ON p.program = f.program AND p.product = f.product,
           LATERAL (",
    overdue!(),
    ") o ORDER BY p.product"
);

/// One product and its first holds in one statement: the counts are those of these holds.
const STOCK: &str = concat!(
    "SELECT p.kind, p.version, p.position, p.on_hand, p.held - o.units AS held,
            h.hold, h.quantity, NULLIF(h.until, 'infinity') AS until
       FROM stock_products p CROSS JOIN LATERAL (",
    overdue!(),
    ") o LEFT JOIN LATERAL (
            SELECT h.hold, h.quantity, h.until FROM stock_holds h
             WHERE h.program = p.program AND h.product = p.product AND h.until > $2
             ORDER BY h.until, h.hold LIMIT $4) h ON true
      WHERE p.program = $1 AND p.product = $3
      ORDER BY h.until, h.hold"
);

/// Products that pass the filter, in the order of their ids, as of `now`.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    filter: Filter<'_>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ProductView>> {
    let words = filter.search.map(|text| words::query(program, text));
    let query = sqlx::query(if words.is_some() { SEARCH } else { PAGE })
        .bind(program)
        .bind(now)
        .bind(filter.after)
        .bind(limit)
        .bind(filter.status.map(Status::as_str))
        .bind(filter.kind.map(Offering::as_str));
    let query = match words {
        None => query,
        Some(Some(words)) => query.bind(words),
        // Signs alone: no word begins with them.
        Some(None) => return Ok(Vec::new()),
    };
    query.fetch_all(conn).await?.iter().map(product).collect()
}

/// What is there of one product at `now`; none where it was never created.
///
/// # Errors
/// As Postgres gives them.
pub async fn by_product(
    conn: &mut PgConnection,
    program: &str,
    product: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<StockOf>> {
    let query = sqlx::query(STOCK).bind(program).bind(now).bind(product).bind(HOLDS_MAX);
    let rows = query.fetch_all(conn).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let Some(counts) = counts(first)? else { return Ok(Some(StockOf::Service)) };
    let holds = rows.iter().filter_map(|row| hold(row).transpose());
    Ok(Some(StockOf::Goods(StockView {
        product: product.to_owned(),
        counts,
        holds: holds.collect::<sqlx::Result<_>>()?,
        position: first.try_get("position")?,
        version: first.try_get("version")?,
    })))
}

fn product(row: &PgRow) -> sqlx::Result<ProductView> {
    Ok(ProductView {
        product: row.try_get("product")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        image: row.try_get("image")?,
        kind: row.try_get("kind")?,
        price: price(row)?,
        status: row.try_get("status")?,
        stock: counts(row)?,
        version: row.try_get("version")?,
    })
}

fn price(row: &PgRow) -> sqlx::Result<Money> {
    let amount = Minor::new(row.try_get("price")?).map_err(decode)?;
    let currency = row.try_get::<&str, _>("currency")?.parse::<Currency>().map_err(decode)?;
    Ok(Money { amount, currency })
}

/// None for a service.
fn counts(row: &PgRow) -> sqlx::Result<Option<Counts>> {
    if row.try_get::<&str, _>("kind")? != Offering::Goods.as_str() {
        return Ok(None);
    }
    let (on_hand, held): (i64, i64) = (row.try_get("on_hand")?, row.try_get("held")?);
    Ok(Some(Counts { on_hand, available: on_hand - held, held }))
}

fn hold(row: &PgRow) -> sqlx::Result<Option<HoldView>> {
    let Some(id) = row.try_get("hold")? else { return Ok(None) };
    Ok(Some(HoldView { id, quantity: row.try_get("quantity")?, until: row.try_get("until")? }))
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
