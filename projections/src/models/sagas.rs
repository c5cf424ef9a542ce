//! Read model: every saga that has not come to its end, with what it is at.
//!
//! Fed by: purchase events. Read by: `GET /v1/sagas`, `GET /v1/sagas/{saga}`, and the gauge
//! `accrue_sagas`.
//! Rebuild: drop the tables and replay; nothing here is a source of truth.
//! Invariants
//! - A row is there exactly while something is left to do: from placing to completion or
//!   rejection, and while a refund is open.
//! - A row says what the fold of the purchase's events says, by the domain's own fold: see
//!   `purchases`. No clock: how old a saga is, its reader works out.

use accrue_domain::aggregate::Kind;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Recorded;
use async_trait::async_trait;
use sqlx::PgConnection;

use crate::copy::Rows;
use crate::model::{Fold, Model};
use crate::models::purchases::{Purchases, Told, remove};
use crate::models::split;

mod read;

pub use read::{Count, Cursor, SagaView, State, by_name, count, page};

/// The model.
pub static MODEL: Model = Model {
    name: "sagas",
    version: 5,
    tables: &["sagas", "saga_purchases"],
    kinds: &[Kind::Purchase],
    ddl: include_str!("sagas.sql"),
    fold: || Box::<Sagas>::default(),
};

/// The kind of saga that a purchase is.
const PURCHASE: &str = "purchase";

/// What the events so far change, by saga.
#[derive(Debug, Default)]
struct Sagas {
    purchases: Purchases,
}

#[async_trait]
impl Fold for Sagas {
    fn event(&mut self, event: &Recorded) -> Result<(), FollowError> {
        self.purchases.event(event);
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        Some(Box::new(Self { purchases: self.purchases.part()? }))
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let told = std::mem::take(&mut self.purchases).told(conn, "saga_purchases").await?;
        remove(conn, "saga_purchases", &told).await?;
        stories(&told)?.send(conn).await?;
        remove_open(conn, &told).await?;
        Ok(open(&told).send(conn).await?)
    }
}

fn stories(told: &[Told]) -> Result<Rows, FollowError> {
    let mut rows = Rows::new("saga_purchases (program, purchase, story, position)", 4);
    for Told { id, story, .. } in told {
        if !story.purchase.is_over_for_good() {
            let (program, purchase) = split(id);
            rows.begin();
            rows.text(program).text(purchase).text(&story.json()?).bigint(story.place.position);
        }
    }
    Ok(rows)
}

/// Takes the rows of these sagas away, whether they come again or not.
async fn remove_open(conn: &mut PgConnection, told: &[Told]) -> sqlx::Result<()> {
    let ids: Vec<_> = told.iter().filter(|it| !it.fresh).map(|it| split(&it.id)).collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM sagas s USING unnest($1::text[], $2::text[]) AS d(program, saga)
          WHERE s.program = d.program AND s.saga = d.saga",
    )
    .bind(ids.iter().map(|(program, _)| *program).collect::<Vec<_>>())
    .bind(ids.iter().map(|(_, id)| name(id)).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

fn open(told: &[Told]) -> Rows {
    let columns = "sagas (program, saga, kind, id, state, step, way, attempts, next_at, since,
                          detail, version, position)";
    let mut rows = Rows::new(columns, 13);
    for Told { id, story, .. } in told {
        let Some(at) = story.purchase.open() else { continue };
        let (program, id) = split(id);
        rows.begin();
        rows.text(program).text(&name(id)).text(PURCHASE).text(id);
        rows.text(at.status.as_str()).text(at.step.as_str()).text(at.way.as_str());
        rows.bigint(at.attempts.into());
        rows.instant(at.next_at).instant(Some(at.since)).optional(at.detail);
        rows.bigint(story.place.version).bigint(story.place.position);
    }
    rows
}

fn name(purchase: &str) -> String {
    format!("{PURCHASE}:{purchase}")
}
