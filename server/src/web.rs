//! The HTTP surface: what the services give, and what every request has around it.

mod docs;
mod guard;
mod listen;
mod metrics;

use std::any::Any;
use std::sync::Arc;

use accrue_http::extract::BODY_BYTES_MAX;
use accrue_http::fallback;
use accrue_http::problem::Problem;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tower_http::catch_panic::CatchPanicLayer;

use crate::health::{self, Health};

pub(crate) use docs::openapi;
pub(crate) use listen::serve;

/// Everything under one roof; `api` is what the services answer.
pub(crate) fn router(api: Router, health: Health, registry: Registry) -> Router {
    let own = Router::new()
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(health)
        .merge(metrics::router(Arc::new(registry)))
        .merge(docs::router());
    api.merge(own)
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(panicked))
}

/// A defect: logged by the panic hook with its place, and the client may try again.
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
    Problem::fault(&format!("panic: {}", text.unwrap_or_default())).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::http::header;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_as_a_fault_and_says_nothing_of_its_cause() {
        async fn broken() -> &'static str {
            panic!("a secret")
        }
        let router = Router::new().route("/", get(broken));
        let router = router.layer(CatchPanicLayer::custom(panicked));
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("/problems/fault") && !text.contains("secret"), "{text}");
    }
}
