//! When points lapse, in the description of the API.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// When points lapse: `"never"`, `{"at": instant}`, or `{"after": period}` with `round`
/// `month_end` or `year_end` to reach to the end of the month or year.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ExpiryPolicy, example = json!({"after": "P12M", "round": "month_end"}))]
pub enum ExpiryPolicy {
    /// Not at all.
    Never(Never),
    /// At a fixed instant.
    At {
        /// The instant.
        at: DateTime<Utc>,
    },
    /// A period after the issue, or after `available_from`.
    After {
        /// An ISO 8601 period of years, months, weeks and days.
        #[schema(example = "P12M")]
        after: String,
        /// What its end is rounded up to, in the program's zone.
        round: Option<Round>,
    },
}

/// The text `never`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExpiryNever)]
pub enum Never {
    /// Points never lapse.
    Never,
}

/// What the end of a period is rounded up to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExpiryRound)]
pub enum Round {
    /// The very instant.
    None,
    /// The end of the month's last day.
    MonthEnd,
    /// The end of 31 December.
    YearEnd,
}
