//! Campaigns: their rules and their status. Rules are compiled before they are saved, so no saved
//! rule is one that the engine cannot read.

use accrue_campaign_engine::explanation::Explanation;
use accrue_campaign_engine::rules::{Outcome, Rules};
use accrue_domain::action::Action;
use accrue_domain::campaign;
use accrue_domain::id::CampaignId;
use accrue_event_store::ledger::Ledger;
use accrue_http::extract::{Json, JsonOrEmpty, Path, Query};
use accrue_http::problem::{FieldError, Problem};
use accrue_http::receipt::ReceiptView;
use accrue_http::rules::{CampaignRules, RulesExplanation, RulesOutcome};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::call::{self, Call, IfMatchHeader, Options, Problems, WriteHeaders};
use crate::command::Command;
use crate::prefer::ReturnHeader;
use crate::target::{Nothing, OfCampaign};
use crate::{field, strict};

/// The one path below `/v1/campaigns` that names no campaign.
const EVALUATE: &str = "evaluate";

/// A campaign to create.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "tenth", "name": "A tenth of big baskets", "activate": true,
    "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"}
    }]
}))]
pub(crate) struct CreateCampaign {
    /// The campaign's id. In an envelope: `campaign`.
    #[schema(value_type = String, max_length = 100)]
    id: CampaignId,
    /// For people.
    #[serde(deserialize_with = "field::line")]
    #[schema(max_length = 200)]
    name: String,
    /// The rules.
    #[serde(deserialize_with = "strict::value")]
    #[schema(value_type = CampaignRules)]
    rules: Value,
    /// Activate it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activate: Option<bool>,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

impl Command for CreateCampaign {
    const TYPE: &'static str = "create_campaign";
    const STATUS: StatusCode = StatusCode::CREATED;
    const ID_IN_ENVELOPE: Option<&'static str> = Some("campaign");
    type Target = Nothing;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, _: Nothing) -> Result<Vec<Action>, Problem> {
        compile(&self.rules)?;
        if self.id.as_str() == EVALUATE {
            let detail = format!("expected an id that is no path of its own, as {EVALUATE} is");
            return Err(Problem::invalid("/id", detail));
        }
        let Self { id, name, rules, activate, occurred_at: _ } = self;
        let activate = activate.unwrap_or(false);
        Ok(vec![Action::Campaign(id, campaign::Command::Create { name, rules, activate })])
    }
}

/// Other rules for a campaign.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than_equals", "value": 50},
        "action": {"command": "issue", "formula": "floor($.amount)"}
    }]
}))]
pub(crate) struct ReplaceRules {
    /// The rules.
    #[serde(deserialize_with = "strict::value")]
    #[schema(value_type = CampaignRules)]
    rules: Value,
    /// Business time; now where absent.
    #[serde(
        default,
        deserialize_with = "field::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    occurred_at: Option<DateTime<Utc>>,
}

impl Command for ReplaceRules {
    const TYPE: &'static str = "replace_rules";
    type Target = OfCampaign;

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        self.occurred_at
    }

    fn actions(self, OfCampaign { campaign }: OfCampaign) -> Result<Vec<Action>, Problem> {
        compile(&self.rules)?;
        let command = campaign::Command::ReplaceRules { rules: self.rules };
        Ok(vec![Action::Campaign(campaign, command)])
    }
}

fn compile(rules: &Value) -> Result<Rules, Problem> {
    Rules::compile(rules).map_err(|errors| {
        let errors = errors.into_iter().map(|error| FieldError {
            pointer: format!("/rules{}", error.pointer),
            detail: error.message,
            column: error.column,
        });
        call::invalid_fields("invalid-rules", "The rules cannot be compiled", errors.collect())
    })
}

macro_rules! status_command {
    ($(#[$doc:meta])* $name:ident, $type:literal, $command:ident) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Business time; now where absent.
            #[serde(
                default,
                deserialize_with = "field::optional_instant",
                skip_serializing_if = "Option::is_none"
            )]
            occurred_at: Option<DateTime<Utc>>,
        }

        impl Command for $name {
            const TYPE: &'static str = $type;
            type Target = OfCampaign;

            fn occurred_at(&self) -> Option<DateTime<Utc>> {
                self.occurred_at
            }

            fn actions(self, OfCampaign { campaign }: OfCampaign) -> Result<Vec<Action>, Problem> {
                Ok(vec![Action::Campaign(campaign, campaign::Command::$command)])
            }
        }
    };
}

status_command!(
    /// A campaign to activate.
    ActivateCampaign, "activate_campaign", Activate
);
status_command!(
    /// A campaign to pause.
    PauseCampaign, "pause_campaign", Pause
);
status_command!(
    /// A campaign to retire.
    RetireCampaign, "retire_campaign", Retire
);

/// Rules to try out on a document.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "rules": [{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 100},
        "action": {"command": "issue", "formula": "$.amount/10"}
    }],
    "document": {"amount": 139.12}
}))]
pub(crate) struct Evaluate {
    /// The rules.
    #[serde(deserialize_with = "strict::value")]
    #[schema(value_type = CampaignRules)]
    rules: Value,
    /// What they judge; money in major units.
    #[serde(deserialize_with = "strict::value")]
    #[schema(value_type = Object)]
    document: Value,
}

/// The query of what is tried out: it has none, and what is meant for a write is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoOptions {}

/// What rules make of a document, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Evaluation {
    /// The awards, the skipped rules with their reasons.
    #[serde(flatten)]
    #[schema(value_type = RulesOutcome)]
    outcome: Outcome,
    /// All awards together.
    points: i64,
    /// Rule by rule: what was found, which condition held, what the formula gave.
    #[serde(flatten)]
    #[schema(value_type = RulesExplanation)]
    explanation: Explanation,
}

/// Create a campaign.
///
/// As a draft, or active at once. The rules are compiled first; every error is reported.
#[utoipa::path(
    post, path = "/v1/campaigns", tag = "campaigns", operation_id = "create_campaign",
    params(Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = CreateCampaign,
    responses(
        (status = 201, description = "Created: version 1 of its rules", body = ReceiptView),
        (status = 409, description = "The id names another campaign",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    call: Call,
    Json(body): Json<CreateCampaign>,
) -> Result<Response, Problem> {
    call.execute(&ledger, Nothing, body).await
}

/// Replace the rules of a campaign: a new version, unless they are the ones that it has.
#[utoipa::path(
    put, path = "/v1/campaigns/{campaign}/rules", tag = "campaigns",
    operation_id = "replace_rules",
    params(OfCampaign, Options, WriteHeaders, ReturnHeader, IfMatchHeader), request_body = ReplaceRules,
    responses(
        (status = 200, description = "Replaced", body = ReceiptView),
        (status = 404, description = "There is no such campaign",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The campaign is retired",
         body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else has changed it",
         body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing",
         body = Problem, content_type = "application/problem+json"),
        Problems,
    ),
)]
pub(crate) async fn replace_rules(
    State(ledger): State<Ledger>,
    call: Call,
    Path(path): Path<OfCampaign>,
    Json(body): Json<ReplaceRules>,
) -> Result<Response, Problem> {
    call.with_if_match()?.execute(&ledger, path, body).await
}

macro_rules! status_handler {
    ($(#[$doc:meta])* $name:ident, $body:ident, $path:literal, $operation:literal) => {
        $(#[$doc])*
        #[utoipa::path(
            post, path = $path, tag = "campaigns", operation_id = $operation,
            params(OfCampaign, Options, WriteHeaders, ReturnHeader, IfMatchHeader),
            request_body = Option<$body>,
            responses(
                (status = 200, description = "Done, or so already", body = ReceiptView),
                (status = 404, description = "There is no such campaign",
                 body = Problem, content_type = "application/problem+json"),
                (status = 409, description = "Its status does not allow it",
                 body = Problem, content_type = "application/problem+json"),
                (status = 412, description = "Somebody else has changed it",
                 body = Problem, content_type = "application/problem+json"),
                Problems,
            ),
        )]
        pub(crate) async fn $name(
            State(ledger): State<Ledger>,
            call: Call,
            Path(path): Path<OfCampaign>,
            JsonOrEmpty(body): JsonOrEmpty<$body>,
        ) -> Result<Response, Problem> {
            call.execute(&ledger, path, body).await
        }
    };
}

status_handler!(
    /// Let a campaign judge every event from here on.
    activate, ActivateCampaign, "/v1/campaigns/{campaign}/activate", "activate_campaign"
);
status_handler!(
    /// Stop a campaign for now.
    pause, PauseCampaign, "/v1/campaigns/{campaign}/pause", "pause_campaign"
);
status_handler!(
    /// End a campaign for good.
    retire, RetireCampaign, "/v1/campaigns/{campaign}/retire", "retire_campaign"
);

/// Try rules out on a document. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/campaigns/evaluate", tag = "campaigns", operation_id = "evaluate_rules",
    request_body = Evaluate,
    responses(
        (status = 200, description = "The awards, and why", body = Evaluation),
        Problems,
    ),
)]
pub(crate) async fn evaluate(
    Query(NoOptions {}): Query<NoOptions>,
    Json(Evaluate { rules, document }): Json<Evaluate>,
) -> Result<axum::Json<Evaluation>, Problem> {
    let rules = compile(&rules)?;
    let outcome = rules.evaluate(&document);
    let points = outcome.awards.iter().map(|award| award.points).sum();
    let explanation = rules.explain(&document);
    Ok(axum::Json(Evaluation { outcome, points, explanation }))
}
