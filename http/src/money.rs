//! Money in the description of the API.

use serde::Deserialize;
use utoipa::ToSchema;

/// Money as bodies and answers have it: minor units of a currency.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Money, example = json!({"amount": 13912, "currency": "GBP"}))]
#[expect(dead_code, reason = "describes `Money` of the domain, which knows no OpenAPI")]
pub struct MoneySchema {
    /// Minor units: 13912 GBP are 139.12 pounds.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
}
