//! Money: whole minor units of an ISO 4217 currency, never a float.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An ISO 4217 currency, written as its three letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

/// A text that names no currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an ISO 4217 currency code such as GBP, got {0:?}")]
pub struct UnknownCurrency(pub String);

impl Currency {
    /// Pound sterling.
    pub const GBP: Self = Self(iso_currency::Currency::GBP);

    /// The three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits behind the point: 2 for GBP, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// Cards take multiples of so many minor units: of currencies with three digits behind the
    /// point the last one is always 0.
    #[must_use]
    pub fn card_step(self) -> i64 {
        if self.exponent() == 3 { 10 } else { 1 }
    }
}

impl Ord for Currency {
    /// By their letters.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(code)
            .map(Self)
            .ok_or_else(|| UnknownCurrency(code.chars().take(20).collect()))
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;
    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "ISO 4217 code",
            "pattern": "^[A-Z]{3}$"
        })
    }
}

/// Minor units, `0 ..= MAX`: an amount of money that cannot be negative.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")]
pub struct Minor(i64);

/// A number of minor units that is negative or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number of minor units from 0 to {max}, got {0}", max = Minor::MAX.0)]
pub struct MinorOutOfRange(pub i64);

impl Minor {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 10^15 minor units. Amounts up to here have at most 15 significant digits, so they pass
    /// through a JSON number (an IEEE double) without loss.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// A checked amount.
    ///
    /// # Errors
    /// When `units` is negative or beyond [`Minor::MAX`].
    pub const fn new(units: i64) -> Result<Self, MinorOutOfRange> {
        if units < 0 || units > Self::MAX.0 {
            return Err(MinorOutOfRange(units));
        }
        Ok(Self(units))
    }

    /// The number of minor units.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Is it nothing?
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self + other`, none beyond [`Minor::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// `self - other`, none below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(|rest| Self::new(rest).ok())
    }
}

impl TryFrom<i64> for Minor {
    type Error = MinorOutOfRange;
    fn try_from(units: i64) -> Result<Self, MinorOutOfRange> {
        Self::new(units)
    }
}

impl From<Minor> for i64 {
    fn from(minor: Minor) -> Self {
        minor.0
    }
}

/// An amount in a currency: `{"amount": 13912, "currency": "GBP"}` is 139.12 pounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units (pence, cents).
    pub amount: Minor,
    /// ISO 4217 code.
    pub currency: Currency,
}

impl fmt::Display for Money {
    /// `139.12 GBP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.major(), self.currency)
    }
}

impl Money {
    /// The amount in major units as an exact decimal text: 13912 GBP is `139.12`.
    #[must_use]
    pub fn major(&self) -> String {
        let digits = usize::try_from(self.currency.exponent()).unwrap_or(0);
        if digits == 0 {
            return self.amount.get().to_string();
        }
        let text = format!("{:0>width$}", self.amount.get(), width = digits.saturating_add(1));
        let (whole, part) = text.split_at(text.len().saturating_sub(digits));
        format!("{whole}.{part}")
    }
}

impl JsonSchema for Minor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Minor".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "Whole minor units",
            "minimum": 0,
            "maximum": 1_000_000_000_000_000_i64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_in_major_units_is_exact() {
        let major = |units, code: &str| {
            Money { amount: Minor::new(units).unwrap(), currency: code.parse().unwrap() }.major()
        };
        assert_eq!(major(13_912, "GBP"), "139.12");
        assert_eq!(major(5, "GBP"), "0.05");
        assert_eq!(major(0, "GBP"), "0.00");
        assert_eq!(major(500, "JPY"), "500");
        assert_eq!(major(1_234, "KWD"), "1.234");
    }

    #[test]
    fn minor_units_have_a_range() {
        assert!(Minor::new(0).is_ok() && Minor::new(Minor::MAX.get()).is_ok());
        assert_eq!(Minor::new(-1), Err(MinorOutOfRange(-1)));
        assert!(Minor::new(Minor::MAX.get() + 1).is_err());
        for json in ["-1", "1.5", "\"1\"", "1000000000000001"] {
            assert!(serde_json::from_str::<Minor>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        let (one, max) = (Minor(1), Minor::MAX);
        assert_eq!((max.checked_add(one), one.checked_add(one)), (None, Some(Minor(2))));
        assert_eq!((one.checked_sub(Minor(2)), one.checked_sub(one)), (None, Some(Minor::ZERO)));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert!("GBP".parse::<Currency>().is_ok());
        for code in ["gbp", "GB", "XYZ", ""] {
            assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency(code.to_owned())), "{code}");
        }
    }
}
