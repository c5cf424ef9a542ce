//! Pages: at most so many items, and an opaque cursor to the next.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Most items in a page.
pub const PAGE_ITEMS_MAX: i64 = 500;

/// Items in a page when the client does not say.
pub const PAGE_ITEMS_DEFAULT: i64 = 100;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of so many items, made of one more where there are more; `key` is an item's place.
    #[must_use]
    pub fn of(mut items: Vec<T>, limit: i64, key: impl FnOnce(&T) -> String) -> Self {
        let more = i64::try_from(items.len()).is_ok_and(|count| count > limit);
        if more {
            items.pop();
        }
        let next = items.last().filter(|_| more).map(|last| cursor(&key(last)));
        Self { items, next }
    }
}

/// Checks a page size.
///
/// # Errors
/// A problem that names `limit`.
pub fn limit(limit: Option<i64>) -> Result<i64, Problem> {
    match limit.unwrap_or(PAGE_ITEMS_DEFAULT) {
        limit @ 1..=PAGE_ITEMS_MAX => Ok(limit),
        other => Err(Problem::invalid(
            "limit",
            format!("expected a whole number from 1 to {PAGE_ITEMS_MAX}, got {other}"),
        )),
    }
}

/// Makes a cursor of the last item's key. Hexadecimal, so that nobody takes it for a name.
fn cursor(key: &str) -> String {
    use std::fmt::Write as _;
    key.bytes().fold(String::with_capacity(key.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The key in a cursor.
///
/// # Errors
/// A problem that names `cursor`.
pub fn key(cursor: &str) -> Result<String, Problem> {
    let invalid = || Problem::invalid("cursor", "expected the `next` of an earlier page");
    if !cursor.is_ascii() || !cursor.len().is_multiple_of(2) {
        return Err(invalid());
    }
    let digits = (0..cursor.len()).step_by(2).map(|at| &cursor[at..at + 2]);
    let bytes: Option<Vec<u8>> = digits.map(|it| u8::from_str_radix(it, 16).ok()).collect();
    let key = bytes.and_then(|it| String::from_utf8(it).ok());
    // Postgres takes no text with a NUL in it, and no key has one.
    key.filter(|key| !key.contains('\0')).ok_or_else(invalid)
}
