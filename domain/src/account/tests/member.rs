//! A member whose clock and account a test moves: the one door to an account's rules.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::account::Account;
use crate::account::command::{Change, Command, Issue, Source};
use crate::account::error::Error;
use crate::account::event::Event;
use crate::aggregate::{Aggregate, Context, Refuse};
use crate::expiry::Policy;
use crate::id::{CampaignId, CommandId, HoldId, LotId, ReturnId, SaleId};
use crate::points::Amount;
use crate::program::Settings;

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) account: Account,
    pub(crate) now: DateTime<Utc>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    pub(crate) settings: Settings,
    pub(crate) commands: u32,
}

impl Member {
    pub(crate) fn new() -> Self {
        Self {
            account: Account::default(),
            now: day(0),
            occurred_at: None,
            settings: Settings::default(),
            commands: 0,
        }
    }

    /// Decides without keeping anything.
    pub(crate) fn asks(&self, command: Command) -> Result<Vec<Event>, Error> {
        let command_id = CommandId::new(&format!("command-{}", self.commands)).unwrap();
        self.account.decide(
            command,
            &Context {
                now: self.now,
                occurred_at: self.occurred_at.unwrap_or(self.now),
                command_id: &command_id,
                settings: &self.settings,
            },
        )
    }

    /// Decides, and lives with what follows.
    pub(crate) fn tries(&mut self, command: Command) -> Result<Vec<Event>, Error> {
        self.commands += 1;
        let events = self.asks(command)?;
        events.iter().for_each(|event| self.account.evolve(event));
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
        let (account, now) = (&self.account, self.now);
        format!(
            "balance {} available {} pending {} held {} debt {}",
            account.balance(),
            account.available(now),
            account.pending(now),
            account.held(),
            account.debt()
        )
    }
}

fn told(event: &Event) -> String {
    let Value::Object(event) = serde_json::to_value(event).unwrap() else { unreachable!() };
    let (name, data) = event.into_iter().next().unwrap();
    format!("{name} {}", words(&data)).trim_end().to_owned()
}

fn words(value: &Value) -> String {
    match value {
        Value::Object(fields) => match (fields.get("lot"), fields.get("points"), fields.len()) {
            (Some(Value::String(lot)), Some(points), 2) => format!("{lot}:{points}"),
            _ => {
                // Sorted here: whether serde_json's map is depends on its features.
                let fields = fields.iter().map(|(key, value)| format!("{key}={}", words(value)));
                let mut fields: Vec<_> = fields.collect();
                fields.sort_unstable();
                fields.join(" ")
            }
        },
        Value::Array(items) => {
            format!("[{}]", items.iter().map(words).collect::<Vec<_>>().join(" "))
        }
        Value::String(text) => text.trim_end_matches("T00:00:00Z").to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// So many days behind 1 January 2026.
pub(crate) fn day(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::days(days)
}

pub(crate) fn lot(id: &str) -> LotId {
    LotId::new(id).unwrap()
}

pub(crate) fn hold_id(id: &str) -> HoldId {
    HoldId::new(id).unwrap()
}

pub(crate) fn amount(points: i64) -> Amount {
    Amount::new(points).unwrap()
}

pub(crate) fn never(id: &str, points: i64) -> Issue {
    Issue {
        lot: Some(lot(id)),
        points: amount(points),
        available_from: None,
        expires: None,
        source: Source::Issue,
        reference: None,
    }
}

/// An issue that never lapses.
pub(crate) fn issue(id: &str, points: i64) -> Command {
    Command::Issue(never(id, points))
}

/// An issue that lapses on that day.
pub(crate) fn lapsing(id: &str, points: i64, days: i64) -> Command {
    Command::Issue(Issue { expires: Some(Policy::At(day(days))), ..never(id, points) })
}

/// An issue that can be spent from that day on.
pub(crate) fn pending(id: &str, points: i64, days: i64) -> Command {
    Command::Issue(Issue { available_from: Some(day(days)), ..never(id, points) })
}

/// An award for a sale.
pub(crate) fn award(id: &str, points: i64, sale: &str) -> Command {
    let source = Source::Campaign {
        campaign: CampaignId::new("tenth").unwrap(),
        version: 1,
        event: 7,
        sale: Some(SaleId::new(sale).unwrap()),
    };
    Command::Issue(Issue { source, ..never(id, points) })
}

pub(crate) fn redeem(points: i64) -> Command {
    Command::Redeem { points: amount(points), reference: None }
}

pub(crate) fn credit(id: &str, points: i64) -> Command {
    let change = Change::Credit { points: amount(points), lot: Some(lot(id)), expires: None };
    Command::Adjust { change, reason: "goodwill".into(), actor: "desk".into(), reference: None }
}

pub(crate) fn debit(points: i64) -> Command {
    let change = Change::Debit { points: amount(points) };
    Command::Adjust { change, reason: "mistake".into(), actor: "desk".into(), reference: None }
}

pub(crate) fn reverse(id: &str, points: Option<i64>) -> Command {
    Command::Reverse { lot: lot(id), points: points.map(amount), reference: None }
}

pub(crate) fn reverse_sale(sale: &str, returned: i64, total: i64) -> Command {
    Command::ReverseSale {
        sale: SaleId::new(sale).unwrap(),
        return_id: ReturnId::new("return-1").unwrap(),
        returned,
        total,
    }
}

pub(crate) fn place(id: &str, points: i64, until: Option<i64>) -> Command {
    let (hold, points, until) = (hold_id(id), amount(points), until.map(day));
    Command::PlaceHold { hold, points, until, reference: None }
}

pub(crate) fn capture(id: &str, points: Option<i64>) -> Command {
    Command::CaptureHold { hold: hold_id(id), points: points.map(amount), reference: None }
}

pub(crate) fn restore(id: &str, points: i64) -> Command {
    Command::RestoreHold { hold: hold_id(id), points: amount(points), spent: None, reference: None }
}

pub(crate) fn release(id: &str) -> Command {
    Command::ReleaseHold { hold: hold_id(id), reference: None }
}
