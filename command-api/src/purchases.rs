//! Purchases: orders that a saga takes through stock, payment and points, and what is given back.

mod wait;

use accrue_domain::action::Action;
use accrue_domain::id::{AccountId, DiscountId, ProductId, PurchaseId, RefundId, WalletId};
use accrue_domain::payment_method::{self, PaymentMethod};
use accrue_domain::percent::Percent;
use accrue_domain::points::Amount;
use accrue_domain::product::command::Command as OnProduct;
use accrue_domain::purchase::command::{
    Asked, Command as OnPurchase, DiscountAsked, Off, Offer, Place, Portion, Refund, RefundedLine,
};
use accrue_domain::purchase::error::{DISCOUNTS_MAX, LINES_MAX, TENDERS_MAX};
use accrue_domain::quantity::Quantity;
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, JsonOrEmpty, Path};
use accrue_http::object;
use accrue_http::problem::Problem;
use accrue_http::purchase::PurchaseView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::call::{Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field::{self, MoneyBody, SomeMoney};
use crate::target::{Nothing, OfPurchase};
use wait::{Prefer, PreferHeader};

/// An order to place.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "p-1", "account": "derick", "lines": [{"product": "1", "quantity": 1}],
    "tenders": [{"kind": "wallet", "wallet": "derick"}]
}))]
pub(crate) struct PlacePurchase {
    /// The purchase's id; the same again is no other order. In an envelope: `purchase`.
    #[schema(value_type = String, max_length = 80)]
    id: PurchaseId,
    /// Who buys; absent for a guest, who can neither pay with points nor earn any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    account: Option<AccountId>,
    /// What.
    #[serde(deserialize_with = "object::list")]
    #[schema(min_items = 1, max_items = 500)]
    lines: Vec<PurchaseLine>,
    /// What is taken off the prices, one after another: each of what those before it have left. At
    /// most 20 of them of the whole order.
    #[serde(
        default,
        deserialize_with = "object::optional_list",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_items = 500)]
    discounts: Option<Vec<DiscountBody>>,
    /// How it is paid, in the order in which they are taken; the last one may leave its amount
    /// open and takes the rest. None where discounts leave nothing to pay.
    #[serde(deserialize_with = "object::list")]
    #[schema(max_items = 20)]
    tenders: Vec<TenderBody>,
    /// What is not completed by then is undone; 15 minutes from now where absent, 6 days at most.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    until: Option<DateTime<Utc>>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
    /// Your own note.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reference: Option<String>,
}

/// One line of an order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderLine)]
pub(crate) struct PurchaseLine {
    /// What.
    #[schema(value_type = String, max_length = 100)]
    product: ProductId,
    /// How many.
    #[serde(deserialize_with = "field::quantity")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_i64)]
    quantity: Quantity,
    /// What you believe one unit costs: only compared, and refused with 409 when it differs.
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
    price: Option<MoneyBody>,
}

/// Something that is taken off the prices: of one line, or of the whole order, whose lines then
/// bear it in proportion to what each costs. It says how much by `percent` or by `amount`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderDiscount, example = json!({"reason": "ten off", "percent": "10"}))]
pub(crate) struct DiscountBody {
    /// The offer or code that it comes from; several may have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    id: Option<DiscountId>,
    /// For people.
    #[serde(deserialize_with = "field::line")]
    #[schema(max_length = 200)]
    reason: String,
    /// How many percent of what is left of what it applies to: an exact decimal, as text or as a
    /// number, more than 0 and at most 100, with at most 6 digits behind the point. To the nearest
    /// minor unit, halves up. Of a currency in thousandths that may leave what no card takes; an
    /// `amount` evens it out.
    #[serde(
        default,
        deserialize_with = "field::optional_percent",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = percent_schema)]
    percent: Option<Percent>,
    /// How much, in the order's currency; no more than is left of what it applies to.
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
    amount: Option<SomeMoney>,
    /// The number of the line that it applies to, from 1; the whole order where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1)]
    line: Option<u32>,
}

fn percent_schema() -> ObjectBuilder {
    let types = [Type::String, Type::Number, Type::Null];
    let description = "How many percent of what is left of what it applies to: an exact decimal, as \
        text or as a number, more than 0 and at most 100, with at most 6 digits behind the point. To \
        the nearest minor unit, halves up. Of a currency in thousandths that may leave what no card \
        takes; an `amount` evens it out.";
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .description(Some(description))
        .pattern(Some(r"^(100(\.0{1,6})?|[1-9]?[0-9](\.[0-9]{1,6})?)$"))
}

/// One way of paying.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tender, example = json!({"kind": "card", "payment_method": "pm_card_visa"}))]
pub(crate) struct TenderBody {
    /// `points`, `wallet` or `card`.
    kind: TenderKind,
    /// Of `points`: how many.
    #[serde(
        default,
        deserialize_with = "field::optional_points",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1)]
    points: Option<Amount>,
    /// Of `wallet`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100)]
    wallet: Option<WalletId>,
    /// Of `card`: the payment provider's token. Never the number of a card.
    #[serde(
        default,
        deserialize_with = "field::optional_secret",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 255)]
    payment_method: Option<String>,
    /// How much of the total; the rest where absent, which only the last may be.
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
    money: Option<MoneyBody>,
}

/// The kinds of tender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TenderKind {
    /// Points of the account, at the program's rate.
    Points,
    /// Stored value.
    Wallet,
    /// A card.
    Card,
}

impl Command for PlacePurchase {
    const TYPE: &'static str = "place_purchase";
    const HAS_VERSION: bool = false;
    const STATUS: StatusCode = StatusCode::CREATED;
    const STATUS_IN_BULK: StatusCode = StatusCode::ACCEPTED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("purchase");
    type Target = Nothing;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, _: Nothing) -> Result<Vec<Action>, Problem> {
        let Self { id, account, lines, discounts, tenders, until, occurred_at: _, reference } =
            self;
        no_card_number(reference.as_deref(), "/reference")?;
        // Before anything is made of them: the one task that decides must not count long lists.
        at_most(lines.len(), LINES_MAX, "/lines")?;
        let discounts = discounts.unwrap_or_default();
        at_most(discounts.len(), DISCOUNTS_MAX, "/discounts")?;
        at_most(tenders.len(), TENDERS_MAX, "/tenders")?;
        let discounts = discounts.into_iter().enumerate().map(|(at, discount)| discount.asked(at));
        let discounts = discounts.collect::<Result<Vec<_>, _>>()?;
        let offers = tenders.into_iter().enumerate().map(|(at, tender)| tender.offer(at));
        let tenders = offers.collect::<Result<Vec<_>, _>>()?;
        let asked = |PurchaseLine { product, quantity, price }| Asked {
            product,
            quantity,
            price: price.map(Into::into),
        };
        let lines: Vec<Asked> = lines.into_iter().map(asked).collect();
        // The products come first, each once: the order takes its prices from their states.
        let mut actions: Vec<Action> = Vec::with_capacity(lines.len() + 1);
        for line in &lines {
            let quote = Action::Product(line.product.clone(), OnProduct::Quote);
            if !actions.contains(&quote) {
                actions.push(quote);
            }
        }
        let quotes = Vec::new();
        let place = Place { account, lines, discounts, tenders, until, reference, quotes };
        actions.push(Action::Purchase(id, OnPurchase::Place(Box::new(place))));
        Ok(actions)
    }
}

impl DiscountBody {
    fn asked(self, at: usize) -> Result<DiscountAsked, Problem> {
        let Self { id, reason, percent, amount, line } = self;
        let pointer = |field: &str| format!("/discounts/{at}/{field}");
        no_card_number(Some(&reason), &pointer("reason"))?;
        let off = match (percent, amount) {
            (Some(percent), None) => Off::Percent(percent),
            (None, Some(amount)) => Off::Amount(amount.into()),
            (None, None) => {
                let detail = "missing field `percent`: expected one of `percent` and `amount`";
                return Err(Problem::invalid(pointer("percent"), detail));
            }
            (Some(_), Some(_)) => {
                let detail = "expected one of `percent` and `amount`, got both";
                return Err(Problem::invalid(pointer("percent"), detail));
            }
        };
        Ok(DiscountAsked { id, reason, off, line })
    }
}

impl TenderBody {
    fn offer(self, at: usize) -> Result<Offer, Problem> {
        let Self { kind, points, wallet, payment_method, money } = self;
        let pointer = |field: &str| format!("/tenders/{at}/{field}");
        let stray = [
            ("points", points.is_some() && kind != TenderKind::Points),
            ("wallet", wallet.is_some() && kind != TenderKind::Wallet),
            ("payment_method", payment_method.is_some() && kind != TenderKind::Card),
        ];
        if let Some((field, _)) = stray.into_iter().find(|(_, stray)| *stray) {
            let detail = "expected no such field in a tender of this kind";
            return Err(Problem::invalid(pointer(field), detail));
        }
        let missing =
            |field: &str| Problem::invalid(pointer(field), format!("missing field `{field}`"));
        let money = money.map(Into::into);
        Ok(match kind {
            TenderKind::Points => Offer::Points { points, money },
            TenderKind::Wallet => {
                Offer::Wallet { wallet: wallet.ok_or_else(|| missing("wallet"))?, money }
            }
            TenderKind::Card => {
                let token = payment_method.ok_or_else(|| missing("payment_method"))?;
                // The message never repeats the text, which could be a card's number.
                let invalid = |why: payment_method::Invalid| {
                    Problem::invalid(pointer("payment_method"), why.to_string())
                };
                let payment_method = PaymentMethod::parse(&token).map_err(invalid)?;
                Offer::Card { payment_method, money }
            }
        })
    }
}

fn at_most(count: usize, max: usize, pointer: &str) -> Result<(), Problem> {
    if count <= max {
        return Ok(());
    }
    Err(Problem::invalid(pointer, format!("expected at most {max}, got {count}")))
}

/// What is a card's number must not get into the log, wherever somebody puts it.
pub(crate) fn no_card_number(text: Option<&str>, pointer: &str) -> Result<(), Problem> {
    match text {
        Some(text) if payment_method::contains_card_number(text) => {
            Err(Problem::invalid(pointer, payment_method::Invalid::CardNumber.to_string()))
        }
        Some(_) | None => Ok(()),
    }
}

/// A purchase to stop.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "found it cheaper"}))]
pub(crate) struct CancelPurchase {
    /// Why.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// Who.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    actor: Option<String>,
}

impl Command for CancelPurchase {
    const TYPE: &'static str = "cancel_purchase";
    const STATUS_IN_BULK: StatusCode = StatusCode::ACCEPTED;
    const HAS_ACTOR: bool = true;
    type Target = OfPurchase;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    fn actions(self, OfPurchase { purchase }: OfPurchase) -> Result<Vec<Action>, Problem> {
        let Self { reason, actor } = self;
        no_card_number(reason.as_deref(), "/reason")?;
        no_card_number(actor.as_deref(), "/actor")?;
        Ok(vec![Action::Purchase(purchase, OnPurchase::Cancel { reason, actor })])
    }
}

/// What is to be given back: all that is left, some units of some lines, or a part of the total.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"line": 1, "quantity": 1, "restock": true}]}))]
pub(crate) struct RefundPurchase {
    /// The refund's id; derived from the command's where absent. In an envelope: `refund`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 80)]
    id: Option<RefundId>,
    /// `true`: all that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    /// With `all`: do the goods go back into stock?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restock: Option<bool>,
    /// Some units of some lines.
    #[serde(
        default,
        deserialize_with = "object::optional_list",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(min_items = 1, max_items = 500)]
    lines: Option<Vec<RefundLine>>,
    /// A part of the total, without goods.
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
    amount: Option<MoneyBody>,
    /// Your own note.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(max_length = 200)]
    reference: Option<String>,
}

/// How many units of which line are refunded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundLine {
    /// The line's number, from 1.
    #[serde(deserialize_with = "field::count")]
    #[schema(minimum = 1)]
    line: u32,
    /// How many units.
    #[serde(deserialize_with = "field::quantity")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_i64)]
    quantity: Quantity,
    /// Do they go back into stock?
    #[serde(default)]
    restock: bool,
}

impl Command for RefundPurchase {
    const TYPE: &'static str = "refund_purchase";
    const STATUS: StatusCode = StatusCode::CREATED;
    const STATUS_IN_BULK: StatusCode = StatusCode::ACCEPTED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("refund");
    type Target = OfPurchase;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn actions(self, OfPurchase { purchase }: OfPurchase) -> Result<Vec<Action>, Problem> {
        let Self { id, all, restock, lines, amount, reference } = self;
        no_card_number(reference.as_deref(), "/reference")?;
        at_most(lines.as_ref().map_or(0, Vec::len), LINES_MAX, "/lines")?;
        if restock.is_some() && all != Some(true) {
            let detail = "expected with `all` only; a line says for itself";
            return Err(Problem::invalid("/restock", detail));
        }
        let portion = match (all, lines, amount) {
            (Some(true), None, None) => Portion::All { restock: restock.unwrap_or(false) },
            (None, Some(lines), None) => {
                let line = |RefundLine { line, quantity, restock }| RefundedLine {
                    line,
                    quantity,
                    restock,
                };
                Portion::Lines(lines.into_iter().map(line).collect())
            }
            (None, None, Some(amount)) => Portion::Amount(amount.into()),
            (Some(false), ..) => {
                return Err(Problem::invalid("/all", "expected true, or no such field"));
            }
            (None, None, None) => {
                let detail = "missing field `all`: expected one of `all`, `lines` and `amount`";
                return Err(Problem::invalid("/all", detail));
            }
            (all, ..) => {
                let pointer = if all.is_some() { "/all" } else { "/lines" };
                let detail = "expected one of `all`, `lines` and `amount`, got several";
                return Err(Problem::invalid(pointer, detail));
            }
        };
        let refund = Refund { id, portion, reference };
        Ok(vec![Action::Purchase(purchase, OnPurchase::Refund(refund))])
    }
}

/// Place an order.
///
/// Prices are those of this moment, and frozen with it; so is what discounts take off each line and
/// unit. Goods, points and wallet money are held,
/// the card is authorised, and then all is taken, or nothing. The answer waits for the end:
/// `Prefer: wait=N` says for how many seconds at most (10 where absent, 60 at most, 0 for none).
#[utoipa::path(
    post, path = "/v1/purchases", tag = "purchases", operation_id = "place_purchase",
    params(Options, WriteHeaders, PreferHeader), request_body = PlacePurchase,
    responses(
        (status = 201, description = "It has come to its end: completed or rejected",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 202, description = "Placed, and still on its way: look at `Location`",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 409, description = "The id names another order, a price differs, or a product \
                                      is retired",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn place(
    State(ledger): State<Ledger>,
    call: Call,
    prefer: Prefer,
    Json(body): Json<PlacePurchase>,
) -> Result<Response, Problem> {
    let id = body.id.clone();
    wait::execute(&ledger, call, prefer, id, Nothing, body).await
}

/// Stop a purchase that is not completed yet.
///
/// What was done is undone, the latest first. The answer waits for the end, as placing does.
#[utoipa::path(
    post, path = "/v1/purchases/{purchase}/cancel", tag = "purchases",
    operation_id = "cancel_purchase",
    params(OfPurchase, Options, WriteHeaders, IfMatchHeader, PreferHeader),
    request_body = Option<CancelPurchase>,
    responses(
        (status = 200, description = "It has come to its end",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 202, description = "Cancelled, and still on its way back",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 404, description = "There is no such purchase",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is over: what is completed can be refunded",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has gone on since",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn cancel(
    State(ledger): State<Ledger>,
    call: Call,
    prefer: Prefer,
    Path(path): Path<OfPurchase>,
    JsonOrEmpty(body): JsonOrEmpty<CancelPurchase>,
) -> Result<Response, Problem> {
    let id = path.purchase.clone();
    wait::execute(&ledger, call, prefer, id, path, body).await
}

/// Give back what was paid, all or a part, to the tenders that it came from.
///
/// Points go back to the lots they came from; the points that the purchase earned are taken back
/// in proportion. However it is refunded piece by piece, all of it together is exactly what was
/// paid. The answer waits for the end, as placing does.
#[utoipa::path(
    post, path = "/v1/purchases/{purchase}/refund", tag = "purchases",
    operation_id = "refund_purchase",
    params(OfPurchase, Options, WriteHeaders, IfMatchHeader, PreferHeader),
    request_body = RefundPurchase,
    responses(
        (status = 201, description = "Given back",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 202, description = "Still on its way",
         body = PurchaseView,
         headers(("Location" = String, description = "Where the purchase is"),
                 ("ETag" = String, description = "The purchase's version"))),
        (status = 404, description = "There is no such purchase",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Not completed, or more than is left",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has gone on since",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn refund(
    State(ledger): State<Ledger>,
    call: Call,
    prefer: Prefer,
    Path(path): Path<OfPurchase>,
    Json(body): Json<RefundPurchase>,
) -> Result<Response, Problem> {
    let id = path.purchase.clone();
    wait::execute(&ledger, call, prefer, id, path, body).await
}
