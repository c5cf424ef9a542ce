//! The rows of `campaigns`, written in bulk.

use std::collections::BTreeMap;
use std::sync::Arc;

use accrue_event_store::follow::FollowError;
use chrono::NaiveDate;
use sqlx::{PgConnection, Row as _};

use super::{Award, DayChange, Definition, LotKey};
use crate::copy::Rows;
use crate::model::{Map, expect_rows};
use crate::models::split;

/// Campaigns are few: a statement each.
pub(super) async fn definitions(
    conn: &mut PgConnection,
    changes: BTreeMap<Arc<str>, Definition>,
) -> Result<(), FollowError> {
    for (id, change) in changes {
        match change.created {
            Some(_) => insert(conn, &id, &change).await?,
            None => update(conn, &id, &change).await?,
        }
    }
    Ok(())
}

async fn insert(conn: &mut PgConnection, id: &str, change: &Definition) -> Result<(), FollowError> {
    let (Some(created), Some((version, rules))) = (&change.created, &change.rules) else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO campaigns (program, campaign, name, status, version, rules, stream_version,
                                created_position, created_at, updated_at, position)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(split(id).0)
    .bind(split(id).1)
    .bind(&created.name)
    .bind(change.status)
    .bind(i64::from(*version))
    .bind(rules)
    .bind(change.stream_version)
    .bind(created.position)
    .bind(created.at)
    .bind(change.updated_at)
    .bind(change.position)
    .execute(conn)
    .await?;
    Ok(())
}

async fn update(conn: &mut PgConnection, id: &str, change: &Definition) -> Result<(), FollowError> {
    let (version, rules) = change.rules.as_ref().map(|(v, rules)| (i64::from(*v), rules)).unzip();
    let done = sqlx::query(
        "UPDATE campaigns
            SET status = coalesce($3, status), version = coalesce($4, version),
                rules = coalesce($5, rules), stream_version = $6, updated_at = $7, position = $8
          WHERE program = $1 AND campaign = $2",
    )
    .bind(split(id).0)
    .bind(split(id).1)
    .bind(change.status)
    .bind(version)
    .bind(rules)
    .bind(change.stream_version)
    .bind(change.updated_at)
    .bind(change.position)
    .execute(conn)
    .await?;
    expect_rows("campaigns", 1, done.rows_affected(), change.position)
}

/// Days only grow, so that no check is tested on what is added alone. Several workers add to one,
/// each for its accounts, in whatever order: hence sums, and the greater position.
pub(super) async fn days(
    conn: &mut PgConnection,
    changes: BTreeMap<(String, NaiveDate), DayChange>,
) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO campaign_days AS known
                (program, campaign, day, awards, points, reversed, position)
         SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[], $5::bigint[],
                              $6::bigint[], $7::bigint[])
             ON CONFLICT (program, campaign, day) DO UPDATE
            SET awards = known.awards + EXCLUDED.awards, points = known.points + EXCLUDED.points,
                reversed = known.reversed + EXCLUDED.reversed,
                position = greatest(known.position, EXCLUDED.position)",
    )
    .bind(changes.keys().map(|(id, _)| split(id).0).collect::<Vec<_>>())
    .bind(changes.keys().map(|(id, _)| split(id).1).collect::<Vec<_>>())
    .bind(changes.keys().map(|(_, day)| *day).collect::<Vec<_>>())
    .bind(changes.values().map(|it| it.awards).collect::<Vec<_>>())
    .bind(changes.values().map(|it| it.points).collect::<Vec<_>>())
    .bind(changes.values().map(|it| it.reversed).collect::<Vec<_>>())
    .bind(changes.values().map(|it| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Remembers which campaign made which lot.
pub(super) async fn awards(
    conn: &mut PgConnection,
    awards: Map<LotKey, Award>,
) -> sqlx::Result<()> {
    let mut awards: Vec<_> = awards.into_iter().collect();
    awards.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut rows = Rows::new("campaign_awards (program, account, lot, campaign, position)", 5);
    for ((id, lot), award) in &awards {
        let (program, account) = split(id);
        rows.begin();
        rows.text(program).text(account).text(lot).text(&award.campaign).bigint(award.position);
    }
    rows.send(conn).await
}

/// The campaigns of these lots, where they are a campaign's.
pub(super) async fn campaigns_of(
    conn: &mut PgConnection,
    lots: &[&LotKey],
) -> sqlx::Result<Map<LotKey, String>> {
    if lots.is_empty() {
        return Ok(Map::default());
    }
    let rows = sqlx::query(
        "SELECT d.ordinal, a.campaign
           FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                AS d(program, account, lot, ordinal)
           JOIN campaign_awards a
             ON a.program = d.program AND a.account = d.account AND a.lot = d.lot",
    )
    .bind(lots.iter().map(|(id, _)| split(id).0).collect::<Vec<_>>())
    .bind(lots.iter().map(|(id, _)| split(id).1).collect::<Vec<_>>())
    .bind(lots.iter().map(|(_, lot)| lot.as_str()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let mut known = Map::default();
    for row in rows {
        let ordinal: i64 = row.try_get(0)?;
        let lot = usize::try_from(ordinal - 1).ok().and_then(|at| lots.get(at));
        if let Some(lot) = lot {
            known.insert((*lot).clone(), row.try_get(1)?);
        }
    }
    Ok(known)
}
