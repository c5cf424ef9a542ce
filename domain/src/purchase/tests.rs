//! Purchases, given / when / then.

mod dinars;
mod discount;
mod faults;
mod order;
mod properties;
mod refund;
mod returns;
mod way;

use chrono::{DateTime, TimeDelta, Utc};

use super::Purchase;
use super::command::{
    Asked, Command, DiscountAsked, Off, Offer, Place, Portion, Quote, Refund, RefundedLine,
};
use super::error::Error;
use super::event::Event;
use super::step::{Step, Turn, Way};
use super::trail::Next;
use crate::aggregate::{Aggregate, Context};
use crate::id::{AccountId, CommandId, ProductId, RefundId, WalletId};
use crate::money::{Currency, Minor, Money};
use crate::payment_method::PaymentMethod;
use crate::points::Amount;
use crate::product::Offering;
use crate::program::{PointsRate, Settings};
use crate::quantity::Quantity;

/// A purchase under test, with a clock that stands still.
#[derive(Debug, Clone)]
struct Bench {
    purchase: Purchase,
    now: DateTime<Utc>,
    settings: Settings,
}

impl Bench {
    /// 2 points pay 1 penny.
    fn new() -> Self {
        let rate = PointsRate { points: Amount::new(2).unwrap(), amount: minor(1) };
        Self {
            purchase: Purchase::default(),
            now: DateTime::UNIX_EPOCH,
            settings: Settings { points_rate: Some(rate), ..Settings::default() },
        }
    }

    fn placed(place: Place) -> Self {
        let mut it = Self::new();
        it.must(Command::Place(Box::new(place)));
        it
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let command_id = CommandId::new("command-1").unwrap();
        let (now, settings) = (self.now, &self.settings);
        let context = Context { now, occurred_at: now, command_id: &command_id, settings };
        self.purchase.decide(command, &context)
    }

    /// The names of what happened.
    fn must(&mut self, command: Command) -> Vec<&'static str> {
        let events = self.decide(command.clone());
        let events = events.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        events.iter().for_each(|event| self.purchase.evolve(event));
        events.into_iter().map(|event| crate::event::Event::Purchase(event).name().0).collect()
    }

    fn refuses(&self, command: Command) -> Error {
        self.decide(command.clone()).expect_err(&format!("{command:?}"))
    }

    fn next(&self) -> Next {
        self.purchase.next(self.now)
    }

    /// Takes the next step, in whatever way it is to go, with success.
    fn step(&mut self) -> Option<(Step, Way)> {
        let Next::Move(step, way) = self.next() else { return None };
        let turn = self.purchase.turn(step, way);
        if step.is_outside() {
            let until = self.now + TimeDelta::seconds(30);
            self.must(Command::Start { turn: turn.clone(), until });
        }
        let payment = step.is_outside().then(|| "pi_1".to_owned());
        self.must(match way {
            Way::Do => Command::Done { turn, payment, spent: Vec::new() },
            Way::Undo => Command::Undone { step },
        });
        Some((step, way))
    }

    /// Goes on to the end.
    fn run(&mut self) -> Vec<(Step, Way)> {
        std::iter::from_fn(|| self.step()).collect()
    }

    fn state(&self) -> &'static str {
        self.purchase.status().as_str()
    }
}

/// A move that is not of a refund.
fn turn(step: Step, way: Way) -> Turn {
    Turn { step, way, refund: None }
}

fn minor(units: i64) -> Minor {
    Minor::new(units).unwrap()
}

fn pounds(units: i64) -> Money {
    Money { amount: minor(units), currency: Currency::GBP }
}

fn quantity(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

/// So many units of products at so many pence each.
fn place(lines: &[(i64, i64)], tenders: Vec<Offer>) -> Place {
    let product = |at: usize| ProductId::new(&format!("product-{at}")).unwrap();
    let asked = |(at, (units, _)): (usize, &(i64, i64))| Asked {
        product: product(at),
        quantity: quantity(*units),
        price: None,
    };
    let quote = |(_, price): &(i64, i64)| {
        Some(Quote {
            name: "a thing".to_owned(),
            kind: Offering::Goods,
            price: pounds(*price),
            retired: false,
        })
    };
    Place {
        account: Some(AccountId::new("derick").unwrap()),
        lines: lines.iter().enumerate().map(asked).collect(),
        discounts: Vec::new(),
        tenders,
        until: None,
        reference: None,
        quotes: lines.iter().map(quote).collect(),
    }
}

fn points(points: i64) -> Offer {
    Offer::Points { points: Some(Amount::new(points).unwrap()), money: None }
}

fn wallet(money: Option<i64>) -> Offer {
    Offer::Wallet { wallet: WalletId::new("derick").unwrap(), money: money.map(pounds) }
}

fn card() -> Offer {
    let payment_method = PaymentMethod::parse("pm_card_visa").unwrap();
    Offer::Card { payment_method, money: None }
}

fn refund(id: &str, portion: Portion) -> Command {
    let id = Some(RefundId::new(id).unwrap());
    Command::Refund(Refund { id, portion, reference: None })
}

fn units(line: u32, units: i64) -> RefundedLine {
    RefundedLine { line, quantity: quantity(units), restock: false }
}
