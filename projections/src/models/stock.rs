//! Read model: what each product is, and how much of it there is.
//!
//! Fed by: product events. Read by: `GET /v1/products`, `GET /v1/products/{product}/stock`.
//! Rebuild: drop the tables and replay; nothing here is a source of truth.
//! Invariants
//! - Rows are a function of the events alone: no clock. That a hold is overdue is for whoever
//!   reads them, see `read`.
//! - `held` of goods is the sum over the rows of its holds; a hold's row exists while it is open.
//! - A service sets nothing aside: its counts stay 0.

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::id::HoldId;
use accrue_domain::product::event::Event as Product;
use accrue_domain::product::{Details, Offering};
use accrue_domain::quantity::Quantity;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::model::{Fold, Map, Model};

mod read;
mod view;
mod words;
mod write;

pub use read::{Filter, by_product, page};
pub use view::{Counts, HOLDS_MAX, HoldView, ProductView, Status, StockOf, StockView};

/// The model.
pub static MODEL: Model = Model {
    name: "stock",
    version: 1,
    tables: &["stock_products", "stock_holds"],
    kinds: &[Kind::Product],
    ddl: include_str!("stock.sql"),
    fold: || Box::<Stock>::default(),
};

/// Rows that a load keeps before it writes them. Descriptions are long, so products are not many.
const PRODUCTS_PENDING_MAX: usize = 20_000;
const HOLDS_PENDING_MAX: usize = 20_000;

/// `program/product`, as the log has it.
type Id = Arc<str>;

/// What the events so far change, by row.
#[derive(Debug, Default)]
struct Stock {
    products: Map<Id, ProductChange>,
    holds: Map<(Id, HoldId), HoldChange>,
}

#[derive(Debug, Default)]
struct ProductChange {
    /// Its creation, where that is among the events folded here.
    created: Option<Created>,
    /// What it is called and costs, where that is.
    details: Option<Details>,
    retired: bool,
    /// What a service's holds say of these is left out when it is written: an event of a hold does
    /// not tell what it is of.
    available: i64,
    held: i64,
    version: i64,
    updated_at: DateTime<Utc>,
    position: Position,
}

#[derive(Debug)]
struct Created {
    kind: Offering,
    at: DateTime<Utc>,
}

#[derive(Debug)]
enum HoldChange {
    Placed { quantity: Quantity, until: Option<DateTime<Utc>>, position: Position },
    Ended { position: Position },
}

#[async_trait]
impl Fold for Stock {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        for event in it.events() {
            if let Event::Product(event) = event {
                self.product_event(it, event);
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        let mut part = Self::default();
        if self.products.len() > PRODUCTS_PENDING_MAX {
            part.products = std::mem::take(&mut self.products);
        }
        if self.holds.len() > HOLDS_PENDING_MAX {
            part.holds = std::mem::take(&mut self.holds);
        }
        let some = !(part.products.is_empty() && part.holds.is_empty());
        some.then(|| Box::new(part) as Box<dyn Fold>)
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        write::products(conn, std::mem::take(&mut self.products)).await?;
        write::holds(conn, std::mem::take(&mut self.holds)).await
    }
}

impl Stock {
    /// Sums cannot overflow: an event moves at most `UNITS_MAX` units, and a batch has far fewer
    /// than nine billion of them.
    fn product_event(&mut self, it: &Recorded, event: &Product) {
        let product = self.product(it);
        match event {
            Product::ProductCreated { name, kind, description, image, price } => {
                product.created = Some(Created { kind: *kind, at: it.row.recorded_at });
                let (description, image) = (description.clone(), image.clone());
                let details = Details { name: name.clone(), description, image, price: *price };
                product.details = Some(details);
            }
            Product::ProductChanged { name, description, image, price } => {
                let (description, image) = (description.clone(), image.clone());
                let details = Details { name: name.clone(), description, image, price: *price };
                product.details = Some(details);
            }
            Product::ProductRetired {} => product.retired = true,
            Product::StockAdjusted { delta, .. } => product.available += delta.get(),
            Product::StockHeld { hold, quantity, until, .. } => {
                product.available -= quantity.get();
                product.held += quantity.get();
                let (quantity, until) = (*quantity, *until);
                let placed = HoldChange::Placed { quantity, until, position: it.position };
                self.holds.insert((Arc::clone(&it.row.aggregate_id), hold.clone()), placed);
            }
            Product::StockCaptured { hold, quantity, released, .. } => {
                product.available += released.get();
                product.held -= quantity.get() + released.get();
                self.end(it, hold);
            }
            Product::StockReleased { hold, quantity, .. } => {
                product.available += quantity.get();
                product.held -= quantity.get();
                self.end(it, hold);
            }
        }
    }

    /// Times are those of the log: a delivery may be dated back to before its product was created.
    fn product(&mut self, it: &Recorded) -> &mut ProductChange {
        let product = self.products.entry(Arc::clone(&it.row.aggregate_id)).or_default();
        product.version = it.sequence;
        product.updated_at = it.row.recorded_at;
        product.position = it.position;
        product
    }

    fn end(&mut self, it: &Recorded, hold: &HoldId) {
        let key = (Arc::clone(&it.row.aggregate_id), hold.clone());
        // Placed and ended among the same events: there never was a row.
        if self.holds.remove(&key).is_none() {
            self.holds.insert(key, HoldChange::Ended { position: it.position });
        }
    }
}
