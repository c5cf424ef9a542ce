//! A Kafka broker of one's own in a folder, for tests and benchmarks: a real Apache Kafka of one
//! process, on loopback only, gone with the process that made it.
//!
//! It needs a JDK, and Maven once, to fetch the broker's programs; `cargo xtask setup` sees to both.

pub mod broker;
pub mod error;
pub mod programs;

mod janitor;
mod layout;
