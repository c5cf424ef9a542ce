//! The sagas on a real Postgres: once and only once, whatever is stopped and begun anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod awards;
mod deadlines;
mod forgotten_keys;
mod housekeeping;
mod provider;
mod purchases;
mod world;
