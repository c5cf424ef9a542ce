//! Whatever is asked in whatever order: what must hold after every step.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::Account;
use super::command::{Command, Issue};
use super::event::{Event, Grace, Part};
use super::tests::member::*;
use crate::aggregate::Aggregate;
use crate::expiry::Policy;
use crate::holds::Stage;
use crate::id::{HoldId, LotId};
use crate::points::Points;

/// One step of a random life: the clock moves, then something is asked. Ids are few, so that
/// retries, reuse and clashes happen.
fn step() -> impl Strategy<Value = (i64, Command)> {
    let name = || (0..12_u8).prop_map(|n| format!("id-{n}"));
    let points = || 1..60_i64;
    let some = |range: std::ops::Range<i64>| proptest::option::of(range);
    let issued =
        (name(), points(), some(0..90), some(1..90)).prop_map(|(id, points, from, last)| {
            let expires = last.map(|days| Policy::At(day(days)));
            Command::Issue(Issue { available_from: from.map(day), expires, ..never(&id, points) })
        });
    let awarded = (name(), points(), 0..3_u8)
        .prop_map(|(id, points, sale)| award(&id, points, &format!("sale-{sale}")));
    let command = prop_oneof![
        4 => issued,
        2 => awarded,
        4 => points().prop_map(redeem),
        1 => (name(), points()).prop_map(|(id, points)| credit(&id, points)),
        1 => points().prop_map(debit),
        2 => (name(), some(1..60)).prop_map(|(id, points)| reverse(&id, points)),
        2 => (0..3_u8, 0..=7_i64).prop_map(|(sale, back)| reverse_sale(&format!("sale-{sale}"), back, 7)),
        3 => (name(), 1..30_i64, some(1..90)).prop_map(|(id, points, until)| place(&id, points, until)),
        2 => (name(), some(1..30)).prop_map(|(id, points)| capture(&id, points)),
        1 => name().prop_map(|id| release(&id)),
        2 => (name(), 1..20_i64).prop_map(|(id, points)| restore(&id, points)),
        1 => Just(Command::Settle),
    ];
    (prop_oneof![3 => Just(0_i64), 1 => 1..12_i64], command)
}

fn life() -> impl Strategy<Value = Vec<(i64, Command)>> {
    proptest::collection::vec(step(), 1..60)
}

/// The books as a reader of the log keeps them: what each lot has left, what is held, owed, and
/// where the rest went.
#[derive(Debug, Default, PartialEq)]
struct Books {
    issued: BTreeMap<LotId, i64>,
    /// Lots of points that came back too late for their own.
    graced: BTreeMap<LotId, i64>,
    free: BTreeMap<LotId, i64>,
    held: BTreeMap<LotId, i64>,
    debt: i64,
    /// Net of what came back.
    spent: i64,
    expired: i64,
    /// Out of lots: what was owed counts when it is repaid.
    clawed_back: i64,
    /// What each captured hold spent and did not get back, in the order of use.
    captured: BTreeMap<HoldId, Vec<(LotId, i64)>>,
}

impl Books {
    fn enter(&mut self, event: &Event) {
        match event {
            Event::AccountOpened {} => {}
            Event::PointsIssued { lot, points, .. } | Event::PointsCredited { lot, points, .. } => {
                assert_eq!(self.issued.insert(lot.clone(), points.get()), None, "one issue a lot");
                self.free.insert(lot.clone(), points.get());
            }
            Event::PointsRedeemed { points, lots, .. }
            | Event::PointsDebited { points, lots, .. } => {
                adds_up(*points, lots, 0);
                moves(&mut self.free, lots, -1);
                self.spent += points.get();
            }
            Event::PointsExpired { points, lots } => {
                adds_up(*points, lots, 0);
                moves(&mut self.free, lots, -1);
                self.expired += points.get();
            }
            Event::PointsReversed { points, lots, debt, .. } => {
                adds_up(*points, lots, debt.get());
                moves(&mut self.free, lots, -1);
                self.debt += debt.get();
                self.clawed_back += points.get() - debt.get();
            }
            Event::DebtRepaid { points, lots } => {
                adds_up(*points, lots, 0);
                moves(&mut self.free, lots, -1);
                self.debt -= points.get();
                self.clawed_back += points.get();
            }
            Event::HoldPlaced { points, lots, .. } => {
                adds_up(*points, lots, 0);
                moves(&mut self.free, lots, -1);
                moves(&mut self.held, lots, 1);
            }
            Event::HoldCaptured { hold, points, lots, released, .. } => {
                adds_up(*points, lots, 0);
                self.spent += points.get();
                self.captured.insert(hold.clone(), named(lots));
                moves(&mut self.held, lots, -1);
                moves(&mut self.held, released, -1);
                moves(&mut self.free, released, 1);
            }
            Event::HoldReleased { points, lots, .. } => {
                adds_up(*points, lots, 0);
                moves(&mut self.held, lots, -1);
                moves(&mut self.free, lots, 1);
            }
            Event::PointsRestored { hold, points, lots, grace, .. } => {
                let late = grace.as_ref().map_or(0, |grace| grace.points.get());
                adds_up(*points, lots, late);
                moves(&mut self.free, lots, 1);
                self.spent -= points.get();
                if let Some(Grace { lot, points, .. }) = grace {
                    assert_eq!(self.graced.insert(lot.clone(), points.get()), None);
                    self.free.insert(lot.clone(), points.get());
                }
                // Of a hold that is not known, all comes back late.
                if self.captured.contains_key(hold) {
                    self.comes_back(hold, points.get(), lots);
                } else {
                    assert_eq!(late, points.get());
                }
            }
        }
        assert!(self.debt >= 0);
    }

    /// Of what the hold spent, from its end: each part to its own lot, or late to the grace lot.
    fn comes_back(&mut self, hold: &HoldId, points: i64, lots: &[Part]) {
        let spent = self.captured.get_mut(hold).expect("a captured hold");
        let (mut missing, mut back) = (points, named(lots));
        back.reverse();
        while missing > 0 {
            let (lot, left) = spent.last_mut().expect("no more than was spent");
            let here = missing.min(*left);
            if back.last() == Some(&(lot.clone(), here)) {
                back.pop();
            }
            (missing, *left) = (missing - here, *left - here);
            if *left == 0 {
                spent.pop();
            }
        }
        assert_eq!(back, [], "a part went to another lot than it came from");
    }

    fn agree_with(&self, account: &Account) {
        for (id, lot) in account.lots().iter() {
            let held = self.held.get(id).copied().unwrap_or(0);
            assert_eq!((self.free[id], held), (lot.free.get(), lot.held.get()), "lot {id}");
            assert!(lot.free.get() + lot.held.get() <= lot.issued.get());
            assert!(lot.reversed <= lot.issued);
        }
        let (free, held) = (self.free.values().sum::<i64>(), self.held.values().sum::<i64>());
        let gone = self.spent + self.expired + self.clawed_back;
        assert_eq!(
            self.issued.values().sum::<i64>(),
            gone + free + held,
            "no point is made or lost"
        );
        assert_eq!((account.balance(), account.held()), (free + held, held));
        assert_eq!(
            (account.debt().get(), account.lots().count()),
            (self.debt, self.issued.len() + self.graced.len())
        );
        let promised =
            account.holds().iter().filter(|(_, hold)| matches!(hold.stage, Stage::Open(_)));
        assert_eq!(held, promised.map(|(_, hold)| hold.amount.get()).sum::<i64>(), "open holds");
    }
}

fn adds_up(points: Points, lots: &[Part], debt: i64) {
    let sum: i64 = lots.iter().map(|part| part.points.get()).sum();
    assert_eq!(points.get(), sum + debt);
    assert!(points.get() > 0 && lots.iter().all(|part| !part.points.is_zero()));
}

fn moves(books: &mut BTreeMap<LotId, i64>, lots: &[Part], sign: i64) {
    for part in lots {
        let left = books.entry(part.lot.clone()).or_default();
        *left += sign * part.points.get();
        assert!(*left >= 0, "lot {} below zero", part.lot);
    }
}

/// The written order, by brute force: every lot sorted anew for every spend.
fn reference_allocation(
    account: &Account,
    now: DateTime<Utc>,
    points: i64,
) -> Option<Vec<(LotId, i64)>> {
    let mut lots: Vec<_> = account
        .lots()
        .iter()
        .filter(|(_, lot)| lot.available_from.is_none_or(|from| from <= now))
        .filter(|(_, lot)| lot.expires_at.is_none_or(|at| at > now))
        .collect();
    lots.sort_by_key(|(_, lot)| (lot.expires_at.is_none(), lot.expires_at, lot.sequence));
    let mut left = points;
    let mut parts = Vec::new();
    for (id, lot) in lots {
        let part = left.min(lot.free.get());
        if part > 0 {
            parts.push((id.clone(), part));
        }
        left -= part;
    }
    (left == 0).then_some(parts)
}

fn named(lots: &[Part]) -> Vec<(LotId, i64)> {
    lots.iter().map(|part| (part.lot.clone(), part.points.get())).collect()
}

fn snapshotted(account: &Account) -> Account {
    serde_json::from_str(&serde_json::to_string(account).unwrap()).unwrap()
}

fn packed(account: &Account) -> Account {
    Account::unpack(&account.pack(Vec::new()).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance_at_every_step(life in life()) {
        let mut member = Member::new();
        let mut books = Books::default();
        for (days, command) in life {
            member.now += chrono::TimeDelta::days(days);
            let before = member.account.clone();
            match member.tries(command) {
                Ok(events) => {
                    events.iter().for_each(|event| books.enter(event));
                    let (account, now) = (&member.account, member.now);
                    prop_assert!(account.damage.is_none(), "{:?}", account.damage);
                    prop_assert!(account.debt().is_zero() || account.lots().free() == 0);
                    prop_assert_eq!(account.lots().lapsed(now).count(), 0);
                    prop_assert!(account.next_deadline().is_none_or(|at| at > now));
                    prop_assert!(account.available(now) >= 0);
                    let parts = account.available(now) + account.pending(now) + account.held();
                    prop_assert_eq!(parts, account.balance());
                }
                Err(_) => prop_assert_eq!(&member.account, &before),
            }
            books.agree_with(&member.account);
        }
    }

    #[test]
    fn every_spend_follows_the_written_order(life in life()) {
        let mut member = Member::new();
        for (days, command) in life {
            member.now += chrono::TimeDelta::days(days);
            let _ = member.tries(Command::Settle);
            let points = match &command {
                Command::Redeem { points, .. } | Command::PlaceHold { points, .. } => points.get(),
                _ => 0,
            };
            let expected = reference_allocation(&member.account, member.now, points);
            let redeems = matches!(command, Command::Redeem { .. });
            match member.tries(command) {
                Ok(events) => for event in &events {
                    if let Event::PointsRedeemed { lots, .. } | Event::HoldPlaced { lots, .. } = event {
                        prop_assert_eq!(Some(named(lots)), expected.clone());
                    }
                },
                Err(_) if redeems => prop_assert_eq!(expected, None),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn to_be_kept_midway_changes_nothing(life in life(), at in 0..60_usize) {
        let mut member = Member::new();
        let mut log = Vec::new();
        for (days, command) in life {
            member.now += chrono::TimeDelta::days(days);
            log.extend(member.tries(command).unwrap_or_default());
        }
        let (mut plain, mut restored) = (Account::default(), Account::default());
        let mut unpacked = Account::default();
        for (n, event) in log.iter().enumerate() {
            if n == at {
                restored = snapshotted(&restored);
                prop_assert_eq!(&restored, &plain);
                unpacked = packed(&unpacked);
                prop_assert_eq!(&unpacked, &plain);
            }
            plain.evolve(event);
            restored.evolve(event);
            unpacked.evolve(event);
        }
        prop_assert_eq!(&plain, &member.account);
        prop_assert_eq!(&restored, &member.account);
        prop_assert_eq!(&unpacked, &member.account);
        prop_assert_eq!(&snapshotted(&plain), &plain);
        prop_assert_eq!(restored.next_deadline(), plain.next_deadline());
    }

    #[test]
    fn what_a_hold_spent_comes_back_once_in_whatever_portions(
        lots in proptest::collection::vec((1..20_i64, proptest::option::of(1..60_i64)), 1..6),
        share in 1..=100_i64,
        portions in proptest::collection::vec((0..20_i64, 1..25_i64), 1..12),
    ) {
        let (mut member, mut books) = (Member::new(), Books::default());
        let all: i64 = lots.iter().map(|(points, _)| points).sum();
        let mut left = (all * share / 100).max(1);
        let lots = lots.into_iter().enumerate().map(|(n, (points, last))| match last {
            Some(days) => lapsing(&format!("lot-{n}"), points, days),
            None => issue(&format!("lot-{n}"), points),
        });
        for command in lots.chain([place("h", all, None), capture("h", Some(left))]) {
            member.tries(command).unwrap().iter().for_each(|event| books.enter(event));
        }
        for (days, points) in portions {
            member.now += chrono::TimeDelta::days(days);
            let answer = member.tries(restore("h", points));
            prop_assert_eq!(answer.is_ok(), points <= left);
            for event in answer.iter().flatten() {
                books.enter(event);
            }
            left -= if answer.is_ok() { points } else { 0 };
            prop_assert_eq!(books.spent, left);
            books.agree_with(&member.account);
        }
    }

    #[test]
    fn a_command_with_ids_has_one_effect_however_often_it_comes(life in life()) {
        let mut member = Member::new();
        for (days, command) in life {
            member.now += chrono::TimeDelta::days(days);
            let named = match &command {
                Command::Redeem { .. }
                | Command::Reverse { .. }
                | Command::RestoreHold { .. } => false,
                Command::Adjust { change, .. } => {
                    matches!(change, crate::account::command::Change::Credit { .. })
                }
                _ => true,
            };
            if member.tries(command.clone()).is_ok() && named {
                prop_assert_eq!(member.tries(command), Ok(vec![]));
            }
        }
    }

    #[test]
    fn partial_returns_take_back_what_one_whole_return_does(
        issued in 1..1_000_i64,
        total in 1..100_000_i64,
        splits in proptest::collection::vec(0..=100_u8, 0..8),
    ) {
        let mut splits: Vec<i64> = splits.iter().map(|p| total * i64::from(*p) / 100).collect();
        splits.push(total);
        splits.sort_unstable();
        let mut member = Member::new().did(award("x", issued, "s"));
        for returned in splits {
            let _ = member.tries(reverse_sale("s", returned, total)).unwrap();
            let left = member.account.balance();
            let share = i128::from(issued) * i128::from(returned) / i128::from(total);
            prop_assert_eq!(i128::from(issued - left), share);
        }
        prop_assert_eq!(member.account.balance(), 0);
    }
}
