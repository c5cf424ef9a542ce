//! Rules and their judgement in the description of the API: names for what the campaign engine
//! describes by JSON Schemas of its own. The server puts those in place of these, by their names.

use utoipa::ToSchema;

/// The rules of a campaign.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "names a schema")]
pub struct CampaignRules(Vec<serde_json::Value>);

/// What rules make of a document.
#[derive(Debug, ToSchema)]
pub struct RulesOutcome {}

/// Why they do.
#[derive(Debug, ToSchema)]
pub struct RulesExplanation {}
