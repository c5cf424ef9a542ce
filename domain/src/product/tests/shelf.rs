//! A shelf whose clock and product a test moves: the one door to a product's rules.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::aggregate::{Aggregate, Context, Refuse};
use crate::id::{CommandId, HoldId};
use crate::money::{Currency, Minor, Money};
use crate::product::command::{Changes, Command, New};
use crate::product::error::Error;
use crate::product::event::Event;
use crate::product::{Offering, Product};
use crate::program::Settings;
use crate::quantity::{Delta, Quantity};

#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) product: Product,
    pub(crate) now: DateTime<Utc>,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self { product: Product::default(), now: day(0) }
    }

    /// Goods of which there are so many.
    pub(crate) fn with(units: i64) -> Self {
        Self::new().did(create(Offering::Goods)).did(adjust(units))
    }

    /// Decides, and lives with what follows.
    pub(crate) fn tries(&mut self, command: Command) -> Result<Vec<Event>, Error> {
        let context = Context {
            now: self.now,
            occurred_at: self.now,
            command_id: &CommandId::new("command").unwrap(),
            settings: &Settings::default(),
        };
        let events = self.product.decide(command, &context)?;
        events.iter().for_each(|event| self.product.evolve(event));
        Ok(events)
    }

    /// As `tries`, told in words: one line an event, or the refusal.
    pub(crate) fn does(&mut self, command: Command) -> String {
        match self.tries(command) {
            Ok(events) if events.is_empty() => "nothing".to_owned(),
            Ok(events) => events.iter().map(told).collect::<Vec<_>>().join("\n"),
            Err(error) => {
                let field = error.field().unwrap_or("-");
                format!("{} {field} {:?}: {error}", error.code(), error.kind())
            }
        }
    }

    /// Given: a command that is accepted.
    pub(crate) fn did(mut self, command: Command) -> Self {
        self.tries(command).unwrap();
        self
    }

    /// Given: the clock stands at that day.
    pub(crate) fn on(mut self, days: i64) -> Self {
        self.now = day(days);
        self
    }

    /// The figures that matter.
    pub(crate) fn has(&self) -> String {
        format!("available {} held {}", self.product.available(), self.product.held())
    }
}

fn told(event: &Event) -> String {
    let Value::Object(event) = serde_json::to_value(event).unwrap() else { unreachable!() };
    let (name, data) = event.into_iter().next().unwrap();
    let Value::Object(data) = data else { unreachable!() };
    let word = |value: &Value| match value {
        Value::String(text) => text.trim_end_matches("T00:00:00Z").to_owned(),
        Value::Object(money) => {
            format!("{}{}", money["amount"], money["currency"].as_str().unwrap())
        }
        other => other.to_string(),
    };
    let mut words: Vec<_> = data.iter().map(|(key, it)| format!("{key}={}", word(it))).collect();
    words.sort_unstable();
    format!("{name} {}", words.join(" ")).trim_end().to_owned()
}

/// So many days behind 1 January 2026.
pub(crate) fn day(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::days(days)
}

pub(crate) fn pounds(pence: i64) -> Money {
    Money { amount: Minor::new(pence).unwrap(), currency: Currency::GBP }
}

pub(crate) fn unicorn(kind: Offering) -> New {
    let name = "Unicorn".to_owned();
    New { name, kind, description: None, image: None, price: pounds(170_000) }
}

pub(crate) fn create(kind: Offering) -> Command {
    Command::Create(unicorn(kind))
}

pub(crate) fn reprice(pence: i64) -> Command {
    Command::Change(Changes { price: Some(pounds(pence)), ..Changes::default() })
}

pub(crate) fn adjust(delta: i64) -> Command {
    let delta = Delta::new(delta).unwrap();
    Command::AdjustStock { delta, reason: "delivery".to_owned(), reference: None }
}

pub(crate) fn hold(id: &str, units: i64, until: Option<i64>) -> Command {
    let (hold, quantity) = (HoldId::new(id).unwrap(), Quantity::new(units).unwrap());
    Command::HoldStock { hold, quantity, until: until.map(day), reference: None }
}

pub(crate) fn capture(id: &str, units: Option<i64>) -> Command {
    let quantity = units.map(|units| Quantity::new(units).unwrap());
    Command::CaptureStock { hold: HoldId::new(id).unwrap(), quantity, reference: None }
}

pub(crate) fn release(id: &str) -> Command {
    Command::ReleaseStock { hold: HoldId::new(id).unwrap(), reference: None }
}
