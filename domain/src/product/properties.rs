//! Whatever is asked in whatever order: what must hold after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::command::Command;
use super::event::Event;
use super::tests::shelf::*;
use crate::quantity::Units;

/// One step of a random life: the clock moves, then something is asked. Ids are few, so that
/// retries, reuse and clashes happen.
fn step() -> impl Strategy<Value = (i64, Command)> {
    let name = || (0..8_u8).prop_map(|n| format!("hold-{n}"));
    let some = |range: std::ops::Range<i64>| proptest::option::of(range);
    let command = prop_oneof![
        3 => (-6..8_i64).prop_filter("a change", |it| *it != 0).prop_map(adjust),
        5 => (name(), 1..6_i64, some(1..60)).prop_map(|(id, units, at)| hold(&id, units, at)),
        3 => (name(), some(1..6)).prop_map(|(id, units)| capture(&id, units)),
        2 => name().prop_map(|id| release(&id)),
        1 => Just(Command::Settle),
        1 => Just(reprice(7)),
    ];
    (prop_oneof![3 => Just(0_i64), 1 => 1..9_i64], command)
}

/// The books as a reader of the log keeps them.
#[derive(Debug, Default)]
struct Books {
    on_hand: i64,
    open: BTreeMap<String, (i64, Option<chrono::DateTime<chrono::Utc>>)>,
}

impl Books {
    fn enter(&mut self, event: &Event) {
        match event {
            Event::ProductCreated { .. }
            | Event::ProductChanged { .. }
            | Event::ProductRetired {} => {}
            Event::StockAdjusted { delta, .. } => self.on_hand += delta.get(),
            Event::StockHeld { hold, quantity, until, .. } => {
                let before = self.open.insert(hold.to_string(), (quantity.get(), *until));
                assert_eq!(before, None, "one hold an id");
            }
            Event::StockCaptured { hold, quantity, released, .. } => {
                let (held, _) = self.open.remove(hold.as_str()).expect("an open hold");
                assert_eq!(held, quantity.get() + released.get());
                self.on_hand -= quantity.get();
            }
            Event::StockReleased { hold, quantity, .. } => {
                let (held, _) = self.open.remove(hold.as_str()).expect("an open hold");
                assert_eq!(held, quantity.get());
            }
        }
    }

    fn held(&self) -> i64 {
        self.open.values().map(|(units, _)| units).sum()
    }
}

proptest! {
    #[test]
    fn on_hand_is_available_and_held_and_nothing_is_ever_negative(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut shelf = Shelf::with(5);
        let mut books = Books { on_hand: 5, ..Books::default() };
        let mut days = 0;
        for (later, command) in steps {
            days += later;
            shelf.now = day(days);
            let before = shelf.product.clone();
            match shelf.tries(command.clone()) {
                Ok(events) => events.iter().for_each(|event| books.enter(event)),
                Err(_) => prop_assert_eq!(&shelf.product, &before, "a refusal keeps nothing"),
            }
            let (available, held) = (shelf.product.available().get(), shelf.product.held().get());
            prop_assert_eq!((available + held, held), (books.on_hand, books.held()));
            prop_assert!(available >= 0 && held >= 0);
            // Once accepted, again changes nothing but what a change of stock is.
            if !matches!(command, Command::AdjustStock { .. }) && shelf.clone().tries(command.clone()).is_ok() {
                let again = shelf.tries(command.clone()).unwrap();
                again.iter().for_each(|event| books.enter(event));
                prop_assert_eq!(shelf.tries(command).unwrap(), vec![]);
            }
            let kept = serde_json::to_string(&shelf.product).unwrap();
            prop_assert_eq!(&serde_json::from_str::<super::Product>(&kept).unwrap(), &shelf.product);
        }
        // Every deadline passed: only holds without one are left.
        shelf.now = day(days + 400);
        shelf.tries(Command::Settle).unwrap().iter().for_each(|event| books.enter(event));
        prop_assert!(books.open.values().all(|(_, until)| until.is_none()));
        prop_assert_eq!(shelf.product.held(), Units::new(books.held()).unwrap());
    }
}
