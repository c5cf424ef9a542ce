//! Given, when, then: one promise of a wallet each.

pub(crate) mod purse;

mod holding;
mod incoming;
