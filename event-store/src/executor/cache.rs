//! Aggregates in memory, bounded by the room that they take.
//!
//! What has not been used for a while is packed first: a member with seven lots takes 2 KB whole and
//! 300 bytes packed. Where that is not enough, what was used least is forgotten. Both happen a few at
//! a time, with each use: all at once would be some tenths of a second in which nobody is served.

use std::collections::VecDeque;
use std::mem;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use indexmap::map::Entry as Place;

use super::packed::{Packed, room};
use crate::fold::Folded;
use crate::stream::StreamKey;

/// So many uses long an aggregate stays as it is, whatever room there is: who has touched it finds it
/// whole until its command is decided.
const RECENT: u64 = 16_384;

/// What an entry takes beside its state, in bytes: its key, its place in the map, the allocator's share.
const ENTRY_BYTES: usize = 200;

/// Those that are whole and could be packed have this part of the room.
const WHOLE_PART: usize = 3;

/// Most that are packed, and most that are forgotten, for each use.
const AT_A_TIME: usize = 3;

/// Of so many the one used least is forgotten.
const SAMPLE: usize = 5;

/// Aggregates with every event decided so far folded in, durable or on its way.
#[derive(Debug)]
pub(super) struct Cache {
    entries: IndexMap<StreamKey, Entry, RandomState>,
    line: Line,
    bytes: usize,
    bytes_max: usize,
    /// Uses so far.
    uses: u64,
    /// Where the first is of the next few that are asked who of them was used least.
    hand: usize,
    /// The newest use among all that has gone.
    lost: u64,
    forgot: Forgot,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    /// The use that put it in line; 0 where it is not.
    since: u64,
    /// What it was last counted as.
    bytes: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    // Behind a pointer: a state is some hundred bytes, and a map that grows moves all it holds.
    Whole(Box<Folded>),
    Packed(Packed),
}

/// Those that are whole and can be packed, the next one in front. A clock: whoever was used since it
/// came goes to the back once more.
#[derive(Debug, Default)]
struct Line {
    /// With the use that put each here: one that has gone meanwhile leaves its place behind.
    places: VecDeque<(StreamKey, u64)>,
    count: usize,
    bytes: usize,
}

/// What was forgotten for want of room, as far as it is not told yet.
#[derive(Debug, Default)]
struct Forgot {
    count: usize,
    /// How many it takes to be told.
    wanted: usize,
    untold: bool,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            entries: IndexMap::default(),
            line: Line::default(),
            bytes: 0,
            bytes_max,
            uses: 0,
            hand: 0,
            lost: 0,
            forgot: Forgot::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What it takes of memory, by estimate.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the entry whole and the last used, and says whether there is one.
    pub(super) fn touch(&mut self, key: &StreamKey) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        self.uses += 1;
        entry.used = self.uses;
        if let Body::Packed(packed) = &entry.body {
            let Some(folded) = packed.unpack() else {
                tracing::error!(stream = ?key, "a packed state cannot be read; it is loaded anew");
                self.remove(key);
                return false;
            };
            entry.body = Body::Whole(Box::new(folded));
            self.line.push(key.clone(), entry);
        }
        // Commands may have made it larger since.
        let before = mem::replace(&mut entry.bytes, entry.body.room());
        self.line.recount(entry, before);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(entry.bytes);
        self.make_room();
        true
    }

    /// A state that has just been touched.
    pub(super) fn get(&self, key: &StreamKey) -> Option<&Folded> {
        match &self.entries.get(key)?.body {
            Body::Whole(folded) => Some(folded),
            Body::Packed(_) => None,
        }
    }

    /// As [`Cache::get`].
    pub(super) fn get_mut(&mut self, key: &StreamKey) -> Option<&mut Folded> {
        match &mut self.entries.get_mut(key)?.body {
            Body::Whole(folded) => Some(folded),
            Body::Packed(_) => None,
        }
    }

    /// Sequence of the last event folded in, touched or not.
    pub(super) fn sequence(&self, key: &StreamKey) -> Option<i64> {
        match &self.entries.get(key)?.body {
            Body::Whole(folded) => Some(folded.sequence),
            Body::Packed(packed) => packed.sequence(),
        }
    }

    pub(super) fn insert(&mut self, key: StreamKey, folded: Box<Folded>) {
        self.uses += 1;
        let body = Body::Whole(folded);
        let mut entry = Entry { used: self.uses, since: 0, bytes: body.room(), body };
        self.bytes = self.bytes.saturating_add(entry.bytes);
        if Packed::takes(key.kind()) {
            self.line.push(key.clone(), &mut entry);
        }
        if let Some(before) = self.entries.insert(key, entry) {
            self.discount(&before);
        }
        self.make_room();
    }

    /// Adds a state that nobody has used yet, unless there is one; false where there is no room, but
    /// for those that are whole.
    pub(super) fn keep(&mut self, key: StreamKey, packed: Packed) -> bool {
        let body = Body::Packed(packed);
        let bytes = self.bytes.saturating_sub(self.line.bytes).saturating_add(body.room());
        if bytes > self.bytes_max - self.bytes_max / WHOLE_PART {
            return false;
        }
        if let Place::Vacant(place) = self.entries.entry(key) {
            let entry = Entry { used: 0, since: 0, bytes: body.room(), body };
            self.bytes = self.bytes.saturating_add(entry.bytes);
            place.insert(entry);
        }
        true
    }

    /// A moment of memory: see [`Cache::has_lost_since`].
    pub(super) const fn uses(&self) -> u64 {
        self.uses
    }

    /// Has anything gone, by whatever way, that was used behind that moment?
    pub(super) const fn has_lost_since(&self, uses: u64) -> bool {
        self.lost > uses
    }

    /// Has so much been forgotten for want of room since the last call that it matters?
    pub(super) fn has_forgotten(&mut self) -> bool {
        mem::take(&mut self.forgot.untold)
    }

    /// Rare enough to give all of it back at once.
    pub(super) fn clear(&mut self) {
        let (bytes_max, uses) = (self.bytes_max, self.uses + 1);
        *self = Self { uses, lost: uses, ..Self::new(bytes_max) };
    }

    pub(super) fn remove(&mut self, key: &StreamKey) {
        self.uses += 1;
        self.lost = self.uses;
        if let Some(entry) = self.entries.swap_remove(key) {
            self.discount(&entry);
        }
    }

    fn discount(&mut self, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.line.leave(entry);
    }

    fn make_room(&mut self) {
        for _ in 0..AT_A_TIME {
            if self.line.bytes > self.bytes_max / WHOLE_PART {
                self.pack_next();
            }
            if self.bytes > self.bytes_max {
                self.forget_one();
            }
        }
        if self.line.is_mostly_left() {
            let entries = &self.entries;
            self.line
                .places
                .retain(|(key, since)| entries.get(key).is_some_and(|entry| entry.since == *since));
        }
    }

    fn pack_next(&mut self) {
        let Some((key, since)) = self.line.places.pop_front() else { return };
        let Some(entry) = self.entries.get_mut(&key).filter(|it| it.since == since) else { return };
        if entry.used + RECENT > self.uses {
            return self.line.places.push_back((key, since));
        }
        self.line.leave(entry);
        entry.since = 0;
        if let Body::Whole(folded) = &entry.body
            && let Some(packed) = Packed::of(folded)
        {
            entry.body = Body::Packed(packed);
            let before = mem::replace(&mut entry.bytes, entry.body.room());
            self.bytes = self.bytes.saturating_sub(before).saturating_add(entry.bytes);
        }
    }

    /// Of the next few the one used least, unless that is recent. They are spread, since neighbours often
    /// came together and are of an age.
    fn forget_one(&mut self) {
        let len = self.entries.len().max(1);
        let next = (0..SAMPLE).map(|part| (self.hand + part * len / SAMPLE) % len);
        let used = next.filter_map(|at| Some((self.entries.get_index(at)?.1.used, at)));
        let least = used.min().filter(|(used, _)| used + RECENT <= self.uses);
        self.hand = (self.hand + 1) % len;
        let Some((used, at)) = least else { return };
        if let Some((_, entry)) = self.entries.swap_remove_index(at) {
            self.discount(&entry);
            self.lost = self.lost.max(used);
            self.forgot.one(len);
        }
    }
}

impl Body {
    fn room(&self) -> usize {
        ENTRY_BYTES.saturating_add(match self {
            Self::Whole(folded) => room(folded),
            Self::Packed(packed) => packed.room(),
        })
    }
}

impl Line {
    fn push(&mut self, key: StreamKey, entry: &mut Entry) {
        entry.since = entry.used;
        self.count += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.places.push_back((key, entry.since));
    }

    fn recount(&mut self, entry: &Entry, before: usize) {
        if entry.since > 0 {
            self.bytes = self.bytes.saturating_sub(before).saturating_add(entry.bytes);
        }
    }

    fn leave(&mut self, entry: &Entry) {
        if entry.since > 0 {
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    fn is_mostly_left(&self) -> bool {
        self.places.len() > 2 * self.count + AT_A_TIME
    }
}

impl Forgot {
    /// One more, of so many. The first is told, and then whenever half of all have gone.
    fn one(&mut self, of: usize) {
        self.count += 1;
        if self.count > self.wanted {
            *self = Self { count: 0, wanted: of / 2, untold: true };
        }
    }
}

#[cfg(test)]
mod tests;
