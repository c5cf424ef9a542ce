//! Takings: what was taken and given back, day by day.

use accrue_http::extract::{Program, Query};
use accrue_http::page::{Page, key, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::{Json, Router, routing};
use chrono::NaiveDate;
use serde::Deserialize;
use utoipa::IntoParams;

use super::reading;
use crate::live::Views;
use crate::models::takings::{self, Cursor, Range, TakingsView, is_known};

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/takings", routing::get(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The first day, such as `2026-03-01`.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The last day; it is included.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// What completed purchases took and their refunds gave back, by day, currency and way of paying.
/// Days are those of UTC: of a purchase's business time, and of a refund's recording.
#[utoipa::path(get, path = "/v1/takings", tag = "purchases", operation_id = "list_takings",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<TakingsView>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<TakingsView>>, Problem> {
    let limit = limit(query.limit)?;
    let range = Range { from: day("from", query.from)?, to: day("to", query.to)? };
    if range.from.zip(range.to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid("to", "expected a day that is not before `from`"));
    }
    let after = query.cursor.as_deref().map(place).transpose()?;
    let mut conn = reading::model(&views, &views.takings, query.min_position).await?;
    let program = program.as_str();
    let items = takings::page(&mut conn, program, range, after.as_ref(), limit + 1).await?;
    Ok(Json(Page::of(items, limit, |last| Cursor::behind(last).text())))
}

fn day(field: &'static str, day: Option<String>) -> Result<Option<NaiveDate>, Problem> {
    let Some(text) = day else { return Ok(None) };
    match text.parse::<NaiveDate>() {
        Ok(day) if is_known(&day) => Ok(Some(day)),
        _ => {
            let shown: String = text.chars().take(40).collect();
            let detail =
                format!("expected a day of the years 0 to 9999 such as 2026-03-01, got {shown:?}");
            Err(Problem::invalid(field, detail))
        }
    }
}

fn place(cursor: &str) -> Result<Cursor, Problem> {
    Cursor::parse(&key(cursor)?)
        .ok_or_else(|| Problem::invalid("cursor", "expected the `next` of an earlier page"))
}
