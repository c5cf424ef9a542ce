//! The JSON form of a policy: the text `never`, or an object with `at`, or with `after`.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::period::Period;
use super::{Error, Round, instant};

const EXPECTED: &str =
    "\"never\", {\"at\": instant} or {\"after\": period, \"round\": \"month_end\"|\"year_end\"}";

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Policy {
    Never(Never),
    Fields(Fields),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Never {
    Never,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_instant")]
    at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<Round>,
}

/// chrono's own messages do not say what is expected.
fn some_instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
    let at = DateTime::parse_from_rfc3339(&text).map_err(|_| {
        let text = serde::de::Unexpected::Str(&text);
        serde::de::Error::invalid_value(text, &"an RFC 3339 instant such as 2027-01-31T00:00:00Z")
    })?;
    Ok(Some(at.with_timezone(&Utc)))
}

/// Why the fields make no policy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Invalid {
    #[error("expected {EXPECTED}: `at` and `after` exclude each other")]
    Both,
    #[error("expected {EXPECTED}: neither `at` nor `after` is given")]
    Neither,
    #[error("expected {EXPECTED}: `round` goes with `after` only")]
    RoundOfAt,
    #[error(transparent)]
    At(#[from] Error),
}

/// By hand rather than `untagged`, which would answer every slip with "did not match any
/// variant" and lose the field's name.
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrFields)
    }
}

struct TextOrFields;

impl<'de> Visitor<'de> for TextOrFields {
    type Value = Policy;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Policy, E> {
        match text {
            "never" => Ok(Policy::Never(Never::Never)),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Policy, A::Error> {
        Fields::deserialize(MapAccessDeserializer::new(map)).map(Policy::Fields)
    }
}

impl TryFrom<Policy> for super::Policy {
    type Error = Invalid;

    fn try_from(policy: Policy) -> Result<Self, Invalid> {
        let Policy::Fields(fields) = policy else { return Ok(Self::Never) };
        match fields {
            Fields { at: Some(_), after: Some(_), .. } => Err(Invalid::Both),
            Fields { at: Some(_), round: Some(_), .. } => Err(Invalid::RoundOfAt),
            Fields { at: Some(at), .. } => Ok(Self::At(instant(at)?)),
            Fields { after: Some(period), round, .. } => {
                Ok(Self::After { period, round: round.unwrap_or_default() })
            }
            Fields { .. } => Err(Invalid::Neither),
        }
    }
}

impl From<super::Policy> for Policy {
    fn from(policy: super::Policy) -> Self {
        match policy {
            super::Policy::Never => Self::Never(Never::Never),
            super::Policy::At(at) => {
                Self::Fields(Fields { at: Some(at), after: None, round: None })
            }
            super::Policy::After { period, round } => Self::Fields(Fields {
                at: None,
                after: Some(period),
                round: (round != Round::None).then_some(round),
            }),
        }
    }
}

impl JsonSchema for Policy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExpiryPolicy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let period = generator.subschema_for::<Period>();
        let round = generator.subschema_for::<Round>();
        json_schema!({
            "description": "When a lot lapses",
            "oneOf": [
                { "const": "never" },
                {
                    "type": "object",
                    "properties": { "at": { "type": "string", "format": "date-time" } },
                    "required": ["at"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "after": period, "round": round },
                    "required": ["after"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
