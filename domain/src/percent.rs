//! Percent: an exact share of an amount, never a float.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Minor;

/// Most digits behind the point.
const DIGITS_MAX: usize = 6;

/// Millionths of a percent in a percent.
const ONE: u32 = 1_000_000;

/// All of it, in millionths of a percent.
const ALL: u32 = 100 * ONE;

/// More than 0 and at most 100 percent, with at most 6 digits behind the point. As text it has no
/// zeros that mean nothing: `12.50` is written `12.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

/// A text that is no such percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a decimal such as 12.5, more than 0 and at most 100, with at most {DIGITS_MAX} \
     digits behind the point"
)]
pub struct Invalid;

impl Percent {
    /// So many percent of an amount, to the nearest minor unit; halves go up. Never more than the
    /// amount.
    #[must_use]
    pub fn of(self, amount: Minor) -> Minor {
        let (share, all) = (i128::from(self.0), i128::from(ALL));
        let halves = i128::from(amount.get()).saturating_mul(share).saturating_mul(2);
        let rounded = halves.saturating_add(all).checked_div(all.saturating_mul(2));
        let units = rounded.and_then(|units| i64::try_from(units).ok());
        units.and_then(|units| Minor::new(units).ok()).unwrap_or(amount)
    }
}

impl FromStr for Percent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if !part.is_empty() => (whole, part),
            Some(_) => return Err(Invalid),
            None => (text, ""),
        };
        let is_number = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
        // As JSON writes numbers: a digit before the point, and no needless zero before others.
        let padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty()
            || padded
            || part.len() > DIGITS_MAX
            || !is_number(whole)
            || !is_number(part)
        {
            return Err(Invalid);
        }
        let millionths: u32 = format!("{part:0<DIGITS_MAX$}").parse().map_err(|_| Invalid)?;
        let whole = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(ONE));
        match whole.and_then(|whole| whole.checked_add(millionths)) {
            Some(share @ 1..=ALL) => Ok(Self(share)),
            Some(_) | None => Err(Invalid),
        }
    }
}

impl TryFrom<String> for Percent {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0.checked_div(ONE), self.0.checked_rem(ONE));
        let part = format!("{:0DIGITS_MAX$}", part.unwrap_or(0));
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        write!(f, "{}{point}{part}", whole.unwrap_or(0))
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Percent as an exact decimal, more than 0 and at most 100",
            "pattern": "^(0|[1-9][0-9]?|100)(\\.[0-9]{1,6})?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    fn of(text: &str, amount: i64) -> i64 {
        percent(text).of(Minor::new(amount).unwrap()).get()
    }

    #[test]
    fn it_is_read_to_the_last_digit_and_written_without_needless_zeros() {
        for (text, written) in [
            ("100", "100"),
            ("100.000000", "100"),
            ("12.50", "12.5"),
            ("0.000001", "0.000001"),
            ("99.999999", "99.999999"),
            ("7", "7"),
        ] {
            assert_eq!(percent(text).to_string(), written, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_percentage() {
        for text in [
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "100.000001",
            "101",
            "1e1",
            "1.",
            ".5",
            "05",
            "1,5",
            " 1",
            "1%",
            "0.0000001",
            "12.5000000",
            "NaN",
            "4294967297",
            "１",
        ] {
            assert_eq!(text.parse::<Percent>(), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn shares_are_rounded_to_the_nearest_unit_and_halves_up() {
        assert_eq!((of("15", 1_999), of("10", 1_044), of("10", 1_045)), (300, 104, 105));
        assert_eq!((of("50", 1), of("49.999999", 1), of("0.000001", 49_999_999)), (1, 0, 0));
        let max = Minor::MAX.get();
        assert_eq!((of("100", max), of("0.1", 0), of("100", 0)), (max, 0, 0));
        assert_eq!(of("33.333333", max), 333_333_330_000_000);
    }
}
