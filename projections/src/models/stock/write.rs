//! The rows of `stock`, written in bulk. Keys go in order, so that neighbours share pages.

use accrue_domain::id::HoldId;
use accrue_domain::product::{Details, Offering};
use accrue_event_store::follow::FollowError;
use sqlx::PgConnection;

use super::{Created, HoldChange, Id, ProductChange, Status, words};
use crate::copy::Rows;
use crate::model::{Map, expect_rows};
use crate::models::split;

/// New products, and what changes in others.
pub(super) async fn products(
    conn: &mut PgConnection,
    changes: Map<Id, ProductChange>,
) -> Result<(), FollowError> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (mut fresh, mut known, mut renamed) = (Vec::new(), Vec::new(), Vec::new());
    for (id, it) in &changes {
        match (&it.created, &it.details) {
            (Some(created), Some(details)) => fresh.push((id, it, created, details)),
            (_, details) => {
                known.push((id, it));
                renamed.extend(details.as_ref().map(|details| (id, it, details)));
            }
        }
    }
    new_products(conn, &fresh).await?;
    known_products(conn, &known).await?;
    renamed_products(conn, &renamed).await
}

async fn new_products(
    conn: &mut PgConnection,
    rows: &[(&Id, &ProductChange, &Created, &Details)],
) -> Result<(), FollowError> {
    if rows.is_empty() {
        return Ok(());
    }
    let counted = |units, created: &Created| match created.kind {
        Offering::Goods => units,
        Offering::Service => 0,
    };
    sqlx::query(
        "INSERT INTO stock_products (program, product, name, description, image, price, currency,
                                     kind, status, available, held, words, version, created_at,
                                     updated_at, position)
         SELECT program, product, name, description, image, price, currency, kind, status,
                available, held, array_to_tsvector(string_to_array(words, ' ')), version,
                created_at, updated_at, position
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                       $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[],
                       $12::text[], $13::bigint[], $14::timestamptz[], $15::timestamptz[],
                       $16::bigint[])
                AS d(program, product, name, description, image, price, currency, kind, status,
                     available, held, words, version, created_at, updated_at, position)",
    )
    .bind(rows.iter().map(|(id, ..)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, ..)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| &*details.name).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.description.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.image.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.price.amount.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.price.currency.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, created, _)| created.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, ..)| status(it).as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, made, _)| counted(it.available, made)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, made, _)| counted(it.held, made)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, .., details)| found_by(id, details)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, ..)| it.version).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, created, _)| created.at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, ..)| it.updated_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it, ..)| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

fn status(change: &ProductChange) -> Status {
    if change.retired { Status::Retired } else { Status::Active }
}

fn found_by(id: &str, details: &Details) -> String {
    let (program, product) = split(id);
    let description = details.description.as_deref().unwrap_or_default();
    words::indexed(program, &[product, &details.name, description])
}

/// What holds and deliveries change, and whether it is retired: a short row, since it is often.
async fn known_products(
    conn: &mut PgConnection,
    rows: &[(&Id, &ProductChange)],
) -> Result<(), FollowError> {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let done = sqlx::query(
        "UPDATE stock_products p
            SET available = p.available + CASE p.kind WHEN 'goods' THEN d.available ELSE 0 END,
                held = p.held + CASE p.kind WHEN 'goods' THEN d.held ELSE 0 END,
                status = CASE WHEN d.retired THEN 'retired' ELSE p.status END,
                version = d.version, updated_at = d.updated_at, position = d.position
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[],
                       $6::bigint[], $7::timestamptz[], $8::bigint[])
                AS d(program, product, available, held, retired, version, updated_at, position)
          WHERE p.program = d.program AND p.product = d.product",
    )
    .bind(rows.iter().map(|(id, _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.available).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.retired).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.version).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.updated_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("products", rows.len(), done.rows_affected(), first.position)
}

/// What products are called and cost from here on.
async fn renamed_products(
    conn: &mut PgConnection,
    rows: &[(&Id, &ProductChange, &Details)],
) -> Result<(), FollowError> {
    let Some((_, first, _)) = rows.first() else { return Ok(()) };
    let done = sqlx::query(
        "UPDATE stock_products p
            SET name = d.name, description = d.description, image = d.image, price = d.price,
                currency = d.currency, words = array_to_tsvector(string_to_array(d.words, ' '))
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                       $7::text[], $8::text[])
                AS d(program, product, name, description, image, price, currency, words)
          WHERE p.program = d.program AND p.product = d.product",
    )
    .bind(rows.iter().map(|(id, ..)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, ..)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| &*details.name).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.description.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.image.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.price.amount.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., details)| details.price.currency.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _, details)| found_by(id, details)).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("products", rows.len(), done.rows_affected(), first.position)
}

/// Holds that were placed or have ended.
pub(super) async fn holds(
    conn: &mut PgConnection,
    changes: Map<(Id, HoldId), HoldChange>,
) -> Result<(), FollowError> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut ended = Vec::new();
    let mut rows = Rows::new("stock_holds (program, product, hold, quantity, until, position)", 6);
    for ((id, hold), change) in &changes {
        match change {
            HoldChange::Placed { quantity, until, position } => {
                let (program, product) = split(id);
                rows.begin();
                rows.text(program).text(product).text(hold.as_str()).bigint(quantity.get());
                match until {
                    Some(until) => rows.instant(Some(*until)),
                    None => rows.never(),
                };
                rows.bigint(*position);
            }
            HoldChange::Ended { position } => ended.push((id, hold, *position)),
        }
    }
    rows.send(&mut *conn).await?;
    let Some((_, _, position)) = ended.first() else { return Ok(()) };
    let done = sqlx::query(
        "DELETE FROM stock_holds h USING unnest($1::text[], $2::text[], $3::text[])
                                         AS d(program, product, hold)
          WHERE h.program = d.program AND h.product = d.product AND h.hold = d.hold",
    )
    .bind(ended.iter().map(|(id, ..)| split(id).0).collect::<Vec<_>>())
    .bind(ended.iter().map(|(id, ..)| split(id).1).collect::<Vec<_>>())
    .bind(ended.iter().map(|(_, hold, _)| hold.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("holds", ended.len(), done.rows_affected(), *position)
}
