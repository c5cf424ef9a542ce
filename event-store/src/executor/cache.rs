//! Aggregates in memory, bounded.

use std::collections::hash_map::IntoIter;
use std::mem;

use super::hash::HashMap;
use crate::fold::Folded;
use crate::stream::StreamKey;

/// Aggregates with every event decided so far folded in, durable or on its way.
///
/// Two generations: whatever is used moves to the young one; when that is full the old one is
/// forgotten and the young becomes old. Close to least-recently-used, at the cost of a hash map.
#[derive(Debug)]
pub(super) struct Cache {
    // Behind pointers: a state is some hundred bytes, and a map that grows moves all it holds.
    young: HashMap<StreamKey, Box<Folded>>,
    old: HashMap<StreamKey, Box<Folded>>,
    /// Forgotten for want of room, and given back a few at a time: all at once takes some tenths of a
    /// second, in which nobody would be served.
    dead: Option<IntoIter<StreamKey, Box<Folded>>>,
    generation_max: usize,
    /// Aggregates were forgotten since somebody asked.
    forgot: bool,
    losses: u64,
}

/// Below this a batch's own aggregates could be forgotten while it is being written.
const GENERATION_MIN: usize = 16_384;

/// How many of the dead are given back for each that comes: all of them, before the next die.
const BURIED: usize = 2;

impl Cache {
    pub(super) fn new(aggregates_max: usize) -> Self {
        let generation_max = (aggregates_max / 2).max(GENERATION_MIN);
        let (young, old) = (HashMap::default(), HashMap::default());
        Self { young, old, dead: None, generation_max, forgot: false, losses: 0 }
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

    pub(super) fn get(&self, key: &StreamKey) -> Option<&Folded> {
        self.young.get(key).or_else(|| self.old.get(key)).map(|entry| &**entry)
    }

    pub(super) fn get_mut(&mut self, key: &StreamKey) -> Option<&mut Folded> {
        if self.young.contains_key(key) {
            return self.young.get_mut(key).map(|entry| &mut **entry);
        }
        self.old.get_mut(key).map(|entry| &mut **entry)
    }

    pub(super) fn insert(&mut self, key: StreamKey, entry: Box<Folded>) {
        if self.young.len() >= self.generation_max {
            self.forgot |= !self.old.is_empty();
            self.losses += u64::from(!self.old.is_empty());
            // As much room as the one before needed: to grow is to move all of it at once, too.
            let young = HashMap::with_capacity_and_hasher(self.generation_max, Default::default());
            let old = mem::replace(&mut self.young, young);
            self.dead = Some(mem::replace(&mut self.old, old).into_iter());
        }
        self.young.insert(key, entry);
        if let Some(dead) = &mut self.dead
            && dead.by_ref().take(BURIED).count() < BURIED
        {
            self.dead = None;
        }
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

    /// Rare enough to give all of it back at once.
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

#[cfg(test)]
mod tests {
    use accrue_domain::aggregate::Kind;
    use accrue_domain::id::ProgramId;

    use super::*;

    fn insert(cache: &mut Cache, number: usize) {
        let key = StreamKey::new(Kind::Account, &ProgramId::default(), &number.to_string());
        cache.insert(key, Box::new(Folded::empty(Kind::Account)));
    }

    #[test]
    fn what_is_forgotten_is_given_back_a_few_at_a_time_and_never_adds_to_the_bound() {
        let mut cache = Cache::new(0);
        let generation = GENERATION_MIN;
        for number in 0..=2 * generation {
            insert(&mut cache, number);
        }
        let dead = |cache: &Cache| cache.dead.as_ref().map_or(0, ExactSizeIterator::len);
        assert_eq!((cache.len(), dead(&cache)), (generation + 1, generation - BURIED));
        for number in 1..=generation / BURIED {
            insert(&mut cache, 2 * generation + number);
            assert!(cache.len() + dead(&cache) <= 2 * generation);
        }
        assert_eq!((cache.len(), dead(&cache)), (generation + 1 + generation / BURIED, 0));
    }
}
