//! The rows of `balances`, written in bulk. Keys go in order, so that neighbours share pages.

use std::collections::HashMap;

use accrue_domain::id::{HoldId, LotId};
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Position;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{AccountChange, HoldChange, Id, LotChange};
use crate::model::expect_rows;
use crate::models::split;

/// New accounts, and what changes in others.
pub(super) async fn accounts(
    conn: &mut PgConnection,
    changes: HashMap<Id, AccountChange>,
) -> Result<(), FollowError> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (fresh, known): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, it)| it.is_new);
    let insert = "INSERT INTO balance_accounts
                         (program, account, free, held, debt, version, position)
                  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[],
                                       $5::bigint[], $6::bigint[], $7::bigint[])";
    let update = "UPDATE balance_accounts a
                     SET free = a.free + d.free, held = a.held + d.held, debt = a.debt + d.debt,
                         version = d.version, position = d.position
                    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                                $6::bigint[], $7::bigint[])
                         AS d(program, account, free, held, debt, version, position)
                   WHERE a.program = d.program AND a.account = d.account";
    for (sql, rows) in [(insert, fresh), (update, known)] {
        let Some((_, first)) = rows.first() else { continue };
        let done = sqlx::query(sql)
            .bind(rows.iter().map(|(id, _)| split(id).0).collect::<Vec<_>>())
            .bind(rows.iter().map(|(id, _)| split(id).1).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, it)| it.free).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, it)| it.debt).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, it)| it.version).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
            .execute(&mut *conn)
            .await?;
        expect_rows("accounts", rows.len(), done.rows_affected(), first.position)?;
    }
    Ok(())
}

/// New lots that have points left, and what changes in others.
pub(super) async fn lots(
    conn: &mut PgConnection,
    changes: HashMap<(Id, LotId), LotChange>,
) -> Result<(), FollowError> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (fresh, known): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|(_, it)| it.issue.is_some());
    new_lots(conn, &fresh).await?;
    known_lots(conn, &known).await
}

async fn new_lots(
    conn: &mut PgConnection,
    rows: &[((Id, LotId), LotChange)],
) -> Result<(), FollowError> {
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|((id, lot), it)| Some((split(id), lot, it, it.issue.as_ref()?)))
        .filter(|(_, _, it, _)| it.free != 0 || it.held != 0)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO balance_lots (program, account, lot, issued, free, held, available_from,
                                   expires_at, source, issued_position, position)
         SELECT d.program, d.account, d.lot, d.issued, d.free, d.held, d.available_from,
                coalesce(d.expires_at, 'infinity'), d.source, d.issued_position, d.position
           FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                       $7::timestamptz[], $8::timestamptz[], $9::text[], $10::bigint[],
                       $11::bigint[])
                AS d(program, account, lot, issued, free, held, available_from, expires_at, source,
                     issued_position, position)",
    )
    .bind(rows.iter().map(|(id, ..)| id.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, ..)| id.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, lot, ..)| lot.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., issue)| issue.points.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, it, _)| it.free).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, it, _)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., issue)| issue.available_from).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., issue)| issue.expires_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., issue)| issue.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., issue)| issue.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, it, _)| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A lot without points left is deleted, which costs less than a row that nobody reads.
async fn known_lots(
    conn: &mut PgConnection,
    rows: &[((Id, LotId), LotChange)],
) -> Result<(), FollowError> {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let found: i64 = sqlx::query_scalar(
        "WITH d AS MATERIALIZED (
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                                  $6::bigint[]) AS d(program, account, lot, free, held, position)
         ), gone AS (
             DELETE FROM balance_lots l USING d
              WHERE l.program = d.program AND l.account = d.account AND l.lot = d.lot
                AND l.free + d.free = 0 AND l.held + d.held = 0
             RETURNING 1
         ), changed AS (
             UPDATE balance_lots l
                SET free = l.free + d.free, held = l.held + d.held, position = d.position
               FROM d
              WHERE l.program = d.program AND l.account = d.account AND l.lot = d.lot
                AND NOT (l.free + d.free = 0 AND l.held + d.held = 0)
             RETURNING 1
         )
         SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM changed)",
    )
    .bind(rows.iter().map(|((id, _), _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|((id, _), _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|((_, lot), _)| lot.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.free).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
    .fetch_one(conn)
    .await?;
    expect_rows("lots", rows.len(), found.unsigned_abs(), first.position)
}

/// A hold that was placed: its key, points, parts, deadline and position.
type Placed<'a> = (&'a Id, &'a HoldId, i64, &'a str, Option<DateTime<Utc>>, Position);

/// Holds that were placed or have ended.
pub(super) async fn holds(
    conn: &mut PgConnection,
    changes: HashMap<(Id, HoldId), HoldChange>,
) -> Result<(), FollowError> {
    let (mut placed, mut ended): (Vec<Placed<'_>>, Vec<_>) = (Vec::new(), Vec::new());
    for ((id, hold), change) in &changes {
        match change {
            HoldChange::Placed { points, parts, until, position } => {
                placed.push((id, hold, points.get(), parts, *until, *position));
            }
            HoldChange::Ended { position } => ended.push((id, hold, *position)),
        }
    }
    if !placed.is_empty() {
        insert_holds(&mut *conn, &placed).await?;
    }
    let Some((_, _, position)) = ended.first() else { return Ok(()) };
    let done = sqlx::query(
        "DELETE FROM balance_holds h USING unnest($1::text[], $2::text[], $3::text[])
                                           AS d(program, account, hold)
          WHERE h.program = d.program AND h.account = d.account AND h.hold = d.hold",
    )
    .bind(ended.iter().map(|(id, ..)| split(id).0).collect::<Vec<_>>())
    .bind(ended.iter().map(|(id, ..)| split(id).1).collect::<Vec<_>>())
    .bind(ended.iter().map(|(_, hold, _)| hold.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("holds", ended.len(), done.rows_affected(), *position)
}

async fn insert_holds(conn: &mut PgConnection, placed: &[Placed<'_>]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO balance_holds (program, account, hold, points, parts, until, position)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[],
                              $6::timestamptz[], $7::bigint[])",
    )
    .bind(placed.iter().map(|it| split(it.0).0).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| split(it.0).1).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| it.1.as_str()).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| it.2).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| it.3).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| it.4).collect::<Vec<_>>())
    .bind(placed.iter().map(|it| it.5).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
