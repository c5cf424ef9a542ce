//! The state as it is kept in a snapshot: lists only; the orders are rebuilt on reading.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fold::Damage;
use super::holds::{Hold, Holds};
use super::{Listing, Product};
use crate::id::HoldId;
use crate::quantity::Units;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Product")]
pub(super) struct Snapshot {
    listing: Option<Listing>,
    available: Units,
    held: Units,
    holds: Vec<HoldRow>,
    damage: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HoldRow {
    id: HoldId,
    hold: Hold,
}

impl From<Product> for Snapshot {
    fn from(product: Product) -> Self {
        let holds = product.holds.iter();
        let holds = holds.map(|(id, hold)| HoldRow { id: id.clone(), hold: hold.clone() });
        Self {
            holds: holds.collect(),
            listing: product.listing,
            available: product.available,
            held: product.held,
            damage: product.damage,
        }
    }
}

impl TryFrom<Snapshot> for Product {
    type Error = Damage;

    fn try_from(snapshot: Snapshot) -> Result<Self, Damage> {
        let mut holds = Holds::default();
        for row in snapshot.holds {
            holds.insert(&row.id, row.hold)?;
        }
        Ok(Self {
            listing: snapshot.listing,
            available: snapshot.available,
            held: snapshot.held,
            holds,
            damage: snapshot.damage,
        })
    }
}
