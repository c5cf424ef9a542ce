//! What a customer pays with: a provider's token, never a card number.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most characters of a token.
pub const TOKEN_CHARS_MAX: usize = 255;

/// How many digits a card number has (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// A provider's token for a payment method, such as `pm_card_visa`.
///
/// Invariant: a letter, then letters, digits and `_`; nothing that could be a card number. Whoever
/// keeps a token may log it by accident, so its text shows only where it is sent and where a saga
/// that is to send it after a crash keeps it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PaymentMethod(String);

/// Why a text is not taken as a payment method. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It could be the number of a card, which must not get here.
    #[error("looks like a card number: send the payment provider's token instead")]
    CardNumber,
    /// It is no token.
    #[error(
        "expected a payment provider's token: a letter, then letters, digits and _, \
         {TOKEN_CHARS_MAX} characters at most"
    )]
    NotAToken,
}

impl PaymentMethod {
    /// A checked token.
    ///
    /// # Errors
    /// [`Invalid`] when it looks like a card number, or is no token.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if looks_like_card_number(text) {
            return Err(Invalid::CardNumber);
        }
        let letter_first = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !letter_first || !plain || text.len() > TOKEN_CHARS_MAX {
            return Err(Invalid::NotAToken);
        }
        Ok(Self(text.to_owned()))
    }

    /// The token, for the provider alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PaymentMethod {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<PaymentMethod> for String {
    fn from(method: PaymentMethod) -> Self {
        method.0
    }
}

impl JsonSchema for PaymentMethod {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PaymentMethod".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A payment provider's token, never a card number",
            "pattern": "^[A-Za-z][A-Za-z0-9_]{0,254}$"
        })
    }
}

impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentMethod(…)")
    }
}

/// Whether a text is, apart from separators and a prefix like `pm_`, 12 to 19 digits with a right
/// check digit. The tokens of providers are longer than that, or have letters in between.
#[must_use]
pub fn looks_like_card_number(text: &str) -> bool {
    let number = text.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
    let mut digits = Vec::new();
    for character in number.chars() {
        match character.to_digit(10).and_then(|it| u8::try_from(it).ok()) {
            // No card has more digits: whatever else it is, it need not be read on.
            Some(_) if digits.len() == *CARD_DIGITS.end() => return false,
            Some(digit) => digits.push(digit),
            None if is_separator(character) => {}
            None => return false,
        }
    }
    CARD_DIGITS.contains(&digits.len()) && passes_luhn(&digits)
}

/// Whether somewhere in a text stands what [`looks_like_card_number`].
#[must_use]
pub fn contains_card_number(text: &str) -> bool {
    let outside = |c: char| !c.is_ascii_digit() && !is_separator(c);
    text.split(outside).any(|run| {
        // Words apart: a number beside a date is still a number.
        let whole = looks_like_card_number(run.trim_matches(|c: char| !c.is_ascii_digit()));
        whole || run.split_whitespace().any(looks_like_card_number)
    })
}

/// What people and forms put between groups of digits.
fn is_separator(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '-' | '.' | '_' | '/' | '\u{2010}'..='\u{2015}')
}

/// The check of ISO/IEC 7812: from the right, every second digit counts twice.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| {
            let weight = if at % 2 == 1 { 2 } else { 1 };
            let weighed = u32::from(digit).saturating_mul(weight);
            if weighed > 9 { weighed.saturating_sub(9) } else { weighed }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Digits with a check digit appended that makes them pass.
    fn with_check_digit(payload: &str) -> String {
        let passes = |last: &u8| {
            let digits: Vec<u8> = payload.bytes().map(|b| b - b'0').chain([*last]).collect();
            passes_luhn(&digits)
        };
        format!("{payload}{}", (0..10).find(passes).unwrap())
    }

    #[test]
    fn card_numbers_are_refused_however_they_are_written() {
        for number in [
            "4242424242424242",
            "4242 4242 4242 4242",
            " 4242-4242-4242-4242\n",
            "4242.4242.4242.4242",
            "4242–4242–4242–4242",
            "378282246310005",
            "pm_4242424242424242",
            "card_4242_4242_4242_4242",
        ] {
            assert_eq!(PaymentMethod::parse(number), Err(Invalid::CardNumber), "{number}");
        }
    }

    #[test]
    fn a_card_number_is_found_within_a_text() {
        for text in [
            "4242424242424242",
            "paid with 4242 4242 4242 4242",
            "4242424242424242, 12/27",
            "card 4242-4242-4242-4242 of Ada",
            "4242424242424242 12/27",
        ] {
            assert!(contains_card_number(text), "{text}");
        }
        for text in ["order 17", "case 2026-11-21 of 991", "4242424242424241", "", "till 4"] {
            assert!(!contains_card_number(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_too() {
        // A mistyped card number is still most of one.
        for text in ["", "4242424242424241", "1", "pm card", "pm_é", "card 4242 4242 4242 4241"] {
            assert_eq!(PaymentMethod::parse(text), Err(Invalid::NotAToken), "{text}");
        }
        assert!(PaymentMethod::parse(&"p".repeat(255)).is_ok());
        assert_eq!(PaymentMethod::parse(&"p".repeat(256)), Err(Invalid::NotAToken));
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let method = PaymentMethod::parse("pm_card_visa").unwrap();
        assert_eq!(format!("{method:?}"), "PaymentMethod(…)");
        assert_eq!(method.expose(), "pm_card_visa");
    }

    #[test]
    fn the_check_digit_is_the_standards() {
        assert_eq!(with_check_digit("7992739871"), "79927398713");
    }

    proptest! {
        #[test]
        fn tokens_are_never_refused(token in "pm_(1[A-Za-z0-9]{23}|card_[A-Za-z_]{1,40})") {
            prop_assert!(PaymentMethod::parse(&token).is_ok());
        }

        #[test]
        fn numbers_of_12_to_19_digits_are_always_refused(
            payload in "[0-9]{11,18}",
            separator in "[ .-]?",
            prefix in "(pm_|card_|)",
        ) {
            let number = with_check_digit(&payload);
            let text: Vec<_> = number.chars().map(String::from).collect();
            let text = format!("{prefix}{}", text.join(&separator));
            prop_assert_eq!(PaymentMethod::parse(&text), Err(Invalid::CardNumber));
        }

        #[test]
        fn nothing_without_a_letter_first_is_taken(text in "[0-9_][A-Za-z0-9_]{0,30}") {
            prop_assert!(PaymentMethod::parse(&text).is_err());
        }
    }
}
