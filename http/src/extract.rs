//! Extractors that answer with a problem: bodies, paths, queries, and the headers of every call.

use std::error::Error as _;
use std::fmt::Display;
use std::str::FromStr;

use accrue_domain::id::{CommandId, ProgramId};
use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;
use serde::de::{Deserialize, DeserializeOwned};

use crate::header::{self, Header};
use crate::object::Object;
use crate::problem::Problem;

/// Largest body of a single command, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The program that a request speaks for: `Accrue-Program`, else `default`.
#[derive(Debug, Clone)]
pub struct Program(pub ProgramId);

/// The client's `Idempotency-Key`, if it sent one.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(pub Option<CommandId>);

/// A JSON body, unknown fields refused by its type, errors with a pointer.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

/// As [`Json`], but no body at all is the same as `{}`.
#[derive(Debug, Clone)]
pub struct JsonOrEmpty<T>(pub T);

/// The body as it came, of any media type.
#[derive(Debug, Clone)]
pub struct Raw(pub Bytes);

/// Path parameters.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

/// Query parameters.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

/// A header as text; a problem when it is no ASCII, or there twice.
///
/// # Errors
/// A problem that names the header.
pub fn header_text<'a>(
    headers: &'a HeaderMap,
    header: &Header,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(&header.name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(header.shown, "expected the header once"));
    }
    let wrong = |_| Problem::invalid(header.shown, "expected visible ASCII");
    let text = value.to_str().map_err(wrong)?;
    Ok(Some(text.trim()))
}

/// A header as a value of its own type, none where it is absent.
///
/// # Errors
/// A problem that names the header.
pub fn header_value<T: FromStr<Err: Display>>(
    headers: &HeaderMap,
    header: &Header,
) -> Result<Option<T>, Problem> {
    let Some(text) = header_text(headers, header)? else { return Ok(None) };
    // The IETF draft writes keys as structured-field strings, in quotes; most clients do not.
    let text = text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(text);
    let wrong = |error: T::Err| Problem::invalid(header.shown, error.to_string());
    text.parse().map(Some).map_err(wrong)
}

impl<S: Sync> FromRequestParts<S> for Program {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(header_value(&parts.headers, &header::PROGRAM)?.unwrap_or_default()))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(header_value(&parts.headers, &header::IDEMPOTENCY_KEY)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let bytes = body(request).await?;
        from_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonOrEmpty<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let media_type = check_media_type(request.headers());
        let bytes = body(request).await?;
        if bytes.is_empty() {
            return from_json(b"{}").map(Self);
        }
        media_type?;
        from_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body(request).await.map(Self)
    }
}

/// Bodies are read as they come.
///
/// # Errors
/// 415 for one that is compressed.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match header_text(headers, &header::CONTENT_ENCODING)? {
        Some(encoding) if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") => {
            let detail = format!("expected a body that is not compressed, got {encoding:?}");
            let title = "The body is compressed";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Problem::new(status, "unsupported-encoding", title, detail.clone())
                .at(header::CONTENT_ENCODING.shown, detail))
        }
        _ => Ok(()),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    check_encoding(headers)?;
    // A body without a type is taken as JSON: there is nothing else it could be.
    let Some(text) = header_text(headers, &header::CONTENT_TYPE)? else { return Ok(()) };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    // JSON is UTF-8 (RFC 8259); a charset that says so is common, another one is not read.
    let charset = parts.filter_map(|it| it.split_once('=')).find_map(|(name, value)| {
        name.trim_end().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let detail = match charset {
        _ if !is_json => format!("expected application/json, got {essence:?}"),
        Some(other) if !other.eq_ignore_ascii_case("utf-8") => {
            format!("expected UTF-8, got the charset {other:?}")
        }
        _ => return Ok(()),
    };
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body has another media type",
        detail.clone(),
    )
    .at(header::CONTENT_TYPE.shown, detail))
}

/// The whole body, as far as one may be long. Read here and not by axum's extractor, whose limit is
/// a layer around every request.
async fn body(request: Request) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|error| {
        if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large",
                format!("expected a body of at most {BODY_BYTES_MAX} bytes"),
            );
        }
        Problem::new(
            StatusCode::BAD_REQUEST,
            "incomplete-body",
            "The body did not arrive",
            "the connection ended before the body did",
        )
    })
}

/// Reads a JSON object into a type; errors carry a pointer to the field.
///
/// # Errors
/// 400 for what is no JSON, 422 for JSON of another shape.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Keeping track of the path costs an allocation a key, so it is done for errors alone.
    match serde_json::from_slice::<Object<T>>(bytes) {
        Ok(Object(value)) => Ok(value),
        Err(error) => Err(json_problem::<Object<T>>(bytes, &error)),
    }
}

/// What is wrong with a text that could not be read as a `T`: reads it again and keeps track of
/// where it is.
#[must_use]
pub fn json_problem<'a, T: Deserialize<'a>>(bytes: &'a [u8], error: &serde_json::Error) -> Problem {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return malformed("expected a JSON object, got an empty body");
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => malformed(&error.to_string()),
        Err(error) => shape(&error),
    }
}

fn malformed(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", "The body is not JSON", detail)
}

fn shape(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    let text = inner.to_string();
    // Well-formed by the grammar of JSON, but beyond what any field can hold.
    let beyond = text.starts_with("number out of range");
    if !beyond && (inner.is_syntax() || inner.is_eof() || inner.is_io()) {
        return malformed(&text);
    }
    // The position speaks of bytes in the body; the pointer says it better.
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    let pointer = pointer(error.path(), detail);
    if pointer.is_empty() {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request is not valid",
            detail,
        )
        .at(pointer, detail);
    }
    Problem::invalid(pointer, detail)
}

/// The path of an error as a JSON pointer. For a missing or repeated field it is that field's.
#[must_use]
pub fn pointer(path: &serde_path_to_error::Path, detail: &str) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&escape(key)),
            Segment::Enum { variant } => pointer.push_str(&escape(variant)),
            Segment::Unknown => pointer.push('?'),
        }
    }
    let named = ["missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|prefix| detail.strip_prefix(prefix)?.split('`').next());
    if let Some(field) = named {
        pointer.push('/');
        pointer.push_str(&escape(field));
    }
    pointer
}

/// Escapes a key for a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(in_path(&error, parts, state).await),
        }
    }
}

async fn in_path(error: &PathRejection, parts: &mut Parts, state: &(impl Send + Sync)) -> Problem {
    use axum::extract::path::ErrorKind;
    let PathRejection::FailedToDeserializePathParams(failed) = error else {
        return Problem::fault(error);
    };
    match failed.kind() {
        ErrorKind::InvalidUtf8InPathParam { key } => {
            Problem::invalid(key.clone(), "expected percent-encoded UTF-8")
        }
        ErrorKind::ParseErrorAtKey { key, .. } => Problem::invalid(key.clone(), failed.body_text()),
        ErrorKind::DeserializeError { key, message, .. } => {
            Problem::invalid(key.clone(), message.clone())
        }
        kind => {
            // A value that is made from a `String` fails without a name. Only one that stands alone
            // in its path is.
            let params = RawPathParams::from_request_parts(parts, state).await.ok();
            let name = params.as_ref().and_then(|params| params.iter().next());
            Problem::invalid(name.map_or("path", |(name, _)| name), kind.to_string())
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|error| in_query(&error))
    }
}

fn in_query(error: &QueryRejection) -> Problem {
    let text = error.body_text();
    let detail = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(text.as_str())
        .to_owned();
    // "limit: invalid digit …": serde_path_to_error puts the parameter's name first.
    match detail.split_once(": ") {
        Some((name, rest)) if !name.contains(' ') => Problem::invalid(name, expected(rest)),
        _ => Problem::invalid("query", detail),
    }
}

/// What was expected where the standard library only says what it did not like of a number.
fn expected(detail: &str) -> &str {
    let of_a_number = [
        "invalid digit found in string",
        "cannot parse integer from empty string",
        "number too large to fit in target type",
        "number too small to fit in target type",
    ];
    if of_a_number.contains(&detail) { "expected a whole number" } else { detail }
}
