//! Read model: what each purchase has come to.
//!
//! Fed by: purchase events. Read by: `GET /v1/purchases`.
//! Rebuild: drop the table and replay; nothing here is a source of truth.
//! Invariant: a row says what the fold of the purchase's events says, by the domain's own fold:
//! see `purchases`. No clock: an order whose time is over is so once that is recorded.

use accrue_domain::aggregate::Kind;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Recorded;
use async_trait::async_trait;
use sqlx::PgConnection;

use crate::copy::Rows;
use crate::model::{Fold, Model};
use crate::models::purchases::{Purchases, Told, poison, remove};
use crate::models::split;

mod read;

pub use read::{Filter, OrderView, page};

/// The model.
pub static MODEL: Model = Model {
    name: "orders",
    version: 5,
    tables: &["orders"],
    kinds: &[Kind::Purchase],
    ddl: include_str!("orders.sql"),
    fold: || Box::<Orders>::default(),
};

/// What the events so far change, by row.
#[derive(Debug, Default)]
struct Orders(Purchases);

#[async_trait]
impl Fold for Orders {
    fn event(&mut self, event: &Recorded) -> Result<(), FollowError> {
        self.0.event(event);
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        Some(Box::new(Self(self.0.part()?)))
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let told = std::mem::take(&mut self.0).told(conn, "orders").await?;
        remove(conn, "orders", &told).await?;
        Ok(rows(&told)?.send(conn).await?)
    }
}

/// All columns anew: most of them are in an index that changes anyway.
fn rows(told: &[Told]) -> Result<Rows, FollowError> {
    let columns = "orders (program, purchase, placed_position, account, state, reason, discount,
                           total, currency, refunded, placed_at, updated_at, version, story,
                           position)";
    let mut rows = Rows::new(columns, 15);
    for Told { id, story, .. } in told {
        let (purchase, place) = (&story.purchase, story.place);
        let order = purchase.order().ok_or_else(|| poison(place.position, "it has no order"))?;
        let (program, name) = split(id);
        rows.begin();
        rows.text(program).text(name).bigint(story.placed_position);
        rows.optional(order.account.as_ref().map(accrue_domain::id::AccountId::as_str));
        rows.text(purchase.status().as_str());
        rows.optional(purchase.trail().reason().map(|it| &*it.code));
        rows.bigint(order.discount());
        rows.bigint(order.total.amount.get()).text(order.total.currency.code());
        rows.bigint(purchase.refunds().refunded());
        rows.instant(Some(order.placed_at)).instant(Some(place.updated_at));
        rows.bigint(place.version).text(&story.json()?).bigint(place.position);
    }
    Ok(rows)
}
