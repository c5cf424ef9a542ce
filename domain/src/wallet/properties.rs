//! Whatever is asked in whatever order: what must hold after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::command::Command;
use super::event::Event;
use super::tests::purse::*;
use crate::money::{Currency, Money};

/// One step of a random life: the clock moves, then something is asked. Ids are few, so that
/// retries, reuse and clashes happen; currencies are two.
fn step() -> impl Strategy<Value = (i64, Command)> {
    let name = || (0..8_u8).prop_map(|n| format!("hold-{n}"));
    let money = || prop_oneof![3 => (0..9_i64).prop_map(usd), 1 => (0..9_i64).prop_map(jpy)];
    let some_money = move || proptest::option::of(money());
    let command = prop_oneof![
        3 => money().prop_map(top_up),
        1 => money().prop_map(refund),
        5 => (name(), money(), proptest::option::of(1..60_i64))
            .prop_map(|(id, money, until)| hold(&id, money, until)),
        3 => (name(), some_money()).prop_map(|(id, money)| capture(&id, money)),
        2 => name().prop_map(|id| release(&id)),
        1 => Just(Command::Settle),
    ];
    (prop_oneof![3 => Just(0_i64), 1 => 1..9_i64], command)
}

/// The books as a reader of the log keeps them: what came in and did not leave, what is held.
#[derive(Debug, Default)]
struct Books {
    inside: BTreeMap<Currency, i64>,
    open: BTreeMap<String, (Money, Option<chrono::DateTime<chrono::Utc>>)>,
}

impl Books {
    fn enter(&mut self, event: &Event) {
        match event {
            Event::WalletToppedUp { money, .. } | Event::WalletRefunded { money, .. } => {
                assert!(money.amount.get() > 0);
                *self.inside.entry(money.currency).or_default() += money.amount.get();
            }
            Event::WalletMoneyHeld { hold, money, until, .. } => {
                let before = self.open.insert(hold.to_string(), (*money, *until));
                assert_eq!(before, None, "one hold an id");
            }
            Event::WalletMoneyCaptured { hold, money, released, .. } => {
                let (held, _) = self.open.remove(hold.as_str()).expect("an open hold");
                assert_eq!(held.currency, money.currency);
                assert_eq!(held.amount.get(), money.amount.get() + released.get());
                *self.inside.get_mut(&money.currency).unwrap() -= money.amount.get();
            }
            Event::WalletMoneyReleased { hold, money, .. } => {
                let (held, _) = self.open.remove(hold.as_str()).expect("an open hold");
                assert_eq!(held, *money);
            }
        }
    }

    fn held(&self, currency: Currency) -> i64 {
        let held = self.open.values().filter(|(money, _)| money.currency == currency);
        held.map(|(money, _)| money.amount.get()).sum()
    }
}

proptest! {
    #[test]
    fn what_came_in_is_available_held_or_captured_and_nothing_is_ever_negative(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut purse = Purse::new();
        let mut books = Books::default();
        let mut days = 0;
        for (later, command) in steps {
            days += later;
            purse.now = day(days);
            let before = purse.wallet.clone();
            match purse.tries(command.clone()) {
                Ok(events) => {
                    events.iter().for_each(|event| books.enter(event));
                    prop_assert_eq!(&purse.wallet.balances_at(purse.now), &purse.wallet.balances);
                }
                Err(_) => prop_assert_eq!(&purse.wallet, &before, "a refusal keeps nothing"),
            }
            prop_assert_eq!(&purse.wallet.damage, &None);
            for (currency, inside) in &books.inside {
                let balance = purse.wallet.balance(*currency);
                let (available, held) = (balance.available.get(), balance.held.get());
                prop_assert_eq!((available + held, held), (*inside, books.held(*currency)));
                prop_assert!(available >= 0 && held >= 0);
            }
            // Once accepted, again changes nothing but what comes in.
            let comes_in = matches!(command, Command::TopUp { .. } | Command::Refund { .. });
            if !comes_in && purse.clone().tries(command.clone()).is_ok() {
                prop_assert_eq!(purse.tries(command).unwrap(), vec![]);
            }
            let kept = serde_json::to_string(&purse.wallet).unwrap();
            prop_assert_eq!(&serde_json::from_str::<super::Wallet>(&kept).unwrap(), &purse.wallet);
        }
        // Every deadline passed: only holds without one are left.
        purse.now = day(days + 400);
        purse.tries(Command::Settle).unwrap().iter().for_each(|event| books.enter(event));
        prop_assert!(books.open.values().all(|(_, until)| until.is_none()));
    }
}
