//! What every aggregate is: state that decides on commands and evolves by events.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::CommandId;
use crate::program::Settings;

/// What a decision may know beside the state and the command. Nothing here is read from a clock
/// or the world by the aggregate itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The executor's clock: lapses, activations and deadlines are judged by it.
    pub now: DateTime<Utc>,
    /// Business time of the command: lots count from it. Never after `now`.
    pub occurred_at: DateTime<Utc>,
    /// The command's id, from which ids that the client left open are derived.
    pub command_id: &'a CommandId,
    /// The program's settings as they were when the command was decided.
    pub settings: &'a Settings,
}

/// The kinds of stream that this build knows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What one member has earned, promised and spent.
    Account,
    /// A set of rules with versions.
    Campaign,
    /// Something for sale: its price and its stock.
    Product,
    /// A program's settings.
    Program,
    /// An order, how it is paid, and how far it has come.
    Purchase,
    /// A purchase made elsewhere.
    Sale,
    /// Stored value of one customer.
    Wallet,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Campaign,
        Self::Product,
        Self::Program,
        Self::Purchase,
        Self::Sale,
        Self::Wallet,
    ];

    /// The name in the log's `aggregate_type` and in an event's subject.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Product => "product",
            Self::Program => "program",
            Self::Purchase => "purchase",
            Self::Sale => "sale",
            Self::Wallet => "wallet",
        }
    }

    /// The kind of that name, none for a stream that is not ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What kind of "no" a refusal is; the HTTP layer turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The thing that the command names does not exist (404).
    NotFound,
    /// The state says no: not enough points, already settled, another content (409).
    Conflict,
    /// The command asks for what cannot be, whatever the state (422).
    Invalid,
    /// The expected version is not the present one (412).
    Precondition,
}

/// A typed refusal: part of the API.
pub trait Refuse: std::error::Error {
    /// Stable name of the reason in kebab-case, such as `insufficient-points`.
    fn code(&self) -> &'static str;
    /// What kind of "no" it is.
    fn kind(&self) -> RefusalKind;
    /// The field of the command at fault, where there is one, as a JSON pointer (`/points`).
    fn field(&self) -> Option<&'static str> {
        None
    }
    /// The same, of an element of a list too (`/lines/0/quantity`).
    fn pointer(&self) -> Option<Cow<'static, str>> {
        self.field().map(Cow::Borrowed)
    }
}

/// State that is the fold of its events.
pub trait Aggregate:
    Default
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + JsonSchema
    + Send
    + Sync
    + 'static
{
    /// The kind of stream.
    const KIND: Kind;
    /// Raised when `evolve` changes the meaning of a state whose shape stays: old snapshots are
    /// then ignored.
    const STATE_VERSION: u32;
    /// What it can be asked.
    type Command;
    /// What can have happened to it. Serialised as `{"Name": {…}}`.
    type Event: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static;
    /// Why it says no.
    type Error: Refuse;

    /// Reads state, returns the events that follow. The only place with business rules.
    ///
    /// # Errors
    /// A typed refusal; nothing has happened then.
    fn decide(
        &self,
        command: Self::Command,
        context: &Context<'_>,
    ) -> Result<Vec<Self::Event>, Self::Error>;

    /// Writes state, cannot refuse: events are facts. `occurred_at` of the event is not needed:
    /// everything that counts is in the event.
    fn evolve(&mut self, event: &Self::Event);

    /// The earliest instant at which time itself changes something (a lot lapses, a hold's
    /// deadline passes). The log keeps it in `timers` with the events that moved it.
    fn next_deadline(&self) -> Option<DateTime<Utc>> {
        None
    }
}
