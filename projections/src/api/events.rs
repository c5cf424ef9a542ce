//! Events: the log as its clients see it, page by page or as a stream of lines.

use accrue_domain::aggregate::Kind;
use accrue_domain::id::AccountId;
use accrue_event_store::log_query::{self, Filter};
use accrue_event_store::stream::StreamKey;
use accrue_http::extract::{Program, Query, header_text};
use accrue_http::header::ACCEPT;
use accrue_http::page;
use accrue_http::problem::Problem;
use accrue_http::receipt::{EventView, write_read};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use serde::Deserialize;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use utoipa::{IntoParams, ToSchema};

use super::{reading, shared};
use crate::live::Views;

mod stream;

/// Media type of a stream of lines.
const NDJSON: &str = "application/x-ndjson";

/// Longest name of an event.
const TYPE_BYTES_MAX: usize = 100;

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/events", routing::get(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only events behind this position; from the first where absent.
    after: Option<i64>,
    /// Only events of this name, as they were written.
    r#type: Option<String>,
    /// Only events of this account.
    #[param(value_type = Option<String>)]
    account: Option<AccountId>,
    /// Most events, as they were written: 1 to 500, 100 where absent; in a stream of lines any number, all where absent.
    limit: Option<i64>,
    /// Only in a stream of lines: stay, and go on with what happens.
    follow: Option<bool>,
    /// Wait until the log has this position.
    min_position: Option<i64>,
}

/// A page of events.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes an answer that is written as text")]
pub(super) struct EventPage {
    /// The events, in order. There may be none, and more behind them.
    items: Vec<EventView>,
    /// What the next page takes as `after`; absent at the end of the log.
    next: Option<i64>,
}

/// What happened in the caller's program, in the order of the log. With `Accept:
/// application/x-ndjson` one event a line.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, content((EventPage = "application/json"), (EventView = "application/x-ndjson"))),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = query.after.unwrap_or(0);
    if after < 0 {
        return Err(Problem::invalid("after", "expected a position, 0 or more"));
    }
    // Postgres takes no text with a NUL in it.
    let is_name = |name: &str| (1..=TYPE_BYTES_MAX).contains(&name.len()) && !name.contains('\0');
    if query.r#type.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(Problem::invalid("type", "expected the name of an event"));
    }
    let lines = header_text(&headers, &ACCEPT)?.is_some_and(prefers_lines);
    let follow = query.follow.unwrap_or(false);
    let filter = Filter {
        event_type: query.r#type,
        stream: query.account.map(|id| StreamKey::new(Kind::Account, &program, id.as_str())),
        program: shared(&program),
    };
    if lines {
        if query.limit.is_some_and(|limit| limit < 1) {
            return Err(Problem::invalid("limit", "expected a whole number from 1"));
        }
        if follow && views.streams.is_cancelled() {
            return Err(Problem::unavailable("shutting-down", "the server is shutting down"));
        }
        reading::for_log(&views, query.min_position).await?;
        let as_of = query.min_position;
        let lines = stream::lines(views, filter, (after, as_of), query.limit, follow);
        return Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response());
    }
    if follow {
        let detail = format!("only a stream of lines can be followed: Accept: {NDJSON}");
        return Err(Problem::invalid("follow", detail));
    }
    let limit = page::limit(query.limit)?;
    let conn = reading::log(&views, query.min_position).await?;
    one_page(&views, conn, &filter, after, limit).await
}

/// Would whoever accepts that rather have lines than a page?
fn prefers_lines(accept: &str) -> bool {
    let quality = |media_type: &str| {
        let mut ranges = accept.split(',').map(|range| range.split(';').map(str::trim));
        let mut said = ranges.find_map(|mut range| {
            range.next().is_some_and(|it| it.eq_ignore_ascii_case(media_type)).then_some(range)
        })?;
        let quality = said.find_map(|it| it.strip_prefix("q=").or_else(|| it.strip_prefix("Q=")));
        Some(quality.and_then(|it| it.parse::<f32>().ok()).unwrap_or(1.0))
    };
    let page = quality("application/json").or_else(|| quality("application/*"));
    let page = page.or_else(|| quality("*/*")).unwrap_or(0.0);
    quality(NDJSON).is_some_and(|lines| lines > 0.0 && lines >= page)
}

async fn one_page(
    views: &Views,
    mut conn: PoolConnection<Postgres>,
    filter: &Filter,
    after: i64,
    limit: i64,
) -> Result<Response, Problem> {
    let page = log_query::page(&mut conn, views.ledger.codec(), filter, after, limit).await?;
    drop(conn);
    let mut body = String::with_capacity(32 + page.events.len() * 400);
    body.push_str("{\"items\":[");
    for event in &page.events {
        write_read(&mut body, event, ',');
    }
    if body.ends_with(',') {
        body.pop();
    }
    body.push(']');
    if page.more {
        body.push_str(&format!(",\"next\":{}", page.until));
    }
    body.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_who_would_rather_have_them() {
        for accept in [
            "application/x-ndjson",
            "Application/X-NDJSON; charset=utf-8",
            "application/x-ndjson, */*",
            "application/json;q=0.5, application/x-ndjson",
            "application/json, application/x-ndjson",
        ] {
            assert!(prefers_lines(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/x-ndjson;q=0",
            "application/json, application/x-ndjson;q=0.1",
            "application/x-ndjson;Q=0.1, */*",
            "text/html, application/x-ndjson-not",
        ] {
            assert!(!prefers_lines(accept), "{accept}");
        }
    }
}
