//! Aggregates in memory, bounded by the room that they take.
//!
//! Where it becomes crowded, what is not used again soon is packed: a member with seven lots takes 2 KB
//! whole and 300 bytes packed. Where that is not enough, what was used least is forgotten. Both happen a few
//! for each use: all at once would be some tenths of a second in which nobody is served.

use std::collections::VecDeque;
use std::mem;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::packed::{Packed, room};
use crate::fold::Folded;
use crate::stream::StreamKey;

/// So many uses long an aggregate is not forgotten, whatever room there is.
const RECENT: u64 = 16_384;

/// What an entry takes beside its state, in bytes: its key, its place in the map, the allocator's share.
const ENTRY_BYTES: usize = 200;

/// Those that stay whole although they could be packed have this part of the room when it is crowded.
const WHOLE_PART: usize = 3;

/// Of so many parts of the room one is kept free by packing: it is crowded when that is used.
const FREE_PART: usize = 8;

/// So many that were made whole last are not packed yet: by then the processor's cache still has them.
const NEW: usize = 1_024;

/// Most that are packed, and most that are forgotten, for each use.
const AT_A_TIME: usize = 3;

/// Most that are looked at, whether they are to be packed, for each that comes in packed.
const FOR_ONE: usize = 8;

/// From so many on the map has room for as many accounts of a few lots as there may be: to grow is to
/// move them all at once.
const MANY: usize = 100_000;

/// What a packed account of few lots takes, in bytes.
const PACKED_BYTES: usize = 300;

/// Of so many the one used least is forgotten.
const SAMPLE: usize = 5;

/// Aggregates with every event decided so far folded in, durable or on its way.
#[derive(Debug)]
pub(super) struct Cache {
    entries: IndexMap<StreamKey, Entry, RandomState>,
    /// Those that were made whole last, the first in front.
    new: VecDeque<Place>,
    line: Line,
    bytes: usize,
    bytes_max: usize,
    /// Uses so far.
    uses: u64,
    uses_since_room: usize,
    /// Where the first is of the next few that are asked who of them was used least.
    hand: usize,
    /// The newest use among all that has gone.
    lost: u64,
    forgot: Forgot,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    /// The use that put it where it waits to be packed; 0 where it does not.
    since: u64,
    /// Does it wait in line, or is it new?
    in_line: bool,
    /// What it was last counted as.
    bytes: usize,
    body: Body,
}

/// Whoever waits there, and since which use: one that has gone meanwhile leaves its place behind.
type Place = (StreamKey, u64);

#[derive(Debug)]
enum Body {
    // Behind a pointer: a state is some hundred bytes, and a map that grows moves all it holds.
    Whole(Box<Folded>),
    Packed(Packed),
}

/// Those that stay whole, the next to be packed in front. A clock: whoever was used since it came
/// goes to the back once more.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
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
            new: VecDeque::new(),
            line: Line::default(),
            bytes: 0,
            bytes_max,
            uses: 0,
            uses_since_room: 0,
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
        self.uses_since_room += 1;
        entry.used = self.uses;
        if let Body::Packed(packed) = &entry.body {
            let Some(folded) = packed.unpack() else {
                tracing::error!(stream = ?key, "a packed state cannot be read; it is loaded anew");
                self.remove(key);
                return false;
            };
            entry.body = Body::Whole(Box::new(folded));
            entry.since = entry.used;
            self.new.push_back((key.clone(), entry.since));
        }
        // Commands may have made it larger since.
        let before = entry.bytes;
        entry.recount(&mut self.bytes);
        self.line.recount(entry, before);
        true
    }

    /// A state that was touched since room was made.
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
        self.uses_since_room += 1;
        let (used, body) = (self.uses, Body::Whole(folded));
        let mut entry = Entry { used, since: 0, in_line: false, bytes: body.room(), body };
        self.bytes = self.bytes.saturating_add(entry.bytes);
        if Packed::takes(key.kind()) {
            entry.since = used;
            self.new.push_back((key.clone(), used));
        }
        self.reserve();
        if let Some(before) = self.entries.insert(key, entry) {
            self.discount(&before);
        }
    }

    /// Adds a state that nobody has used yet, unless there is one; false where there is no room, but
    /// for those that are whole, and for what they leave when they are packed.
    pub(super) fn add_packed(&mut self, key: StreamKey, packed: Packed) -> bool {
        if self.entries.contains_key(&key) {
            return true;
        }
        (0..FOR_ONE).for_each(|_| self.pack_where_crowded());
        let body = Body::Packed(packed);
        let (used, bytes) = (0, body.room());
        let all = self.bytes.saturating_add(bytes);
        if all > self.bytes_max || all - self.line.bytes > self.bytes_max - self.whole_max() {
            return false;
        }
        self.reserve();
        self.bytes = all;
        self.entries.insert(key, Entry { used, since: 0, in_line: false, bytes, body });
        true
    }

    fn reserve(&mut self) {
        let (len, most) = (self.entries.len(), self.bytes_max / (ENTRY_BYTES + PACKED_BYTES));
        if len >= MANY && self.entries.capacity() < most {
            self.entries.reserve(most.saturating_sub(len));
        }
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

    /// Packs and forgets what there is no room for, a few for each use since the last call. What has been
    /// touched stays whole until then.
    pub(super) fn make_room(&mut self) {
        for _ in 0..AT_A_TIME * mem::take(&mut self.uses_since_room) {
            if self.new.len() > NEW {
                self.judge_next();
            }
            self.pack_where_crowded();
            if self.line.is_mostly_left() {
                self.tidy_next();
            }
            if self.bytes > self.bytes_max {
                self.forget_one();
            }
        }
    }

    const fn whole_max(&self) -> usize {
        self.bytes_max / WHOLE_PART
    }

    const fn is_crowded(&self) -> bool {
        self.bytes > self.bytes_max - self.bytes_max / FREE_PART
    }

    /// The one that has been new for longest stays whole if there is room, or if it was used again.
    fn judge_next(&mut self) {
        let (whole_max, is_crowded) = (self.whole_max(), self.is_crowded());
        let Some((key, since)) = self.new.pop_front() else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.since != since || entry.in_line {
            return;
        }
        let has_room = !is_crowded || self.line.bytes.saturating_add(entry.bytes) <= whole_max;
        if entry.used > since || has_room {
            self.line.push(key, entry);
        } else {
            entry.pack(&mut self.bytes);
        }
    }

    /// Gives the next place up where nobody waits there any more.
    fn tidy_next(&mut self) {
        let Some((key, since)) = self.line.places.pop_front() else { return };
        if self.entries.get(&key).is_some_and(|it| it.in_line && it.since == since) {
            self.line.places.push_back((key, since));
        }
    }

    fn pack_where_crowded(&mut self) {
        if self.is_crowded() && self.line.bytes > self.whole_max() {
            self.pack_next();
        }
    }

    fn pack_next(&mut self) {
        let Some((key, since)) = self.line.places.pop_front() else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.since != since || !entry.in_line {
            return;
        }
        self.line.leave(entry);
        if entry.used > since {
            self.line.push(key, entry);
        } else {
            entry.pack(&mut self.bytes);
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

impl Entry {
    /// Packs its state, where that can be: it waits no more. Counts it anew in the sum of all.
    fn pack(&mut self, sum: &mut usize) {
        (self.in_line, self.since) = (false, 0);
        if let Body::Whole(folded) = &self.body
            && let Some(packed) = Packed::of(folded)
        {
            self.body = Body::Packed(packed);
        }
        self.recount(sum);
    }

    /// Counts it as what it takes now, in a sum that it is part of.
    fn recount(&mut self, sum: &mut usize) {
        let before = mem::replace(&mut self.bytes, self.body.room());
        *sum = sum.saturating_sub(before).saturating_add(self.bytes);
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
        (entry.in_line, entry.since) = (true, entry.used);
        self.count += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.places.push_back((key, entry.since));
    }

    fn recount(&mut self, entry: &Entry, before: usize) {
        if entry.in_line {
            self.bytes = self.bytes.saturating_sub(before).saturating_add(entry.bytes);
        }
    }

    fn leave(&mut self, entry: &Entry) {
        if entry.in_line {
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    fn is_mostly_left(&self) -> bool {
        self.places.len() > 2 * self.count + NEW
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
