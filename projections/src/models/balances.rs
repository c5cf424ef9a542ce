//! Read model: what each account has.
//!
//! Fed by: account events. Read by: `GET /v1/accounts`, `GET /v1/accounts/{account}` and its
//! `/lots`.
//! Rebuild: drop the tables and replay; nothing here is a source of truth.
//! Invariants
//! - Rows are a function of the events alone: no clock. What time does to them (a lot starts or
//!   lapses, a hold is overdue) is for whoever reads them, see `read`.
//! - An account's `free` and `held` are the sums over its lots; a lot's row exists while it has
//!   points, or points of it that a captured hold spent may come back.

use std::sync::Arc;

use accrue_domain::account::event::{Event as Account, Grace, Part};
use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::id::{HoldId, LotId};
use accrue_domain::points::Points;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use crate::model::{Fold, Map, Model};

mod at;
mod balance;
mod read;
mod settled;
mod write;

pub use at::{at, lots_at};
pub use balance::{Balance, EXPIRING_MAX, Expiring, LOTS_MAX, LotKey, LotView};
pub use read::{Summary, by_account, lots, page};

/// The model.
pub static MODEL: Model = Model {
    name: "balances",
    version: 3,
    tables: &["balance_accounts", "balance_lots", "balance_holds"],
    kinds: &[Kind::Account],
    ddl: include_str!("balances.sql"),
    fold: || Box::<Balances>::default(),
};

/// Rows that a load keeps before it writes them. Accounts change with every event and are worth
/// keeping, lots mostly come and stay.
const ACCOUNTS_PENDING_MAX: usize = 200_000;
const LOTS_PENDING_MAX: usize = 20_000;

/// `program/account`, as the log has it.
type Id = Arc<str>;

/// What the events so far change, by row.
#[derive(Debug, Default)]
struct Balances {
    accounts: Map<Id, AccountChange>,
    lots: Map<(Id, LotId), LotChange>,
    holds: Map<(Id, HoldId), HoldChange>,
}

#[derive(Debug, Default)]
struct AccountChange {
    /// Its first event is among those folded here.
    is_new: bool,
    free: i64,
    held: i64,
    debt: i64,
    version: i64,
    position: Position,
}

#[derive(Debug, Default)]
struct LotChange {
    /// Its issue, where that is among the events folded here.
    issue: Option<Issue>,
    free: i64,
    held: i64,
    captured: i64,
    position: Position,
}

#[derive(Debug)]
struct Issue {
    points: Points,
    available_from: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    source: String,
    position: Position,
}

#[derive(Debug)]
enum HoldChange {
    Placed { points: Points, parts: String, until: Option<DateTime<Utc>>, position: Position },
    Ended { position: Position },
}

#[async_trait]
impl Fold for Balances {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        for event in it.events() {
            if let Event::Account(event) = event {
                self.account_event(it, event)?;
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        let mut part = Self::default();
        if self.accounts.len() > ACCOUNTS_PENDING_MAX {
            part.accounts = std::mem::take(&mut self.accounts);
        }
        if self.lots.len() > LOTS_PENDING_MAX {
            part.lots = std::mem::take(&mut self.lots);
        }
        if self.holds.len() > LOTS_PENDING_MAX {
            part.holds = std::mem::take(&mut self.holds);
        }
        let some = !(part.accounts.is_empty() && part.lots.is_empty() && part.holds.is_empty());
        some.then(|| Box::new(part) as Box<dyn Fold>)
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        write::accounts(conn, std::mem::take(&mut self.accounts)).await?;
        write::lots(conn, std::mem::take(&mut self.lots)).await?;
        write::holds(conn, std::mem::take(&mut self.holds)).await
    }
}

impl Balances {
    fn account_event(&mut self, it: &Recorded, event: &Account) -> Result<(), FollowError> {
        let id = &it.row.aggregate_id;
        let account = self.account(it);
        match event {
            Account::AccountOpened {} => {}
            Account::PointsIssued { lot, points, available_from, expires_at, source, .. } => {
                account.free += points.get();
                let issue = Issue {
                    points: *points,
                    available_from: *available_from,
                    expires_at: *expires_at,
                    source: serde_json::to_string(source).map_err(|e| poison(it, &e))?,
                    position: it.position,
                };
                self.issue(it, lot, issue)?;
            }
            Account::PointsCredited { lot, points, expires_at, reason, actor, .. } => {
                account.free += points.get();
                let issue = Issue {
                    points: *points,
                    available_from: None,
                    expires_at: *expires_at,
                    source: adjustment(reason, actor).to_string(),
                    position: it.position,
                };
                self.issue(it, lot, issue)?;
            }
            Account::PointsRedeemed { lots, .. }
            | Account::PointsDebited { lots, .. }
            | Account::PointsExpired { lots, .. } => self.take(it, lots),
            Account::PointsReversed { lots, debt, .. } => {
                account.debt += debt.get();
                self.take(it, lots);
            }
            Account::DebtRepaid { points, lots } => {
                account.debt -= points.get();
                self.take(it, lots);
            }
            Account::HoldPlaced { hold, points, lots, until, .. } => {
                let parts = serde_json::to_string(lots).map_err(|error| poison(it, &error))?;
                let placed = HoldChange::Placed {
                    points: *points,
                    parts,
                    until: *until,
                    position: it.position,
                };
                self.holds.insert((Arc::clone(id), hold.clone()), placed);
                self.change(it, lots, -1, 1);
            }
            Account::HoldCaptured { hold, lots, released, .. } => {
                self.end(it, hold);
                self.change(it, lots, 0, -1);
                self.capture(it, lots, 1);
                self.change(it, released, 1, -1);
            }
            Account::HoldReleased { hold, lots, .. } => {
                self.end(it, hold);
                self.change(it, lots, 1, -1);
            }
            Account::PointsRestored { hold, lots, grace, .. } => {
                self.change(it, lots, 1, 0);
                self.capture(it, lots, -1);
                if let Some(Grace { lot, points, expires_at }) = grace {
                    self.account(it).free += points.get();
                    let issue = Issue {
                        points: *points,
                        available_from: None,
                        expires_at: Some(*expires_at),
                        source: restored(hold).to_string(),
                        position: it.position,
                    };
                    self.issue(it, lot, issue)?;
                }
            }
        }
        Ok(())
    }

    fn account(&mut self, it: &Recorded) -> &mut AccountChange {
        let account = self.accounts.entry(Arc::clone(&it.row.aggregate_id)).or_default();
        account.is_new |= it.sequence == 1;
        account.version = it.sequence;
        account.position = it.position;
        account
    }

    fn lot(&mut self, it: &Recorded, lot: &LotId) -> &mut LotChange {
        let lot = self.lots.entry((Arc::clone(&it.row.aggregate_id), lot.clone())).or_default();
        lot.position = it.position;
        lot
    }

    fn issue(&mut self, it: &Recorded, lot: &LotId, issue: Issue) -> Result<(), FollowError> {
        let change = self.lot(it, lot);
        if change.issue.is_some() {
            return Err(poison(it, &format_args!("lot {lot} was issued twice")));
        }
        change.free += issue.points.get();
        change.issue = Some(issue);
        Ok(())
    }

    fn take(&mut self, it: &Recorded, parts: &[Part]) {
        self.change(it, parts, -1, 0);
    }

    /// Moves parts in or out of what is free and what is held. Sums cannot overflow: a part is at
    /// most `Points::MAX`, and a batch has far fewer than nine million of them.
    fn change(&mut self, it: &Recorded, parts: &[Part], free: i64, held: i64) {
        let mut sum = 0;
        for Part { lot, points } in parts {
            let change = self.lot(it, lot);
            change.free += free * points.get();
            change.held += held * points.get();
            sum += points.get();
        }
        let account = self.account(it);
        account.free += free * sum;
        account.held += held * sum;
    }

    /// Notes what captured holds spent of each lot, and what came back.
    fn capture(&mut self, it: &Recorded, parts: &[Part], sign: i64) {
        for Part { lot, points } in parts {
            self.lot(it, lot).captured += sign * points.get();
        }
    }

    fn end(&mut self, it: &Recorded, hold: &HoldId) {
        let key = (Arc::clone(&it.row.aggregate_id), hold.clone());
        // Placed and ended among the same events: there never was a row.
        if self.holds.remove(&key).is_none() {
            self.holds.insert(key, HoldChange::Ended { position: it.position });
        }
    }
}

/// What made a lot that was credited by hand, in the form of the other sources.
fn adjustment(reason: &str, actor: &str) -> serde_json::Value {
    json!({"kind": "adjustment", "reason": reason, "actor": actor})
}

/// What made a lot of points that came back too late for their own, in the form of the others.
fn restored(hold: &HoldId) -> serde_json::Value {
    json!({"kind": "restored", "hold": hold})
}

fn poison(it: &Recorded, reason: &dyn std::fmt::Display) -> FollowError {
    FollowError::Poison { position: it.position, reason: reason.to_string() }
}
