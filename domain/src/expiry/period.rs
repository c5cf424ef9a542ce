//! Period: an ISO 8601 duration of whole years, months, weeks and days, such as `P12M`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hundred years in days.
const DAYS_MAX: u64 = 36_525;
/// A hundred years in months.
const MONTHS_MAX: u64 = 1_200;

/// A calendar period between one day and a hundred years. Kept as it was written: `P1Y` and
/// `P12M` last equally long but are not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    years: u32,
    months: u32,
    weeks: u32,
    days: u32,
}

/// Why a text is no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The text is not of the form.
    #[error(
        "expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, \
         P1Y6M or P30D, got {text:?}: {why}"
    )]
    Form {
        /// The first characters of what came.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is shorter than a day.
    #[error("expected a period of at least 1 day")]
    TooShort,
    /// It is longer than a hundred years.
    #[error("expected a period of at most 100 years")]
    TooLong,
}

impl Period {
    /// A period of whole months.
    ///
    /// # Errors
    /// When it is shorter than a day or longer than a hundred years.
    pub fn of_months(months: u32) -> Result<Self, Invalid> {
        Self { years: 0, months, weeks: 0, days: 0 }.checked()
    }

    /// A period of whole days.
    ///
    /// # Errors
    /// When it is shorter than a day or longer than a hundred years.
    pub fn of_days(days: u32) -> Result<Self, Invalid> {
        Self { years: 0, months: 0, weeks: 0, days }.checked()
    }

    /// Its years and months, in months.
    #[must_use]
    pub const fn months_total(&self) -> u32 {
        self.years.saturating_mul(12).saturating_add(self.months)
    }

    /// Its weeks and days, in days.
    #[must_use]
    pub const fn days_total(&self) -> u32 {
        self.weeks.saturating_mul(7).saturating_add(self.days)
    }

    fn checked(self) -> Result<Self, Invalid> {
        let months = u64::from(self.months_total());
        let days = u64::from(self.days_total());
        if months == 0 && days == 0 {
            return Err(Invalid::TooShort);
        }
        // months / MONTHS_MAX + days / DAYS_MAX <= 1, without a fraction.
        let share = months.saturating_mul(DAYS_MAX).saturating_add(days.saturating_mul(MONTHS_MAX));
        if share > MONTHS_MAX.saturating_mul(DAYS_MAX) {
            return Err(Invalid::TooLong);
        }
        Ok(self)
    }
}

impl FromStr for Period {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text)
            .map_err(|why| Invalid::Form { text: text.chars().take(40).collect(), why })?
            .checked()
    }
}

fn parse(text: &str) -> Result<Period, &'static str> {
    let mut rest = text.strip_prefix('P').ok_or("it does not begin with P")?;
    if rest.is_empty() {
        return Err("no number follows the P");
    }
    let mut period = Period { years: 0, months: 0, weeks: 0, days: 0 };
    let mut last_rank = 0_u8;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let (rank, field) = match unit.chars().next() {
            Some('T') => return Err("hours, minutes and seconds are not allowed"),
            _ if number.is_empty() => return Err("a number is missing"),
            None => return Err("a unit is missing behind the last number"),
            Some('Y') => (1, &mut period.years),
            Some('M') => (2, &mut period.months),
            Some('W') => (3, &mut period.weeks),
            Some('D') => (4, &mut period.days),
            Some('.' | ',') => return Err("fractions are not allowed"),
            Some(_) => return Err("the units are Y, M, W and D"),
        };
        if rank <= last_rank {
            return Err("each unit may stand once, in the order Y, M, W, D");
        }
        // A number beyond u32 saturates, and is refused as too long.
        *field = number.parse().unwrap_or(u32::MAX);
        last_rank = rank;
        rest = unit.get(1..).unwrap_or_default();
    }
    Ok(period)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        for (number, unit) in
            [(self.years, 'Y'), (self.months, 'M'), (self.weeks, 'W'), (self.days, 'D')]
        {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Period {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl schemars::JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "ISO 8601 duration of whole years, months, weeks and days; \
                            at least 1 day, at most 100 years",
            "pattern": "^P(?=[0-9])([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?$",
            "examples": ["P12M", "P1Y6M", "P30D"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn read(text: &str) -> String {
        match text.parse::<Period>() {
            Ok(p) => format!("{p}: {} months, {} days", p.months_total(), p.days_total()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_period_is_read_and_written() {
        assert_snapshot!(
            ["P12M", "P1Y", "P30D", "P2W", "P1Y6M", "P1Y2M3W4D", "P0Y1M", "P1D", "P100Y", "P36525D"]
                .map(read).join("\n"), @r"
    P12M: 12 months, 0 days
    P1Y: 12 months, 0 days
    P30D: 0 months, 30 days
    P2W: 0 months, 14 days
    P1Y6M: 18 months, 0 days
    P1Y2M3W4D: 14 months, 25 days
    P1M: 1 months, 0 days
    P1D: 0 months, 1 days
    P100Y: 1200 months, 0 days
    P36525D: 0 months, 36525 days
    ");
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        assert_snapshot!(
            ["", "12M", "P", "P12", "PM", "P1.5M", "PT1H", "P1MT1H", "P1D1M", "P1M1M", "P1X", "P-1M",
             "p1m", "P0D", "P101Y", "P1200M1D", "P99999999999Y", "P1M ", "P1é"]
                .map(read).join("\n"), @r#"
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "": it does not begin with P
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "12M": it does not begin with P
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P": no number follows the P
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P12": a unit is missing behind the last number
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "PM": a number is missing
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1.5M": fractions are not allowed
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "PT1H": hours, minutes and seconds are not allowed
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1MT1H": hours, minutes and seconds are not allowed
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1D1M": each unit may stand once, in the order Y, M, W, D
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1M1M": each unit may stand once, in the order Y, M, W, D
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1X": the units are Y, M, W and D
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P-1M": a number is missing
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "p1m": it does not begin with P
    expected a period of at least 1 day
    expected a period of at most 100 years
    expected a period of at most 100 years
    expected a period of at most 100 years
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1M ": a number is missing
    expected an ISO 8601 duration of whole years, months, weeks and days such as P12M, P1Y6M or P30D, got "P1é": the units are Y, M, W and D
    "#);
    }
}
