//! The adaptor against the simulator, over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod harness;
mod outcomes;
mod refunds;
mod trouble;
mod webhooks;
