//! How much of what was received is held in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most records without a result, and most bytes of them; then no more are taken. The bytes are those
/// of bodies and keys: headers come on top, a key is kept up to three times, and the client reads
/// ahead by itself. So they bound the memory, and are not all of it.
const RECORDS_MAX: usize = 2_048;
const BYTES_MAX: usize = 64 << 20;

/// What is held in memory of records without a result: at work, or behind others.
#[derive(Debug, Default)]
pub(super) struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    /// Nothing more is to be fetched.
    pub(super) fn is_full(&self) -> bool {
        self.records() >= RECORDS_MAX || self.bytes.load(Ordering::Acquire) >= BYTES_MAX
    }

    /// There is room for a good many. What was fetched ahead is thrown away when fetching stops, so
    /// it is not begun again for every record that leaves.
    pub(super) fn is_roomy(&self) -> bool {
        self.records() <= RECORDS_MAX / 2 && self.bytes.load(Ordering::Acquire) <= BYTES_MAX / 2
    }

    /// Records without a result.
    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::Acquire)
    }

    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.records.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Held { room: Arc::clone(self), bytes }
    }
}

/// A record's part of the room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.records.fetch_sub(1, Ordering::AcqRel);
        self.room.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_at_its_bound_and_roomy_at_half_of_that() {
        let room = Arc::new(Room::default());
        let mut held: Vec<_> = (1..RECORDS_MAX).map(|_| room.hold(10)).collect();
        assert!(!room.is_full());
        held.push(room.hold(10));
        assert!(room.is_full());
        held.truncate(RECORDS_MAX / 2 + 1);
        assert!(!room.is_full() && !room.is_roomy());
        held.truncate(RECORDS_MAX / 2);
        assert!(room.is_roomy());
        held.push(room.hold(BYTES_MAX));
        assert!(room.is_full());
    }
}
