//! The log in Kafka: every event of every program once, in order, in the topic of its program.
//!
//! [`relay`] follows the log and publishes; [`record`] is what an event looks like there, in both
//! directions. Nothing here decides anything, and the log does not wait for anything here.

pub mod commands;
pub mod feed;
pub mod record;
pub mod relay;
pub mod republish;
pub mod settings;
pub mod topics;

mod book;
mod context;
mod phases;
mod progress;
mod publisher;
mod survey;
mod tails;
