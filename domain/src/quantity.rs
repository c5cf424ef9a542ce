//! Quantities of goods: whole units, never a float.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most units of one product: a billion. A billion such products still fit an `i64`.
pub const UNITS_MAX: i64 = 1_000_000_000;

/// A number that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number of units from {min} to {UNITS_MAX}{other_than}, got {actual}")]
pub struct OutOfRange {
    /// The least that was allowed.
    pub min: i64,
    /// What within the range was not allowed, in words.
    pub other_than: &'static str,
    /// What came.
    pub actual: i64,
}

/// A count of units, `0 ..= UNITS_MAX`. No `Add`, no `Sub`: whoever computes says what happens at
/// the edge.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")] // reading JSON runs the same check as code
pub struct Units(i64);

impl Units {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A checked count.
    ///
    /// # Errors
    /// When `units` is negative or beyond [`UNITS_MAX`].
    pub const fn new(units: i64) -> Result<Self, OutOfRange> {
        if units < 0 || units > UNITS_MAX {
            return Err(OutOfRange { min: 0, other_than: "", actual: units });
        }
        Ok(Self(units))
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Is it nothing?
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self + other`, none beyond [`UNITS_MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// `self - other`, none below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(|rest| Self::new(rest).ok())
    }

    /// `self + delta`, none below zero and none beyond [`UNITS_MAX`].
    #[must_use]
    pub fn checked_change(self, delta: Delta) -> Option<Self> {
        self.0.checked_add(delta.0).and_then(|sum| Self::new(sum).ok())
    }
}

/// What a command asks for: at least one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Quantity(i64);

impl Quantity {
    /// A checked quantity.
    ///
    /// # Errors
    /// When `units` is zero, negative or beyond [`UNITS_MAX`].
    pub const fn new(units: i64) -> Result<Self, OutOfRange> {
        if units < 1 || units > UNITS_MAX {
            return Err(OutOfRange { min: 1, other_than: "", actual: units });
        }
        Ok(Self(units))
    }

    /// As units.
    #[must_use]
    pub const fn units(self) -> Units {
        Units(self.0)
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// `self - other`: what is left of it; none where `other` is more.
    #[must_use]
    pub fn rest(self, other: Self) -> Option<Units> {
        self.units().checked_sub(other.units())
    }
}

/// A change of stock: units with a sign, and never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Delta(i64);

impl Delta {
    /// A checked change.
    ///
    /// # Errors
    /// When `units` is zero, or further from it than [`UNITS_MAX`].
    pub const fn new(units: i64) -> Result<Self, OutOfRange> {
        if units == 0 || units < -UNITS_MAX || units > UNITS_MAX {
            return Err(OutOfRange {
                min: -UNITS_MAX,
                other_than: ", other than 0",
                actual: units,
            });
        }
        Ok(Self(units))
    }

    /// The change.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

macro_rules! as_number {
    ($name:ident, $description:literal, $min:expr) => {
        impl TryFrom<i64> for $name {
            type Error = OutOfRange;
            fn try_from(units: i64) -> Result<Self, OutOfRange> {
                Self::new(units)
            }
        }

        impl From<$name> for i64 {
            fn from(units: $name) -> Self {
                units.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "integer",
                    "description": $description,
                    "minimum": $min,
                    "maximum": UNITS_MAX
                })
            }
        }
    };
}

as_number!(Units, "Whole units", 0);
as_number!(Quantity, "Whole units", 1);
as_number!(Delta, "Whole units other than 0", -UNITS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_and_in_range() {
        let read = |json: &str| serde_json::from_str::<Quantity>(json).map(Quantity::get).ok();
        assert_eq!((read("1"), read("1000000000")), (Some(1), Some(UNITS_MAX)));
        for json in ["0", "-1", "1.5", "1.0", "\"1\"", "null", "1000000001", "1e3"] {
            assert_eq!(read(json), None, "{json}");
        }
        assert!(Units::new(0).is_ok() && Units::new(UNITS_MAX).is_ok());
        assert!(Units::new(-1).is_err() && Units::new(UNITS_MAX + 1).is_err());
        assert!(Delta::new(-UNITS_MAX).is_ok() && Delta::new(UNITS_MAX).is_ok());
        let wrong = Delta::new(0).unwrap_err().to_string();
        assert_eq!(
            wrong,
            "expected a whole number of units from -1000000000 to 1000000000, other than 0, got 0"
        );
        assert!(Delta::new(-UNITS_MAX - 1).is_err() && Delta::new(i64::MIN).is_err());
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        let (two, max) = (Units(2), Units(UNITS_MAX));
        assert_eq!((max.checked_add(Units(1)), Units(1).checked_sub(two)), (None, None));
        assert_eq!(two.checked_change(Delta(-3)), None);
        assert_eq!(two.checked_change(Delta(-2)), Some(Units::ZERO));
        assert_eq!(
            (Quantity(3).rest(Quantity(1)), Quantity(1).rest(Quantity(3))),
            (Some(two), None)
        );
    }
}
