//! The one decoder of stored events, with the chain of upcasters in front of it. Aggregates,
//! projections, exports and the API's reads of the log all read through it. A receipt shows the row as
//! it was written, since a repeated answer is the same whatever the build.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::{account, campaign, product, program, sale, wallet};
use serde_json::Value;

use crate::record::Decoded;

/// Why a stored event is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer build wrote it. Whoever follows must stop here, not guess and not skip.
    #[error("event {event_type} version {version} of {aggregate_type} is unknown to this build")]
    Unknown {
        /// Kind of stream.
        aggregate_type: String,
        /// Name of the event.
        event_type: String,
        /// Its version.
        version: String,
    },
    /// The name is known, the body is not what it must be.
    #[error("event {event_type} has a malformed body: {detail}")]
    Malformed {
        /// Name of the event.
        event_type: String,
        /// What is wrong.
        detail: String,
    },
}

/// An event on its way through the upcasters: name, version, inner body.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    /// Name.
    pub event_type: String,
    /// Version.
    pub version: u32,
    /// The inner object.
    pub data: Value,
}

/// Turns one version of an event into what it is called today or one step nearer to it: one
/// event, several, or none.
pub type Upcast = fn(Raw) -> Result<Vec<Raw>, String>;

/// Most steps that one stored event may take; a chain that is longer goes in a circle.
const STEPS_MAX: usize = 1_000;

/// The decoder. Cheap to clone.
#[derive(Clone, Default)]
pub struct Codec {
    upcasters: Arc<HashMap<(Kind, String, u32), Upcast>>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("upcasters", &self.upcasters.len()).finish()
    }
}

impl Codec {
    /// A decoder with these upcasters, each for one (kind, event, version).
    #[must_use]
    pub fn new(upcasters: impl IntoIterator<Item = (Kind, &'static str, u32, Upcast)>) -> Self {
        let upcasters = upcasters
            .into_iter()
            .map(|(kind, name, version, upcast)| ((kind, name.to_owned(), version), upcast))
            .collect();
        Self { upcasters: Arc::new(upcasters) }
    }

    /// Decodes a stored event.
    ///
    /// # Errors
    /// [`DecodeError`] tells an event of a newer build from a damaged one.
    pub fn decode(
        &self,
        aggregate_type: &str,
        event_type: &str,
        version: &str,
        payload: &str,
    ) -> Result<Decoded, DecodeError> {
        let Some(kind) = Kind::parse(aggregate_type) else { return Ok(Decoded::Foreign) };
        let unknown = || DecodeError::Unknown {
            aggregate_type: aggregate_type.to_owned(),
            event_type: event_type.to_owned(),
            version: version.to_owned(),
        };
        let malformed =
            |detail: String| DecodeError::Malformed { event_type: event_type.to_owned(), detail };
        let number: u32 = version.parse().map_err(|_| unknown())?;
        let upcast = !self.upcasters.is_empty()
            && self.upcasters.contains_key(&(kind, event_type.to_owned(), number));
        if !upcast {
            if Event::version_of(kind, event_type) != Some(number) {
                return Err(unknown());
            }
            return parse(kind, payload).map(Decoded::One).map_err(|e| malformed(e.to_string()));
        }
        self.upcast(kind, event_type, number, payload, &unknown, &malformed)
    }

    fn upcast(
        &self,
        kind: Kind,
        event_type: &str,
        version: u32,
        payload: &str,
        unknown: &dyn Fn() -> DecodeError,
        malformed: &dyn Fn(String) -> DecodeError,
    ) -> Result<Decoded, DecodeError> {
        let outer: Value = serde_json::from_str(payload).map_err(|e| malformed(e.to_string()))?;
        let data = outer
            .get(event_type)
            .cloned()
            .ok_or_else(|| malformed(format!("expected an object with the key {event_type}")))?;
        let mut todo = vec![Raw { event_type: event_type.to_owned(), version, data }];
        let mut done = Vec::new();
        let mut steps = 0_usize;
        // A stack with the results of a step pushed in reverse keeps the events' order.
        while let Some(raw) = todo.pop() {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(malformed("its upcasters go in a circle".to_owned()));
            }
            let key = (kind, raw.event_type.clone(), raw.version);
            if let Some(upcast) = self.upcasters.get(&key) {
                todo.extend(upcast(raw).map_err(malformed)?.into_iter().rev());
            } else if Event::version_of(kind, &raw.event_type) == Some(raw.version) {
                let tagged = serde_json::json!({ raw.event_type: raw.data });
                let event = parse(kind, &tagged.to_string());
                done.push(event.map_err(|e| malformed(e.to_string()))?);
            } else {
                return Err(unknown());
            }
        }
        Ok(Decoded::Many(done))
    }
}

/// Straight into the kind's own type: no detour over a JSON tree on the way of every event.
fn parse(kind: Kind, payload: &str) -> Result<Event, serde_json::Error> {
    Ok(match kind {
        Kind::Account => Event::Account(serde_json::from_str::<account::event::Event>(payload)?),
        Kind::Campaign => Event::Campaign(serde_json::from_str::<campaign::Event>(payload)?),
        Kind::Product => Event::Product(serde_json::from_str::<product::event::Event>(payload)?),
        Kind::Program => Event::Program(serde_json::from_str::<program::Event>(payload)?),
        Kind::Purchase => Event::Purchase(serde_json::from_str(payload)?),
        Kind::Sale => Event::Sale(serde_json::from_str::<sale::Event>(payload)?),
        Kind::Wallet => Event::Wallet(serde_json::from_str::<wallet::event::Event>(payload)?),
    })
}
