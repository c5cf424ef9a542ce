//! Given, when, then: one promise of an account each.

pub(crate) mod member;

mod earning;
mod holding;
mod restoring;
mod reversing;
mod spending;
