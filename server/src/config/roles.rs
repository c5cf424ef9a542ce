//! What a process does: each role can have a process, or several, of its own.

use std::str::FromStr;

/// The roles of a process. Any of them may run in several processes on one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Takes commands and answers reads.
    pub(crate) api: bool,
    /// Keeps the read models.
    pub(crate) projections: bool,
    /// Takes purchases to their end, and webhooks of the payment provider.
    pub(crate) saga: bool,
    /// Judges sales by the campaigns: awards points, takes them back.
    pub(crate) campaigns: bool,
    /// Publishes events to Kafka, where one is configured.
    pub(crate) relay: bool,
    /// Settles deadlines that have passed, forgets old answers; one process at a time.
    pub(crate) timers: bool,
}

impl Roles {
    /// Publishes events, and does nothing else.
    pub(crate) fn is_relay_alone(self) -> bool {
        self == Self { relay: true, ..Self::default() }
    }
}

/// What a list of roles is refused with.
pub(super) const EXPECTED: &str =
    "roles with commas between: api, projections, saga, campaigns, relay, timers; at least one";

impl FromStr for Roles {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut roles = Self::default();
        for role in text.split(',').map(str::trim) {
            match role {
                "api" => roles.api = true,
                "projections" => roles.projections = true,
                "saga" => roles.saga = true,
                "campaigns" => roles.campaigns = true,
                "relay" => roles.relay = true,
                "timers" => roles.timers = true,
                // Also the empty one: a process that does nothing is nobody's wish.
                _ => return Err(()),
            }
        }
        Ok(roles)
    }
}
