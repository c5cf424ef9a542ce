//! Envelopes: a line of `POST /v1/commands` is a command's body with its id, its type and its
//! path parameters as fields beside it.
//!
//! The line is read twice, which is cheap: once for `type` and `id` alone, then straight into
//! the body's own struct, past a filter that takes out what is not the body's.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use accrue_domain::envelope::Envelope;
use accrue_domain::id::{CommandId, ProgramId};
use accrue_domain::text;
use accrue_http::extract::json_problem;
use accrue_http::object::Object;
use accrue_http::problem::{Problem, SHOWN_CHARS_MAX};
use axum::http::StatusCode;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::campaigns::{
    ActivateCampaign, CreateCampaign, PauseCampaign, ReplaceRules, RetireCampaign,
};
use crate::command::{self, Command, EXPECTED_VERSION, Sender};
use crate::holds::{CaptureHold, PlaceHold, ReleaseHold};
use crate::points::{AdjustPoints, IssuePoints, RedeemPoints, ReversePoints};
use crate::products::{
    AdjustStock, CaptureStock, ChangeProduct, CreateProduct, HoldStock, ReleaseStock, RetireProduct,
};
use crate::program::ConfigureProgram;
use crate::purchases::{CancelPurchase, PlacePurchase, RefundPurchase};
use crate::sagas::{AbandonSaga, RetrySaga};
use crate::sales::{RecordSale, ReturnSale};
use crate::target::{Named, Target};
use crate::wallets::{CaptureMoney, HoldMoney, RefundWallet, ReleaseMoney, TopUpWallet};

/// A command of a line, and the status of its answer when it is accepted.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) envelope: Envelope,
    pub(crate) status: StatusCode,
    /// What the body's `id` is called in the line.
    pub(crate) id_in_envelope: Option<&'static str>,
}

/// A line that is no command.
#[derive(Debug)]
pub(crate) struct Unread {
    /// The line's `id`, if that much could be read.
    pub(crate) id: Option<CommandId>,
    pub(crate) problem: Problem,
}

/// What every envelope has; the rest of its fields goes by the type.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: Option<CommandId>,
    // Not required here, so that a line without it still has its id.
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, and its id.
pub(crate) fn read(program: &ProgramId, line: &[u8]) -> Result<Read, Box<Unread>> {
    let head: Result<Object<Head<'_>>, _> = serde_json::from_slice(line);
    let Object(Head { id, r#type }) = head.map_err(|error| {
        let problem = json_problem::<Object<Head<'_>>>(line, &error);
        Box::new(Unread { id: None, problem })
    })?;
    let read = match r#type {
        Some(r#type) => by_type(&r#type, id.clone(), program, line),
        None => Err(Problem::invalid("/type", "missing field `type`")),
    };
    read.map_err(|problem| Box::new(Unread { id, problem }))
}

fn by_type(
    r#type: &str,
    id: Option<CommandId>,
    program: &ProgramId,
    line: &[u8],
) -> Result<Read, Problem> {
    match r#type {
        IssuePoints::TYPE => read_as::<IssuePoints>(id, program, line),
        RecordSale::TYPE => read_as::<RecordSale>(id, program, line),
        ReturnSale::TYPE => read_as::<ReturnSale>(id, program, line),
        RedeemPoints::TYPE => read_as::<RedeemPoints>(id, program, line),
        AdjustPoints::TYPE => read_as::<AdjustPoints>(id, program, line),
        ReversePoints::TYPE => read_as::<ReversePoints>(id, program, line),
        PlaceHold::TYPE => read_as::<PlaceHold>(id, program, line),
        CaptureHold::TYPE => read_as::<CaptureHold>(id, program, line),
        ReleaseHold::TYPE => read_as::<ReleaseHold>(id, program, line),
        CreateCampaign::TYPE => read_as::<CreateCampaign>(id, program, line),
        ReplaceRules::TYPE => read_as::<ReplaceRules>(id, program, line),
        ActivateCampaign::TYPE => read_as::<ActivateCampaign>(id, program, line),
        PauseCampaign::TYPE => read_as::<PauseCampaign>(id, program, line),
        RetireCampaign::TYPE => read_as::<RetireCampaign>(id, program, line),
        CreateProduct::TYPE => read_as::<CreateProduct>(id, program, line),
        ChangeProduct::TYPE => read_as::<ChangeProduct>(id, program, line),
        RetireProduct::TYPE => read_as::<RetireProduct>(id, program, line),
        AdjustStock::TYPE => read_as::<AdjustStock>(id, program, line),
        HoldStock::TYPE => read_as::<HoldStock>(id, program, line),
        CaptureStock::TYPE => read_as::<CaptureStock>(id, program, line),
        ReleaseStock::TYPE => read_as::<ReleaseStock>(id, program, line),
        PlacePurchase::TYPE => read_as::<PlacePurchase>(id, program, line),
        CancelPurchase::TYPE => read_as::<CancelPurchase>(id, program, line),
        RefundPurchase::TYPE => read_as::<RefundPurchase>(id, program, line),
        RetrySaga::TYPE => read_as::<RetrySaga>(id, program, line),
        AbandonSaga::TYPE => read_as::<AbandonSaga>(id, program, line),
        TopUpWallet::TYPE => read_as::<TopUpWallet>(id, program, line),
        HoldMoney::TYPE => read_as::<HoldMoney>(id, program, line),
        CaptureMoney::TYPE => read_as::<CaptureMoney>(id, program, line),
        ReleaseMoney::TYPE => read_as::<ReleaseMoney>(id, program, line),
        RefundWallet::TYPE => read_as::<RefundWallet>(id, program, line),
        ConfigureProgram::TYPE => read_as::<ConfigureProgram>(id, program, line),
        other => {
            let shown: String = other.chars().take(SHOWN_CHARS_MAX).collect();
            let detail = format!("expected one of {}, got {shown:?}", TYPES.join(", "));
            Err(Problem::invalid("/type", detail))
        }
    }
}

/// Every type, for messages.
pub const TYPES: [&str; 32] = [
    RecordSale::TYPE,
    ReturnSale::TYPE,
    IssuePoints::TYPE,
    RedeemPoints::TYPE,
    AdjustPoints::TYPE,
    ReversePoints::TYPE,
    PlaceHold::TYPE,
    CaptureHold::TYPE,
    ReleaseHold::TYPE,
    CreateCampaign::TYPE,
    ReplaceRules::TYPE,
    ActivateCampaign::TYPE,
    PauseCampaign::TYPE,
    RetireCampaign::TYPE,
    CreateProduct::TYPE,
    ChangeProduct::TYPE,
    RetireProduct::TYPE,
    AdjustStock::TYPE,
    HoldStock::TYPE,
    CaptureStock::TYPE,
    ReleaseStock::TYPE,
    PlacePurchase::TYPE,
    CancelPurchase::TYPE,
    RefundPurchase::TYPE,
    RetrySaga::TYPE,
    AbandonSaga::TYPE,
    TopUpWallet::TYPE,
    HoldMoney::TYPE,
    CaptureMoney::TYPE,
    ReleaseMoney::TYPE,
    RefundWallet::TYPE,
    ConfigureProgram::TYPE,
];

fn read_as<C: Command>(
    id: Option<CommandId>,
    program: &ProgramId,
    line: &[u8],
) -> Result<Read, Problem> {
    let fields: Fields<C> = serde_json::from_slice(line).map_err(|error| {
        let problem = json_problem::<Fields<C>>(line, &error);
        renamed::<C>(problem)
    })?;
    let Fields { mut named, sender, body } = fields;
    let target = C::Target::take(&mut named).map_err(|missing| {
        Problem::invalid(format!("/{missing}"), format!("missing field `{missing}`"))
    })?;
    let sender = Sender { key: id, ..sender };
    let envelope = command::envelope(program.clone(), sender, target, body)?;
    Ok(Read { envelope, status: C::STATUS_IN_BULK, id_in_envelope: C::ID_IN_ENVELOPE })
}

/// A problem with the body's `id`, under the name that it has in an envelope.
fn renamed<C: Command>(problem: Problem) -> Problem {
    let Some(name) = C::ID_IN_ENVELOPE else { return problem };
    let mut problem = command::in_envelope(C::ID_IN_ENVELOPE, problem);
    for error in &mut problem.errors {
        error.detail = error.detail.replace("`id`", &format!("`{name}`"));
        problem.detail = format!("{}: {}", error.pointer, error.detail);
    }
    problem
}

/// All fields of an envelope, apart from its id and type.
struct Fields<C> {
    named: Named,
    sender: Sender,
    body: C,
}

impl<'de, C: Command> Deserialize<'de> for Fields<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData))
    }
}

struct FieldsVisitor<C>(PhantomData<C>);

impl<'de, C: Command> Visitor<'de> for FieldsVisitor<C> {
    type Value = Fields<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields<C>, A::Error> {
        let (mut named, mut sender) = (Named::default(), Sender::default());
        let filter = Filter { map, named: &mut named, sender: &mut sender, of: PhantomData::<C> };
        let body = C::deserialize(MapAccessDeserializer::new(filter))?;
        Ok(Fields { named, sender, body })
    }
}

/// Shows a body its own fields only, and keeps the others.
struct Filter<'f, A, C> {
    map: A,
    named: &'f mut Named,
    sender: &'f mut Sender,
    of: PhantomData<C>,
}

impl<'de, A: MapAccess<'de>, C: Command> MapAccess<'de> for Filter<'_, A, C> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            let key = KeySeed::<K, C> { seed: &mut seed, of: PhantomData };
            match self.map.next_key_seed(key)? {
                None => return Ok(None),
                Some(Key::Body(key)) => return Ok(Some(key)),
                Some(Key::Envelope(key)) => self.keep(key)?,
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>, C: Command> Filter<'_, A, C> {
    fn keep(&mut self, key: &'static str) -> Result<(), A::Error> {
        let Self { map, named, sender, .. } = self;
        match key {
            "account" => once(map, key, &mut named.account),
            "campaign" => once(map, key, &mut named.campaign),
            "hold" => once(map, key, &mut named.hold),
            "product" => once(map, key, &mut named.product),
            "purchase" => once(map, key, &mut named.purchase),
            "saga" => once(map, key, &mut named.saga),
            "sale" => once(map, key, &mut named.sale),
            "wallet" => once(map, key, &mut named.wallet),
            "correlation_id" => once_line(map, key, &mut sender.correlation_id),
            "causation_id" => once_line(map, key, &mut sender.causation_id),
            "actor" => once_line(map, key, &mut sender.actor),
            EXPECTED_VERSION => {
                let mut version = sender.expected_version.take().map(Version);
                once(map, key, &mut version)?;
                sender.expected_version = version.map(|Version(version)| version);
                Ok(())
            }
            // `id` and `type` are read already.
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    key: &'static str,
    slot: &mut Option<T>,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::duplicate_field(key));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

fn once_line<'de, A: MapAccess<'de>>(
    map: &mut A,
    key: &'static str,
    slot: &mut Option<Arc<str>>,
) -> Result<(), A::Error> {
    let mut line = slot.take().map(Line);
    once(map, key, &mut line)?;
    *slot = line.map(|Line(line)| line);
    Ok(())
}

struct Line(Arc<str>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Cow::<'de, str>::deserialize(deserializer)?;
        text::check(&line).map_err(D::Error::custom)?;
        Ok(Self(Arc::from(&*line)))
    }
}

/// As `If-Match` takes it: 0 for what is not there yet.
struct Version(i64);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(VersionVisitor)
    }
}

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = Version;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version, which is a whole number from 0")
    }

    fn visit_u64<E: Error>(self, version: u64) -> Result<Version, E> {
        let wrong = || E::invalid_value(de::Unexpected::Unsigned(version), &self);
        i64::try_from(version).map(Version).map_err(|_| wrong())
    }
}

/// A key of the envelope itself, or of the body, which has read it.
enum Key<T> {
    Envelope(&'static str),
    Body(T),
}

/// Reads a key, and hands it to the body's own seed where it is the body's.
struct KeySeed<'s, K, C> {
    seed: &'s mut Option<K>,
    of: PhantomData<C>,
}

impl<'de, K: DeserializeSeed<'de>, C: Command> DeserializeSeed<'de> for KeySeed<'_, K, C> {
    type Value = Key<K::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>, C: Command> Visitor<'de> for KeySeed<'_, K, C> {
    type Value = Key<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if let Some(key) = of_envelope::<C>(key) {
            return Ok(Key::Envelope(key));
        }
        let key = if C::ID_IN_ENVELOPE == Some(key) { "id" } else { key };
        let seed = self.seed.take().ok_or_else(|| E::custom("a key was read twice"))?;
        seed.deserialize(StrDeserializer::new(key)).map(Key::Body)
    }
}

/// The key, if it is the envelope's own.
fn of_envelope<C: Command>(key: &str) -> Option<&'static str> {
    let named = <C::Target as Target>::KEYS.iter().copied().find(|name| *name == key);
    named.or(match key {
        "id" => Some("id"),
        "type" => Some("type"),
        "correlation_id" => Some("correlation_id"),
        "causation_id" => Some("causation_id"),
        "actor" if !C::HAS_ACTOR => Some("actor"),
        EXPECTED_VERSION if C::HAS_VERSION => Some(EXPECTED_VERSION),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
