//! What is shown of a product and of its stock.

use accrue_domain::money::Money;
use accrue_http::money::MoneySchema;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most holds in an answer: those that end first.
pub const HOLDS_MAX: i64 = 100;

/// Is it for sale?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProductStatus)]
pub enum Status {
    /// It is.
    Active,
    /// Never again.
    Retired,
}

impl Status {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Product)]
pub struct ProductView {
    /// The product.
    pub product: String,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `goods` or `service`.
    pub kind: String,
    /// Of one unit, in minor units: `{"amount": 170000, "currency": "USD"}`.
    #[schema(value_type = MoneySchema)]
    pub price: Money,
    /// `active` or `retired`.
    pub status: String,
    /// What is there; absent for a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stock: Option<Counts>,
    /// Events of the product so far; also its `ETag`.
    pub version: i64,
}

/// Units of a product: `on_hand` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Stock)]
pub struct Counts {
    /// In the house.
    pub on_hand: i64,
    /// Promised to nobody.
    pub available: i64,
    /// Set aside by holds that are open now.
    pub held: i64,
}

/// What there is of a product that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockOf {
    /// So many units.
    Goods(StockView),
    /// Nothing that could be counted.
    Service,
}

/// Units of a product, and what has set them aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StockOfProduct)]
pub struct StockView {
    /// The product.
    pub product: String,
    /// How many there are.
    #[serde(flatten)]
    pub counts: Counts,
    /// Holds that are open now, the soonest deadline first and those without one last; the first
    /// 100. Where their sum is less than `held` there are more.
    pub holds: Vec<HoldView>,
    /// Position of the product's last event.
    pub position: i64,
    /// What `ETag` says.
    #[serde(skip)]
    pub version: i64,
}

/// Units that are set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StockHold)]
pub struct HoldView {
    /// The hold.
    pub id: String,
    /// How many.
    pub quantity: i64,
    /// Released by itself then; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}
