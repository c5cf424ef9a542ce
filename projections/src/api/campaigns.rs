//! Campaigns: their rules, what they gave, and what they could not judge.

use accrue_domain::id::CampaignId;
use accrue_http::extract::{Path, Program, Query};
use accrue_http::page::{Page, key, limit};
use accrue_http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::{Json, Router, routing};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{AsOf, reading, versioned};
use crate::live::Views;
use crate::models::campaigns::{self, CampaignView, Summary};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/v1/campaigns", routing::get(list))
        .route("/v1/campaigns/{campaign}", routing::get(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Most items, 1 to 500; 100 where absent.
    limit: Option<i64>,
    /// Wait until the answer contains this position of the log.
    min_position: Option<i64>,
}

/// Campaigns in the order of their ids.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", operation_id = "list_campaigns",
    params(ListQuery, ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = Page<Summary>),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(views): State<Views>,
    Program(program): Program,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Summary>>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(key).transpose()?.unwrap_or_default();
    let mut conn = reading::model(&views, &views.campaigns, query.min_position).await?;
    let items = campaigns::page(&mut conn, program.as_str(), &after, limit + 1).await?;
    Ok(Json(Page::of(items, limit, |last| last.campaign.clone())))
}

/// A campaign. Its `ETag` is what `If-Match` of a change takes.
#[utoipa::path(get, path = "/v1/campaigns/{campaign}", tag = "campaigns", operation_id = "get_campaign",
    params(("campaign" = String, Path, description = "The campaign"), AsOf,
           ("Accrue-Program" = Option<String>, Header, description = "The program; `default` where absent")),
    responses((status = 200, body = CampaignView, headers(("ETag" = String, description = "The campaign's version in the log"))),
              (status = 404, body = Problem, content_type = "application/problem+json"),
              (status = 422, body = Problem, content_type = "application/problem+json"),
              (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(views): State<Views>,
    Program(program): Program,
    Path(id): Path<CampaignId>,
    Query(query): Query<AsOf>,
) -> Result<Response, Problem> {
    let mut conn = reading::model(&views, &views.campaigns, query.min_position).await?;
    let campaign = campaigns::by_id(&mut conn, program.as_str(), id.as_str()).await?;
    let campaign = campaign.ok_or_else(|| Problem::not_found("campaign", id.as_str()))?;
    Ok(versioned(campaign.stream_version(), &campaign))
}
