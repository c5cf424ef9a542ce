//! Ledgers in the test's own process.

use std::sync::Arc;

use accrue_event_store::clock::SystemClock;
use accrue_event_store::codec::Codec;
use accrue_event_store::executor::Limits;
use accrue_event_store::ledger::{Config, Ledger};
use prometheus_client::registry::Registry;

use crate::database::Database;

/// What a ledger on that database is opened with where a test wants nothing else.
#[must_use]
pub fn config(database: &Database) -> Config {
    Config {
        servers: database.options().into(),
        pool_connections_max: 4,
        limits: Limits::default(),
        codec: Codec::default(),
        clock: Arc::new(SystemClock),
    }
}

/// A ledger on that database.
pub async fn open(database: &Database) -> Ledger {
    open_with(config(database)).await
}

/// A ledger of the test's own configuration.
///
/// # Panics
/// When it does not open.
pub async fn open_with(config: Config) -> Ledger {
    Ledger::open(config, &mut Registry::default()).await.expect("the ledger opens")
}
