//! `Prefer` (RFC 7240): what a client would rather have. A preference that is not known here, or
//! whose value is not, is ignored, as the standard has it.

use accrue_http::receipt::Shown;
use axum::http::{HeaderMap, HeaderName};
use utoipa::IntoParams;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The header of writes that are answered with a receipt, for OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header for OpenAPI; `receipts` reads it")]
pub(crate) struct ReturnHeader {
    /// `return=minimal`: the receipt without its `events`, for whoever needs no more than the
    /// position.
    #[param(rename = "Prefer", example = "return=minimal")]
    prefer: Option<String>,
}

/// The value of a preference, where the client has it; empty for one without a value. Of several the
/// first counts. A comma ends a preference also within quotes: the values that are known have none.
pub(crate) fn preference<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    // What follows a semicolon are parameters, of which none is known.
    let preferences = lines.flat_map(|line| line.split(',')).filter_map(|it| it.split(';').next());
    let mut pairs = preferences.map(|it| it.split_once('=').unwrap_or((it, "")));
    let (_, value) = pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// How much of a receipt the client wants to see.
pub(crate) fn receipts(headers: &HeaderMap) -> Shown {
    match preference(headers, "return") {
        Some(value) if value.eq_ignore_ascii_case("minimal") => Shown::Minimal,
        _ => Shown::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (PREFER, line.parse().unwrap())).collect()
    }

    #[test]
    fn a_preference_is_found_wherever_and_however_it_is_written() {
        for lines in [
            &["wait=5"][..],
            &["respond-async, wait=5"],
            &["respond-async,Wait = \"5\" ; what=ever, wait=7"],
            &["return=minimal", "wait=5", "wait=7"],
        ] {
            assert_eq!(preference(&headers(lines), "wait"), Some("5"), "{lines:?}");
        }
        assert_eq!(preference(&headers(&["respond-async"]), "respond-async"), Some(""));
        for lines in [&[][..], &["waiting=5"], &["handling=lenient; wait=5"]] {
            assert_eq!(preference(&headers(lines), "wait"), None, "{lines:?}");
        }
    }

    #[test]
    fn a_receipt_is_whole_unless_it_is_to_be_minimal() {
        assert_eq!(receipts(&headers(&["return=Minimal"])), Shown::Minimal);
        for lines in [&[][..], &["return=representation"], &["return=small"], &["return"]] {
            assert_eq!(receipts(&headers(lines)), Shown::Whole, "{lines:?}");
        }
    }
}
