//! Questions to `balances`. Time comes in as a parameter: rows know nothing of it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

use super::balance::{
    Balance, EXPIRING_MAX, LOTS_MAX, LotKey, LotView, Place, behind, dates, repay,
};
use super::settled::{Settled, Totals};

/// One account in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AccountSummary)]
pub struct Summary {
    /// The account.
    pub account: String,
    /// Can be spent now.
    pub available: i64,
    /// Can be spent later.
    pub pending: i64,
    /// Set aside by open holds.
    pub held: i64,
    /// Owed.
    pub debt: i64,
    /// Events of the account so far.
    pub version: i64,
    /// Position of its last event.
    pub position: i64,
}

/// The account and its first lots in one statement by key: all there is to know of an account
/// without a hold and with few lots.
const FEW: &str = "
SELECT a.free, a.held, a.debt, a.version, a.position,
       l.lot, l.issued, l.free, l.held, l.available_from, NULLIF(l.expires_at, 'infinity'), l.source,
       l.issued_position
  FROM balance_accounts a
  LEFT JOIN LATERAL (
       SELECT * FROM balance_lots l
        WHERE l.program = a.program AND l.account = a.account AND (l.free > 0 OR l.held > 0)
        ORDER BY l.expires_at, l.issued_position LIMIT 101) l ON true
 WHERE a.program = $1 AND a.account = $2";

/// Parts of lots that the overdue holds of account `a` pin; $2 is now.
macro_rules! overdue {
    () => {
        "SELECT p.lot, sum(p.points)::bigint AS points
           FROM balance_holds h, json_to_recordset(h.parts::json) AS p(lot text, points bigint)
          WHERE a.held > 0 AND h.program = a.program AND h.account = a.account AND h.until <= $2
          GROUP BY p.lot"
    };
}

/// Sums over the rows of account `a` at $2, each through an index that leaves the rest alone.
macro_rules! totals {
    () => {
        concat!(
            "SELECT a.account, a.version, a.position, a.free, a.held, a.debt,
       coalesce(lapsed.points, 0) AS lapsed, coalesce(pending.points, 0) AS pending,
       coalesce(back.active, 0) AS back_active, coalesce(back.pending, 0) AS back_pending,
       coalesce(back.lapsed, 0) AS back_lapsed
  FROM balance_accounts a
  LEFT JOIN LATERAL (
       SELECT sum(l.free)::bigint AS points FROM balance_lots l
        WHERE l.program = a.program AND l.account = a.account AND l.expires_at <= $2) lapsed ON true
  LEFT JOIN LATERAL (
       SELECT sum(l.free)::bigint AS points FROM balance_lots l
        WHERE l.program = a.program AND l.account = a.account AND l.available_from > $2
          AND l.expires_at > $2) pending ON true
  LEFT JOIN LATERAL (
       SELECT (sum(o.points) FILTER (WHERE l.expires_at <= $2))::bigint AS lapsed,
              (sum(o.points) FILTER (WHERE l.expires_at > $2 AND l.available_from > $2))::bigint
                  AS pending,
              (sum(o.points) FILTER (WHERE l.expires_at > $2
                                       AND (l.available_from > $2) IS NOT TRUE))::bigint AS active
         FROM (",
            overdue!(),
            ") o
         JOIN balance_lots l
           ON l.program = a.program AND l.account = a.account AND l.lot = o.lot) back ON true"
        )
    };
}

/// Lots of account $3 of which that is true, and what overdue holds give back to each. That is asked
/// lot by lot, not joined: a join would read every lot before the first.
macro_rules! lots {
    ($filter:literal) => {
        concat!(
            "SELECT l.*, coalesce((SELECT o.points FROM o WHERE o.lot = l.lot), 0) AS back
           FROM balance_lots l
          WHERE l.program = $1 AND l.account = $3 AND ",
            $filter
        )
    };
}

/// One account with everything, whatever it holds and however many lots it has; the first $4 of
/// these, and of the dates the first $5.
const MANY: &str = concat!(
    "WITH o AS MATERIALIZED (
       SELECT o.* FROM balance_accounts a, LATERAL (",
    overdue!(),
    ") o WHERE a.program = $1 AND a.account = $3), t AS (",
    totals!(),
    " WHERE a.program = $1 AND a.account = $3)
SELECT t.*,
       (SELECT json_agg(x) FROM (
           SELECT * FROM (
               SELECT l.lot, l.issued,
                      CASE WHEN l.expires_at > $2 THEN l.free + l.back ELSE 0 END AS remaining,
                      l.held - l.back AS held, l.available_from,
                      NULLIF(l.expires_at, 'infinity') AS expires_at, l.source::json AS source,
                      l.issued_position AS position
                 FROM (",
    lots!("(l.expires_at > $2 OR l.held > 0)"),
    ") l ORDER BY l.expires_at, l.issued_position) l
            WHERE l.remaining > 0 OR l.held > 0 LIMIT $4) x)::text AS lots,
       (SELECT json_agg(x) FROM (
           SELECT l.expires_at AS at, sum(l.free + l.back) AS points
             FROM (",
    lots!("l.expires_at > $2 AND l.expires_at < 'infinity'"),
    ") l
            GROUP BY l.expires_at HAVING sum(l.free + l.back) > 0
            ORDER BY l.expires_at LIMIT $5) x)::text AS expiring
  FROM t"
);

/// One account, the first $4 of its lots as their rows are (a free point of a lapsed one counts for
/// nothing), and what overdue holds give back, whatever lots that is of.
macro_rules! raw {
    ($behind:literal) => {
        concat!(
            "SELECT a.debt, a.version, a.position,
       (SELECT json_agg(o) FROM (",
            overdue!(),
            ") o)::text AS overdue,
       (SELECT json_agg(x) FROM (
           SELECT l.lot, l.issued, l.free AS remaining, l.held, l.available_from,
                  NULLIF(l.expires_at, 'infinity') AS expires_at, l.source::json AS source,
                  l.issued_position AS position
             FROM balance_lots l
            WHERE l.program = a.program AND l.account = a.account
              AND (l.expires_at > $2 AND l.free > 0 OR l.held > 0) ",
            $behind,
            " ORDER BY l.expires_at, l.issued_position LIMIT $4) x)::text AS lots
  FROM balance_accounts a WHERE a.program = $1 AND a.account = $3"
        )
    };
}

const LOTS: &str = raw!("");

/// Behind the lot that lapses at $5 and was made at $6.
const LOTS_BEHIND: &str =
    raw!("AND (l.expires_at, l.issued_position) > (coalesce($5, 'infinity'), $6)");

/// Accounts in the order of their ids.
const PAGE: &str =
    concat!(totals!(), " WHERE a.program = $1 AND a.account > $3 ORDER BY a.account LIMIT $4");

/// What an account has at `now`; none when it was never opened.
///
/// # Errors
/// As Postgres gives them.
pub async fn by_account(
    conn: &mut PgConnection,
    program: &str,
    account: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Balance>> {
    let rows = sqlx::query(FEW).bind(program).bind(account).fetch_all(&mut *conn).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let held: i64 = first.try_get(1)?;
    if held == 0 && rows.len() <= LOTS_MAX {
        return few(account, first, &rows, now).map(Some);
    }
    let query = sqlx::query(MANY).bind(program).bind(now).bind(account);
    let query = query.bind(one_more(LOTS_MAX)).bind(one_more(EXPIRING_MAX));
    let Some(row) = query.fetch_optional(&mut *conn).await? else { return Ok(None) };
    let settled = totals(&row)?.settled();
    if settled.repays() {
        let all = repaid(conn, (program, account), now).await?;
        return Ok(all.map(|Repaid { settled, place, lots }| {
            let expiring = dates(&lots);
            Balance::new(account.to_owned(), settled, lots, expiring, place)
        }));
    }
    let (lots, expiring) = (json(row.try_get("lots")?)?, json(row.try_get("expiring")?)?);
    Ok(Some(Balance::new(account.to_owned(), settled, lots, expiring, place(&row)?)))
}

/// Lots of an account at `now` that have points, in the order of their expiry, behind `after`; none
/// when the account was never opened.
///
/// # Errors
/// As Postgres gives them.
pub async fn lots(
    conn: &mut PgConnection,
    account: (&str, &str),
    after: Option<LotKey>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Vec<LotView>>> {
    let wanted = usize::try_from(limit).unwrap_or_default();
    let mut found = Vec::new();
    let mut from = after;
    let mut rows = limit;
    loop {
        let Some(part) = raw(conn, account, from, rows, now).await? else { return Ok(None) };
        if part.debt > 0 && !part.overdue.is_empty() {
            let all = repaid(conn, account, now).await?;
            return Ok(all.map(|all| behind(all.lots, after, limit)));
        }
        let is_all = i64::try_from(part.lots.len()).is_ok_and(|read| read < rows);
        from = part.lots.last().map(LotView::key);
        found.extend(part.given_back(now));
        // Where holds are overdue, lapsed lots may drop out of what was read.
        rows = rows.max(ROWS_MORE);
        if is_all || found.len() >= wanted {
            found.truncate(wanted);
            return Ok(Some(found));
        }
    }
}

/// Rows that are read at a time where those before did not make a page.
const ROWS_MORE: i64 = 500;

/// An account's rows, before anything is given back.
struct Raw {
    debt: i64,
    place: Place,
    lots: Vec<LotView>,
    /// Points by lot.
    overdue: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Overdue {
    lot: String,
    points: i64,
}

async fn raw(
    conn: &mut PgConnection,
    (program, account): (&str, &str),
    after: Option<LotKey>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Raw>> {
    let query = sqlx::query(if after.is_some() { LOTS_BEHIND } else { LOTS });
    let mut query = query.bind(program).bind(now).bind(account).bind(limit);
    if let Some(after) = after {
        query = query.bind(after.expires_at).bind(after.position);
    }
    let Some(row) = query.fetch_optional(conn).await? else { return Ok(None) };
    let overdue: Vec<Overdue> = json(row.try_get("overdue")?)?;
    Ok(Some(Raw {
        debt: row.try_get("debt")?,
        place: place(&row)?,
        lots: json(row.try_get("lots")?)?,
        overdue: overdue.into_iter().map(|it| (it.lot, it.points)).collect(),
    }))
}

impl Raw {
    /// The lots with points, as they are once overdue holds are over.
    fn given_back(self, now: DateTime<Utc>) -> impl Iterator<Item = LotView> {
        let Self { lots, overdue, .. } = self;
        let given_back = move |mut lot: LotView| {
            let back = overdue.get(&lot.lot).copied().unwrap_or_default();
            lot.held -= back;
            lot.remaining = if lot.is_lapsed(now) { 0 } else { lot.remaining + back };
            lot
        };
        lots.into_iter().map(given_back).filter(LotView::has_points)
    }
}

/// An account of which a debt takes something.
struct Repaid {
    settled: Settled,
    place: Place,
    /// All of them: what the debt takes of one depends on those before it.
    lots: Vec<LotView>,
}

async fn repaid(
    conn: &mut PgConnection,
    account: (&str, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Repaid>> {
    let Some(raw) = raw(conn, account, None, i64::MAX, now).await? else { return Ok(None) };
    let (debt, place) = (raw.debt, raw.place);
    let mut lots: Vec<LotView> = raw.given_back(now).collect();
    let mut totals = Totals { debt, ..Totals::default() };
    for lot in &lots {
        totals.free += lot.remaining;
        totals.held += lot.held;
        if lot.is_pending(now) {
            totals.pending += lot.remaining;
        }
    }
    let settled = totals.settled();
    repay(&mut lots, settled, now);
    Ok(Some(Repaid { settled, place, lots }))
}

/// By which one sees that there are more than so many.
fn one_more(max: usize) -> i64 {
    i64::try_from(max).map_or(i64::MAX, |max| max.saturating_add(1))
}

/// Accounts behind `after`, in the order of their ids.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    after: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Summary>> {
    let rows = sqlx::query(PAGE).bind(program).bind(now).bind(after).bind(limit).fetch_all(conn);
    rows.await?.iter().map(summary).collect()
}

fn summary(row: &PgRow) -> sqlx::Result<Summary> {
    let settled = totals(row)?.settled();
    Ok(Summary {
        account: row.try_get("account")?,
        available: settled.available,
        pending: settled.pending,
        held: settled.held,
        debt: settled.debt,
        version: row.try_get("version")?,
        position: row.try_get("position")?,
    })
}

fn totals(row: &PgRow) -> sqlx::Result<Totals> {
    Ok(Totals {
        free: row.try_get("free")?,
        held: row.try_get("held")?,
        debt: row.try_get("debt")?,
        lapsed: row.try_get("lapsed")?,
        pending: row.try_get("pending")?,
        back_active: row.try_get("back_active")?,
        back_pending: row.try_get("back_pending")?,
        back_lapsed: row.try_get("back_lapsed")?,
    })
}

fn place(row: &PgRow) -> sqlx::Result<Place> {
    Ok(Place { version: row.try_get("version")?, position: row.try_get("position")? })
}

/// From all of an account's rows: nothing is held, and no lot is missing.
fn few(account: &str, first: &PgRow, rows: &[PgRow], now: DateTime<Utc>) -> sqlx::Result<Balance> {
    let (free, held, debt) = (first.try_get(0)?, first.try_get(1)?, first.try_get(2)?);
    let mut totals = Totals { free, held, debt, ..Totals::default() };
    let mut lots = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(lot) = lot(row)? else { continue };
        if lot.is_lapsed(now) {
            totals.lapsed += lot.remaining;
            continue;
        }
        if lot.is_pending(now) {
            totals.pending += lot.remaining;
        }
        lots.push(lot);
    }
    let settled = totals.settled();
    repay(&mut lots, settled, now);
    let expiring = dates(&lots);
    let place = Place { version: first.try_get(3)?, position: first.try_get(4)? };
    Ok(Balance::new(account.to_owned(), settled, lots, expiring, place))
}

fn lot(row: &PgRow) -> sqlx::Result<Option<LotView>> {
    let Some(lot) = row.try_get(5)? else { return Ok(None) };
    let source = RawValue::from_string(row.try_get(11)?);
    Ok(Some(LotView {
        lot,
        issued: row.try_get(6)?,
        remaining: row.try_get(7)?,
        held: row.try_get(8)?,
        available_from: row.try_get(9)?,
        expires_at: row.try_get(10)?,
        source: source.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        position: row.try_get(12)?,
    }))
}

fn json<T: DeserializeOwned>(text: Option<&str>) -> sqlx::Result<Vec<T>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
