//! Campaign: a named, versioned set of rules with a status.
//!
//! The rules are opaque JSON here: they were compiled by the campaign engine before the command
//! was made, and are compiled again by whoever follows the log.
//!
//! Invariants
//! - Versions count from 1 without a gap; an edit makes a new one.
//! - A retired campaign never changes again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aggregate::{Aggregate, Context, Kind, RefusalKind, Refuse};
use crate::text;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created, judging nothing yet.
    #[default]
    Draft,
    /// Judging events.
    Active,
    /// Stopped for now.
    Paused,
    /// Over for good.
    Retired,
}

/// What a campaign can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Create it as a draft, or active at once.
    Create {
        /// For people.
        name: String,
        /// Checked rules.
        rules: Value,
        /// Activate it in the same breath.
        activate: bool,
    },
    /// Put other rules in force: a new version.
    ReplaceRules {
        /// Checked rules.
        rules: Value,
    },
    /// Start judging.
    Activate,
    /// Stop judging for now.
    Pause,
    /// End it for good.
    Retire,
}

/// A fact about a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    /// It was created, with version 1 of its rules.
    CampaignCreated {
        /// For people.
        name: String,
        /// Always 1.
        version: u32,
        /// The rules.
        rules: Value,
    },
    /// Other rules are in force from here on.
    CampaignRulesReplaced {
        /// The new version.
        version: u32,
        /// The rules.
        rules: Value,
    },
    /// It judges every event behind this one.
    CampaignActivated {},
    /// It judges no event behind this one.
    CampaignPaused {},
    /// It judges no event behind this one, and never will.
    CampaignRetired {},
}

/// Why a campaign says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was never created.
    #[error("there is no campaign of that id")]
    Unknown,
    /// Its id names another campaign already.
    #[error("the campaign exists with another name or other rules")]
    Exists,
    /// It is over for good.
    #[error("the campaign is retired and never changes again")]
    Retired,
    /// It cannot be paused before it was ever active.
    #[error("the campaign is a draft: only an active one can be paused")]
    NotActive,
    /// The name is empty, too long or has control characters.
    #[error("{0}")]
    InvalidName(text::Invalid),
    /// It has had as many versions as can be counted.
    #[error("a campaign has at most {max} versions", max = u32::MAX)]
    LimitExceeded,
}

impl Refuse for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-campaign",
            Self::Exists => "campaign-exists",
            Self::Retired => "campaign-retired",
            Self::NotActive => "campaign-not-active",
            Self::InvalidName(_) => "invalid-text",
            Self::LimitExceeded => "limit-exceeded",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown => RefusalKind::NotFound,
            Self::Exists | Self::Retired | Self::NotActive | Self::LimitExceeded => {
                RefusalKind::Conflict
            }
            Self::InvalidName(_) => RefusalKind::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::InvalidName(_) => Some("/name"),
            Self::LimitExceeded => Some("/rules"),
            Self::Unknown | Self::Exists | Self::Retired | Self::NotActive => None,
        }
    }
}

/// The state: the rules in force and whether they judge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// For people.
    pub name: String,
    /// Version of the rules; 0 before the campaign is created.
    pub version: u32,
    /// The rules in force.
    pub rules: Value,
    /// Where it stands.
    pub status: Status,
}

impl Aggregate for Campaign {
    const KIND: Kind = Kind::Campaign;
    const STATE_VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Error> {
        match command {
            Command::Retire if self.status == Status::Retired => Ok(Vec::new()),
            _ if self.status == Status::Retired => Err(Error::Retired),
            Command::Create { name, rules, activate } => self.create(name, rules, activate),
            _ if self.version == 0 => Err(Error::Unknown),
            Command::ReplaceRules { rules } => self.replace_rules(rules),
            Command::Activate if self.status == Status::Active => Ok(Vec::new()),
            Command::Activate => Ok(vec![Event::CampaignActivated {}]),
            Command::Pause => self.pause(),
            Command::Retire => Ok(vec![Event::CampaignRetired {}]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::CampaignCreated { name, version, rules } => {
                self.name.clone_from(name);
                self.version = *version;
                self.rules.clone_from(rules);
            }
            Event::CampaignRulesReplaced { version, rules } => {
                self.version = *version;
                self.rules.clone_from(rules);
            }
            Event::CampaignActivated {} => self.status = Status::Active,
            Event::CampaignPaused {} => self.status = Status::Paused,
            Event::CampaignRetired {} => self.status = Status::Retired,
        }
    }
}

impl Campaign {
    fn create(&self, name: String, rules: Value, activate: bool) -> Result<Vec<Event>, Error> {
        text::check(&name).map_err(Error::InvalidName)?;
        let exists = self.version > 0;
        if exists && (name != self.name || rules != self.rules) {
            return Err(Error::Exists);
        }
        let mut events = Vec::new();
        if !exists {
            events.push(Event::CampaignCreated { name, version: 1, rules });
        }
        // A draft was created without activation, so this is no retry of that. A paused campaign
        // stays paused: whoever paused it did so after this request was first made.
        if activate && self.status == Status::Draft {
            events.push(Event::CampaignActivated {});
        }
        Ok(events)
    }

    fn replace_rules(&self, rules: Value) -> Result<Vec<Event>, Error> {
        if rules == self.rules {
            return Ok(Vec::new());
        }
        let version = self.version.checked_add(1).ok_or(Error::LimitExceeded)?;
        Ok(vec![Event::CampaignRulesReplaced { version, rules }])
    }

    fn pause(&self) -> Result<Vec<Event>, Error> {
        match self.status {
            Status::Active => Ok(vec![Event::CampaignPaused {}]),
            Status::Paused => Ok(Vec::new()),
            Status::Draft => Err(Error::NotActive),
            Status::Retired => Err(Error::Retired),
        }
    }
}

#[cfg(test)]
mod tests;
