//! A state in one piece: what memory keeps of an aggregate that has not been used for a while.

use std::mem;

use accrue_domain::account::Account;
use accrue_domain::aggregate::Kind;

use crate::fold::Folded;
use crate::state::State;

/// An account with more lots and holds stays whole: to unpack it would keep others waiting.
const PARTS_MAX: usize = 256;

/// Sequence and snapshot, eight bytes each, then the state. A tenth to a sixth of the room that it
/// takes while commands work on it; to unpack it takes a tenth of the time to load it.
#[derive(Debug)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Is a state of this kind packed? Accounts are many, and come back for years. Of the others
    /// there are few, or they are done with soon.
    pub(super) const fn takes(kind: Kind) -> bool {
        matches!(kind, Kind::Account)
    }

    /// None where the state's kind is not packed, or where it is too large.
    pub(super) fn of(folded: &Folded) -> Option<Self> {
        let State::Account(account) = &folded.state else { return None };
        if account.parts() > PARTS_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.extend(folded.sequence.to_le_bytes());
        bytes.extend(folded.snapshot.to_le_bytes());
        account.pack(bytes).map(|bytes| Self(bytes.into()))
    }

    /// None where it was not packed by [`Packed::of`].
    pub(super) fn unpack(&self) -> Option<Folded> {
        let (sequence, rest) = self.0.split_first_chunk()?;
        let (snapshot, state) = rest.split_first_chunk()?;
        Some(Folded {
            state: State::Account(Account::unpack(state)?),
            sequence: i64::from_le_bytes(*sequence),
            snapshot: i64::from_le_bytes(*snapshot),
        })
    }

    /// Sequence of the last event folded in.
    pub(super) fn sequence(&self) -> Option<i64> {
        self.0.first_chunk().map(|sequence| i64::from_le_bytes(*sequence))
    }

    /// What it takes of memory, in bytes.
    pub(super) const fn room(&self) -> usize {
        // The allocator's sizes are up to a seventh larger than what is asked for.
        self.0.len() + self.0.len() / 8
    }
}

/// What a whole state takes of memory, in bytes: an estimate, from what accounts of one to a hundred
/// lots took.
pub(super) fn room(folded: &Folded) -> usize {
    const PART: usize = 280;
    let parts = match &folded.state {
        State::Account(account) => account.parts(),
        State::Product(product) => product.holds().count(),
        State::Wallet(wallet) => wallet.holds().count(),
        // Lines, returns and steps, of which there are a few.
        State::Purchase(_) | State::Sale(_) => 4,
        State::Campaign(_) | State::Program(_) => 1,
    };
    mem::size_of::<Folded>().saturating_add(parts.saturating_mul(PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_back_as_it_was() {
        let folded = Folded { sequence: 7, snapshot: 3, ..Folded::empty(Kind::Account) };
        let packed = Packed::of(&folded).unwrap();
        let unpacked = packed.unpack().unwrap();
        assert_eq!((unpacked.sequence, unpacked.snapshot, packed.sequence()), (7, 3, Some(7)));
        assert!(packed.room() < room(&folded) / 2);
    }

    #[test]
    fn of_the_kinds_only_those_are_packed_that_say_so() {
        for kind in Kind::ALL {
            assert_eq!(Packed::of(&Folded::empty(kind)).is_some(), Packed::takes(kind), "{kind:?}");
        }
    }
}
