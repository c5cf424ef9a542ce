//! Points: whole, never negative, never a float.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A count of points, `0 ..= MAX`. No `Add`, no `Sub`: whoever computes says what happens at the
/// edge.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")] // reading JSON runs the same check as code
pub struct Points(i64);

/// A text or number that is no count of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number of points from {min} to {max}, got {actual}", max = Points::MAX.0)]
pub struct OutOfRange {
    /// The least that was allowed (0, or 1 for [`Amount`]).
    pub min: i64,
    /// What came.
    pub actual: i64,
}

impl Points {
    /// No points.
    pub const ZERO: Self = Self(0);
    /// Most points in one amount: a trillion. A million amounts of that size still fit an `i64`.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// A checked count.
    ///
    /// # Errors
    /// When `points` is negative or beyond [`Points::MAX`].
    pub const fn new(points: i64) -> Result<Self, OutOfRange> {
        if points < 0 || points > Self::MAX.0 {
            return Err(OutOfRange { min: 0, actual: points });
        }
        Ok(Self(points))
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

    /// `self + other`, none beyond [`Points::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// `self - other`, none below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(|rest| Self::new(rest).ok())
    }

    /// `self - other`, zero where that would be less.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

impl TryFrom<i64> for Points {
    type Error = OutOfRange;
    fn try_from(points: i64) -> Result<Self, OutOfRange> {
        Self::new(points)
    }
}

impl From<Points> for i64 {
    fn from(points: Points) -> Self {
        points.0
    }
}

impl std::fmt::Display for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a command asks for: at least one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

impl Amount {
    /// A checked amount.
    ///
    /// # Errors
    /// When `points` is zero, negative or beyond [`Points::MAX`].
    pub const fn new(points: i64) -> Result<Self, OutOfRange> {
        if points < 1 || points > Points::MAX.0 {
            return Err(OutOfRange { min: 1, actual: points });
        }
        Ok(Self(points))
    }

    /// As points.
    #[must_use]
    pub const fn points(self) -> Points {
        Points(self.0)
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = OutOfRange;
    fn try_from(points: i64) -> Result<Self, OutOfRange> {
        Self::new(points)
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl JsonSchema for Points {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Points".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "Whole points",
            "minimum": 0,
            "maximum": 1_000_000_000_000_i64
        })
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "Whole points",
            "minimum": 1,
            "maximum": 1_000_000_000_000_i64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_whole_and_in_range() {
        let max = Points::MAX.get();
        assert!(Points::new(0).is_ok() && Points::new(max).is_ok() && Amount::new(1).is_ok());
        assert_eq!(Amount::new(0), Err(OutOfRange { min: 1, actual: 0 }));
        assert!(Points::new(-1).is_err() && Points::new(max + 1).is_err());
        assert!(Amount::new(-1).is_err() && Amount::new(max + 1).is_err());
        for json in ["0", "-1", "1.5", "1.0", "\"1\"", "null", "1000000000001", "1e3"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::from_str::<Amount>("1").unwrap(), Amount(1));
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        let (one, max) = (Points(1), Points::MAX);
        assert_eq!(max.checked_add(one), None);
        assert_eq!(Points(2).checked_add(one), Some(Points(3)));
        assert_eq!(one.checked_sub(Points(2)), None);
        assert_eq!(one.saturating_sub(Points(2)), Points::ZERO);
    }
}
