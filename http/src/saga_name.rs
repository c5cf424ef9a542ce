//! The name of a saga: its kind, and the id of what it is about. So far every saga is that of a
//! purchase.

use accrue_domain::id::{OF_PURCHASE, PurchaseId};
use serde::Deserialize;

/// Such as `purchase:p-1`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct SagaName {
    name: String,
    /// Whose story it is.
    pub purchase: PurchaseId,
}

impl SagaName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl TryFrom<String> for SagaName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let id = name.strip_prefix(OF_PURCHASE).ok_or("expected a saga such as purchase:p-1")?;
        let purchase = PurchaseId::new(id).map_err(|error| error.to_string())?;
        Ok(Self { name, purchase })
    }
}
