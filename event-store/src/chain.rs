//! The hash chain: every batch commits to its events and to every batch before it.
//!
//! `leaf  = sha256(for each column: length as u32 big endian, bytes; numbers as i64 big endian)`
//! `root  = sha256(leaf 1 || … || leaf n)`
//! `hash  = sha256(previous hash || root)`, computed by Postgres under the append lock.
//!
//! Beside the root stands a mark of each leaf, its first [`MARK_BYTES`]: what tells which event of a
//! batch is not the one that was written.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::record::Row;

/// 32 bytes of SHA-256.
pub type Hash = [u8; 32];

/// Bytes of a leaf that are kept.
pub const MARK_BYTES: usize = 4;

/// The hash of an empty log, as the migration writes it.
#[must_use]
pub fn genesis() -> Hash {
    Sha256::digest(b"accrue log, format 1").into()
}

/// The hash of one event's row.
#[must_use]
pub fn leaf(sequence: i64, row: &Row) -> Hash {
    let mut hasher = Sha256::new();
    for column in [
        &*row.program,
        &*row.aggregate_type,
        &*row.aggregate_id,
        &*row.event_type,
        &*row.event_version,
        row.payload.as_str(),
        row.metadata.as_str(),
    ] {
        hasher.update(u32::try_from(column.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(column.as_bytes());
    }
    hasher.update(sequence.to_be_bytes());
    hasher.update(micros(row.recorded_at).to_be_bytes());
    hasher.finalize().into()
}

/// The root of a batch of leaves, and their marks.
#[derive(Debug, Clone, Default)]
pub struct Root {
    leaves: Sha256,
    marks: Vec<u8>,
}

impl Root {
    /// Adds the next event's leaf.
    pub fn push(&mut self, leaf: &Hash) {
        self.leaves.update(leaf);
        self.marks.extend_from_slice(&leaf[..MARK_BYTES]);
    }

    /// The batch's root, and its leaves' marks one behind the other.
    #[must_use]
    pub fn finish(self) -> (Hash, Vec<u8>) {
        (self.leaves.finalize().into(), self.marks)
    }
}

/// The chain's next hash.
#[must_use]
pub fn next(previous: &[u8], root: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(root);
    hasher.finalize().into()
}

fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}
