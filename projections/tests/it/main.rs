//! The read models over a real Postgres: one cluster for all, a database each.

mod balances;
mod harness;
