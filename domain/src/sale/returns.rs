//! Returning a sale, in whole or piece by piece.
//!
//! A line gives back `floor(amount * returned / quantity)` in all, and the lines together
//! `floor(total * of the lines / sum of the lines)`: the total may differ from the lines' sum by
//! a discount or by shipping. What one return gives back is the difference between these figures
//! after it and before it, so that no split of a sale into returns wins or loses a penny.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::record::LINES_MAX;
use super::{Event, Line, Portion, Recorded, ReturnedLine, Sale};
use crate::id::ReturnId;
use crate::money::{Minor, Money};
use crate::text;

/// A return that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Return {
    pub(super) id: ReturnId,
    pub(super) amount: Minor,
    pub(super) lines: Vec<ReturnedLine>,
    /// Minor units that had come back in all.
    pub(super) returned: Minor,
}

impl Return {
    /// Did it take back what that portion asks for? `free` says whether all pieces had come back, of a
    /// sale that cost nothing.
    fn is(&self, portion: &Portion, sale: &Recorded, free: impl FnOnce() -> bool) -> bool {
        match portion {
            Portion::All if sale.total.amount == Minor::ZERO => free(),
            Portion::All => self.returned == sale.total.amount,
            Portion::Lines(lines) => {
                !self.lines.is_empty() && merged(lines).is_ok_and(|lines| self.lines == lines)
            }
            Portion::Amount(money) => {
                self.lines.is_empty()
                    && *money == Money { amount: self.amount, currency: sale.total.currency }
            }
        }
    }
}

/// Had all pieces of all lines come back with these returns?
fn came_back(returns: &[Return], sale: &Recorded) -> bool {
    (1_u32..).zip(&sale.lines).all(|(line, sold)| {
        let lines = returns.iter().flat_map(|it| &it.lines);
        let back = lines.filter(|it| it.line == line).map(|it| u64::from(it.quantity));
        back.sum::<u64>() >= u64::from(sold.quantity)
    })
}

impl Sale {
    pub(super) fn take_back(
        &self,
        sale: &Recorded,
        return_id: ReturnId,
        portion: Portion,
        reference: Option<String>,
    ) -> Result<Vec<Event>, Error> {
        text::check_optional(reference.as_deref())
            .map_err(|why| Error::InvalidText { field: "/reference", why })?;
        if let Some(at) = self.returns.iter().position(|seen| seen.id == return_id)
            && let Some((seen, until)) = self.returns.get(at).zip(self.returns.get(..=at))
        {
            let same = seen.is(&portion, sale, || came_back(until, sale));
            return if same { Ok(Vec::new()) } else { Err(Error::ReturnExists(return_id)) };
        }
        let (amount, lines) = match portion {
            Portion::All => self.all(sale)?,
            Portion::Lines(lines) => self.some_lines(sale, &lines)?,
            Portion::Amount(money) => (self.part(sale, money)?, Vec::new()),
        };
        let total = sale.total;
        let returned = self.returned.get().saturating_add(amount.get());
        let returned = Minor::new(returned).unwrap_or(total.amount).min(total.amount);
        Ok(vec![Event::SaleReturned {
            return_id,
            account: sale.account.clone(),
            amount: Money { amount, currency: total.currency },
            returned,
            total: total.amount,
            lines,
            reference,
        }])
    }

    /// Counts returned lines in. A line that the sale does not have counts nowhere.
    pub(super) fn count(&mut self, lines: &[ReturnedLine]) {
        for ReturnedLine { line, quantity } in lines {
            if let Some(seen) = self.quantities.get_mut(index(*line)) {
                *seen = seen.saturating_add(*quantity);
            }
        }
    }

    fn left(&self, sale: &Recorded) -> Minor {
        let left = sale.total.amount.get().saturating_sub(self.returned.get());
        Minor::new(left).unwrap_or(Minor::ZERO)
    }

    fn all(&self, sale: &Recorded) -> Result<(Minor, Vec<ReturnedLine>), Error> {
        let left = self.left(sale);
        let lines: Vec<_> = (1_u32..)
            .zip(sale.lines.iter().zip(&self.quantities))
            .map(|(line, (sold, back))| (line, sold.quantity.saturating_sub(*back)))
            .filter(|(_, quantity)| *quantity > 0)
            .map(|(line, quantity)| ReturnedLine { line, quantity })
            .collect();
        // What cost nothing comes back too, and what was awarded for it with it.
        let came_back = sale.total.amount > Minor::ZERO
            || (lines.is_empty() && !(sale.lines.is_empty() && self.returns.is_empty()));
        if left == Minor::ZERO && came_back {
            return Err(Error::NothingLeft);
        }
        Ok((left, lines))
    }

    fn part(&self, sale: &Recorded, money: Money) -> Result<Minor, Error> {
        let (expected, actual) = (sale.total.currency, money.currency);
        if expected != actual {
            return Err(Error::InvalidCurrency { field: "/amount/currency", expected, actual });
        }
        if money.amount == Minor::ZERO {
            return Err(Error::InvalidAmount);
        }
        let left = self.left(sale);
        if money.amount > left {
            let requested = money.amount.get();
            return Err(Error::ExceedsSale { field: "/amount", requested, left });
        }
        Ok(money.amount)
    }

    fn some_lines(
        &self,
        sale: &Recorded,
        lines: &[ReturnedLine],
    ) -> Result<(Minor, Vec<ReturnedLine>), Error> {
        let lines = merged(lines)?;
        let mut after = self.quantities.clone();
        for ReturnedLine { line, quantity } in &lines {
            let (sold, back) = sale
                .lines
                .get(index(*line))
                .zip(after.get_mut(index(*line)))
                .ok_or(Error::UnknownLine { line: *line, count: sale.lines.len() })?;
            let left = sold.quantity.saturating_sub(*back);
            if *quantity > left {
                let requested = u64::from(*quantity);
                return Err(Error::ExceedsLine { line: *line, requested, left });
            }
            *back = back.saturating_add(*quantity);
        }
        let amount = worth(sale, &after).saturating_sub(worth(sale, &self.quantities));
        self.cap(sale, amount).map(|amount| (amount, lines))
    }

    /// Where a part of the total came back as money before, the lines may be worth more than is
    /// left. Lines that sum to the total are exact, so that is a refusal; others are an estimate.
    fn cap(&self, sale: &Recorded, amount: i64) -> Result<Minor, Error> {
        let left = self.left(sale);
        if amount > left.get() && sum(&sale.lines) == i128::from(sale.total.amount.get()) {
            return Err(Error::ExceedsSale { field: "/lines", requested: amount, left });
        }
        Ok(Minor::new(amount).unwrap_or(left).min(left))
    }
}

/// Each line once, in order, with its quantities together.
fn merged(lines: &[ReturnedLine]) -> Result<Vec<ReturnedLine>, Error> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Error::InvalidLines("a return names 1 to 1000 lines"));
    }
    let mut sums = std::collections::BTreeMap::<u32, u32>::new();
    for ReturnedLine { line, quantity } in lines {
        if *quantity == 0 {
            return Err(Error::InvalidLines("a returned line has a quantity of at least 1"));
        }
        let sum = sums.entry(*line).or_default();
        *sum = sum.saturating_add(*quantity); // beyond u32: more than any line has
    }
    Ok(sums.into_iter().map(|(line, quantity)| ReturnedLine { line, quantity }).collect())
}

/// What so many of each line are worth of the total, rounded down.
fn worth(sale: &Recorded, quantities: &[u32]) -> i64 {
    let whole = sum(&sale.lines);
    let (part, whole) = if whole > 0 {
        (sold(&sale.lines, quantities), whole)
    } else {
        // Lines without a price: by their quantities.
        let sold: i128 = quantities.iter().map(|q| i128::from(*q)).sum();
        (sold, sale.lines.iter().map(|line| i128::from(line.quantity)).sum())
    };
    share(i128::from(sale.total.amount.get()), part, whole)
}

/// What so many of each line are worth in the lines' own prices, rounded down line by line.
fn sold(lines: &[Line], quantities: &[u32]) -> i128 {
    lines
        .iter()
        .zip(quantities)
        .map(|(line, back)| {
            let (amount, quantity) = (i128::from(line.amount.get()), i128::from(line.quantity));
            i128::from(share(amount, i128::from(*back), quantity))
        })
        .sum()
}

fn sum(lines: &[Line]) -> i128 {
    lines.iter().map(|line| i128::from(line.amount.get())).sum()
}

/// `floor(amount * part / whole)`. With amounts to 10^15 and 1000 lines of them the product stays
/// below 10^33, and an `i128` holds 10^38.
fn share(amount: i128, part: i128, whole: i128) -> i64 {
    amount
        .checked_mul(part)
        .and_then(|product| product.checked_div(whole))
        .and_then(|share| i64::try_from(share).ok())
        .unwrap_or(0)
}

/// Lines count from 1, lists from 0.
fn index(line: u32) -> usize {
    line.checked_sub(1).and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX)
}
