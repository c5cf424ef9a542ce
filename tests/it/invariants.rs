//! Random lives through the real executor, log and read model: what must hold at every position.

use std::collections::BTreeMap;
use std::sync::Arc;

use accrue_domain::account::Account;
use accrue_domain::account::command::{Change, Command, Issue, Source};
use accrue_domain::account::lots::Lot;
use accrue_domain::action::Action;
use accrue_domain::aggregate::{Aggregate, Context};
use accrue_domain::event::Event;
use accrue_domain::expiry::Policy;
use accrue_domain::id::{CommandId, HoldId, LotId};
use accrue_domain::program::Settings;
use accrue_event_store::clock::SettableClock;
use accrue_event_store::follow::Feeds;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_event_store::record::Recorded;
use accrue_projections::live;
use accrue_projections::models::balances;
use accrue_tests::command::{account, points, unkeyed};
use accrue_tests::database::Database;
use accrue_tests::ledger;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Hours that the clock moves, whose account, and what is asked.
type Step = (u32, u8, Ask);

/// A command in small numbers, so that ids clash and times meet.
#[derive(Debug, Clone)]
enum Ask {
    Issue { lot: u8, points: i64, from: Option<u32>, last: Option<u32> },
    Redeem(i64),
    Credit { lot: u8, points: i64 },
    Debit(i64),
    Reverse { lot: u8, points: Option<i64> },
    Hold { hold: u8, points: i64, until: Option<u32> },
    Capture { hold: u8, points: Option<i64> },
    Release(u8),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let (lot, hold, few) = (0..6_u8, 0..4_u8, 1..60_i64);
    let hours = || proptest::option::of(1..200_u32);
    let part = || proptest::option::of(1..40_i64);
    let ask = prop_oneof![
        5 => (lot.clone(), few.clone(), hours(), hours())
            .prop_map(|(lot, points, from, last)| Ask::Issue { lot, points, from, last }),
        4 => few.clone().prop_map(Ask::Redeem),
        1 => (lot.clone(), few.clone()).prop_map(|(lot, points)| Ask::Credit { lot, points }),
        1 => few.clone().prop_map(Ask::Debit),
        3 => (lot, part()).prop_map(|(lot, points)| Ask::Reverse { lot, points }),
        3 => (hold.clone(), few, hours())
            .prop_map(|(hold, points, until)| Ask::Hold { hold, points, until }),
        2 => (hold.clone(), part()).prop_map(|(hold, points)| Ask::Capture { hold, points }),
        1 => hold.prop_map(Ask::Release),
        1 => Just(Ask::Settle),
    ];
    (prop_oneof![2 => Just(0_u32), 1 => 1..60_u32], 0..2_u8, ask)
}

fn command(ask: &Ask, now: DateTime<Utc>) -> Command {
    let lot = |lot: u8| LotId::new(&format!("lot-{lot}")).expect("a lot's id");
    let hold = |hold: u8| HoldId::new(&format!("hold-{hold}")).expect("a hold's id");
    let later = |hours: u32| now + TimeDelta::hours(i64::from(hours));
    match *ask {
        Ask::Issue { lot: id, points: count, from, last } => Command::Issue(Issue {
            lot: Some(lot(id)),
            points: points(count),
            available_from: from.map(later),
            expires: last.map(|hours| Policy::At(later(hours))),
            source: Source::Issue,
            reference: None,
        }),
        Ask::Redeem(count) => Command::Redeem { points: points(count), reference: None },
        Ask::Credit { lot: id, points: count } => {
            adjust(Change::Credit { points: points(count), lot: Some(lot(id)), expires: None })
        }
        Ask::Debit(count) => adjust(Change::Debit { points: points(count) }),
        Ask::Reverse { lot: id, points: part } => {
            Command::Reverse { lot: lot(id), points: part.map(points), reference: None }
        }
        Ask::Hold { hold: id, points: count, until } => Command::PlaceHold {
            hold: hold(id),
            points: points(count),
            until: until.map(later),
            reference: None,
        },
        Ask::Capture { hold: id, points: part } => {
            Command::CaptureHold { hold: hold(id), points: part.map(points), reference: None }
        }
        Ask::Release(id) => Command::ReleaseHold { hold: hold(id), reference: None },
        Ask::Settle => Command::Settle,
    }
}

fn adjust(change: Change) -> Command {
    Command::Adjust { change, reason: "r".to_owned(), actor: "a".to_owned(), reference: None }
}

/// The books as an outsider keeps them, from the stored JSON alone.
#[derive(Debug, Default)]
struct Books {
    free: BTreeMap<String, i64>,
    held: BTreeMap<String, i64>,
    debt: i64,
}

impl Books {
    /// Enters one stored event, and looks whether it may be.
    fn enter(&mut self, event: &Recorded) {
        let data: Value = serde_json::from_str(event.row.data()).expect("data is JSON");
        let count = |name: &str| data[name].as_i64().unwrap_or(0);
        let lots = |name: &str| -> Vec<(String, i64)> {
            let parts = data[name].as_array().into_iter().flatten();
            let lot = |it: &Value| it["lot"].as_str().expect("a lot").to_owned();
            parts.map(|it| (lot(it), it["points"].as_i64().expect("points"))).collect()
        };
        let parts = lots("lots");
        match &*event.row.event_type {
            "AccountOpened" => {}
            "PointsIssued" | "PointsCredited" => {
                let lot = data["lot"].as_str().expect("a lot").to_owned();
                assert!(self.free.insert(lot, count("points")).is_none(), "a lot is issued once");
            }
            "PointsReversed" => {
                move_parts(&mut self.free, &parts, -1);
                self.debt += count("debt");
            }
            "DebtRepaid" => {
                move_parts(&mut self.free, &parts, -1);
                self.debt -= count("points");
            }
            "PointsRedeemed" | "PointsDebited" | "PointsExpired" => {
                move_parts(&mut self.free, &parts, -1);
            }
            "HoldPlaced" => {
                move_parts(&mut self.free, &parts, -1);
                move_parts(&mut self.held, &parts, 1);
            }
            "HoldReleased" => {
                move_parts(&mut self.held, &parts, -1);
                move_parts(&mut self.free, &parts, 1);
            }
            "HoldCaptured" => {
                let released = lots("released");
                move_parts(&mut self.held, &parts, -1);
                move_parts(&mut self.held, &released, -1);
                move_parts(&mut self.free, &released, 1);
            }
            other => panic!("what is {other}?"),
        }
        if count("points") > 0 && !parts.is_empty() {
            let sum: i64 = parts.iter().map(|(_, points)| points).sum();
            assert_eq!(sum + count("debt"), count("points"), "the lots add up: {data}");
        }
        assert!(self.debt >= 0, "at {}: {self:?}", event.position);
    }
}

fn move_parts(books: &mut BTreeMap<String, i64>, parts: &[(String, i64)], sign: i64) {
    for (lot, points) in parts {
        let left = books.entry(lot.clone()).or_default();
        *left += sign * points;
        assert!(*points > 0 && *left >= 0, "lot {lot} has {left}");
    }
}

/// One account as three see it.
#[derive(Debug, Default)]
struct Seen {
    books: Books,
    state: Account,
}

struct Life {
    ledger: Ledger,
    clock: Arc<SettableClock>,
    now: DateTime<Utc>,
    started: live::Started,
    accounts: BTreeMap<String, Seen>,
}

impl Life {
    async fn live(steps: Vec<Step>) {
        let database = Database::create().await;
        let now = "2026-01-31T00:00:00Z".parse().expect("an instant");
        let clock = Arc::new(SettableClock::new(now));
        let config = Config { clock: Arc::clone(&clock) as _, ..ledger::config(&database) };
        let ledger = ledger::open_with(config).await;
        let stop = CancellationToken::new();
        let started =
            live::start(&ledger, &Feeds::by_log(), stop.clone()).await.expect("read models");
        let mut life = Self { ledger, clock, now, started, accounts: BTreeMap::new() };
        for (at, step) in steps.into_iter().enumerate() {
            life.step(at, step).await;
        }
        stop.cancel();
        while life.started.runners.join_next().await.is_some() {}
        life.ledger.close().await;
        life.ledger.pool().close().await;
    }

    async fn step(&mut self, at: usize, (hours, who, ask): Step) {
        self.now += TimeDelta::hours(i64::from(hours));
        self.clock.set(self.now);
        let id = format!("member-{who}");
        let action = Action::Account(account(&id), command(&ask, self.now));
        match self.ledger.execute(unkeyed(&format!("step-{at}"), vec![action])).await {
            Ok(receipt) => self.enter(&id, &receipt).await,
            Err(ExecuteError::Refused { .. }) => {}
            Err(error) => panic!("{ask:?}: {error}"),
        }
        let ids: Vec<_> = self.accounts.keys().cloned().collect();
        for id in ids {
            self.agree(&id).await;
        }
    }

    async fn enter(&mut self, id: &str, receipt: &Receipt) {
        let seen = self.accounts.entry(id.to_owned()).or_default();
        for event in &receipt.events {
            seen.books.enter(event);
            for event in event.events() {
                let Event::Account(event) = event else { panic!("an account's event") };
                seen.state.evolve(event);
            }
            let (books, state) = (&seen.books, &seen.state);
            let (free, held) = (sum(&books.free), sum(&books.held));
            assert_eq!(free + held, state.balance(), "at {}", event.position);
            assert_eq!((held, books.debt), (state.held(), state.debt().get()));
            assert!(free >= 0 && held >= 0);
        }
        if books_owe_and_own(&seen.books) {
            panic!("a debt is repaid before anything is free: {:?}", seen.books);
        }
        self.started.views.balances.reached(receipt.position).await;
    }

    /// The read model shows what the domain would, now that so much time has passed.
    async fn agree(&self, id: &str) {
        let seen = &self.accounts[id];
        let mut state = seen.state.clone();
        let (command_id, settings) =
            (CommandId::new("settle").expect("an id"), Settings::default());
        let context = Context {
            now: self.now,
            occurred_at: self.now,
            command_id: &command_id,
            settings: &settings,
        };
        for event in state.decide(Command::Settle, &context).expect("time passes") {
            state.evolve(&event);
        }
        let mut conn = self.ledger.pool().acquire().await.expect("a connection");
        let shown = balances::by_account(&mut conn, "default", id, self.now).await;
        let Some(shown) = shown.expect("the read model answers") else {
            assert!(!seen.state.is_open(), "{id} is open and not shown");
            return;
        };
        let expected =
            (state.available(self.now), state.pending(self.now), state.held(), state.debt().get());
        assert_eq!((shown.available, shown.pending, shown.held, shown.debt), expected);
        let lots = shown.lots.iter().map(|it| (it.lot.clone(), it.remaining, it.held));
        let mut lots: Vec<_> = lots.collect();
        lots.sort();
        let all = state.lots().iter();
        let with_points = all.filter(|(_, lot)| !(lot.free.is_zero() && lot.held.is_zero()));
        let points = |(id, lot): (&LotId, &Lot)| (id.to_string(), lot.free.get(), lot.held.get());
        let mut expected: Vec<_> = with_points.map(points).collect();
        expected.sort();
        assert_eq!(lots, expected);
    }
}

fn sum(lots: &BTreeMap<String, i64>) -> i64 {
    lots.values().sum()
}

fn books_owe_and_own(books: &Books) -> bool {
    books.debt > 0 && sum(&books.free) > 0
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn books_state_and_read_model_agree_at_every_position(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(Life::live(steps));
    }
}
