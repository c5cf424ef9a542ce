//! The rows of `balances`, written in bulk. Keys go in order, so that neighbours share pages.

use accrue_domain::id::{HoldId, LotId};
use accrue_event_store::follow::FollowError;
use sqlx::PgConnection;

use super::{AccountChange, HoldChange, Id, LotChange};
use crate::copy::Rows;
use crate::model::{Map, expect_rows};
use crate::models::split;

/// New accounts, and what changes in others.
pub(super) async fn accounts(
    conn: &mut PgConnection,
    changes: Map<Id, AccountChange>,
) -> Result<(), FollowError> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (fresh, known): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, it)| it.is_new);
    let mut rows =
        Rows::new("balance_accounts (program, account, free, held, debt, version, position)", 7);
    for (id, it) in fresh {
        let (program, account) = split(id);
        rows.begin();
        rows.text(program).text(account).bigint(it.free).bigint(it.held).bigint(it.debt);
        rows.bigint(it.version).bigint(it.position);
    }
    rows.send(&mut *conn).await?;
    known_accounts(conn, &known).await
}

async fn known_accounts(
    conn: &mut PgConnection,
    rows: &[&(Id, AccountChange)],
) -> Result<(), FollowError> {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let done = sqlx::query(
        "UPDATE balance_accounts a
            SET free = a.free + d.free, held = a.held + d.held, debt = a.debt + d.debt,
                version = d.version, position = d.position
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                       $6::bigint[], $7::bigint[])
                AS d(program, account, free, held, debt, version, position)
          WHERE a.program = d.program AND a.account = d.account",
    )
    .bind(rows.iter().map(|(id, _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.free).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.debt).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.version).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("accounts", rows.len(), done.rows_affected(), first.position)
}

/// New lots that have points left or may get some back, and what changes in others.
pub(super) async fn lots(
    conn: &mut PgConnection,
    changes: Map<(Id, LotId), LotChange>,
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
    lots: &[((Id, LotId), LotChange)],
) -> Result<(), FollowError> {
    let mut rows = Rows::new(
        "balance_lots (program, account, lot, issued, free, held, captured, available_from,
                       expires_at, source, issued_position, position)",
        12,
    );
    for ((id, lot), it) in lots {
        let stays = it.free != 0 || it.held != 0 || it.captured != 0;
        let Some(issue) = it.issue.as_ref().filter(|_| stays) else { continue };
        let (program, account) = split(id);
        rows.begin();
        rows.text(program).text(account).text(lot.as_str());
        rows.bigint(issue.points.get()).bigint(it.free).bigint(it.held).bigint(it.captured);
        rows.instant(issue.available_from);
        match issue.expires_at {
            Some(at) => rows.instant(Some(at)),
            None => rows.never(),
        };
        rows.text(&issue.source).bigint(issue.position).bigint(it.position);
    }
    Ok(rows.send(conn).await?)
}

/// A lot without points left, and without any that may come back, is deleted, which costs less than a row that nobody reads.
async fn known_lots(
    conn: &mut PgConnection,
    rows: &[((Id, LotId), LotChange)],
) -> Result<(), FollowError> {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let found: i64 = sqlx::query_scalar(
        "WITH d AS MATERIALIZED (
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                                  $6::bigint[], $7::bigint[])
                    AS d(program, account, lot, free, held, captured, position)
         ), gone AS (
             DELETE FROM balance_lots l USING d
              WHERE l.program = d.program AND l.account = d.account AND l.lot = d.lot
                AND l.free + d.free = 0 AND l.held + d.held = 0 AND l.captured + d.captured = 0
             RETURNING 1
         ), changed AS (
             UPDATE balance_lots l
                SET free = l.free + d.free, held = l.held + d.held,
                    captured = l.captured + d.captured, position = d.position
               FROM d
              WHERE l.program = d.program AND l.account = d.account AND l.lot = d.lot
                AND NOT (l.free + d.free = 0 AND l.held + d.held = 0
                         AND l.captured + d.captured = 0)
             RETURNING 1
         )
         SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM changed)",
    )
    .bind(rows.iter().map(|((id, _), _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|((id, _), _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|((_, lot), _)| lot.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.free).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.captured).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
    .fetch_one(conn)
    .await?;
    expect_rows("lots", rows.len(), found.unsigned_abs(), first.position)
}

/// Holds that were placed or have ended.
pub(super) async fn holds(
    conn: &mut PgConnection,
    changes: Map<(Id, HoldId), HoldChange>,
) -> Result<(), FollowError> {
    let mut ended = Vec::new();
    let mut rows =
        Rows::new("balance_holds (program, account, hold, points, parts, until, position)", 7);
    for ((id, hold), change) in &changes {
        match change {
            HoldChange::Placed { points, parts, until, position } => {
                let (program, account) = split(id);
                rows.begin();
                rows.text(program).text(account).text(hold.as_str()).bigint(points.get());
                rows.text(parts).instant(*until).bigint(*position);
            }
            HoldChange::Ended { position } => ended.push((id, hold, *position)),
        }
    }
    rows.send(&mut *conn).await?;
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
