//! A purchase as every API shows it.

use accrue_domain::money::Money;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::command::RefundedLine;
use accrue_domain::purchase::discount::Discount;
use accrue_domain::purchase::open::Open;
use accrue_domain::purchase::order::{Order, Tender};
use accrue_domain::purchase::refunds::{Refund, Stage};
use accrue_domain::purchase::trail::Phase;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::MoneySchema;

/// A purchase, and what it has come to.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Purchase)]
pub struct PurchaseView {
    /// The purchase.
    pub id: String,
    /// Who buys; absent for a guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `running`, `waiting` (for a payment provider or the customer), `stuck`, `completed`,
    /// `rejected` or `refunded`.
    pub state: &'static str,
    /// Why it was, or is being, rejected: `insufficient_stock`, `insufficient_funds`,
    /// `insufficient_points`, `payment_declined`, `cancelled`, `timed_out`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason for people; where it is stuck, what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The payment provider's name for the card's payment, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Where to send the customer, who must act before the card's money is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_url: Option<String>,
    /// What is bought, at the prices of the moment it was placed.
    pub lines: Vec<LineView>,
    /// What discounts take off in all, in minor units.
    pub discount: i64,
    /// The discounts, in the order in which they were taken off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<DiscountView>,
    /// The sum of the lines: what is to be paid.
    #[schema(value_type = MoneySchema)]
    pub total: Money,
    /// How it is paid.
    pub tenders: Vec<TenderView>,
    /// What was given back of the total, in minor units.
    pub refunded: i64,
    /// Its refunds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<RefundView>,
    /// Business time.
    pub occurred_at: DateTime<Utc>,
    /// By the server's clock.
    pub placed_at: DateTime<Utc>,
    /// What is not completed by then is undone.
    pub until: DateTime<Utc>,
    /// Your own note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What it is at, while something is left to do: also of a refund that is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenView>,
    /// Position of its last event: what reads take as `min_position`.
    pub position: i64,
    /// Events of the purchase so far; also its `ETag`.
    pub version: i64,
}

/// The step that a purchase, or its refund, is at, and why it is not over.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OpenStep)]
pub struct OpenView {
    /// `running`, `waiting` (for a payment provider or the customer) or `stuck`.
    pub state: &'static str,
    /// `hold_stock`, `hold_tenders`, `authorise_card`, `capture_card`, `settle`, `refund_card` or
    /// `settle_refund`.
    pub step: &'static str,
    /// `do` or `undo`.
    pub way: &'static str,
    /// How often a call to the outside was tried for this step; 0 for a step within the ledger.
    pub attempts: u32,
    /// What is wrong, or came of the last attempt, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When it is tried again, or looked after; absent while it is stuck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// What is not done by then is undone; absent where no time ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
}

impl OpenView {
    fn of(open: &Open<'_>) -> Self {
        Self {
            state: open.status.as_str(),
            step: open.step.as_str(),
            way: open.way.as_str(),
            attempts: open.attempts,
            detail: open.detail.map(str::to_owned),
            next_at: open.next_at,
            deadline: open.deadline,
        }
    }
}

/// A line of a purchase.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PurchaseLine)]
pub struct LineView {
    /// What.
    pub product: String,
    /// Its name when the order was placed.
    pub name: String,
    /// How many.
    pub quantity: i64,
    /// Of one unit, in minor units.
    pub price: i64,
    /// What discounts take off the line, in minor units.
    pub discount: i64,
    /// Of the line, discounts taken off, in minor units.
    pub amount: i64,
}

/// A discount of a purchase.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PurchaseDiscount)]
pub struct DiscountView {
    /// The offer or code that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For people.
    pub reason: String,
    /// Where it was asked for as a share: how many percent, an exact decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
    /// The number of the line that it applies to, from 1; absent for the whole order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What it takes off in all, in minor units.
    pub amount: i64,
}

/// A tender of a purchase.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PurchaseTender)]
pub struct TenderView {
    /// `points`, `wallet` or `card`.
    pub kind: &'static str,
    /// Of points: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Of a wallet: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// Its share of the total, in minor units.
    pub amount: i64,
}

/// A refund of a purchase.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PurchaseRefund)]
pub struct RefundView {
    /// The refund.
    pub id: String,
    /// `running`, `stuck` or `done`.
    pub state: &'static str,
    /// Where it is stuck: what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How much in all, in minor units.
    pub amount: i64,
    /// For which units; empty for a part of the total.
    pub lines: Vec<RefundedLineView>,
    /// What each tender gives back.
    pub tenders: Vec<TenderView>,
}

/// Units of a line that were refunded.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RefundedLine)]
pub struct RefundedLineView {
    /// The line's number, from 1.
    pub line: u32,
    /// How many units.
    pub quantity: i64,
    /// Do they go back into stock?
    pub restock: bool,
}

impl PurchaseView {
    /// The purchase; none before it is placed.
    #[must_use]
    pub fn of(id: &str, purchase: &Purchase, position: i64, version: i64) -> Option<Self> {
        let order = purchase.order()?;
        let trail = purchase.trail();
        let over = trail.phase() == Phase::Completed;
        let reason = trail.reason().filter(|_| !over);
        let stuck = purchase.stuck().map(|it| it.detail.as_str());
        let detail = stuck.or(reason.map(|it| it.detail.as_str()));
        Some(Self {
            id: id.to_owned(),
            account: order.account.as_ref().map(ToString::to_string),
            state: purchase.status().as_str(),
            reason: reason.map(|it| it.code.clone()),
            detail: detail.map(str::to_owned),
            payment: trail.payment().map(str::to_owned),
            action_url: trail.request().and_then(|it| it.url.clone()),
            lines: lines(order),
            discount: order.discount(),
            discounts: order.discounts.iter().map(DiscountView::of).collect(),
            total: order.total,
            tenders: order.tenders.iter().map(TenderView::of).collect(),
            refunded: purchase.refunds().refunded(),
            refunds: purchase.refunds().iter().map(|it| refund(order, it)).collect(),
            occurred_at: order.occurred_at,
            placed_at: order.placed_at,
            until: order.until,
            reference: order.reference.clone(),
            open: purchase.open().as_ref().map(OpenView::of),
            position,
            version,
        })
    }

    /// Has it come to an end?
    #[must_use]
    pub fn is_final(purchase: &Purchase) -> bool {
        // Also of what is paid back already, units that cost nothing may be on their way.
        purchase.status().is_final() && purchase.refunds().open().is_none()
    }
}

fn lines(order: &Order) -> Vec<LineView> {
    let line = |it: &accrue_domain::purchase::order::Line| LineView {
        product: it.product.to_string(),
        name: it.name.clone(),
        quantity: it.quantity.get(),
        price: it.price.get(),
        discount: it.discount(),
        amount: it.amount.get(),
    };
    order.lines.iter().map(line).collect()
}

impl DiscountView {
    fn of(discount: &Discount) -> Self {
        Self {
            id: discount.id.as_ref().map(ToString::to_string),
            reason: discount.reason.clone(),
            percent: discount.percent.map(Into::into),
            line: discount.line,
            amount: discount.amount.get(),
        }
    }
}

impl TenderView {
    fn of(tender: &Tender) -> Self {
        let (points, wallet) = match tender {
            Tender::Points { points, .. } => (Some(points.get()), None),
            Tender::Wallet { wallet, .. } => (None, Some(wallet.to_string())),
            Tender::Card { .. } => (None, None),
        };
        Self { kind: tender.kind(), points, wallet, amount: tender.money().get() }
    }
}

impl RefundedLineView {
    fn of(line: &RefundedLine) -> Self {
        Self { line: line.line, quantity: line.quantity.get(), restock: line.restock }
    }
}

fn refund(order: &Order, refund: &Refund) -> RefundView {
    let tenders = refund.tenders(order).map(|(tender, part)| {
        let points = matches!(tender, Tender::Points { .. }).then_some(part.points.get());
        TenderView { points, amount: part.money.get(), ..TenderView::of(tender) }
    });
    let state = match refund.stage {
        _ if refund.stuck().is_some() => "stuck",
        Stage::Open | Stage::CardDone | Stage::CardFailed => "running",
        Stage::Done => "done",
    };
    RefundView {
        id: refund.id.to_string(),
        state,
        detail: refund.stuck().map(str::to_owned),
        amount: refund.amount.get(),
        lines: refund.lines.iter().map(RefundedLineView::of).collect(),
        tenders: tenders.collect(),
    }
}
