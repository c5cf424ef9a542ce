//! An ordered map that is cheap to copy when it is large, and compact while it is small.
//!
//! Most members have a handful of lots and holds: a sorted vector, a few cache lines. The few with
//! thousands get a persistent (shared) tree, so that a decision may work on a copy.

use std::ops::{Bound, RangeBounds};

use rpds::RedBlackTreeMapSync as Tree;

/// Most entries that are kept in a vector.
const FEW_MAX: usize = 16;

/// A map in the order of its keys.
#[derive(Debug, Clone)]
pub(crate) enum SmallMap<K: Ord, V> {
    /// In the order of their keys.
    Few(Vec<(K, V)>),
    Many(Tree<K, V>),
}

impl<K: Ord, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// Equal entries are equal maps, however they are kept.
impl<K: Ord + Clone, V: PartialEq + Clone> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone> SmallMap<K, V> {
    /// No entries, with room for so many while they are few.
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self::Few(Vec::with_capacity(entries.min(FEW_MAX)))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(tree) => tree.size(),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(crate) fn get_key_value(&self, key: &K) -> Option<(&K, &V)> {
        match self {
            Self::Few(entries) => entries.get(place(entries, key).ok()?).map(both),
            Self::Many(tree) => tree.get_key_value(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::Few(entries) => {
                let at = place(entries, key).ok()?;
                entries.get_mut(at).map(|(_, value)| value)
            }
            Self::Many(tree) => tree.get_mut(key),
        }
    }

    /// Adds an entry, or replaces the value under its key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Self::Few(entries) = self {
            match place(entries, &key) {
                Ok(at) => {
                    entries[at].1 = value;
                    return;
                }
                Err(at) if entries.len() < FEW_MAX => {
                    grow(entries);
                    entries.insert(at, (key, value));
                    return;
                }
                Err(_) => *self = Self::Many(entries.drain(..).collect()),
            }
        }
        if let Self::Many(tree) = self {
            tree.insert_mut(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        match self {
            Self::Few(entries) => {
                if let Ok(at) = place(entries, key) {
                    entries.remove(at);
                }
            }
            Self::Many(tree) => {
                tree.remove_mut(key);
            }
        }
    }

    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        match self {
            Self::Few(entries) => entries.first().map(both),
            Self::Many(tree) => tree.first(),
        }
    }

    pub(crate) fn last(&self) -> Option<(&K, &V)> {
        match self {
            Self::Few(entries) => entries.last().map(both),
            Self::Many(tree) => tree.last(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.range(..)
    }

    /// The entries whose keys lie within the range, in their order. Lazy.
    pub(crate) fn range<R: RangeBounds<K>>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(entries) => {
                let from = match range.start_bound() {
                    Bound::Unbounded => 0,
                    Bound::Included(start) => entries.partition_point(|(key, _)| key < start),
                    Bound::Excluded(start) => entries.partition_point(|(key, _)| key <= start),
                };
                let until = match range.end_bound() {
                    Bound::Unbounded => entries.len(),
                    Bound::Included(end) => entries.partition_point(|(key, _)| key <= end),
                    Bound::Excluded(end) => entries.partition_point(|(key, _)| key < end),
                };
                (Some(entries[from..until.max(from)].iter().map(both)), None)
            }
            Self::Many(tree) => (None, Some(tree.range(range))),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

/// Where the key is, or where it would be.
fn place<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    entries.binary_search_by(|(at, _)| at.cmp(key))
}

fn both<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

/// Makes room for one more, and for half as many again as there are: most maps never hold more than
/// one or two entries, and a vector by itself begins with room for four.
fn grow<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact((entries.len() / 2).saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, u32),
        Change(u8, u32),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..40_u8, any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            1 => (0..40_u8, any::<u32>()).prop_map(|(key, value)| Step::Change(key, value)),
            1 => (0..40_u8).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map_whatever_its_size(
            steps in prop::collection::vec(step(), 0..120),
            from in 0..45_u8,
            until in 0..45_u8,
        ) {
            let (mut map, mut model) = (SmallMap::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        map.insert(key, value);
                        model.insert(key, value);
                    }
                    Step::Change(key, value) => {
                        let seen = map.get_mut(&key).map(|it| *it = value);
                        prop_assert_eq!(seen, model.get_mut(&key).map(|it| *it = value));
                    }
                    Step::Remove(key) => {
                        map.remove(&key);
                        model.remove(&key);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.first(), model.first_key_value());
                prop_assert_eq!(map.last(), model.last_key_value());
                prop_assert!(map.iter().eq(model.iter()));
            }
            let until = until.max(from);
            prop_assert!(map.range(from..until).eq(model.range(from..until)));
            prop_assert!(map.range(..=until).eq(model.range(..=until)));
            let behind = (Bound::Excluded(from), Bound::Unbounded);
            prop_assert!(map.range(behind).eq(model.range(behind)));
            prop_assert_eq!(map.get(&from), model.get(&from));
            // A map that once was large equals one that never was.
            let mut anew = SmallMap::default();
            map.iter().for_each(|(key, value)| anew.insert(*key, *value));
            prop_assert!(map == anew);
        }
    }
}
