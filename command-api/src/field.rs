//! Fields of bodies: whole numbers, texts and instants, each refused with a sentence that says
//! what was expected.

use std::ops::RangeInclusive;

use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::percent::Percent;
use accrue_domain::points::{Amount, Points};
use accrue_domain::quantity::{Delta, Quantity, UNITS_MAX};
use accrue_domain::text;
pub(crate) use accrue_http::instant::optional as optional_instant;
use accrue_http::problem::SHOWN_CHARS_MAX;
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Deserialize as Derive, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Reads a number by its text, so that `1e400`, `13.5` and `"13"` all get the same sentence, and
/// no digit goes through a float.
fn whole<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    range: RangeInclusive<i64>,
) -> Result<i64, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    whole_in(raw.get(), what, range).map_err(Error::custom)
}

fn optional_whole<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<i64>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if raw.get() == "null" {
        return Ok(None);
    }
    whole_in(raw.get(), what, range).map(Some).map_err(Error::custom)
}

fn whole_in(raw: &str, what: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
    match raw.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (min, max) = range.into_inner();
            Err(format!("expected {what} from {min} to {max}, got {}", shown(raw)))
        }
    }
}

/// A wrong value as a message shows it: numbers and texts as they came, others by their kind.
fn shown(raw: &str) -> String {
    let clipped = |raw: &str| match raw.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &raw[..at]),
        None => raw.to_owned(),
    };
    match raw.bytes().next() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'"') => format!("the text {}", clipped(raw)),
        _ => clipped(raw),
    }
}

const POINTS: &str = "a whole number of points";

pub(crate) fn points<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    let points = whole(deserializer, POINTS, 1..=Points::MAX.get())?;
    Amount::new(points).map_err(Error::custom)
}

pub(crate) fn optional_points<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Amount>, D::Error> {
    let points = optional_whole(deserializer, POINTS, 1..=Points::MAX.get())?;
    points.map(Amount::new).transpose().map_err(Error::custom)
}

/// Points with a sign, and never none.
pub(crate) fn change<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let max = Points::MAX.get();
    let what = "a whole number of points other than 0,";
    match whole(deserializer, what, -max..=max)? {
        0 => Err(Error::custom(format!("expected {what} from -{max} to {max}, got 0"))),
        points => Ok(points),
    }
}

const UNITS: &str = "a whole number of units";

pub(crate) fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let units = whole(deserializer, UNITS, 1..=UNITS_MAX)?;
    Quantity::new(units).map_err(Error::custom)
}

pub(crate) fn optional_quantity<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Quantity>, D::Error> {
    let units = optional_whole(deserializer, UNITS, 1..=UNITS_MAX)?;
    units.map(Quantity::new).transpose().map_err(Error::custom)
}

/// Units with a sign, and never none.
pub(crate) fn delta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Delta, D::Error> {
    let what = "a whole number of units other than 0,";
    let units = whole(deserializer, what, -UNITS_MAX..=UNITS_MAX)?;
    Delta::new(units).map_err(Error::custom)
}

/// How many of something.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = whole(deserializer, "a whole number", 1..=i64::from(u32::MAX))?;
    u32::try_from(count).map_err(Error::custom)
}

/// As [`count`], for a field that may be absent or null.
pub(crate) fn optional_count<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let count = optional_whole(deserializer, "a whole number", 1..=i64::from(u32::MAX))?;
    count.map(u32::try_from).transpose().map_err(Error::custom)
}

const MINOR: &str = "a whole number of minor units (pence, cents)";

/// Minor units of a currency.
pub(crate) fn minor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Minor, D::Error> {
    let units = whole(deserializer, MINOR, 0..=Minor::MAX.get())?;
    Minor::new(units).map_err(Error::custom)
}

/// Minor units of a currency, and never none.
fn some_minor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Minor, D::Error> {
    let units = whole(deserializer, MINOR, 1..=Minor::MAX.get())?;
    Minor::new(units).map_err(Error::custom)
}

/// Money as bodies and answers have it: minor units of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Derive, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Money, example = json!({"amount": 13912, "currency": "GBP"}))]
pub(crate) struct MoneyBody {
    /// Minor units: 13912 GBP are 139.12 pounds.
    #[serde(deserialize_with = "minor")]
    #[schema(value_type = i64, minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    pub(crate) amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    pub(crate) currency: Currency,
}

impl From<MoneyBody> for Money {
    fn from(MoneyBody { amount, currency }: MoneyBody) -> Self {
        Self { amount, currency }
    }
}

/// Money that moves: minor units of a currency, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Derive, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"amount": 330_000, "currency": "USD"}))]
pub(crate) struct SomeMoney {
    /// Minor units: 330000 USD are 3,300.00 dollars.
    #[serde(deserialize_with = "some_minor")]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: Currency,
}

impl From<SomeMoney> for Money {
    fn from(SomeMoney { amount, currency }: SomeMoney) -> Self {
        Self { amount, currency }
    }
}

/// A share in percent, as a text or as a number: either is read by its digits.
pub(crate) fn optional_percent<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Percent>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    if raw == "null" {
        return Ok(None);
    }
    let text = raw.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(raw);
    let invalid = |why| Error::custom(format!("{why}, got {}", shown(raw)));
    text.parse().map(Some).map_err(invalid)
}

/// A text for people: 1 to 200 characters on one line.
pub(crate) fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let line = String::deserialize(deserializer)?;
    text::check(&line).map_err(Error::custom)?;
    Ok(line)
}

pub(crate) fn optional_line<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let line = Option::<String>::deserialize(deserializer)?;
    text::check_optional(line.as_deref()).map_err(Error::custom)?;
    Ok(line)
}

/// A text of which no error repeats anything.
pub(crate) fn optional_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::custom("expected a text")),
    }
}

#[cfg(test)]
mod tests;
