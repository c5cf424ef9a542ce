//! Totals: decimal texts into whole minor units, exactly.

use accrue_domain::money::{Currency, Minor, Money};
use rust_decimal::{Decimal, RoundingStrategy};

/// Rounds half up to the currency's minor unit. Binary floats never come in: files that were
/// written with them carry their noise as decimals (`22.200000000000003`), and that rounds away.
pub(super) fn total(text: &str, currency: Currency) -> Result<Money, String> {
    let decimal = Decimal::from_str_exact(text)
        .map_err(|_| format!("total: expected a decimal number such as 139.12, got {text:?}"))?;
    if decimal.is_sign_negative() && !decimal.is_zero() {
        return Err(format!("total: {text} is negative; a return is no sale"));
    }
    let exponent = currency.exponent();
    let too_large = || format!("total: {text} is too large");
    let rounded = decimal.round_dp_with_strategy(exponent, RoundingStrategy::MidpointAwayFromZero);
    let factor = Decimal::from(10_i64.pow(exponent));
    let units = rounded.checked_mul(factor).ok_or_else(too_large)?.normalize();
    let units = i64::try_from(units).map_err(|_| too_large())?;
    let amount = Minor::new(units).map_err(|_| too_large())?;
    Ok(Money { amount, currency })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pence(text: &str) -> Result<i64, String> {
        total(text, Currency::GBP).map(|money| money.amount.get())
    }

    #[test]
    fn totals_are_rounded_half_up_to_pence() {
        let cases = [
            ("139.12", 13_912),
            ("22.200000000000003", 2_220),
            ("0.005", 1),
            ("0.0049999999999999999", 0),
            ("1.005", 101),
            ("2.675", 268),
            ("2.6749999999999998", 267),
            ("77183.60000000001", 7_718_360),
            ("7", 700),
            ("0", 0),
            ("-0.00", 0),
            ("10000000000000.00", 1_000_000_000_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(pence(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_currency_has_its_own_minor_unit() {
        let units = |text: &str, code: &str| {
            total(text, code.parse().unwrap()).map(|money| money.amount.get())
        };
        assert_eq!(units("1234.5", "JPY"), Ok(1_235));
        assert_eq!(units("1.2345", "KWD"), Ok(1_235));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for text in ["", "abc", "1,5", "1e3", "£5", "NaN", "1.2.3", "0x10"] {
            assert!(pence(text).unwrap_err().starts_with("total: expected a decimal"), "{text}");
        }
        assert_eq!(pence("-5.00").unwrap_err(), "total: -5.00 is negative; a return is no sale");
        assert_eq!(pence("-0.001").unwrap_err(), "total: -0.001 is negative; a return is no sale");
        assert!(pence("10000000000000.01").unwrap_err().ends_with("is too large"));
        assert!(pence("79228162514264337593543950335").unwrap_err().ends_with("is too large"));
    }
}
