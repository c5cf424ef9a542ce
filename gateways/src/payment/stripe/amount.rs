//! Stripe counts some currencies in units other than those of ISO 4217.

use accrue_domain::money::{Currency, Minor, Money};

/// An amount that has no exact counterpart on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inexact;

/// Most units that Stripe takes: eight digits.
const UNITS_MAX: i64 = 99_999_999;

/// Digits behind the point as Stripe counts them.
fn exponent(currency: Currency) -> u32 {
    match currency.code() {
        // Without decimals in ISO 4217, with two at Stripe, both always zero.
        "ISK" | "UGX" => 2,
        // The other way round: a fifth of an ariary is never charged.
        "MGA" => 0,
        _ => currency.exponent(),
    }
}

/// Units that Stripe takes: `UGX` by hundreds, others as cards do.
fn step(currency: Currency) -> i64 {
    match currency.code() {
        "ISK" | "UGX" => 100,
        _ => currency.card_step(),
    }
}

/// Our amount in Stripe's units.
///
/// # Errors
/// [`Inexact`] when Stripe cannot count it, or takes no such amount (nothing, or too much).
pub(super) fn to_stripe(money: Money) -> Result<i64, Inexact> {
    let units = shift(money.amount.get(), money.currency.exponent(), exponent(money.currency))?;
    if !(1..=UNITS_MAX).contains(&units) || units % step(money.currency) != 0 {
        return Err(Inexact);
    }
    Ok(units)
}

/// Stripe's units as our amount.
///
/// # Errors
/// [`Inexact`] when it is negative, too large, or a part of our smallest unit.
pub(super) fn from_stripe(units: i64, currency: Currency) -> Result<Minor, Inexact> {
    let minor = shift(units, exponent(currency), currency.exponent())?;
    Minor::new(minor).map_err(|_| Inexact)
}

/// The same amount with another number of decimals.
fn shift(units: i64, from: u32, to: u32) -> Result<i64, Inexact> {
    let factor = 10_i64.checked_pow(from.abs_diff(to)).ok_or(Inexact)?;
    if to >= from {
        return units.checked_mul(factor).ok_or(Inexact);
    }
    if units % factor == 0 { Ok(units / factor) } else { Err(Inexact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(units: i64, code: &str) -> Result<i64, Inexact> {
        let currency = code.parse().unwrap();
        let sent = to_stripe(Money { amount: Minor::new(units).unwrap(), currency })?;
        assert_eq!(from_stripe(sent, currency).map(Minor::get), Ok(units), "and back");
        Ok(sent)
    }

    #[test]
    fn amounts_are_counted_as_stripe_does() {
        assert_eq!(there(1_234, "GBP"), Ok(1_234));
        assert_eq!(there(500, "JPY"), Ok(500));
        assert_eq!(there(500, "UGX"), Ok(50_000));
        assert_eq!(there(500, "ISK"), Ok(50_000));
        assert_eq!(there(1_230, "KWD"), Ok(1_230));
        assert_eq!(there(1_234, "KWD"), Err(Inexact), "the last digit must be 0");
    }

    #[test]
    fn amounts_have_bounds() {
        assert_eq!(there(0, "GBP"), Err(Inexact));
        assert_eq!(there(1, "GBP"), Ok(1));
        assert_eq!(there(UNITS_MAX, "GBP"), Ok(UNITS_MAX));
        assert_eq!(there(UNITS_MAX + 1, "GBP"), Err(Inexact));
        assert_eq!(from_stripe(-1, Currency::GBP), Err(Inexact));
        assert_eq!(from_stripe(50, "UGX".parse().unwrap()), Err(Inexact));
    }
}
