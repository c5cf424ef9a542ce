//! MEMORY of the ledger: the only writer of the log, and the ways to read and follow it.
//!
//! A command goes in by [`ledger::Ledger::execute`]; its events come out by [`tail::Tail`], and
//! whoever follows them does so through [`follow`].

mod backend;
pub mod chain;
pub mod clock;
pub mod codec;
mod confirm;
pub mod cqrs;
pub mod executor;
mod fold;
pub mod follow;
pub mod idempotency;
pub mod lease;
pub mod ledger;
pub mod log;
pub mod log_query;
pub mod metrics;
pub mod outage;
pub mod placement;
pub mod receipt;
pub mod record;
pub mod servers;
pub mod snapshots;
pub mod state;
pub mod stream;
pub mod tail;
pub mod timers;
pub mod trace;
pub mod watch;
