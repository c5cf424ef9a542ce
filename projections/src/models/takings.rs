//! Read model: what was taken and given back, by day, currency and way of paying.
//!
//! Fed by: purchases that are completed, and refunds that are carried out. Read by:
//! `GET /v1/takings`.
//! Rebuild: drop the tables and replay; nothing here is a source of truth.
//! Invariants
//! - A purchase counts on the UTC day of its business time, a refund on that of its recording: it
//!   has no other time. Not the program's day: that would have every row depend on settings that
//!   change, and a fold that reads two kinds of streams in step.
//! - The sums over the tenders of a day are the totals of its purchases, and of its refunds.
//! - Where nothing was paid, nothing is taken: an order for nothing has no tender and no row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::money::Currency;
use accrue_domain::purchase::event::{Event as Purchase, RefundPart};
use accrue_domain::purchase::order::Tender;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::model::{Fold, Map, Model};
use crate::models::purchases::{Id, poison};
use crate::models::split;

mod read;
mod write;

pub use read::{Cursor, Range, TakingsView, is_known, page};

/// The model.
pub static MODEL: Model = Model {
    name: "takings",
    version: 1,
    tables: &["takings", "takings_purchases"],
    kinds: &[Kind::Purchase],
    ddl: include_str!("takings.sql"),
    fold: || Box::<Takings>::default(),
};

/// Purchases and refunds that a load keeps before it writes them.
const PENDING_MAX: usize = 20_000;

/// Program, day, currency and way of paying.
type Key = (String, NaiveDate, Currency, String);

/// What the events so far change.
#[derive(Debug, Default)]
struct Takings {
    days: BTreeMap<Key, Change>,
    purchases: Map<Id, Paid>,
    refunds: Vec<Refund>,
}

#[derive(Debug, Default)]
struct Change {
    sales: i64,
    taken: i64,
    returned: i64,
    points_taken: i64,
    points_returned: i64,
    position: Position,
}

/// How a purchase was paid.
#[derive(Debug)]
struct Paid {
    tenders: String,
    position: Position,
}

#[derive(Debug)]
struct Refund {
    purchase: Id,
    day: NaiveDate,
    currency: Currency,
    parts: Vec<RefundPart>,
    position: Position,
}

#[async_trait]
impl Fold for Takings {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        for event in it.events() {
            let Event::Purchase(event) = event else { continue };
            match event {
                Purchase::PurchaseCompleted { total, tenders, occurred_at, .. } => {
                    self.completed(it, occurred_at.date_naive(), total.currency, tenders);
                }
                Purchase::PurchaseRefunded { amount, parts, .. } => {
                    self.refunds.push(Refund {
                        purchase: Arc::clone(&it.row.aggregate_id),
                        day: it.row.recorded_at.date_naive(),
                        currency: amount.currency,
                        parts: parts.clone(),
                        position: it.position,
                    });
                }
                // Nothing is taken before the end, and nothing given back before it is done.
                Purchase::PurchasePlaced { .. }
                | Purchase::PurchaseStepStarted { .. }
                | Purchase::PurchaseStepDone { .. }
                | Purchase::PurchaseStepRefused { .. }
                | Purchase::PurchaseStepDelayed { .. }
                | Purchase::PurchaseActionRequired { .. }
                | Purchase::PurchaseStepUndone { .. }
                | Purchase::PurchaseCancelled { .. }
                | Purchase::PurchaseTimedOut {}
                | Purchase::PurchaseStuck { .. }
                | Purchase::PurchaseRetried { .. }
                | Purchase::PurchaseStepAbandoned { .. }
                | Purchase::PurchaseRejected { .. }
                | Purchase::PurchaseRefundRequested { .. }
                // What failed behind that is owed still, and given back by somebody in the end.
                | Purchase::PurchaseRefundFailed { .. } => {}
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        let many = self.purchases.len() + self.refunds.len() > PENDING_MAX;
        many.then(|| Box::new(std::mem::take(self)) as Box<dyn Fold>)
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        self.attribute(conn).await?;
        write::purchases(conn, std::mem::take(&mut self.purchases)).await?;
        Ok(write::days(conn, std::mem::take(&mut self.days)).await?)
    }
}

impl Takings {
    fn completed(&mut self, it: &Recorded, day: NaiveDate, currency: Currency, paid: &[Tender]) {
        let mut counted = BTreeSet::new();
        for tender in paid {
            let change = self.day(&it.row.aggregate_id, day, currency, tender.kind(), it.position);
            // Two wallets are one sale.
            change.sales += i64::from(counted.insert(tender.kind()));
            change.taken = change.taken.saturating_add(tender.money().get());
            if let Tender::Points { points, .. } = tender {
                change.points_taken = change.points_taken.saturating_add(points.get());
            }
        }
        if !paid.is_empty() {
            let tenders = paid.iter().map(Tender::kind).collect::<Vec<_>>().join(",");
            let paid = Paid { tenders, position: it.position };
            self.purchases.insert(Arc::clone(&it.row.aggregate_id), paid);
        }
    }

    fn day(
        &mut self,
        purchase: &str,
        day: NaiveDate,
        currency: Currency,
        tender: &str,
        position: Position,
    ) -> &mut Change {
        let key = (split(purchase).0.to_owned(), day, currency, tender.to_owned());
        let change = self.days.entry(key).or_default();
        change.position = change.position.max(position);
        change
    }

    /// Finds how each refunded purchase was paid, among these events or in the table.
    async fn attribute(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let refunds = std::mem::take(&mut self.refunds);
        let ids = refunds.iter().map(|it| &it.purchase);
        let unknown: BTreeSet<_> = ids.filter(|id| !self.purchases.contains_key(*id)).collect();
        let known = write::tenders_of(conn, unknown).await?;
        for Refund { purchase, day, currency, parts, position } in refunds {
            let here = self.purchases.get(&purchase).map(|it| it.tenders.clone());
            let tenders = here.or_else(|| known.get(&purchase).cloned()).unwrap_or_default();
            for part in &parts {
                let at = usize::try_from(part.tender).ok().and_then(|number| number.checked_sub(1));
                let tender = at.and_then(|at| tenders.split(',').nth(at));
                let tender = tender
                    .filter(|kind| !kind.is_empty())
                    .ok_or_else(|| poison(position, format!("it has no tender {}", part.tender)))?;
                let change = self.day(&purchase, day, currency, tender, position);
                change.returned = change.returned.saturating_add(part.money.get());
                let points = change.points_returned.saturating_add(part.points.get());
                change.points_returned = points;
            }
        }
        Ok(())
    }
}
