//! RULES of the ledger: aggregates, their commands and events, and the value types they speak in.
//!
//! Pure: no I/O, no clock, no random ids. Time, ids and settings arrive in the command or its
//! [`aggregate::Context`].
// Tests may overflow: that is a panic, and so a failed test.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod account;
pub mod action;
pub mod aggregate;
pub mod campaign;
mod deadline;
pub mod digest;
pub mod envelope;
pub mod event;
pub mod expiry;
pub mod holds;
pub mod id;
pub mod money;
pub mod payment_method;
pub mod percent;
pub mod points;
pub mod product;
pub mod program;
pub mod purchase;
pub mod quantity;
pub mod sale;
pub mod samples;
mod small_map;
pub mod text;
pub mod wallet;
