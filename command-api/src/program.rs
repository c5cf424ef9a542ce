//! The program: one brand's settings.

use accrue_domain::action::Action;
use accrue_domain::expiry::Policy;
use accrue_domain::expiry::zone::Zone;
use accrue_domain::money::{Currency, Minor};
use accrue_domain::points::Amount;
use accrue_domain::program::{self, PointsRate, Settings};
use accrue_event_store::ledger::Ledger;
use accrue_http::expiry::ExpiryPolicy;
use accrue_http::extract::Json;
use accrue_http::problem::Problem;
use accrue_http::receipt::ReceiptView;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::call::{Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::field;
use crate::prefer::ReturnHeader;
use crate::target::Nothing;

/// All settings of a program.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "currency": "GBP", "zone": "Europe/London",
    "expiry": {"after": "P12M", "round": "month_end"},
    "points_rate": {"points": 100, "amount": 100}
}))]
pub(crate) struct ConfigureProgram {
    /// Currency of its sales: an ISO 4217 code.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: Currency,
    /// IANA zone in which days, months and years end.
    #[schema(value_type = String)]
    zone: Zone,
    /// When a lot lapses whose issue does not say.
    #[schema(value_type = ExpiryPolicy)]
    expiry: Policy,
    /// What points pay; absent: nothing can be paid with points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    points_rate: Option<PointsRateBody>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

/// So many points pay so many minor units of the program's currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PointsRate, example = json!({"points": 100, "amount": 100}))]
pub(crate) struct PointsRateBody {
    /// So many points
    #[serde(deserialize_with = "field::points")]
    #[schema(value_type = i64, minimum = 1)]
    points: Amount,
    /// pay so many minor units.
    #[serde(deserialize_with = "field::minor")]
    #[schema(value_type = i64, minimum = 1)]
    amount: Minor,
}

impl PointsRateBody {
    fn rate(self) -> Result<PointsRate, Problem> {
        let Self { points, amount } = self;
        if amount == Minor::ZERO {
            let detail = "expected at least 1 minor unit; leave the rate out if points pay nothing";
            return Err(Problem::invalid("/points_rate/amount", detail));
        }
        Ok(PointsRate { points, amount })
    }
}

impl Command for ConfigureProgram {
    const TYPE: &'static str = "configure_program";
    type Target = Nothing;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, _: Nothing) -> Result<Vec<Action>, Problem> {
        let Self { currency, zone, expiry, points_rate, occurred_at: _ } = self;
        let points_rate = points_rate.map(PointsRateBody::rate).transpose()?;
        let settings = Settings { currency, zone, expiry, points_rate };
        Ok(vec![Action::Program(program::Command::Configure(settings))])
    }
}

/// Replace the settings of the program.
///
/// They hold for commands from here on; lots that exist keep the expiry they were issued with.
#[utoipa::path(
    put, path = "/v1/program", tag = "program", operation_id = "configure_program",
    params(Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = ConfigureProgram,
    responses(
        (status = 200, description = "Replaced", body = ReceiptView),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn configure(
    State(ledger): State<Ledger>,
    call: Call,
    Json(body): Json<ConfigureProgram>,
) -> Result<Response, Problem> {
    call.execute(&ledger, Nothing, body).await
}
