//! A private Postgres in a folder: found, made, started, adopted, revived and stopped.
//!
//! Nothing here knows what the database is for. The cluster listens on a Unix socket only, in a
//! folder that only its own user (and root) can enter, so it needs no password and no port.
//!
//! Invariants
//! - One postmaster a data folder: whoever starts or stops one holds `start.lock` meanwhile.
//! - `postgres/` is either absent or a complete cluster: it is made under another name and renamed.
//! - A running cluster is never cut from those who use it by a process that merely visits.

pub mod binaries;
pub mod cluster;
pub mod error;
pub mod options;

mod elsewhere;
mod layout;
mod lock;
mod os_user;
mod postmaster;
mod probe;
mod scratch;
