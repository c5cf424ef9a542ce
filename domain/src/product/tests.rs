//! Given, when, then: one promise of a product each.

pub(crate) mod shelf;

mod catalogue;
mod holding;
