//! What is remembered of holds, beside a model that remembers everything.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn id(n: usize) -> HoldId {
    HoldId::new(&format!("hold-{n}")).unwrap()
}

fn open(until: Option<i64>) -> Hold<i64> {
    let until = until.map(|at| DateTime::from_timestamp(at, 0).unwrap());
    Hold::open(1, (), until, None)
}

/// So many holds that have ended, in the order of their numbers.
fn ended(count: usize) -> Holds<i64> {
    let mut holds = Holds::default();
    for n in 0..count {
        holds.insert(&id(n), open(None)).unwrap();
        holds.end(&id(n), Stage::Released).unwrap();
    }
    holds
}

#[test]
fn an_id_names_one_hold_until_a_thousand_later_ones_have_ended() {
    let last = ended(ENDED_MAX);
    assert!(last.get(&id(0)).is_some());
    assert_eq!(last.clone().insert(&id(0), open(None)), Err(Damage::HoldTwice(id(0))));
    let mut one_more = ended(ENDED_MAX + 1);
    assert!(one_more.get(&id(0)).is_none() && one_more.get(&id(1)).is_some());
    assert_eq!(one_more.end(&id(0), Stage::Released), Err(Damage::NoHold(id(0))));
    assert_eq!(one_more.insert(&id(0), open(None)), Ok(()));
}

#[test]
fn an_open_hold_is_never_forgotten() {
    let mut holds = Holds::default();
    let patient = HoldId::new("patient").unwrap();
    holds.insert(&patient, open(Some(9))).unwrap();
    for n in 0..=2 * ENDED_MAX {
        holds.insert(&id(n), open(None)).unwrap();
        holds.end(&id(n), Stage::Captured(1)).unwrap();
    }
    assert_eq!(holds.iter().count(), ENDED_MAX + 1);
    assert_eq!(holds.end(&patient, Stage::Released), Ok(1));
    assert_eq!(holds.next_deadline(), None);
}

/// Ids are few, so that a hold is placed and ended again after it was forgotten.
fn step() -> impl Strategy<Value = (bool, usize, Option<i64>)> {
    (any::<bool>(), 995..1_010_usize, proptest::option::of(0..50_i64))
}

proptest! {
    #[test]
    fn the_open_ones_and_the_last_thousand_that_ended_are_remembered(
        before in 990..1_005_usize,
        steps in prop::collection::vec(step(), 1..60),
        at in 0..60_usize,
    ) {
        let mut holds = ended(before);
        let mut order: Vec<HoldId> = (0..before).map(id).collect();
        let mut still_open = BTreeMap::new();
        for (n, (places, which, until)) in steps.into_iter().enumerate() {
            if n == at {
                let kept = serde_json::to_string(&holds).unwrap();
                let back: Holds<i64> = serde_json::from_str(&kept).unwrap();
                prop_assert_eq!(&back, &holds);
                holds = back;
            }
            let known = &order[order.len().saturating_sub(ENDED_MAX)..];
            let (ended, open_now) = (known.contains(&id(which)), still_open.contains_key(&id(which)));
            if places {
                let placed = holds.insert(&id(which), open(until));
                prop_assert_eq!(placed.is_ok(), !ended && !open_now);
                if placed.is_ok() {
                    still_open.insert(id(which), until);
                }
            } else {
                prop_assert_eq!(holds.end(&id(which), Stage::Released).is_ok(), open_now);
                if still_open.remove(&id(which)).is_some() {
                    order.push(id(which));
                }
            }
            let known = &order[order.len().saturating_sub(ENDED_MAX)..];
            let mut expected: Vec<_> = known.iter().chain(still_open.keys()).collect();
            expected.sort_unstable();
            prop_assert_eq!(holds.iter().map(|(id, _)| id).collect::<Vec<_>>(), expected);
            let first = still_open.values().flatten().min();
            prop_assert_eq!(holds.next_deadline().map(|at| at.timestamp()), first.copied());
        }
    }
}
