//! Maps for the decider's path, where every command is looked up several times: a hash that is
//! quick for short texts, seeded by process, so that clients cannot choose colliding ids.

use foldhash::fast::RandomState;

pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(super) type HashSet<T> = std::collections::HashSet<T, RandomState>;
