//! Read model: what each wallet has of each currency.
//!
//! Fed by: wallet events. Read by: `GET /v1/wallets`.
//! Rebuild: drop the table and replay; nothing here is a source of truth.
//! Invariants
//! - Rows are a function of the events alone: no clock. That a hold is overdue is for whoever reads
//!   them, who frees what it set aside, as the log does.
//! - A hold with a deadline has a row while its end is not recorded. Others need none.
//! - `available + held` is what came in and was not captured.

use std::collections::BTreeMap;
use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::id::HoldId;
use accrue_domain::money::{Currency, Money};
use accrue_domain::wallet::event::Event as Wallet;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::copy::Rows;
use crate::model::{Fold, Model, expect_rows};
use crate::models::split;

/// The model.
pub static MODEL: Model = Model {
    name: "wallets",
    version: 2,
    tables: &["wallets", "wallet_holds"],
    kinds: &[Kind::Wallet],
    ddl: include_str!("wallets.sql"),
    fold: || Box::<Wallets>::default(),
};

/// Rows that a load keeps before it writes them: a wallet changes again and again.
const PENDING_MAX: usize = 100_000;

/// What the events so far change, by row, in the order of the tables.
#[derive(Debug, Default)]
struct Wallets {
    rows: BTreeMap<(Arc<str>, Currency), Change>,
    holds: BTreeMap<(Arc<str>, HoldId), HoldChange>,
}

#[derive(Debug)]
enum HoldChange {
    Placed { money: Money, until: DateTime<Utc>, position: Position },
    Ended,
}

#[derive(Debug, Default)]
struct Change {
    available: i64,
    held: i64,
    /// Money came in, so this may be the row's beginning.
    may_begin: bool,
    position: Position,
}

#[async_trait]
impl Fold for Wallets {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        for event in it.events() {
            if let Event::Wallet(event) = event {
                self.wallet_event(it, event);
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        let many = self.rows.len() + self.holds.len() > PENDING_MAX;
        many.then(|| Box::new(std::mem::take(self)) as Box<dyn Fold>)
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        let rows: Vec<_> = std::mem::take(&mut self.rows).into_iter().collect();
        begin(conn, &rows).await?;
        change(conn, &rows).await?;
        Ok(holds(conn, std::mem::take(&mut self.holds)).await?)
    }
}

impl Wallets {
    fn wallet_event(&mut self, it: &Recorded, event: &Wallet) {
        match event {
            Wallet::WalletToppedUp { money, .. } | Wallet::WalletRefunded { money, .. } => {
                let row = self.row(it, *money);
                row.available += money.amount.get();
                row.may_begin = true;
            }
            Wallet::WalletMoneyHeld { hold, money, until, .. } => {
                let row = self.row(it, *money);
                row.available -= money.amount.get();
                row.held += money.amount.get();
                if let Some(until) = *until {
                    let placed = HoldChange::Placed { money: *money, until, position: it.position };
                    self.holds.insert((Arc::clone(&it.row.aggregate_id), hold.clone()), placed);
                }
            }
            Wallet::WalletMoneyCaptured { hold, money, released, .. } => {
                let row = self.row(it, *money);
                row.available += released.get();
                row.held -= money.amount.get() + released.get();
                self.end(it, hold);
            }
            Wallet::WalletMoneyReleased { hold, money, .. } => {
                let row = self.row(it, *money);
                row.available += money.amount.get();
                row.held -= money.amount.get();
                self.end(it, hold);
            }
        }
    }

    fn row(&mut self, it: &Recorded, money: Money) -> &mut Change {
        let key = (Arc::clone(&it.row.aggregate_id), money.currency);
        let row = self.rows.entry(key).or_default();
        row.position = it.position;
        row
    }

    fn end(&mut self, it: &Recorded, hold: &HoldId) {
        self.holds.insert((Arc::clone(&it.row.aggregate_id), hold.clone()), HoldChange::Ended);
    }
}

type Row = ((Arc<str>, Currency), Change);

/// Makes the rows that are not there yet, with nothing in them: a check would be tested on what is
/// added alone if they were made with it.
async fn begin(conn: &mut PgConnection, rows: &[Row]) -> sqlx::Result<()> {
    let rows: Vec<_> = rows.iter().filter(|(_, it)| it.may_begin).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO wallets (program, wallet, currency, available, held, position)
         SELECT d.program, d.wallet, d.currency, 0, 0, 0
           FROM unnest($1::text[], $2::text[], $3::text[]) AS d(program, wallet, currency)
             ON CONFLICT DO NOTHING",
    )
    .bind(rows.iter().map(|((id, _), _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|((id, _), _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|((_, currency), _)| currency.code()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

async fn change(conn: &mut PgConnection, rows: &[Row]) -> Result<(), FollowError> {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let done = sqlx::query(
        "UPDATE wallets w
            SET available = w.available + d.available, held = w.held + d.held,
                position = d.position
           FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                       $6::bigint[]) AS d(program, wallet, currency, available, held, position)
          WHERE w.program = d.program AND w.wallet = d.wallet AND w.currency = d.currency",
    )
    .bind(rows.iter().map(|((id, _), _)| split(id).0).collect::<Vec<_>>())
    .bind(rows.iter().map(|((id, _), _)| split(id).1).collect::<Vec<_>>())
    .bind(rows.iter().map(|((_, currency), _)| currency.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.available).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, it)| it.position).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    expect_rows("wallets", rows.len(), done.rows_affected(), first.position)
}

/// Holds with a deadline that were placed, and any that have ended: whether these had one is not
/// told then. An id may name one hold after another, so rows go before others come.
async fn holds(
    conn: &mut PgConnection,
    changes: BTreeMap<(Arc<str>, HoldId), HoldChange>,
) -> sqlx::Result<()> {
    let columns = "wallet_holds (program, wallet, hold, currency, amount, until, position)";
    if changes.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(columns, 7);
    for ((id, hold), change) in &changes {
        if let HoldChange::Placed { money, until, position } = change {
            let (program, wallet) = split(id);
            rows.begin();
            rows.text(program).text(wallet).text(hold.as_str());
            rows.text(money.currency.code()).bigint(money.amount.get());
            rows.instant(Some(*until)).bigint(*position);
        }
    }
    sqlx::query(
        "DELETE FROM wallet_holds h USING unnest($1::text[], $2::text[], $3::text[])
                                          AS d(program, wallet, hold)
          WHERE h.program = d.program AND h.wallet = d.wallet AND h.hold = d.hold",
    )
    .bind(changes.keys().map(|(id, _)| split(id).0).collect::<Vec<_>>())
    .bind(changes.keys().map(|(id, _)| split(id).1).collect::<Vec<_>>())
    .bind(changes.keys().map(|(_, hold)| hold.as_str()).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    rows.send(conn).await
}

/// A wallet in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WalletSummary)]
pub struct Summary {
    /// The wallet.
    pub wallet: String,
    /// What it has, by currency.
    pub balances: Vec<Balance>,
    /// Position of the last event that changed one of them.
    pub position: i64,
}

/// Money of one currency in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WalletBalance)]
pub struct Balance {
    /// ISO 4217 code.
    #[schema(example = "USD")]
    pub currency: String,
    /// Can be spent.
    pub available: i64,
    /// Set aside by open holds.
    pub held: i64,
}

/// Wallets behind `after`, in the order of their ids. What is overdue then sets nothing aside.
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
    let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT w.wallet, w.currency, w.available + coalesce(overdue.amount, 0),
                w.held - coalesce(overdue.amount, 0), w.position
           FROM wallets w
           LEFT JOIN LATERAL (
                SELECT sum(h.amount)::bigint AS amount
                  FROM wallet_holds h
                 WHERE h.program = w.program AND h.wallet = w.wallet
                   AND h.currency = w.currency AND h.until <= $4) overdue ON TRUE
          WHERE w.program = $1 AND w.wallet IN (
                SELECT DISTINCT wallet FROM wallets
                 WHERE program = $1 AND wallet > $2 ORDER BY wallet LIMIT $3)
          ORDER BY w.wallet, w.currency",
    )
    .bind(program)
    .bind(after)
    .bind(limit)
    .bind(now)
    .fetch_all(conn)
    .await?;
    let mut page: Vec<Summary> = Vec::new();
    for (wallet, currency, available, held, position) in rows {
        if page.last().is_none_or(|last| last.wallet != wallet) {
            page.push(Summary { wallet, balances: Vec::new(), position });
        }
        if let Some(last) = page.last_mut() {
            last.balances.push(Balance { currency, available, held });
            last.position = last.position.max(position);
        }
    }
    Ok(page)
}
