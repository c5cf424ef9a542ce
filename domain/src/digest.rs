//! Digest: eight bytes that stand for content which is compared but never shown again.
//!
//! A retry must be told from another command under the same id, for ever; keeping every note and
//! source of every lot would make a long account several times as big.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The digest of some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Digest(u64);

impl Digest {
    /// The digest of some texts in order, each there or absent.
    pub(crate) fn of(texts: &[Option<&str>]) -> Self {
        // JSON keeps the texts apart: ["ab", "c"] and ["a", "bc"] differ.
        let json = serde_json::to_vec(texts).expect("texts always are JSON");
        // A name-based UUID is a truncated SHA-1, and the hash that this crate has anyway.
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, &json).as_u64_pair().0)
    }
}

/// A digest that events carry: 16 hexadecimal digits, since not every reader of JSON has whole
/// numbers of 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The digest of something that serialises.
    pub(crate) fn of(asked: &impl Serialize) -> Self {
        let json = serde_json::to_string(asked).unwrap_or_default();
        Self(format!("{:016x}", Digest::of(&[Some(&json)]).0))
    }
}
