//! The state as it is kept in a snapshot: lists only; the orders are rebuilt on reading.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fold::Damage;
use super::lots::{Lot, Lots};
use super::{Account, Holds};
use crate::digest::Digest;
use crate::id::{LotId, SaleId};
use crate::points::Points;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Account")]
pub(super) struct Snapshot {
    opened: bool,
    debt: Points,
    /// In the order of issue.
    lots: Vec<LotRow>,
    holds: Holds,
    damage: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LotRow {
    id: LotId,
    issued: Points,
    free: Points,
    held: Points,
    reversed: Points,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    available_from: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sale: Option<SaleId>,
    digest: Digest,
}

impl From<Account> for Snapshot {
    fn from(account: Account) -> Self {
        let mut lots: Vec<(&LotId, &Lot)> = account.lots.iter().collect();
        lots.sort_by_key(|(_, lot)| lot.sequence);
        let lots = lots.into_iter().map(|(id, lot)| row(id, lot)).collect();
        Self {
            opened: account.opened,
            debt: account.debt,
            lots,
            holds: account.holds,
            damage: account.damage,
        }
    }
}

fn row(id: &LotId, lot: &Lot) -> LotRow {
    LotRow {
        id: id.clone(),
        issued: lot.issued,
        free: lot.free,
        held: lot.held,
        reversed: lot.reversed,
        available_from: lot.available_from,
        expires_at: lot.expires_at,
        sale: lot.sale.clone(),
        digest: lot.digest,
    }
}

impl TryFrom<Snapshot> for Account {
    type Error = Damage;

    fn try_from(snapshot: Snapshot) -> Result<Self, Damage> {
        let mut lots = Lots::default();
        for (sequence, row) in (0_u64..).zip(snapshot.lots) {
            let lot = Lot {
                sequence,
                issued: row.issued,
                free: row.free,
                held: row.held,
                reversed: row.reversed,
                available_from: row.available_from,
                expires_at: row.expires_at,
                sale: row.sale,
                digest: row.digest,
            };
            lots.insert(&row.id, lot)?;
        }
        Ok(Self {
            opened: snapshot.opened,
            lots,
            holds: snapshot.holds,
            debt: snapshot.debt,
            damage: snapshot.damage,
        })
    }
}
