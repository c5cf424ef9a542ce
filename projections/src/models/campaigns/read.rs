//! Questions to `campaigns`.

use accrue_http::rules::CampaignRules;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

/// Most days in an answer: the last ones.
const DAYS_MAX: i64 = 400;

/// Most kinds of skip in an answer: those that were last.
const SKIPS_MAX: i64 = 100;

/// A campaign in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = CampaignSummary)]
pub struct Summary {
    /// The campaign.
    pub campaign: String,
    /// For people.
    pub name: String,
    /// `draft`, `active`, `paused` or `retired`.
    pub status: String,
    /// Version of its rules.
    pub version: i64,
    /// Lots that it gave.
    pub awards: i64,
    /// Points in them.
    pub points: i64,
    /// How many of these were taken back, or are owed.
    pub reversed: i64,
    /// How often a rule could not be judged, or gave nothing against its will.
    pub skipped: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
    /// Position of its creation.
    pub created_position: i64,
    /// Position of its last change.
    pub position: i64,
    #[serde(skip)]
    stream_version: i64,
}

/// A campaign with its rules and what it gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Campaign)]
pub struct CampaignView {
    /// What the list says.
    #[serde(flatten)]
    pub summary: Summary,
    /// The rules in force.
    #[schema(value_type = CampaignRules)]
    pub rules: Box<RawValue>,
    /// What it gave, by the UTC day of the business time; the last 400 days that have something.
    pub days: Vec<Day>,
    /// What it could not judge, or not give, last first.
    pub skips: Vec<Skip>,
}

impl CampaignView {
    /// Sequence of its last event: what `If-Match` takes.
    #[must_use]
    pub fn stream_version(&self) -> i64 {
        self.summary.stream_version
    }
}

/// What a campaign gave on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = CampaignDay)]
pub struct Day {
    /// The UTC day.
    pub day: NaiveDate,
    /// Lots.
    pub awards: i64,
    /// Points in them.
    pub points: i64,
    /// Points that were taken back, or are owed.
    pub reversed: i64,
}

/// A rule that gave nothing against its will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = CampaignSkip)]
pub struct Skip {
    /// Version of the rules.
    pub version: i64,
    /// The rule's index, from 0; none for the campaign as a whole.
    pub rule: Option<i64>,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: i64,
    /// The event that was last.
    pub last_position: i64,
    /// What was wrong with it.
    pub last_detail: String,
}

/// A campaign's row with its totals.
macro_rules! summary {
    () => {
        "SELECT c.campaign, c.name, c.status, c.version, c.stream_version, c.created_position,
                c.created_at, c.updated_at, c.position, c.rules, d.awards, d.points, d.reversed,
                s.skipped
           FROM campaigns c,
                LATERAL (SELECT coalesce(sum(awards), 0)::bigint AS awards,
                                coalesce(sum(points), 0)::bigint AS points,
                                coalesce(sum(reversed), 0)::bigint AS reversed
                           FROM campaign_days d
                          WHERE d.program = c.program AND d.campaign = c.campaign) d,
                LATERAL (SELECT coalesce(sum(count), 0)::bigint AS skipped
                           FROM public.campaign_skips s
                          WHERE s.program = c.program AND s.campaign = c.campaign) s"
    };
}

/// Campaigns behind `after`, in the order of their ids.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    const SQL: &str = concat!(
        summary!(),
        " WHERE c.program = $1 AND c.campaign > $2 ORDER BY c.campaign LIMIT $3"
    );
    sqlx::query_as(SQL).bind(program).bind(after).bind(limit).fetch_all(conn).await
}

/// One campaign; none where it was never created.
///
/// # Errors
/// As Postgres gives them.
pub async fn by_id(
    conn: &mut PgConnection,
    program: &str,
    campaign: &str,
) -> sqlx::Result<Option<CampaignView>> {
    const SQL: &str = concat!(summary!(), " WHERE c.program = $1 AND c.campaign = $2");
    let row = sqlx::query(SQL).bind(program).bind(campaign).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let rules = RawValue::from_string(row.try_get("rules")?);
    let days = sqlx::query_as(
        "SELECT day, awards, points, reversed FROM campaign_days
          WHERE program = $1 AND campaign = $2 ORDER BY day DESC LIMIT $3",
    )
    .bind(program)
    .bind(campaign)
    .bind(DAYS_MAX)
    .fetch_all(&mut *conn)
    .await?;
    let skips = sqlx::query_as(
        "SELECT version, nullif(rule, 0) - 1 AS rule, reason, count, last_position, last_detail
           FROM public.campaign_skips
          WHERE program = $1 AND campaign = $2
          ORDER BY last_position DESC, campaign_skips.rule, reason LIMIT $3",
    )
    .bind(program)
    .bind(campaign)
    .bind(SKIPS_MAX)
    .fetch_all(conn)
    .await?;
    Ok(Some(CampaignView {
        summary: sqlx::FromRow::from_row(&row)?,
        rules: rules.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        days,
        skips,
    }))
}
