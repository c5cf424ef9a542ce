//! Questions to `sagas`. Time comes in as a parameter: rows know nothing of it.

use accrue_domain::purchase::Status;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use utoipa::ToSchema;

/// What a saga that is not at its end is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SagaState)]
pub enum State {
    /// On its way, one way or the other.
    Running,
    /// It waits for somebody outside.
    Waiting,
    /// People are to look at it.
    Stuck,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Waiting, Self::Stuck];

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => Status::Running.as_str(),
            Self::Waiting => Status::Waiting.as_str(),
            Self::Stuck => Status::Stuck.as_str(),
        }
    }
}

/// A saga, and what it is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Saga)]
pub struct SagaView {
    /// Its name: `purchase:` and the purchase.
    pub saga: String,
    /// `purchase`.
    pub kind: String,
    /// Whose story it is: the purchase.
    pub id: String,
    /// `running`, `waiting` (for a payment provider or the customer) or `stuck`.
    pub state: String,
    /// `hold_stock`, `hold_tenders`, `authorise_card`, `capture_card`, `settle`, `refund_card` or
    /// `settle_refund`.
    pub step: String,
    /// `do` or `undo`.
    pub way: String,
    /// How often a call to the outside was tried for this step; 0 for a step within the ledger.
    pub attempts: i64,
    /// When it is tried again, or looked after; absent while it is stuck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// Since when it is open: the placing of the order, or the asking of its latest refund.
    pub since: DateTime<Utc>,
    /// Seconds since then.
    pub age_seconds: i64,
    /// What is wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Position of its last event.
    pub position: i64,
    /// What `ETag` says.
    #[serde(skip)]
    pub version: i64,
}

/// A place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    since: DateTime<Utc>,
    saga: String,
}

impl Cursor {
    /// Behind this saga.
    #[must_use]
    pub fn behind(saga: &SagaView) -> Self {
        Self { since: saga.since, saga: saga.saga.clone() }
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}", self.since.timestamp_micros(), self.saga)
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (micros, saga) = text.split_once('/')?;
        // From the year 0 on: Postgres knows none before -4712.
        let micros: i64 = micros.parse().ok().filter(|it| *it >= -62_167_219_200_000_000)?;
        let since = DateTime::from_timestamp_micros(micros)?;
        Some(Self { since, saga: saga.to_owned() })
    }
}

/// How many sagas of all programs are in a state.
pub type Count = (State, i64);

macro_rules! columns {
    () => {
        "SELECT saga, kind, id, state, step, way, attempts, next_at, since, detail, version, position
           FROM sagas "
    };
}

/// Sagas of a program, in one state or in any, the oldest first.
///
/// # Errors
/// As Postgres gives them.
pub async fn page(
    conn: &mut PgConnection,
    program: &str,
    state: Option<State>,
    after: Option<&Cursor>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SagaView>> {
    let rows = sqlx::query(concat!(
        columns!(),
        "WHERE program = $1 AND ($2::text IS NULL OR state = $2)
           AND (since, saga) > (coalesce($3, '-infinity'::timestamptz), $4)
         ORDER BY since, saga LIMIT $5"
    ))
    .bind(program)
    .bind(state.map(State::as_str))
    .bind(after.map(|it| it.since))
    .bind(after.map_or("", |it| &it.saga))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| saga(row, now)).collect()
}

/// One saga; none when it has come to its end, or never was.
///
/// # Errors
/// As Postgres gives them.
pub async fn by_name(
    conn: &mut PgConnection,
    program: &str,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<SagaView>> {
    let query = sqlx::query(concat!(columns!(), "WHERE program = $1 AND saga = $2"));
    let row = query.bind(program).bind(name).fetch_optional(conn).await?;
    row.map(|row| saga(&row, now)).transpose()
}

/// How many sagas there are, by state, of all programs. Over a connection with any search path.
///
/// # Errors
/// As Postgres gives them.
pub async fn count(conn: &mut PgConnection) -> sqlx::Result<[Count; 3]> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM read.sagas GROUP BY state")
            .fetch_all(conn)
            .await?;
    let of = |state: State| rows.iter().find(|(name, _)| name == state.as_str());
    Ok(State::ALL.map(|state| (state, of(state).map_or(0, |(_, count)| *count))))
}

fn saga(row: &PgRow, now: DateTime<Utc>) -> sqlx::Result<SagaView> {
    let since: DateTime<Utc> = row.try_get("since")?;
    Ok(SagaView {
        saga: row.try_get("saga")?,
        kind: row.try_get("kind")?,
        id: row.try_get("id")?,
        state: row.try_get("state")?,
        step: row.try_get("step")?,
        way: row.try_get("way")?,
        attempts: row.try_get("attempts")?,
        next_at: row.try_get("next_at")?,
        since,
        age_seconds: (now - since).num_seconds().max(0),
        detail: row.try_get("detail")?,
        position: row.try_get("position")?,
        version: row.try_get("version")?,
    })
}
