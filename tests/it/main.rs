//! Proofs: the real thing on a real Postgres, seen from outside.

mod executor;
mod follow;
mod framework;
mod outcome;
mod snapshots;
mod upcast;
