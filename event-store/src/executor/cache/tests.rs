//! What memory keeps, in which form, and what it says of what has gone.

use accrue_domain::account::event::Event as OnAccount;
use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::id::ProgramId;
use proptest::prelude::*;

use super::*;
use crate::state::State;

const MIB: usize = 1 << 20;

fn key(kind: Kind, number: usize) -> StreamKey {
    StreamKey::new(kind, &ProgramId::default(), &number.to_string())
}

fn account(number: usize) -> StreamKey {
    key(Kind::Account, number)
}

/// An account that tells its number by its sequence.
fn folded(number: usize) -> Box<Folded> {
    let mut folded = Folded::empty(Kind::Account);
    folded.state.evolve(&Event::Account(OnAccount::AccountOpened {}));
    folded.sequence = i64::try_from(number).unwrap();
    Box::new(folded)
}

/// As a command does that makes the account.
fn insert(cache: &mut Cache, number: usize) {
    cache.make_room();
    cache.insert(account(number), folded(number));
}

/// As a command does that uses it.
fn touch(cache: &mut Cache, number: usize) -> bool {
    cache.make_room();
    cache.touch(&account(number))
}

fn filled(bytes_max: usize, count: usize) -> Cache {
    let mut cache = Cache::new(bytes_max);
    (0..count).for_each(|number| insert(&mut cache, number));
    cache.make_room();
    cache
}

fn is_whole(cache: &Cache, number: usize) -> bool {
    cache.get(&account(number)).is_some()
}

/// Uses until nothing of before is recent.
fn age(cache: &mut Cache) {
    let other = key(Kind::Sale, 0);
    cache.insert(other.clone(), Box::new(Folded::empty(Kind::Sale)));
    for _ in 0..RECENT {
        cache.make_room();
        assert!(cache.touch(&other));
    }
}

/// What the sums must be.
fn check(cache: &Cache) {
    let all = cache.entries.values();
    let bytes = all.clone().map(|entry| entry.bytes).sum::<usize>();
    let in_line = all.filter(|entry| entry.in_line);
    assert_eq!(cache.bytes, bytes);
    assert_eq!(cache.line.bytes, in_line.clone().map(|entry| entry.bytes).sum::<usize>());
    assert_eq!(cache.line.count, in_line.count());
    let places = |places: &VecDeque<Place>, in_line| {
        let waits = |(key, since): &&Place| {
            let entry = cache.entries.get(key);
            entry.is_some_and(|it| it.in_line == in_line && it.since == *since)
        };
        places.iter().filter(waits).count()
    };
    assert_eq!(places(&cache.line.places, true), cache.line.count);
    let whole = cache.entries.values().filter(|it| matches!(it.body, Body::Whole(_))).count();
    let others = cache.entries.keys().filter(|it| !Packed::takes(it.kind())).count();
    assert_eq!(
        places(&cache.new, false) + cache.line.count + others,
        whole,
        "all that are whole wait"
    );
}

#[test]
fn nothing_is_packed_where_there_is_room() {
    let cache = &mut filled(32 * MIB, 50_000);
    assert!((20 * MIB..28 * MIB).contains(&cache.bytes()), "{}", cache.bytes());
    assert!((0..50_000).all(|number| is_whole(cache, number)));
    check(cache);
}

#[test]
fn what_was_not_used_again_is_packed_and_comes_back_as_it_was() {
    // It holds some 59,000 of these whole, and a third of it 22,000.
    let cache = &mut filled(32 * MIB, 100_000);
    assert_eq!((cache.len(), cache.lost), (100_000, 0), "nothing is forgotten");
    assert!(!is_whole(cache, 0) && !is_whole(cache, 90_000) && is_whole(cache, 99_999));
    assert!(cache.line.bytes <= 12 * MIB, "{}", cache.line.bytes);
    for number in [0, 10_017, 90_000] {
        assert_eq!(cache.sequence(&account(number)), Some(i64::try_from(number).unwrap()));
        assert!(!is_whole(cache, number));
        assert!(touch(cache, number));
        let back = cache.get(&account(number)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", folded(number)));
    }
    check(cache);
}

#[test]
fn whoever_is_used_again_stays_whole_in_place_of_one_who_is_not() {
    let cache = &mut filled(32 * MIB, 100_000);
    let packed: Vec<_> = (0..).filter(|number| !is_whole(cache, *number)).take(100).collect();
    assert!(packed[99] < 1_000, "those who came first");
    for number in 100_000..110_000 {
        insert(cache, number);
        assert!(touch(cache, packed[number % 100]));
        if number % 10 == 0 {
            // A crowd of those who came before, one after the other.
            assert!(touch(cache, number / 10 - 9_000));
            assert!(touch(cache, number / 10 - 9_000));
        }
    }
    assert!(packed.iter().all(|number| is_whole(cache, *number)), "they were used all the time");
    assert!(cache.line.bytes <= 12 * MIB, "{}", cache.line.bytes);
    check(cache);
}

#[test]
fn what_a_command_touches_stays_whole_until_it_is_decided() {
    let cache = &mut filled(0, 20_000);
    cache.make_room();
    assert!((0..2_000).all(|number| cache.touch(&account(10_000 + number))));
    assert!((0..2_000).all(|number| is_whole(cache, 10_000 + number)));
    cache.make_room();
    assert!(!is_whole(cache, 10_000) && is_whole(cache, 11_999));
    check(cache);
}

#[test]
fn memory_that_is_full_forgets_what_was_used_least_and_stays_full() {
    let cache = &mut filled(16 * MIB, 100_000);
    assert!(cache.bytes() <= 16 * MIB, "{}", cache.bytes());
    assert!(cache.bytes() > 15 * MIB, "{}", cache.bytes());
    let kept = |numbers: std::ops::Range<usize>| {
        numbers.filter(|number| cache.sequence(&account(*number)).is_some()).count()
    };
    assert!(kept(0..20_000) < 200, "{}", kept(0..20_000));
    assert_eq!(kept(90_000..100_000), 10_000);
    check(cache);
}

#[test]
fn what_is_recent_stays_whatever_the_room() {
    let recent = usize::try_from(RECENT).unwrap();
    let cache = &filled(0, 2 * recent);
    let stays = |number| cache.sequence(&account(number)).is_some();
    assert!((recent..2 * recent).all(stays));
    assert!(cache.len() < recent + recent / 4, "{}", cache.len());
    check(cache);
}

#[test]
fn a_kind_that_is_not_packed_stays_whole_until_it_is_forgotten() {
    let mut cache = Cache::new(32 * MIB);
    for number in 0..20_000 {
        cache.insert(key(Kind::Sale, number), Box::new(Folded::empty(Kind::Sale)));
    }
    age(&mut cache);
    assert!((0..20_000).all(|number| cache.get(&key(Kind::Sale, number)).is_some()));
    check(&cache);
}

#[test]
fn a_state_that_grows_is_counted_as_what_it_is() {
    let cache = &mut filled(32 * MIB, 2 * NEW);
    assert!(cache.entries[&account(0)].in_line && !cache.entries[&account(2 * NEW - 1)].in_line);
    for number in [0, 2 * NEW - 1] {
        grow(cache, number);
    }
}

fn grow(cache: &mut Cache, number: usize) {
    let before = cache.bytes();
    issue(cache, number, 10);
    assert!(touch(cache, number));
    assert!(cache.bytes() >= before + 2_000, "{before} {}", cache.bytes());
    check(cache);
}

/// So many more lots.
fn issue(cache: &mut Cache, number: usize, lots: usize) {
    let state = &mut cache.get_mut(&account(number)).unwrap().state;
    let State::Account(before) = &*state else { unreachable!() };
    let first = before.parts();
    for lot in first..first + lots {
        let issued = serde_json::json!({"PointsIssued": {
            "lot": format!("lot-{lot}"), "points": 5, "source": {"kind": "issue"}
        }});
        state.evolve(&Event::Account(serde_json::from_value(issued).unwrap()));
    }
}

#[test]
fn a_large_account_is_not_packed() {
    let cache = &mut filled(0, 2);
    issue(cache, 0, 257);
    issue(cache, 1, 256);
    for number in 2..2 * NEW {
        insert(cache, number);
    }
    assert!(is_whole(cache, 0) && !is_whole(cache, 1));
    assert!(touch(cache, 0) && touch(cache, 1));
}

#[test]
fn what_nobody_has_used_yet_comes_in_packed_up_to_its_part_of_the_room() {
    let cache = &mut filled(MIB, 10);
    let add = |cache: &mut Cache, number| {
        cache.add_packed(account(number), Packed::of(&folded(number)).unwrap())
    };
    assert!(add(cache, 3), "it is there already");
    assert!(is_whole(cache, 3), "and stays");
    let added = (10..100_000).take_while(|number| add(cache, *number)).count();
    assert!((500_000..=MIB * 2 / 3).contains(&(cache.bytes() - cache.line.bytes)), "{added}");
    assert!(touch(cache, 10) && is_whole(cache, 10));
    check(cache);
}

#[test]
fn what_comes_in_packed_has_others_packed_where_it_is_crowded() {
    for uses in [0, 1] {
        let cache = &mut filled(32 * MIB, 59_000);
        for number in 0..59_000 * uses {
            assert!(touch(cache, number));
        }
        let add = |number| cache.add_packed(account(number), Packed::of(&folded(number)).unwrap());
        assert!((100_000..140_000).all(add));
        assert!(cache.bytes() < 31 * MIB, "{}", cache.bytes());
        assert_eq!(cache.len(), 99_000);
        check(cache);
    }
}

#[test]
fn what_went_is_told_to_those_who_used_it_and_to_nobody_else() {
    let cache = &mut filled(32 * MIB, 10);
    let began = cache.uses();
    assert!(cache.touch(&account(3)));
    assert!(!cache.has_lost_since(began));
    cache.remove(&account(3));
    assert!(cache.has_lost_since(began));
    assert!(!cache.has_lost_since(cache.uses()));
    let began = cache.uses();
    cache.clear();
    assert!(cache.has_lost_since(began) && !cache.has_lost_since(cache.uses()));
    assert_eq!((cache.len(), cache.bytes()), (0, 0));

    let cache = &mut filled(0, 10);
    let began = cache.uses();
    age(cache);
    assert!(cache.len() < 10, "{}", cache.len());
    assert!(!cache.has_lost_since(began), "what went was used before");
}

#[test]
fn forgetting_is_told_at_first_and_then_when_half_has_gone() {
    let cache = &mut filled(0, 16_000);
    assert!(!cache.has_forgotten());
    let mut told = 0;
    for number in 16_000..40_000 {
        insert(cache, number);
        told += usize::from(cache.has_forgotten());
    }
    assert_eq!(told, 3, "of 16,384 that stay, the first, then the 8,193rd and the 16,385th");
}

#[test]
fn places_of_those_that_have_gone_do_not_add_up() {
    let mut cache = Cache::new(32 * MIB);
    for number in 0..1_000 {
        insert(&mut cache, 1);
        // Now new, now in line.
        (0..number % 2 * (NEW + 1)).for_each(|other| insert(&mut cache, 10 + other));
        cache.remove(&account(1));
        if number % 100 == 0 {
            check(&cache);
        }
    }
    let places = cache.new.len() + cache.line.places.len();
    assert!(places < 10 * NEW, "{places}");
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8),
    AddPacked(u8),
    Touch(u8),
    Grow(u8),
    Remove(u8),
    Age,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u8>().prop_map(Step::Insert),
        3 => any::<u8>().prop_map(Step::AddPacked),
        2 => any::<u8>().prop_map(Step::Grow),
        6 => any::<u8>().prop_map(Step::Touch),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Age),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_is_what_was_put_there_and_the_sums_are_right(
        steps in prop::collection::vec(step(), 0..200),
        room in 0..2_000_000_usize,
    ) {
        // So many are whole that some wait in line.
        let mut cache = filled(room, 2 * NEW);
        for step in steps {
            match step {
                Step::Insert(number) => {
                    insert(&mut cache, number.into());
                    prop_assert!(is_whole(&cache, number.into()));
                }
                Step::AddPacked(number) => {
                    let (known, before) = (cache.sequence(&account(number.into())), cache.bytes());
                    let packed = Packed::of(&folded(number.into())).unwrap();
                    let added = cache.add_packed(account(number.into()), packed);
                    let there = cache.sequence(&account(number.into()));
                    let new = added.then_some(i64::from(number));
                    prop_assert_eq!(there, known.or(new));
                    prop_assert!(cache.bytes() <= room.max(before));
                }
                Step::Grow(number) => {
                    if touch(&mut cache, number.into()) {
                        issue(&mut cache, number.into(), 3);
                    }
                }
                Step::Touch(number) => {
                    let known = cache.sequence(&account(number.into()));
                    prop_assert_eq!(touch(&mut cache, number.into()), known.is_some());
                    let found = cache.get(&account(number.into())).map(|it| it.sequence);
                    prop_assert_eq!(found, known);
                    prop_assert!(known.is_none_or(|it| it == i64::from(number)));
                }
                Step::Remove(number) => {
                    cache.remove(&account(number.into()));
                    prop_assert_eq!(cache.sequence(&account(number.into())), None);
                }
                Step::Age => age(&mut cache),
                Step::Clear => cache.clear(),
            }
            check(&cache);
        }
    }
}
