//! The contract: OpenAPI, and a page that shows it and loads nothing from elsewhere.

use accrue_http::problem::MEDIA_TYPE;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
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
pub(crate) fn openapi() -> OpenApi {
    let own = Own::openapi();
    let (info, servers) = (own.info.clone(), own.servers.clone());
    let mut all = accrue_command_api::openapi();
    all.merge(accrue_projections::api::openapi());
    all.merge(own);
    all.info = info;
    all.servers = servers;
    guarded(&mut all);
    all
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
    let text = Bytes::from(openapi().to_pretty_json().unwrap_or_default());
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
