//! Proofs: the real thing on a real Postgres, seen from outside.

mod executor;
mod outcome;
