//! Ledgers in the test's own process.

use std::sync::Arc;

use accrue_event_store::clock::{Clock, SystemClock};
use accrue_event_store::codec::Codec;
use accrue_event_store::executor::Limits;
use accrue_event_store::ledger::{Config, Ledger};
use prometheus_client::registry::Registry;
use sqlx::postgres::PgConnectOptions;

use crate::database::Database;

/// A ledger on that database.
pub async fn open(database: &Database) -> Ledger {
    open_with(database.options(), Arc::new(SystemClock)).await
}

/// A ledger with a clock of the test's own.
pub async fn open_with(options: PgConnectOptions, clock: Arc<dyn Clock>) -> Ledger {
    let config = Config {
        servers: options.into(),
        pool_connections_max: 4,
        limits: Limits::default(),
        codec: Codec::default(),
        clock,
    };
    Ledger::open(config, &mut Registry::default()).await.expect("the ledger opens")
}
