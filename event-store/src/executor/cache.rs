//! Aggregates in memory, bounded.

use std::mem;

use accrue_domain::aggregate::Kind;

use super::hash::HashMap;
use crate::state::State;
use crate::stream::StreamKey;

/// An aggregate with every event decided so far folded in, durable or on its way.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Sequence of the last event folded in.
    pub(super) sequence: i64,
    /// Sequence of the snapshot that exists or is being taken; 0 for none.
    pub(super) snapshot: i64,
}

impl Entry {
    /// Of a stream without events.
    pub(super) fn unwritten(kind: Kind) -> Self {
        Self { state: State::empty(kind), sequence: 0, snapshot: 0 }
    }
}

/// Two generations: whatever is used moves to the young one; when that is full the old one is
/// forgotten and the young becomes old. Close to least-recently-used, at the cost of a hash map.
#[derive(Debug)]
pub(super) struct Cache {
    // Behind pointers: a state is some hundred bytes, and a map that grows moves all it holds.
    young: HashMap<StreamKey, Box<Entry>>,
    old: HashMap<StreamKey, Box<Entry>>,
    generation_max: usize,
    /// Aggregates were forgotten since somebody asked.
    forgot: bool,
    losses: u64,
}

/// Below this a batch's own aggregates could be forgotten while it is being written.
const GENERATION_MIN: usize = 16_384;

impl Cache {
    pub(super) fn new(aggregates_max: usize) -> Self {
        let generation_max = (aggregates_max / 2).max(GENERATION_MIN);
        let (young, old) = (HashMap::default(), HashMap::default());
        Self { young, old, generation_max, forgot: false, losses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Makes the entry young, and says whether there is one.
    pub(super) fn touch(&mut self, key: &StreamKey) -> bool {
        if self.young.contains_key(key) {
            return true;
        }
        let Some((key, entry)) = self.old.remove_entry(key) else { return false };
        self.insert(key, entry);
        true
    }

    pub(super) fn get(&self, key: &StreamKey) -> Option<&Entry> {
        self.young.get(key).or_else(|| self.old.get(key)).map(|entry| &**entry)
    }

    pub(super) fn get_mut(&mut self, key: &StreamKey) -> Option<&mut Entry> {
        if self.young.contains_key(key) {
            return self.young.get_mut(key).map(|entry| &mut **entry);
        }
        self.old.get_mut(key).map(|entry| &mut **entry)
    }

    pub(super) fn insert(&mut self, key: StreamKey, entry: Box<Entry>) {
        if self.young.len() >= self.generation_max {
            self.forgot |= !self.old.is_empty();
            self.losses += u64::from(!self.old.is_empty());
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }

    /// How often aggregates have gone, by whatever way. As long as this is the same, all that were here
    /// are here still.
    pub(super) const fn losses(&self) -> u64 {
        self.losses
    }

    /// Were aggregates forgotten for want of room since the last call?
    pub(super) fn has_forgotten(&mut self) -> bool {
        mem::take(&mut self.forgot)
    }

    pub(super) fn clear(&mut self) {
        self.losses += 1;
        self.young.clear();
        self.old.clear();
    }

    pub(super) fn remove(&mut self, key: &StreamKey) {
        self.losses += 1;
        self.young.remove(key);
        self.old.remove(key);
    }
}
