//! The program: its settings.

use accrue_domain::program::{self, Settings};
use accrue_http::expiry::ExpiryPolicy;
use accrue_http::extract::{Program, Query};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Router, routing};
use serde::Serialize;
use utoipa::ToSchema;

use super::{AsOf, reading, versioned};
use crate::live::Views;

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/program", routing::get(get))
}

/// A program's settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Program)]
pub(super) struct ProgramView {
    /// The program.
    program: String,
    /// Currency, zone and expiry.
    #[serde(flatten)]
    #[schema(value_type = ProgramSettings)]
    settings: Settings,
    /// Changes so far; also its `ETag`.
    version: i64,
}

/// A program's settings, as they are kept.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the domain's type for OpenAPI")]
pub(super) struct ProgramSettings {
    /// Currency of its sales: an ISO 4217 code.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// IANA zone in which days, months and years end.
    zone: String,
    /// When a lot lapses whose issue does not say.
    expiry: ExpiryPolicy,
    /// What points pay; absent: nothing can be paid with points.
    points_rate: Option<PointsWorth>,
}

/// So many points pay so many minor units of the program's currency.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the domain's type for OpenAPI")]
pub(super) struct PointsWorth {
    /// So many points
    points: i64,
    /// pay so many minor units.
    amount: i64,
}

/// The settings of the caller's program; the defaults where it was never configured.
#[utoipa::path(get, path = "/v1/program", tag = "program", operation_id = "get_program",
    params(AsOf, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = ProgramView, headers(("ETag" = String, description = "The program's version"))),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::log(&views, query.min_position).await?;
    let found = views.load::<program::Program>(&mut conn, &program, program.as_str()).await?;
    let (state, version) = found.unwrap_or_default();
    let program = program.as_str().to_owned();
    Ok(versioned(version, &ProgramView { program, settings: state.settings, version }))
}
