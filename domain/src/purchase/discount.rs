//! Discounts: what is taken off the prices when an order is placed, in whole minor units.
//!
//! Invariants
//! - Each takes off what is left behind those before it, and never more: no line costs less than
//!   nothing.
//! - What is taken off the whole order is shared between its lines in proportion to what is left of
//!   each, so that the lines always sum to the total.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::{DiscountAsked, Off};
use super::error::{DISCOUNTS_MAX, Error, ORDER_DISCOUNTS_MAX};
use super::order::{Line, proportion};
use crate::id::DiscountId;
use crate::money::{Currency, Minor};
use crate::percent::Percent;
use crate::text;

/// A discount of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// The offer, code or whatever else it comes from; several may have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DiscountId>,
    /// For people.
    pub reason: String,
    /// Where it was asked for as a share: of what was left of what it applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// The number of the line that it applies to, from 1; absent for the whole order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What it takes off in all, in minor units of the order's currency.
    pub amount: Minor,
}

/// Takes the discounts off the lines, in their order.
pub(super) fn take_off(
    lines: &mut [Line],
    currency: Currency,
    asked: Vec<DiscountAsked>,
) -> Result<Vec<Discount>, Error> {
    if asked.len() > DISCOUNTS_MAX {
        return Err(Error::DiscountCount(asked.len()));
    }
    let of_order = asked.iter().filter(|it| it.line.is_none()).count();
    if of_order > ORDER_DISCOUNTS_MAX {
        return Err(Error::OrderDiscountCount(of_order));
    }
    let numbered = (1..).zip(asked);
    numbered.map(|(number, asked)| one(lines, currency, number, asked)).collect()
}

fn one(
    lines: &mut [Line],
    currency: Currency,
    number: usize,
    asked: DiscountAsked,
) -> Result<Discount, Error> {
    let DiscountAsked { id, reason, off, line } = asked;
    text::check(&reason).map_err(|why| Error::DiscountReason { discount: number, why })?;
    let lines = applies_to(lines, line, number)?;
    let whole = lines.iter().map(|it| it.amount.get()).fold(0, i64::saturating_add);
    let (percent, amount) = match off {
        // The lines sum to less than the most that minor units can be.
        Off::Percent(percent) => (Some(percent), percent.of(minor(whole))),
        Off::Amount(money) if money.currency != currency => {
            return Err(Error::DiscountCurrency { discount: number, expected: currency });
        }
        Off::Amount(money) if money.amount == Minor::ZERO => {
            return Err(Error::DiscountEmpty(number));
        }
        Off::Amount(money) if money.amount.get() > whole => {
            return Err(Error::DiscountExceeds { discount: number, left: whole });
        }
        Off::Amount(money) => (None, money.amount),
    };
    bear(amount.get(), whole, lines);
    Ok(Discount { id, reason, percent, line, amount })
}

/// Takes `amount` of `whole`, their sum, off the lines: each is off its exact share by less than
/// one minor unit, however many there are. What the lines up to one bear is rounded down, and a
/// line bears the difference to those before it.
fn bear(amount: i64, whole: i64, lines: &mut [Line]) {
    let (mut reached, mut borne) = (0_i64, 0_i64);
    for line in lines {
        reached = reached.saturating_add(line.amount.get());
        let until = proportion(amount, reached, whole);
        let share = until.saturating_sub(borne);
        line.amount = minor(line.amount.get().saturating_sub(share));
        borne = until;
    }
}

/// The lines that a discount applies to.
fn applies_to(
    lines: &mut [Line],
    line: Option<u32>,
    discount: usize,
) -> Result<&mut [Line], Error> {
    let Some(number) = line else { return Ok(lines) };
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let one = at.and_then(|at| lines.get_mut(at)).map(std::slice::from_mut);
    one.ok_or(Error::DiscountLine { discount, line: number })
}

/// What is within the range of minor units already.
fn minor(units: i64) -> Minor {
    Minor::new(units).unwrap_or(Minor::ZERO)
}
