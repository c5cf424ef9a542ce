//! What the proofs share: a real Postgres, ledgers on databases of their own, commands in short.

pub mod command;
pub mod database;
pub mod ledger;
pub mod proxy;
