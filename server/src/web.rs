//! The HTTP surface: what the services give, and what every request has around it.

mod docs;
mod guard;
mod idle;
mod listen;
mod metrics;
mod webhooks;

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use accrue_event_store::trace;
use accrue_event_store::trace::span::{self, Span};
use accrue_http::fallback;
use accrue_http::problem::Problem;
use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tower::{Service, ServiceExt as _};

use crate::health::{self, Health};

pub(crate) use docs::openapi;
pub(crate) use guard::Reach;
pub(crate) use listen::serve;
pub(crate) use webhooks::Webhooks;

/// What a process answers that has roles but not that of the API: how it is doing, and webhooks
/// where it has the sagas.
pub(crate) fn operations(health: Health, webhooks: Option<Webhooks>, registry: Registry) -> Router {
    let router = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(health)
        .merge(metrics::router(Arc::new(registry)));
    match webhooks {
        Some(webhooks) => router.merge(webhooks::router(webhooks)),
        None => router,
    }
}

/// What the services answer, with its contract and page.
pub(crate) fn api(services: Router) -> Router {
    services.route("/", get(|| async { Redirect::temporary("/docs/") })).merge(docs::router())
}

/// Everything under one roof.
pub(crate) fn router(parts: Router) -> Router {
    parts.fallback(fallback::not_found).method_not_allowed_fallback(fallback::method_not_allowed)
}

/// How long a read may take until its answer begins. A database server that has vanished never
/// answers.
const READ_MAX: Duration = Duration::from_secs(15);

/// Answers a request. A connection keeps the future of its request within its own, so it is small
/// there: behind a pointer, made once where it stays.
pub(crate) fn answer(router: Router, request: Request) -> BoxFuture<'static, Response> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = surrounded(router, request);
    if !is_read {
        return answer;
    }
    let answer = tokio::time::timeout(READ_MAX, answer);
    let late = |_| {
        let detail = "the database does not answer in time";
        Problem::unavailable("database-unavailable", detail).into_response()
    };
    answer.map(move |answer| answer.unwrap_or_else(late)).boxed()
}

/// What surrounds every request is here and not in layers of the router: those
/// cost an allocation or two each, and this is on the way of every command.
fn surrounded(router: Router, request: Request) -> BoxFuture<'static, Response> {
    let context = request.headers().get(trace::TRACEPARENT).and_then(|it| it.to_str().ok());
    let context = context.and_then(trace::parse);
    if span::is_collected() && request.uri().path().starts_with("/v1/") {
        return caught(traced(router, request, context));
    }
    let answer = trace::within(context, router.oneshot(request));
    caught(answer.map(|answer| answer.unwrap_or_else(never)))
}

/// An answer, also where its making panics.
fn caught(answer: impl Future<Output = Response> + Send + 'static) -> BoxFuture<'static, Response> {
    let answer = AssertUnwindSafe(answer).catch_unwind();
    answer.map(|answer| answer.unwrap_or_else(|cause| panicked(cause.as_ref()))).boxed()
}

/// As a span of the request's own, under the caller's.
async fn traced(
    service: impl Service<Request, Response = Response, Error = Infallible>,
    request: Request,
    parent: Option<Arc<str>>,
) -> Response {
    let mut span = Span::server(request.method().as_str().to_owned(), parent);
    span.note("http.request.method", request.method().as_str().to_owned());
    span.note("url.path", request.uri().path().to_owned());
    let answer = trace::within(span.context(), service.oneshot(request)).await;
    let answer = answer.unwrap_or_else(never);
    span.note("http.response.status_code", i64::from(answer.status().as_u16()));
    if answer.status().is_server_error() {
        span.failed("the request was not served");
    }
    answer
}

fn never(never: Infallible) -> Response {
    match never {}
}

/// A defect: logged by the panic hook with its place, and the client may try again.
fn panicked(cause: &(dyn Any + Send)) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
    Problem::fault(&format!("panic: {}", text.unwrap_or_default())).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::header;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_as_a_fault_and_says_nothing_of_its_cause() {
        async fn broken() -> &'static str {
            panic!("a secret")
        }
        let router = Router::new().route("/", get(broken));
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let response = answer(router, request).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("/problems/fault") && !text.contains("secret"), "{text}");
    }
}
