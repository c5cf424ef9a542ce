//! What the proofs share: a real Postgres, ledgers on databases of their own, commands in short.

pub mod chance;
pub mod client;
pub mod collector;
pub mod command;
pub mod database;
pub mod eventually;
pub mod history;
pub mod kafka;
pub mod ledger;
pub mod load;
pub mod program;
pub mod proxy;
pub mod schema;
pub mod server;
pub mod shop;
pub mod standby;
pub mod till;
