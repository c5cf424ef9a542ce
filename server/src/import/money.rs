//! Totals: decimal texts into whole minor units, exactly.

use accrue_domain::money::{Currency, Minor, Money};
use rust_decimal::{Decimal, RoundingStrategy};

/// Rounds half up to the currency's minor unit. Binary floats never come in: files that were
/// written with them carry their noise as decimals (`22.200000000000003`), and that rounds away.
pub(super) fn total(text: &str, currency: Currency) -> Result<Money, String> {
    let decimal = decimal("total", text)?;
    if is_negative(decimal) {
        return Err(format!("total: {text} is negative; a return is no sale"));
    }
    let amount = minor(decimal, currency).ok_or_else(|| format!("total: {text} is too large"))?;
    Ok(Money { amount, currency })
}

/// So many units at a price: multiplied first, then rounded once as a total is.
pub(super) fn amount(price: &str, quantity: u32, currency: Currency) -> Result<Money, String> {
    let decimal = decimal("price", price)?;
    if is_negative(decimal) {
        return Err(format!("price: {price} is negative; an amount of a sale cannot be"));
    }
    let amount = decimal.checked_mul(quantity.into()).and_then(|whole| minor(whole, currency));
    let amount = amount.ok_or_else(|| format!("price: {quantity} times {price} is too large"))?;
    Ok(Money { amount, currency })
}

/// Places behind the point that are read where there are more than a decimal holds, which is 28. What
/// follows them is noise that no rounding to a minor unit sees.
const PLACES_MAX: usize = 15;

fn decimal(field: &str, text: &str) -> Result<Decimal, String> {
    let cut = || match text.split_once('.') {
        Some((whole, places)) if places.len() > PLACES_MAX && digits(places) => {
            Decimal::from_str_exact(&text[..whole.len() + 1 + PLACES_MAX]).ok()
        }
        _ => None,
    };
    Decimal::from_str_exact(text)
        .ok()
        .or_else(cut)
        .ok_or_else(|| format!("{field}: expected a decimal number such as 139.12, got {text:?}"))
}

fn digits(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_digit())
}

fn is_negative(decimal: Decimal) -> bool {
    decimal.is_sign_negative() && !decimal.is_zero()
}

fn minor(decimal: Decimal, currency: Currency) -> Option<Minor> {
    let exponent = currency.exponent();
    let rounded = decimal.round_dp_with_strategy(exponent, RoundingStrategy::MidpointAwayFromZero);
    let units = rounded.checked_mul(Decimal::from(10_i64.pow(exponent)))?.normalize();
    Minor::new(i64::try_from(units).ok()?).ok()
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
            ("0.1000000000000000055511151231257827021181583404541015625", 10),
            ("0.00499999999999999999999999999999999999999", 0),
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
    fn a_line_is_rounded_once_and_not_its_price() {
        let pence = |price: &str, quantity| {
            amount(price, quantity, Currency::GBP).map(|money| money.amount.get())
        };
        assert_eq!(pence("2.55", 6), Ok(1_530));
        assert_eq!(pence("0.005", 3), Ok(2));
        assert_eq!(pence("0.333", 3), Ok(100));
        assert_eq!(pence("0", u32::MAX), Ok(0));
        assert_eq!(pence("-0.0", 1), Ok(0));
        assert!(pence("-11062.06", 1).unwrap_err().starts_with("price: -11062.06 is negative"));
        assert!(pence("", 1).unwrap_err().starts_with("price: expected a decimal number"));
        assert!(pence("10000000000000", 2).unwrap_err().ends_with("is too large"));
        assert!(pence("79228162514264337593543950335", 2).unwrap_err().ends_with("is too large"));
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
        for text in [
            "",
            "abc",
            "1,5",
            "1e3",
            "£5",
            "NaN",
            "1.2.3",
            "0x10",
            "0.1000000000000000000000000000000000x",
        ] {
            assert!(pence(text).unwrap_err().starts_with("total: expected a decimal"), "{text}");
        }
        assert_eq!(pence("-5.00").unwrap_err(), "total: -5.00 is negative; a return is no sale");
        assert_eq!(pence("-0.001").unwrap_err(), "total: -0.001 is negative; a return is no sale");
        assert!(pence("10000000000000.01").unwrap_err().ends_with("is too large"));
        assert!(pence("79228162514264337593543950335").unwrap_err().ends_with("is too large"));
    }
}
