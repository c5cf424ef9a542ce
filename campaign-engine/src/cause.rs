//! Why a rule could not be judged.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// The stable codes of a skipped rule; counters and read models keep them by these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A path selects nothing.
    MissingValue,
    /// A path selects a value that is not a JSON number.
    NotANumber,
    /// A path selects several values where a formula needs one.
    SeveralValues,
    DivisionByZero,
    /// A number beyond 28 digits, or more points than one award may have.
    Overflow,
}

impl SkipReason {
    pub const ALL: [Self; 5] = [
        Self::MissingValue,
        Self::NotANumber,
        Self::SeveralValues,
        Self::DivisionByZero,
        Self::Overflow,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingValue => "missing_value",
            Self::NotANumber => "not_a_number",
            Self::SeveralValues => "several_values",
            Self::DivisionByZero => "division_by_zero",
            Self::Overflow => "overflow",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason and, for people, its particulars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: SkipReason,
    pub(crate) detail: String,
}

impl Cause {
    pub(crate) fn new(reason: SkipReason, detail: String) -> Self {
        Self { reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_written_as_it_is_serialized() {
        for reason in SkipReason::ALL {
            assert_eq!(serde_json::json!(reason), reason.as_str());
        }
    }
}
