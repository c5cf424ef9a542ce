//! The read models over a real Postgres: one cluster for all, a database each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod balances;
mod campaigns;
mod events;
mod harness;
mod purchases;
mod rebuild;
mod routes;
mod shop;
mod statement;
mod stock;
mod verify;
mod wallets;
