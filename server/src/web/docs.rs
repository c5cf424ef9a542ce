//! The contract: OpenAPI, and a page that shows it and loads nothing from elsewhere.

use accrue_campaign_engine::explanation::Explanation;
use accrue_campaign_engine::format::RuleDocument;
use accrue_campaign_engine::rules::Outcome;
use accrue_http::problem::MEDIA_TYPE;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use utoipa::OpenApi as _;
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

const OPENAPI: &str = "/v1/openapi.json";

/// The page's own scripts and styles only, whatever a later version of it would like to load.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
                      script-src 'self' 'unsafe-inline'; img-src 'self' data:";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Accrue",
        description = "An event-sourced loyalty ledger: commands in, one durable log, points with \
                       expiry out.\n\nEvery write takes an `Idempotency-Key` and answers with the \
                       `position` of its events in the log; reads take `?min_position=` and wait \
                       until they have it. Errors are RFC 9457 problems with a stable `type`. \
                       `Accrue-Program` names the program, `default` where it is absent.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "accounts", description = "What members have, and how it came about"),
        (name = "events", description = "The log"),
        (name = "purchases", description = "Orders, how they are paid, and what that brought in"),
        (name = "sagas", description = "What is on its way, waits, or is for people to see"),
        (name = "operations", description = "Health and figures")
    ),
    paths(
        crate::health::live,
        crate::health::ready,
        super::metrics::metrics,
        super::webhooks::payments
    ),
    components(schemas(crate::health::Readiness))
)]
struct Own;

/// The contract of the whole server.
pub(crate) fn openapi() -> serde_json::Result<Value> {
    let own = Own::openapi();
    let (info, servers) = (own.info.clone(), own.servers.clone());
    let mut all = accrue_command_api::openapi();
    all.merge(accrue_projections::api::openapi());
    all.merge(own);
    all.info = info;
    all.servers = servers;
    guarded(&mut all);
    let mut all = serde_json::to_value(all)?;
    if let Some(schemas) = all.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.extend(of_the_engine());
    }
    Ok(all)
}

/// The schemas of rules and their judgement, in place of those of `accrue_http::rules` that only
/// have their names: the engine knows no OpenAPI, whose schemas are JSON Schemas by version 3.1.
fn of_the_engine() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with(|it| it.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    generator.subschema_for::<RuleDocument>();
    generator.subschema_for::<Outcome>();
    generator.subschema_for::<Explanation>();
    generator.take_definitions(true)
}

/// Every operation may be refused by [`super::guard`] before it is one.
fn guarded(all: &mut OpenApi) {
    const NAME: &str = "NotThisMachine";
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let refused = ResponseBuilder::new()
        .description(
            "The request names a host that this server does not serve, or comes from a page of \
             another origin",
        )
        .content(MEDIA_TYPE, problem)
        .build();
    all.components.get_or_insert_default().responses.insert(NAME.to_owned(), refused.into());
    for path in all.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, patch, head, options, trace, .. } = path;
        let operations = [get, put, post, delete, patch, head, options, trace];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses
                .entry("403".to_owned())
                .or_insert_with(|| Ref::from_response_name(NAME).into());
        }
    }
}

pub(super) fn router() -> Router {
    let text = openapi().map(|it| format!("{it:#}")).unwrap_or_default();
    let text = Bytes::from(text);
    let config = Config::from(OPENAPI).validator_url("none").try_it_out_enabled(true);
    let page = Router::from(SwaggerUi::new("/docs").config(config));
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Router::new()
        .merge(page.layer(middleware::from_fn(confined)))
        .route(OPENAPI, get(move || async move { (json, text) }))
}

async fn confined(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_describes_stands_where_its_names_do_and_every_reference_leads_somewhere() {
        let api = openapi().unwrap();
        let schemas = &api["components"]["schemas"];
        let mut before = accrue_command_api::openapi();
        before.merge(accrue_projections::api::openapi());
        let before = before.components.unwrap().schemas;
        for name in of_the_engine().keys() {
            let is_name =
                ["CampaignRules", "RulesOutcome", "RulesExplanation"].contains(&name.as_str());
            assert_eq!(before.contains_key(name), is_name, "{name} stands for something else");
        }
        assert_eq!(schemas["CampaignRules"]["items"]["$ref"], "#/components/schemas/Rule");
        let text = api.to_string();
        for reference in text.split("\"$ref\":\"").skip(1) {
            let pointer = reference.split('"').next().unwrap().trim_start_matches('#');
            assert!(api.pointer(pointer).is_some(), "{pointer} is not described");
        }
    }
}
