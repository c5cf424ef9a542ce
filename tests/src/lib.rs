//! What the proofs share: a real Postgres, ledgers on databases of their own, commands in short.

pub mod client;
pub mod command;
pub mod database;
pub mod eventually;
pub mod ledger;
pub mod program;
pub mod proxy;
pub mod server;
