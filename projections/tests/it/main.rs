//! The read models over a real Postgres: one cluster for all, a database each.

mod balances;
mod campaigns;
mod events;
mod harness;
mod rebuild;
mod routes;
mod statement;
mod verify;
