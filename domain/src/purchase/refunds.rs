//! Refunds: what was paid goes back to where it came from, by parts that are frozen when it is
//! asked for.
//!
//! Invariants
//! - Per tender, what is given back never exceeds its share; in sum, never what was paid. However
//!   it is refunded piece by piece, all of it together is exactly what was paid.
//! - A unit is refunded once.
//! - Refunds are carried out one after another, in the order of asking. One whose card's share
//!   comes back from the provider is open again, and before all later ones.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::card_share;
use super::command::{Portion, RefundedLine};
use super::error::Error;
use super::event::RefundPart;
use super::order::{Order, Tender, proportion};
use super::step::{KeyNumber, Step};
use super::trail::Stuck;
use crate::digest::Fingerprint;
use crate::id::RefundId;
use crate::money::{Minor, Money};
use crate::points::Points;
use crate::quantity::Quantity;

/// Most refunds of one purchase.
pub const REFUNDS_MAX: usize = 100;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To be carried out.
    Open,
    /// As [`Stage::Open`], with the card's share given back.
    CardDone,
    /// Given back, in part perhaps by people who took a stuck step upon themselves.
    Done,
    /// As [`Stage::Done`], but for the card's share, which the provider could not give back after
    /// all.
    CardFailed,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// How much in all, in minor units.
    pub amount: Minor,
    /// For which units.
    pub lines: Vec<RefundedLine>,
    /// What each tender gives back.
    pub parts: Vec<RefundPart>,
    /// Where it stands.
    pub stage: Stage,
    /// Under which key the card's share is called for.
    pub key: KeyNumber,
    /// When the first call under that key was given up.
    pub(super) called: Option<DateTime<Utc>>,
    /// What people are to look at.
    pub(super) stuck: Option<Stuck>,
    /// People gave the card's share back themselves.
    pub(super) by_hand: bool,
    /// What was asked for, to tell a retry from another refund.
    pub(super) asked: Fingerprint,
}

/// What is to be given back, worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) amount: Money,
    pub(super) lines: Vec<RefundedLine>,
    pub(super) parts: Vec<RefundPart>,
}

/// Every refund of a purchase, in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Refunds(pub(super) Vec<Refund>);

impl Refund {
    /// Its next step; none when it is over.
    fn step(&self, order: &Order) -> Option<Step> {
        match self.stage {
            Stage::Open if self.part_of_card(order).is_some() => Some(Step::RefundCard),
            Stage::Open | Stage::CardDone => Some(Step::SettleRefund),
            Stage::CardFailed => Some(Step::RefundCard),
            Stage::Done => None,
        }
    }

    /// What people are to look at.
    #[must_use]
    pub fn stuck(&self) -> Option<&str> {
        self.stuck.as_ref().map(|it| it.detail.as_str())
    }

    /// The card's share is given back, by the provider or by people.
    pub(super) fn card_done(&mut self) {
        self.stuck = None;
        self.stage = match self.stage {
            Stage::Open | Stage::CardDone => Stage::CardDone,
            Stage::CardFailed | Stage::Done => Stage::Done,
        };
    }

    /// It was not, after all.
    pub(super) fn card_failed(&mut self, stuck: Stuck) {
        self.stuck = Some(stuck);
        self.stage = match self.stage {
            Stage::Open | Stage::CardDone => Stage::Open,
            Stage::CardFailed | Stage::Done => Stage::CardFailed,
        };
    }

    /// Is it news that the call under that key has come to nothing?
    pub(super) fn is_news(&self, key: KeyNumber) -> bool {
        let told = self.stuck.as_ref().is_some_and(|it| it.refused);
        let called = match self.stage {
            Stage::CardDone | Stage::Done => true,
            Stage::Open | Stage::CardFailed => self.called.is_some() && !told,
        };
        called && self.key == key && !self.by_hand
    }

    /// Minor units that the card gives back, where it gives anything.
    #[must_use]
    pub fn part_of_card(&self, order: &Order) -> Option<Minor> {
        self.tenders(order).find_map(|(tender, part)| match tender {
            Tender::Card { .. } => Some(part.money),
            Tender::Points { .. } | Tender::Wallet { .. } => None,
        })
    }

    /// The tenders that give back, with what they give.
    pub fn tenders<'a>(
        &'a self,
        order: &'a Order,
    ) -> impl Iterator<Item = (&'a Tender, &'a RefundPart)> {
        self.parts.iter().filter_map(|part| Some((tender(order, part)?, part)))
    }
}

fn tender<'a>(order: &'a Order, part: &RefundPart) -> Option<&'a Tender> {
    let at = usize::try_from(part.tender).ok()?.checked_sub(1)?;
    order.tenders.get(at)
}

impl Refunds {
    /// Every refund, in the order of asking.
    pub fn iter(&self) -> impl Iterator<Item = &Refund> {
        self.0.iter()
    }

    /// The refund that is carried out now.
    #[must_use]
    pub fn open(&self) -> Option<&Refund> {
        self.0.iter().find(|it| it.stage != Stage::Done)
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Refund> {
        self.0.iter_mut().find(|it| it.stage != Stage::Done)
    }

    pub(super) fn get_mut(&mut self, id: &RefundId) -> Option<&mut Refund> {
        self.0.iter_mut().find(|it| it.id == *id)
    }

    pub(super) fn next_step(&self, order: &Order) -> Option<Step> {
        self.open()?.step(order)
    }

    /// That refund.
    #[must_use]
    pub fn get(&self, id: &RefundId) -> Option<&Refund> {
        self.0.iter().find(|it| it.id == *id)
    }

    /// Minor units of refunds that are done, points' share included.
    #[must_use]
    pub fn refunded(&self) -> i64 {
        let done = self.0.iter().filter(|it| it.stage == Stage::Done);
        done.map(|it| it.amount.get()).fold(0, i64::saturating_add)
    }

    /// Points that refunds that are done have given back.
    pub(super) fn restored(&self) -> Points {
        let done = self.0.iter().filter(|it| it.stage == Stage::Done).flat_map(|it| &it.parts);
        done.fold(Points::ZERO, |sum, part| sum.checked_add(part.points).unwrap_or(sum))
    }

    /// Minor units of money given back so far, and with the open refund.
    pub(super) fn returned(&self, order: &Order, open: &Refund) -> Minor {
        let done = self.0.iter().filter(|it| it.stage == Stage::Done).chain([open]);
        let money = done.flat_map(|it| it.tenders(order));
        let money = money.filter(|(tender, _)| tender.is_money()).map(|(_, part)| part.money.get());
        Minor::new(money.fold(0, i64::saturating_add)).unwrap_or(Minor::MAX)
    }

    /// Have refunds that are done given every unit back?
    pub(super) fn covers_all_units(&self, order: &Order) -> bool {
        let done = self.0.iter().all(|it| it.stage == Stage::Done);
        done && self.units_left(order, false).is_empty()
    }

    /// Units of a line, from 1, that are refunded or will be.
    fn units(&self, line: u32) -> i64 {
        let lines = self.0.iter().flat_map(|it| &it.lines).filter(|it| it.line == line);
        lines.map(|it| it.quantity.get()).fold(0, i64::saturating_add)
    }

    /// What of each tender is not given back: minor units, and points.
    fn left(&self, order: &Order) -> Vec<(i64, i64)> {
        let mut left: Vec<(i64, i64)> = order
            .tenders
            .iter()
            .map(|tender| match tender {
                Tender::Points { points, money } => (money.get(), points.get()),
                Tender::Wallet { money, .. } | Tender::Card { money, .. } => (money.get(), 0),
            })
            .collect();
        for part in self.0.iter().flat_map(|it| &it.parts) {
            let at = usize::try_from(part.tender).ok().and_then(|number| number.checked_sub(1));
            if let Some((money, points)) = at.and_then(|at| left.get_mut(at)) {
                *money = money.saturating_sub(part.money.get());
                *points = points.saturating_sub(part.points.get());
            }
        }
        left
    }

    /// What is given back for a portion.
    pub(super) fn plan(&self, order: &Order, portion: &Portion) -> Result<Plan, Error> {
        let left = self.left(order);
        let sum = left.iter().map(|(money, _)| *money).fold(0, i64::saturating_add);
        let (mut money, lines) = match portion {
            Portion::All { restock } => {
                let lines = self.units_left(order, *restock);
                if sum == 0 && lines.is_empty() {
                    return Err(Error::NothingLeft);
                }
                (left.iter().map(|(money, _)| *money).collect(), lines)
            }
            Portion::Lines(lines) => (self.of_lines(order, lines, &left, sum)?, lines.clone()),
            Portion::Amount(amount) => {
                if amount.currency != order.total.currency {
                    return Err(Error::OtherCurrency(order.total.currency));
                }
                if amount.amount.get() > sum {
                    let left = sum;
                    return Err(Error::ExceedsPaid { requested: amount.amount.get(), left });
                }
                if amount.amount == Minor::ZERO {
                    return Err(Error::NoAmount);
                }
                (share_out(amount.amount.get(), &left, sum), Vec::new())
            }
        };
        let unpaid = card_share::round(order, &left, &mut money);
        if unpaid > 0 && matches!(portion, Portion::Amount(_)) {
            let currency = order.total.currency;
            return Err(Error::NotToCard { step: currency.card_step(), currency });
        }
        let amount = money.iter().copied().fold(0, i64::saturating_add);
        let amount = Minor::new(amount).unwrap_or(Minor::MAX);
        let parts = parts(order, &left, &money);
        Ok(Plan { amount: Money { amount, currency: order.total.currency }, lines, parts })
    }

    /// Are these all units that are not refunded, but for such as cost nothing?
    fn are_last(&self, order: &Order, lines: &[RefundedLine]) -> bool {
        let asked = |line| lines.iter().find(|it| it.line == line).map(|it| it.quantity);
        let is_free = |line| {
            let at = usize::try_from(line).ok().and_then(|it: usize| it.checked_sub(1));
            at.and_then(|at| order.lines.get(at)).is_some_and(|it| it.amount == Minor::ZERO)
        };
        let left = self.units_left(order, false);
        left.iter().all(|it| is_free(it.line) || asked(it.line) == Some(it.quantity))
    }

    /// All units that are not refunded.
    fn units_left(&self, order: &Order, restock: bool) -> Vec<RefundedLine> {
        let numbered = (1_u32..).zip(&order.lines);
        numbered
            .filter_map(|(line, it)| {
                let quantity = it.quantity.get().saturating_sub(self.units(line));
                Some(RefundedLine { line, quantity: Quantity::new(quantity).ok()?, restock })
            })
            .collect()
    }

    /// Minor units by tender for some units of some lines: the shares that were frozen with the
    /// order, as long as no part of the total has been given back before.
    fn of_lines(
        &self,
        order: &Order,
        lines: &[RefundedLine],
        left: &[(i64, i64)],
        sum: i64,
    ) -> Result<Vec<i64>, Error> {
        if lines.is_empty() {
            return Err(Error::NoLines);
        }
        let mut money = vec![0_i64; order.tenders.len()];
        for (at, asked) in (1..).zip(lines) {
            let number = asked.line;
            let index = usize::try_from(number).ok().and_then(|it| it.checked_sub(1));
            let line = index.and_then(|index| order.lines.get(index));
            let (Some(index), Some(line)) = (index, line) else {
                return Err(Error::UnknownLine { line: number, at });
            };
            if lines.iter().take(at).filter(|it| it.line == number).count() > 1 {
                return Err(Error::LineTwice { line: number, at });
            }
            let before = self.units(number);
            let after = before.saturating_add(asked.quantity.get());
            if after > line.quantity.get() {
                let left = line.quantity.get().saturating_sub(before);
                return Err(Error::ExceedsLine { line: number, at, left });
            }
            let from = order.split(order.amount_before(index, before));
            let until = order.split(order.amount_before(index, after));
            for ((money, from), until) in money.iter_mut().zip(from).zip(until) {
                *money = money.saturating_add(until.saturating_sub(from));
            }
        }
        let requested = money.iter().copied().fold(0, i64::saturating_add);
        if requested > sum {
            return Err(Error::LinesExceedPaid { requested, left: sum });
        }
        // With the last units goes what no card could take before.
        if self.are_last(order, lines) {
            return Ok(left.iter().map(|(money, _)| *money).collect());
        }
        let fits = money.iter().zip(left).all(|(money, (left, _))| money <= left);
        Ok(if fits { money } else { share_out(requested, left, sum) })
    }
}

/// `amount` of what is left, each tender in proportion to what is left of it.
fn share_out(amount: i64, left: &[(i64, i64)], sum: i64) -> Vec<i64> {
    let (mut amount, mut sum) = (amount, sum);
    left.iter()
        .map(|(money, _)| {
            let share = proportion(amount, *money, sum);
            amount = amount.saturating_sub(share);
            sum = sum.saturating_sub(*money);
            share
        })
        .collect()
}

/// The parts of the tenders that give something. Points go back by cumulative shares, rounded
/// down, so that with the last of the money go the last of the points.
fn parts(order: &Order, left: &[(i64, i64)], money: &[i64]) -> Vec<RefundPart> {
    let tenders = (1_u32..).zip(&order.tenders).zip(left.iter().zip(money));
    tenders
        .filter(|(_, (_, money))| **money > 0)
        .map(|((number, tender), ((money_left, points_left), money))| {
            let points = match tender {
                Tender::Points { points, money: whole } => {
                    let rest = money_left.saturating_sub(*money);
                    let back = whole.get().saturating_sub(rest);
                    let target = proportion(back, points.get(), whole.get());
                    let before = points.get().saturating_sub(*points_left);
                    target.saturating_sub(before)
                }
                Tender::Wallet { .. } | Tender::Card { .. } => 0,
            };
            RefundPart {
                tender: number,
                money: Minor::new(*money).unwrap_or(Minor::ZERO),
                points: Points::new(points).unwrap_or(Points::ZERO),
            }
        })
        .collect()
}
