//! The read models: one file each, its tables beside it.

pub mod balances;
pub mod campaigns;
pub mod orders;
pub(crate) mod purchases;
pub mod sagas;
pub mod statement;
pub mod stock;
pub mod takings;
pub mod wallets;

/// `program/id` as the log has it, in its two columns.
pub(crate) fn split(aggregate_id: &str) -> (&str, &str) {
    aggregate_id.split_once('/').unwrap_or(("", aggregate_id))
}
