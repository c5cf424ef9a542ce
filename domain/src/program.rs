//! Program: one brand's settings.
//!
//! Invariant: settings always hold a complete, valid set; a change replaces all of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Kind, RefusalKind, Refuse};
use crate::expiry::Policy;
use crate::expiry::zone::Zone;
use crate::money::{Currency, Minor};
use crate::points::{Amount, Points};

/// What a program can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Replace the settings.
    Configure(Settings),
}

/// A fact about a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// The settings were replaced. They hold for commands decided from here on; lots that exist
    /// keep the expiry they were issued with.
    ProgramConfigured {
        /// All of them.
        settings: Settings,
    },
}

/// Why a program says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Every lot would have lapsed already.
    #[error("expected an instant that is still to come, or no fixed one")]
    PastExpiry,
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        "invalid-expiry"
    }

    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }

    fn field(&self) -> Option<&'static str> {
        Some("/expiry/at")
    }
}

/// A program's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Currency of its sales.
    pub currency: Currency,
    /// IANA zone in which days, months and years end.
    pub zone: Zone,
    /// When a lot lapses whose issue does not say.
    pub expiry: Policy,
    /// What points pay; absent: nothing can be paid with points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_rate: Option<PointsRate>,
}

/// What points are worth when they pay: so many points, so much money in the program's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointsRate {
    /// So many points
    pub points: Amount,
    /// pay so many minor units; from 1.
    pub amount: Minor,
}

impl PointsRate {
    /// What points pay: rounded down, so nobody pays with a fraction that is not there.
    #[must_use]
    pub fn worth(&self, points: Points) -> Minor {
        let product = i128::from(points.get()).checked_mul(i128::from(self.amount.get()));
        let worth = product.and_then(|it| it.checked_div(i128::from(self.points.get())));
        let worth = worth.and_then(|it| i64::try_from(it).ok());
        worth.and_then(|it| Minor::new(it).ok()).unwrap_or(Minor::MAX)
    }

    /// The points that pay so much: rounded up. None beyond what an account can hold, and at a
    /// rate of nothing.
    #[must_use]
    pub fn points_for(&self, money: Minor) -> Option<Points> {
        let product = i128::from(money.get()).checked_mul(i128::from(self.points.get()))?;
        let amount = i128::from(self.amount.get());
        let up = product.checked_add(amount.checked_sub(1)?)?.checked_div(amount)?;
        Points::new(i64::try_from(up).ok()?).ok()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            currency: Currency::GBP,
            zone: Zone::default(),
            expiry: Policy::Never,
            points_rate: None,
        }
    }
}

/// The state: the settings that hold now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// The settings that hold now; the defaults until the first change.
    pub settings: Settings,
}

impl Aggregate for Program {
    const KIND: Kind = Kind::Program;
    const STATE_VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Error> {
        let Command::Configure(settings) = command;
        if settings == self.settings {
            return Ok(Vec::new());
        }
        let other = settings.expiry != self.settings.expiry;
        if other && matches!(settings.expiry, Policy::At(at) if at <= context.occurred_at) {
            return Err(Error::PastExpiry);
        }
        Ok(vec![Event::ProgramConfigured { settings }])
    }

    fn evolve(&mut self, event: &Event) {
        let Event::ProgramConfigured { settings } = event;
        self.settings = settings.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CommandId;

    fn decide(program: &Program, settings: &Settings) -> Vec<Event> {
        let (now, command_id) = (chrono::DateTime::UNIX_EPOCH, CommandId::new("c").unwrap());
        let context = Context { now, occurred_at: now, command_id: &command_id, settings };
        program.decide(Command::Configure(settings.clone()), &context).unwrap()
    }

    #[test]
    fn settings_are_replaced_once() {
        let mut program = Program::default();
        assert_eq!(decide(&program, &Settings::default()), [], "the defaults hold already");
        let settings = Settings { zone: "Europe/Paris".parse().unwrap(), ..Settings::default() };
        let events = decide(&program, &settings);
        assert_eq!(events, [Event::ProgramConfigured { settings: settings.clone() }]);
        program.evolve(&events[0]);
        assert_eq!(decide(&program, &settings), []);
    }

    #[test]
    fn no_lot_can_be_bound_to_lapse_before_it_is_issued() {
        let command_id = CommandId::new("c").unwrap();
        let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let settings = Settings { expiry: Policy::At(at(10)), ..Settings::default() };
        let decide = |occurred_at, program: &Program| {
            let (now, occurred_at) = (at(99), at(occurred_at));
            let context =
                Context { now, occurred_at, command_id: &command_id, settings: &settings };
            program.decide(Command::Configure(settings.clone()), &context)
        };
        let mut program = Program::default();
        for late in [10, 11] {
            let refused = decide(late, &program).unwrap_err();
            assert_eq!((refused.code(), refused.field()), ("invalid-expiry", Some("/expiry/at")));
        }
        // As of then, in a history that is written later.
        let events = decide(9, &program).unwrap();
        program.evolve(&events[0]);
        assert_eq!(decide(99, &program), Ok(vec![]), "a retry, when it is past");
        program.settings.zone = "Europe/Paris".parse().unwrap();
        assert!(decide(99, &program).is_ok(), "another zone alone, when it is past");
    }

    #[test]
    fn settings_have_one_json_form() {
        let json = r#"{"currency":"GBP","zone":"UTC","expiry":"never"}"#;
        assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), json);
        assert_eq!(serde_json::from_str::<Settings>(json).unwrap(), Settings::default());
        let more = r#"{"currency":"GBP","zone":"UTC","expiry":"never","colour":"red"}"#;
        assert!(serde_json::from_str::<Settings>(more).is_err());
    }
}
