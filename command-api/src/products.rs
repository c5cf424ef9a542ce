//! Products: what is for sale, its price and its stock.

use accrue_domain::action::Action;
use accrue_domain::id::{HoldId, ProductId};
use accrue_domain::product::Offering;
use accrue_domain::product::command::{Changes, Command as OnProduct, New};
use accrue_domain::quantity::{Delta, Quantity};
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, JsonOrEmpty, Path};
use accrue_http::problem::Problem;
use accrue_http::receipt::ReceiptView;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::call::{Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field::{self, MoneyBody};
use crate::prefer::ReturnHeader;
use crate::target::{Nothing, OfProduct, OfStockHold};

/// A product to offer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "1", "name": "Unicorn", "kind": "goods", "price": {"amount": 170000, "currency": "USD"}
}))]
pub(crate) struct CreateProduct {
    /// The product's id. In an envelope: `product`.
    #[schema(value_type = String, max_length = 100)]
    id: ProductId,
    /// For people.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// `goods` are counted; a `service` has no stock, and can be held without limit.
    #[schema(value_type = String, pattern = "^(goods|service)$")]
    kind: Offering,
    /// For people; empty where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Where its picture is: `https://…`, `http://…` or a path; empty where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    image: Option<String>,
    /// Of one unit.
    price: MoneyBody,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

impl Command for CreateProduct {
    const TYPE: &'static str = "create_product";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("product");
    type Target = Nothing;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, _: Nothing) -> Result<Vec<Action>, Problem> {
        let Self { id, name, kind, description, image, price, occurred_at: _ } = self;
        let new = New { name, kind, description, image, price: price.into() };
        Ok(vec![Action::Product(id, OnProduct::Create(new))])
    }
}

/// What is to be otherwise; what is absent stays as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"price": {"amount": 165000, "currency": "USD"}}))]
pub(crate) struct ChangeProduct {
    /// For people.
    #[serde(
        default,
        deserialize_with = "field::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// For people; an empty one takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Where its picture is; an empty one takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    image: Option<String>,
    /// Of one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<MoneyBody>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

impl Command for ChangeProduct {
    const TYPE: &'static str = "change_product";
    type Target = OfProduct;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfProduct { product }: OfProduct) -> Result<Vec<Action>, Problem> {
        let Self { name, description, image, price, occurred_at: _ } = self;
        let changes = Changes { name, description, image, price: price.map(Into::into) };
        Ok(vec![Action::Product(product, OnProduct::Change(changes))])
    }
}

/// A product to take off sale.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetireProduct {
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

impl Command for RetireProduct {
    const TYPE: &'static str = "retire_product";
    type Target = OfProduct;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfProduct { product }: OfProduct) -> Result<Vec<Action>, Problem> {
        Ok(vec![Action::Product(product, OnProduct::Retire)])
    }
}

/// Units that came or went.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"delta": 4, "reason": "delivery"}))]
pub(crate) struct AdjustStock {
    /// How many more, or fewer; never so many fewer that what is held would not be there.
    #[serde(deserialize_with = "field::delta")]
    #[schema(value_type = i64, minimum = -1_000_000_000_i64, maximum = 1_000_000_000_i64)]
    delta: Delta,
    /// Why.
    #[serde(deserialize_with = "field::line")]
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
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

impl Command for AdjustStock {
    const TYPE: &'static str = "adjust_stock";
    type Target = OfProduct;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfProduct { product }: OfProduct) -> Result<Vec<Action>, Problem> {
        let Self { delta, reason, reference, occurred_at: _ } = self;
        let command = OnProduct::AdjustStock { delta, reason, reference };
        Ok(vec![Action::Product(product, command)])
    }
}

/// Units to set aside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "basket-5", "quantity": 1, "until": "2027-01-01T00:00:00Z"}))]
pub(crate) struct HoldStock {
    /// The hold's id: names one hold until 1,000 later ones of this product have ended. In an
    /// envelope: `hold`.
    #[schema(value_type = String, max_length = 100)]
    id: HoldId,
    /// How many.
    #[serde(deserialize_with = "field::quantity")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_i64)]
    quantity: Quantity,
    /// Released by itself then; lies after now.
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

impl Command for HoldStock {
    const TYPE: &'static str = "hold_stock";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("hold");
    type Target = OfProduct;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfProduct { product }: OfProduct) -> Result<Vec<Action>, Problem> {
        let Self { id: hold, quantity, until, reference, occurred_at: _ } = self;
        let command = OnProduct::HoldStock { hold, quantity, until, reference };
        Ok(vec![Action::Product(product, command)])
    }
}

/// How much of a hold to hand out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"quantity": 1}))]
pub(crate) struct CaptureStock {
    /// How many; all where absent. What is not captured is released.
    #[serde(
        default,
        deserialize_with = "field::optional_quantity",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_i64)]
    quantity: Option<Quantity>,
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

impl Command for CaptureStock {
    const TYPE: &'static str = "capture_stock";
    type Target = OfStockHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfStockHold { product, hold }: OfStockHold) -> Result<Vec<Action>, Problem> {
        let Self { quantity, reference, occurred_at: _ } = self;
        let command = OnProduct::CaptureStock { hold, quantity, reference };
        Ok(vec![Action::Product(product, command)])
    }
}

/// A hold to give back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reference": "cancelled"}))]
pub(crate) struct ReleaseStock {
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

impl Command for ReleaseStock {
    const TYPE: &'static str = "release_stock";
    type Target = OfStockHold;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfStockHold { product, hold }: OfStockHold) -> Result<Vec<Action>, Problem> {
        let Self { reference, occurred_at: _ } = self;
        Ok(vec![Action::Product(product, OnProduct::ReleaseStock { hold, reference })])
    }
}

/// Offer a product.
#[utoipa::path(
    post, path = "/v1/products", tag = "products", operation_id = "create_product",
    params(Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = CreateProduct,
    responses(
        (status = 201, description = "Offered", body = ReceiptView),
        (status = 409, description = "The id names a product of other content",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    call: Call,
    Json(body): Json<CreateProduct>,
) -> Result<Response, Problem> {
    call.execute(&ledger, Nothing, body).await
}

/// Call or price a product otherwise.
#[utoipa::path(
    patch, path = "/v1/products/{product}", tag = "products", operation_id = "change_product",
    params(OfProduct, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = ChangeProduct,
    responses(
        (status = 200, description = "Changed, or so already", body = ReceiptView),
        (status = 404, description = "There is no such product",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The product is retired",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn change(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfProduct>,
    Json(body): Json<ChangeProduct>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Take a product off sale for good.
///
/// It takes no new holds. Open ones can still be captured or released.
#[utoipa::path(
    post, path = "/v1/products/{product}/retire", tag = "products",
    operation_id = "retire_product",
    params(OfProduct, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = Option<RetireProduct>,
    responses(
        (status = 200, description = "Retired, or so already", body = ReceiptView),
        (status = 404, description = "There is no such product",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn retire(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfProduct>,
    JsonOrEmpty(body): JsonOrEmpty<RetireProduct>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Record units that came or went.
#[utoipa::path(
    post, path = "/v1/products/{product}/stock", tag = "products", operation_id = "adjust_stock",
    params(OfProduct, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = AdjustStock,
    responses(
        (status = 200, description = "Recorded", body = ReceiptView),
        (status = 404, description = "There is no such product",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Fewer are available, or the product is a service",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn adjust(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfProduct>,
    Json(body): Json<AdjustStock>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Set units aside.
#[utoipa::path(
    post, path = "/v1/products/{product}/holds", tag = "products", operation_id = "hold_stock",
    params(OfProduct, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = HoldStock,
    responses(
        (status = 201, description = "Set aside", body = ReceiptView),
        (status = 404, description = "There is no such product",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Fewer are available, the product is retired, or the hold \
                                      exists with other content",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn hold(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfProduct>,
    Json(body): Json<HoldStock>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Hand out what a hold set aside.
#[utoipa::path(
    post, path = "/v1/products/{product}/holds/{hold}/capture", tag = "products",
    operation_id = "capture_stock",
    params(OfStockHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader),
    request_body = Option<CaptureStock>,
    responses(
        (status = 200, description = "Handed out; the rest is released", body = ReceiptView),
        (status = 404, description = "There is no such product or hold",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The hold has ended, or has fewer units",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn capture(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfStockHold>,
    JsonOrEmpty(body): JsonOrEmpty<CaptureStock>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}

/// Give back what a hold set aside.
#[utoipa::path(
    post, path = "/v1/products/{product}/holds/{hold}/release", tag = "products",
    operation_id = "release_stock",
    params(OfStockHold, Options, WriteHeaders, ReturnHeader, IfMatchHeader),
    request_body = Option<ReleaseStock>,
    responses(
        (status = 200, description = "Given back", body = ReceiptView),
        (status = 404, description = "There is no such product or hold",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The hold was captured",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn release(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfStockHold>,
    JsonOrEmpty(body): JsonOrEmpty<ReleaseStock>,
) -> Result<Response, Problem> {
    call.execute(&ledger, path, body).await
}
