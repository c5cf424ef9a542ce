//! What answers where no resource does.

use axum::http::{Method, StatusCode, Uri};

use crate::problem::Problem;

/// Longest path that is repeated in an answer, in characters.
const PATH_CHARS_MAX: usize = 200;

/// For a path that is none of ours; the server's `Router::fallback`.
pub async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(PATH_CHARS_MAX).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-path",
        "There is no such path",
        format!("nothing answers at {path:?}; /v1/openapi.json lists every path"),
    )
}

/// For a method that the path does not take; the server's `Router::method_not_allowed_fallback`.
/// The `Allow` header names those that it does.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(PATH_CHARS_MAX).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The path does not take this method",
        format!("{path:?} does not take {method}; the Allow header names what it takes"),
    )
}
