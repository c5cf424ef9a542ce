//! The state in one piece, for memory: a sixth of the size that it has while commands work on it.
//! Never stored, so its form may change with any build.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::lots::{Lot, Lots};
use super::{Account, Holds};
use crate::digest::Digest;
use crate::id::{LotId, SaleId};
use crate::points::Points;

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    opened: bool,
    debt: Points,
    /// In the order in which they are found by id: so they go in again without being sorted.
    #[serde(borrow)]
    lots: Vec<PackedLot<'a>>,
    holds: Cow<'a, Holds>,
    damage: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct PackedLot<'a> {
    #[serde(borrow)]
    id: PackedId<'a>,
    sequence: u64,
    issued: Points,
    free: Points,
    held: Points,
    reversed: Points,
    available_from: Option<Instant>,
    expires_at: Option<Instant>,
    sale: Option<&'a str>,
    digest: Digest,
}

/// Lots are mostly named after their command, and that by a UUID.
#[derive(Serialize, Deserialize)]
enum PackedId<'a> {
    Uuid([u8; 16]),
    Text(&'a str),
}

/// Seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Instant(i64, u32);

impl Account {
    /// Adds the state, packed, to these bytes; none where it cannot be packed, which has not been seen.
    #[must_use]
    pub fn pack(&self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let packed = Packed {
            opened: self.opened,
            debt: self.debt,
            lots: self.lots.iter().map(|(id, lot)| PackedLot::of(id, lot)).collect(),
            holds: Cow::Borrowed(&self.holds),
            damage: self.damage.as_deref(),
        };
        postcard::to_extend(&packed, bytes).ok()
    }

    /// What was packed; none where these bytes were not made by this very build.
    #[must_use]
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let packed: Packed<'_> = postcard::from_bytes(bytes).ok()?;
        // A command is about to add one.
        let mut lots = Lots::with_capacity(packed.lots.len().saturating_add(1));
        for lot in packed.lots {
            let (id, lot) = lot.into_lot()?;
            lots.insert(&id, lot).ok()?;
        }
        Some(Self {
            opened: packed.opened,
            lots,
            holds: packed.holds.into_owned(),
            debt: packed.debt,
            damage: packed.damage.map(str::to_owned),
        })
    }
}

impl<'a> PackedLot<'a> {
    fn of(id: &'a LotId, lot: &'a Lot) -> Self {
        Self {
            id: PackedId::of(id.as_str()),
            sequence: lot.sequence,
            issued: lot.issued,
            free: lot.free,
            held: lot.held,
            reversed: lot.reversed,
            available_from: lot.available_from.map(Instant::of),
            expires_at: lot.expires_at.map(Instant::of),
            sale: lot.sale.as_ref().map(SaleId::as_str),
            digest: lot.digest,
        }
    }

    fn into_lot(self) -> Option<(LotId, Lot)> {
        let lot = Lot {
            sequence: self.sequence,
            issued: self.issued,
            free: self.free,
            held: self.held,
            reversed: self.reversed,
            available_from: Instant::into_time(self.available_from)?,
            expires_at: Instant::into_time(self.expires_at)?,
            sale: self.sale.map(SaleId::new).transpose().ok()?,
            digest: self.digest,
        };
        Some((self.id.into_lot_id()?, lot))
    }
}

impl<'a> PackedId<'a> {
    /// Only a text that comes back the same is a UUID here.
    fn of(id: &'a str) -> Self {
        let uuid = (id.len() == Hyphenated::LENGTH).then(|| Uuid::try_parse(id).ok()).flatten();
        match uuid {
            Some(uuid) if written(uuid, &mut Uuid::encode_buffer()) == id => {
                Self::Uuid(uuid.into_bytes())
            }
            _ => Self::Text(id),
        }
    }

    fn into_lot_id(self) -> Option<LotId> {
        match self {
            Self::Uuid(uuid) => {
                LotId::new(written(Uuid::from_bytes(uuid), &mut Uuid::encode_buffer())).ok()
            }
            Self::Text(text) => LotId::new(text).ok(),
        }
    }
}

fn written(uuid: Uuid, buffer: &mut [u8]) -> &str {
    uuid.hyphenated().encode_lower(buffer)
}

impl Instant {
    fn of(at: DateTime<Utc>) -> Self {
        Self(at.timestamp(), at.timestamp_subsec_nanos())
    }

    /// None where there is such an instant and it is no time.
    fn into_time(this: Option<Self>) -> Option<Option<DateTime<Utc>>> {
        match this {
            Some(Self(seconds, nanos)) => DateTime::from_timestamp(seconds, nanos).map(Some),
            None => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::member::{Member, issue};

    fn of_lots(ids: &[&str]) -> Account {
        ids.iter().fold(Member::new(), |member, id| member.did(issue(id, 100))).account
    }

    #[test]
    fn ids_of_any_form_come_back_as_they_were() {
        let ids = [
            "0c2c8a6b-5dba-4a98-9e4f-40a1b7562c95",
            "0C2C8A6B-5DBA-4A98-9E4F-40A1B7562C96",
            "0c2c8a6b5dba4a989e4f40a1b7562c97",
            "order-17",
            "00000000-0000-0000-0000-000000000000",
            "not-a-uuid-but-as-long-as-one-is-now",
        ];
        let account = of_lots(&ids);
        let packed = account.pack(vec![7]).unwrap();
        let unpacked = Account::unpack(&packed[1..]).unwrap();
        assert_eq!((unpacked, packed[0]), (account, 7));
    }

    #[test]
    fn a_lot_named_by_a_uuid_takes_some_forty_bytes() {
        let ids: Vec<_> = (0..10).map(|n| Uuid::from_u128(n << 64).to_string()).collect();
        let packed = of_lots(&ids.iter().map(String::as_str).collect::<Vec<_>>()).pack(Vec::new());
        let bytes = packed.unwrap().len();
        assert!((300..=400).contains(&bytes), "{bytes}");
    }

    #[test]
    fn bytes_that_were_never_packed_are_no_account() {
        assert_eq!(Account::unpack(b"{\"opened\":true}"), None);
        let packed = of_lots(&["order-17"]).pack(Vec::new()).unwrap();
        assert_eq!(Account::unpack(&packed[..packed.len() - 1]), None);
    }
}
