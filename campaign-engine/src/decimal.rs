//! Numbers of documents and rules as exact decimals.
//!
//! A JSON number is read by its shortest decimal text, never by its binary value: 100.01 is 100.01.
//! A double keeps 15 significant digits, so a number of up to 15 digits arrives as it was written.

use std::fmt::Write;

use rust_decimal::Decimal;
use serde_json::Number;

/// Longer than any text of a double (24 bytes) or of a 64-bit integer (20 bytes).
const NUMBER_BYTES_MAX: usize = 40;

/// `None` for a number that 28 digits cannot hold exactly, such as 1e300 or 1e-40.
pub(crate) fn of_number(number: &Number) -> Option<Decimal> {
    if let Some(whole) = number.as_i64() {
        return Some(Decimal::from(whole));
    }
    if let Some(whole) = number.as_u64() {
        return Some(Decimal::from(whole));
    }
    let mut text = NumberText { bytes: [0; NUMBER_BYTES_MAX], len: 0 };
    write!(text, "{number}").ok()?;
    of_shortest_text(text.as_str()?)
}

fn of_shortest_text(text: &str) -> Option<Decimal> {
    if text.contains('e') {
        return Decimal::from_scientific(text).ok();
    }
    Decimal::from_str_exact(text).ok()
}

/// Reads `12`, `-0.5`, `139.12`: digits, one point between digits, a minus; nothing else.
/// rust_decimal alone would also take `1_000`, `+1` and `.5`.
pub(crate) fn of_text(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    if !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return None;
    }
    Decimal::from_str_exact(text).ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The exact value without trailing zeros: `13.912`, `100`.
pub(crate) fn to_text(value: Decimal) -> String {
    value.normalize().to_string()
}

/// A buffer on the stack: the number of every evaluation passes through here.
struct NumberText {
    bytes: [u8; NUMBER_BYTES_MAX],
    len: usize,
}

impl NumberText {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

impl Write for NumberText {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.len + part.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Option<String> {
        let number: Number = serde_json::from_str(json).unwrap();
        of_number(&number).map(to_text)
    }

    #[test]
    fn a_number_of_json_is_not_kept_as_the_text_that_it_was() {
        // With serde_json's `arbitrary_precision`, which any crate of a build could switch on, it
        // would be, and a rule would see digits that a number does not have.
        let number: Number = serde_json::from_str("1.10").unwrap();
        assert_eq!(number.to_string(), "1.1");
    }

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for (json, text) in [
            ("139.12", "139.12"),
            ("100.01", "100.01"),
            ("0.1", "0.1"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("1.5e1", "15"),
            ("1e-7", "0.0000001"),
            ("123456789012345e13", "1234567890123450000000000000"),
            ("9999999999999.99", "9999999999999.99"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(read(json).as_deref(), Some(text), "{json}");
        }
    }

    #[test]
    fn a_number_that_28_digits_cannot_hold_is_refused() {
        for json in ["1e300", "-1e300", "1e29", "1e-29", "1.5e-28", "5e-324"] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn a_decimal_text_is_digits_and_one_point() {
        for text in ["0", "100", "-0.5", "139.12", "0.0000000000000000000000000001"] {
            assert!(of_text(text).is_some(), "{text}");
        }
        for text in ["", "-", "+1", ".5", "1.", "1e3", "1_000", " 1", "1,5", "١", "--1", "1.2.3"] {
            assert!(of_text(text).is_none(), "{text}");
        }
        assert!(of_text("0.00000000000000000000000000001").is_none(), "29 places");
        assert!(of_text("99999999999999999999999999999").is_none(), "29 nines");
    }

    proptest! {
        #[test]
        fn fifteen_digits_survive_the_double(mantissa in 0_i64..1_000_000_000_000_000, scale in 0_u32..12) {
            let written = Decimal::new(mantissa, scale);
            let number: Number = serde_json::from_str(&written.to_string()).unwrap();
            prop_assert_eq!(of_number(&number), Some(written));
        }

        #[test]
        fn no_number_panics(bits in any::<f64>()) {
            if let Some(number) = Number::from_f64(bits) {
                of_number(&number);
            }
        }
    }
}
