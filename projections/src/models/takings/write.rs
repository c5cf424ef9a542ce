//! The rows of `takings`, written in bulk.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::{Change, Key, Paid};
use crate::copy::Rows;
use crate::model::Map;
use crate::models::purchases::Id;
use crate::models::split;

/// Remembers how purchases were paid. Each is completed once.
pub(super) async fn purchases(
    conn: &mut PgConnection,
    purchases: Map<Id, Paid>,
) -> sqlx::Result<()> {
    let mut purchases: Vec<_> = purchases.into_iter().collect();
    purchases.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut rows = Rows::new("takings_purchases (program, purchase, tenders, position)", 4);
    for (id, Paid { tenders, position }) in &purchases {
        let (program, purchase) = split(id);
        rows.begin();
        rows.text(program).text(purchase).text(tenders).bigint(*position);
    }
    rows.send(conn).await
}

/// How purchases were paid that were completed before.
pub(super) async fn tenders_of(
    conn: &mut PgConnection,
    ids: BTreeSet<&Id>,
) -> sqlx::Result<Map<Id, String>> {
    if ids.is_empty() {
        return Ok(Map::default());
    }
    let rows = sqlx::query(
        "SELECT p.program || '/' || p.purchase AS id, p.tenders
           FROM unnest($1::text[], $2::text[]) AS d(program, purchase)
           JOIN takings_purchases p ON p.program = d.program AND p.purchase = d.purchase",
    )
    .bind(ids.iter().map(|id| split(id).0).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| split(id).1).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let pair = |row: sqlx::postgres::PgRow| -> sqlx::Result<(Id, String)> {
        Ok((row.try_get::<&str, _>("id")?.into(), row.try_get("tenders")?))
    };
    rows.into_iter().map(pair).collect()
}

/// Days only grow. Several workers add to one, each for its purchases, in whatever order. Numbers
/// are summed as such and cut, where Postgres would refuse the sum.
pub(super) async fn days(
    conn: &mut PgConnection,
    changes: BTreeMap<Key, Change>,
) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let values = changes.values();
    sqlx::query(
        "INSERT INTO takings AS known (program, day, currency, tender, sales, taken, returned,
                                       points_taken, points_returned, position)
         SELECT * FROM unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::bigint[],
                              $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                              $10::bigint[])
             ON CONFLICT (program, day, currency, tender) DO UPDATE
            SET sales = known.sales + EXCLUDED.sales,
                taken = least(known.taken::numeric + EXCLUDED.taken, 9223372036854775807),
                returned = least(known.returned::numeric + EXCLUDED.returned,
                                 9223372036854775807),
                points_taken = least(known.points_taken::numeric + EXCLUDED.points_taken,
                                     9223372036854775807),
                points_returned = least(known.points_returned::numeric + EXCLUDED.points_returned,
                                        9223372036854775807),
                position = greatest(known.position, EXCLUDED.position)",
    )
    .bind(changes.keys().map(|(program, ..)| &**program).collect::<Vec<_>>())
    .bind(changes.keys().map(|(_, day, ..)| *day).collect::<Vec<_>>())
    .bind(changes.keys().map(|(_, _, currency, _)| currency.code()).collect::<Vec<_>>())
    .bind(changes.keys().map(|(.., tender)| &**tender).collect::<Vec<_>>())
    .bind(values.clone().map(|it| it.sales).collect::<Vec<_>>())
    .bind(values.clone().map(|it| it.taken).collect::<Vec<_>>())
    .bind(values.clone().map(|it| it.returned).collect::<Vec<_>>())
    .bind(values.clone().map(|it| it.points_taken).collect::<Vec<_>>())
    .bind(values.clone().map(|it| it.points_returned).collect::<Vec<_>>())
    .bind(values.map(|it| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
