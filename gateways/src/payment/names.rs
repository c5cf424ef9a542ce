//! The names that calls carry: checked once, so that they fit headers, paths and queries as they are.

use std::fmt;

use accrue_domain::text;

/// Most characters of an idempotency key.
pub const KEY_CHARS_MAX: usize = 255;

/// Most characters of a provider's id.
pub const ID_CHARS_MAX: usize = 255;

/// A text that is not taken as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct Invalid {
    expected: &'static str,
}

/// What makes a repeated call have one effect: made from the saga and its step, so a saga that is
/// resumed after a crash sends the same one.
///
/// Invariant: visible ASCII of at most [`KEY_CHARS_MAX`] characters, for it goes into a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key of one step of one saga. The step has no `/`, so two different pairs never make
    /// the same key.
    ///
    /// # Errors
    /// [`Invalid`] when one of them is empty, has a character that no header carries, or when
    /// they are too long together.
    pub fn of(saga: &str, step: &str) -> Result<Self, Invalid> {
        let visible = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic());
        if !visible(saga) || !visible(step) || step.contains('/') {
            return Err(Invalid {
                expected: "a saga and a step of visible ASCII, no / in the step",
            });
        }
        let key = format!("{saga}/{step}");
        if key.len() > KEY_CHARS_MAX {
            return Err(Invalid { expected: "a saga and a step of 254 characters at most" });
        }
        Ok(Self(key))
    }

    /// The text that is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A provider's name for a payment.
///
/// Invariant: letters, digits and `_` only, so that it is one segment of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PaymentId(String);

impl PaymentId {
    /// A checked id.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty, too long or has other characters.
    pub fn parse(id: &str) -> Result<Self, Invalid> {
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if id.is_empty() || id.len() > ID_CHARS_MAX || !plain {
            return Err(Invalid { expected: "1 to 255 letters, digits and _" });
        }
        Ok(Self(id.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own name for a payment. It needs no secrecy: providers show it to people.
///
/// Invariant: as [`text::check`], and neither `'` nor `\`, which would end the text in a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference(String);

impl Reference {
    /// A checked reference.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty, too long or has a character that no query carries.
    pub fn parse(reference: &str) -> Result<Self, Invalid> {
        if text::check(reference).is_err() || reference.contains(['\'', '\\']) {
            return Err(Invalid {
                expected: "1 to 200 characters, no control character, quote or backslash",
            });
        }
        Ok(Self(reference.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_saga_and_step_apart() {
        let key = |saga: &str, step: &str| IdempotencyKey::of(saga, step).map(|it| it.0);
        assert_eq!(key("p/1", "authorise").as_deref(), Ok("p/1/authorise"));
        assert!(key("p", "1/authorise").is_err(), "else it would equal the one above");
        for (saga, step) in [("", "s"), ("p", ""), ("p q", "s"), ("p", "s\r\n"), ("pé", "s")] {
            assert!(key(saga, step).is_err(), "{saga:?} {step:?}");
        }
        assert!(key(&"p".repeat(253), "s").is_ok());
        assert!(key(&"p".repeat(254), "s").is_err());
    }

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert!(PaymentId::parse("pi_3Mx").is_ok());
        for id in ["", "..", "pi/../x", "pi?x", "pi 1"] {
            assert!(PaymentId::parse(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_reference_cannot_leave_its_query() {
        assert!(Reference::parse("order 17/a").is_ok());
        for reference in ["", "a'b", "a\\b", "a\nb"] {
            assert!(Reference::parse(reference).is_err(), "{reference}");
        }
    }
}
