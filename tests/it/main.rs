//! Proofs: the real thing on a real Postgres, seen from outside.

mod acceptance;
mod architecture;
mod contention;
mod contracts;
mod crash;
mod executor;
mod follow;
mod framework;
mod http_campaigns;
mod http_commands;
mod http_holds;
mod http_idempotency;
mod http_points;
mod http_problems;
mod http_products;
mod http_programs;
mod http_reads;
mod http_sales;
mod http_server;
mod http_wallets;
mod invariants;
mod outcome;
mod private;
mod snapshots;
mod upcast;
