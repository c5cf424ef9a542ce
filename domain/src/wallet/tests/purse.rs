//! A purse whose clock and wallet a test moves: the one door to a wallet's rules.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::aggregate::{Aggregate, Context, Refuse};
use crate::id::{CommandId, HoldId};
use crate::money::{Minor, Money};
use crate::program::Settings;
use crate::wallet::Wallet;
use crate::wallet::command::Command;
use crate::wallet::error::Error;
use crate::wallet::event::Event;

#[derive(Debug, Clone)]
pub(crate) struct Purse {
    pub(crate) wallet: Wallet,
    pub(crate) now: DateTime<Utc>,
}

impl Purse {
    pub(crate) fn new() -> Self {
        Self { wallet: Wallet::default(), now: day(0) }
    }

    /// With so many cents in it.
    pub(crate) fn with(cents: i64) -> Self {
        Self::new().did(top_up(usd(cents)))
    }

    /// Decides, and lives with what follows.
    pub(crate) fn tries(&mut self, command: Command) -> Result<Vec<Event>, Error> {
        let context = Context {
            now: self.now,
            occurred_at: self.now,
            command_id: &CommandId::new("command").unwrap(),
            settings: &Settings::default(),
        };
        let events = self.wallet.decide(command, &context)?;
        events.iter().for_each(|event| self.wallet.evolve(event));
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

    /// What is there of each currency at present.
    pub(crate) fn has(&self) -> String {
        let balances = self.wallet.balances_at(self.now);
        let figures = balances.iter().map(|(currency, balance)| {
            format!("{currency} {} held {}", balance.available.get(), balance.held.get())
        });
        figures.collect::<Vec<_>>().join(", ")
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
    format!("{name} {}", words.join(" "))
}

/// So many days behind 1 January 2026.
pub(crate) fn day(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::days(days)
}

fn money(amount: i64, currency: &str) -> Money {
    Money { amount: Minor::new(amount).unwrap(), currency: currency.parse().unwrap() }
}

pub(crate) fn usd(cents: i64) -> Money {
    money(cents, "USD")
}

pub(crate) fn jpy(yen: i64) -> Money {
    money(yen, "JPY")
}

pub(crate) fn top_up(money: Money) -> Command {
    Command::TopUp { money, reference: None }
}

pub(crate) fn refund(money: Money) -> Command {
    Command::Refund { money, reference: None }
}

pub(crate) fn hold(id: &str, money: Money, until: Option<i64>) -> Command {
    let (hold, until) = (HoldId::new(id).unwrap(), until.map(day));
    Command::Hold { hold, money, until, reference: None }
}

pub(crate) fn capture(id: &str, money: Option<Money>) -> Command {
    Command::Capture { hold: HoldId::new(id).unwrap(), money, reference: None }
}

pub(crate) fn release(id: &str) -> Command {
    Command::Release { hold: HoldId::new(id).unwrap(), reference: None }
}
