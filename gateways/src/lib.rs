//! THE WORLD: services outside of the ledger. For each there is a trait that the rest of Accrue
//! speaks to, an adaptor for a real provider, and a simulator that speaks the provider's protocol
//! over a socket.
//!
//! A call may be lost on its way out or on its way back, so every one that changes something
//! carries an idempotency key and ends in an outcome that says what is known.

pub mod breaker;
pub mod payment;
pub mod retry;
