//! Texts that people write: references, reasons, names. Short, and safe in a log line.

/// Most characters of one text.
pub const TEXT_CHARS_MAX: usize = 200;

/// Most characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// Why a text is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing stands in it.
    #[error("expected a text of 1 to {TEXT_CHARS_MAX} characters, got an empty one")]
    Empty,
    /// It is too long.
    #[error("expected a text of 1 to {TEXT_CHARS_MAX} characters, got {0}")]
    TooLong(usize),
    /// It is too long for a description.
    #[error("expected a text of at most {DESCRIPTION_CHARS_MAX} characters, got {0}")]
    DescriptionTooLong(usize),
    /// A line break, a tab, a NUL or the like stands in it.
    #[error("expected no control character, got {character:?} at character {column}")]
    Control {
        /// The first one.
        character: char,
        /// Where it stands, from 1.
        column: usize,
    },
}

/// Is this a text of 1 to [`TEXT_CHARS_MAX`] characters, none of them a control character?
///
/// # Errors
/// [`Invalid`] says which rule it breaks.
pub fn check(text: &str) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::Empty);
    }
    let count = text.chars().count();
    if count > TEXT_CHARS_MAX {
        return Err(Invalid::TooLong(count));
    }
    check_characters(text)
}

/// Is this a text of at most [`DESCRIPTION_CHARS_MAX`] characters, none of them a control
/// character? An empty one says that there is no description.
///
/// # Errors
/// [`Invalid`] says which rule it breaks.
pub fn check_description(text: &str) -> Result<(), Invalid> {
    let count = text.chars().count();
    if count > DESCRIPTION_CHARS_MAX {
        return Err(Invalid::DescriptionTooLong(count));
    }
    check_characters(text)
}

fn check_characters(text: &str) -> Result<(), Invalid> {
    match text.chars().enumerate().find(|(_, c)| c.is_control()) {
        Some((at, character)) => Err(Invalid::Control { character, column: at.saturating_add(1) }),
        None => Ok(()),
    }
}

/// As [`check`]; no text at all is fine too.
///
/// # Errors
/// [`Invalid`] says which rule it breaks.
pub fn check_optional(text: Option<&str>) -> Result<(), Invalid> {
    text.map_or(Ok(()), check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_1_to_200_characters() {
        assert_eq!(check("x"), Ok(()));
        assert_eq!(check(&"é".repeat(200)), Ok(()));
        assert_eq!(check(&"é".repeat(201)), Err(Invalid::TooLong(201)));
        assert_eq!(check(""), Err(Invalid::Empty));
        assert_eq!(check("  "), Err(Invalid::Empty));
    }

    #[test]
    fn a_description_has_at_most_2000_characters() {
        assert_eq!(check_description(""), Ok(()));
        assert_eq!(check_description(&"é".repeat(2_000)), Ok(()));
        let long = check_description(&"é".repeat(2_001));
        assert_eq!(long, Err(Invalid::DescriptionTooLong(2_001)));
        let broken = check_description("a\nb");
        assert_eq!(broken, Err(Invalid::Control { character: '\n', column: 2 }));
    }

    #[test]
    fn a_text_stays_on_one_line() {
        assert_eq!(check("a\u{0}"), Err(Invalid::Control { character: '\0', column: 2 }));
        assert_eq!(check("ab\ncd"), Err(Invalid::Control { character: '\n', column: 3 }));
        assert_eq!(check_optional(None), Ok(()));
        assert_eq!(check_optional(Some("")), Err(Invalid::Empty));
    }
}
