//! Where in Kafka an event is: the topic of its program, and the partition of its stream, which is
//! the one that Java's producers choose for its key. Pure, and known without any Kafka.
//!
//! Chosen here and not by the client library, because who publishes has to know beforehand where an
//! event goes: that is where it looks whether the event is there already. And whoever followed
//! Kafka and now follows the log has to know which events came by which partition.

use crate::record::Row;

/// A program as the name of its topic has it. Characters that a topic cannot hold (none of our own
/// programs' ids has any) are written as `_`.
#[must_use]
pub fn program_in_topic(program: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    program.chars().map(|c| if legal(c) { c } else { '_' }).collect()
}

/// The partition of an event among so many: that of its stream.
#[must_use]
pub fn of_event(row: &Row, partitions: i32) -> i32 {
    of_key(row.subject().as_bytes(), partitions)
}

/// The partition of a key among so many.
#[must_use]
pub fn of_key(key: &[u8], partitions: i32) -> i32 {
    // Java takes the sign off and not the absolute value, which the smallest number has none of.
    i32::from_ne_bytes((murmur2(key) & 0x7fff_ffff).to_ne_bytes()) % partitions.max(1)
}

/// MurmurHash2 with the seed that Kafka gives it.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    const SEED: u32 = 0x9747_b28c;
    // Java's lengths are 32 bits; keys are far shorter.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut words = bytes.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_javas_client_hashes_them() {
        // The cases of Kafka's own test of `Utils.murmur2`.
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()), u32::from_ne_bytes(hash.to_ne_bytes()), "{key}");
        }
    }

    #[test]
    fn every_partition_is_one_of_those_that_are_there() {
        for at in 0..1_000 {
            let key = format!("account/{at}");
            assert!((0..12).contains(&of_key(key.as_bytes(), 12)));
            assert_eq!(of_key(key.as_bytes(), 1), 0);
        }
    }
}
