//! The card's share of a refund: of some currencies cards take tens of minor units only.

use super::order::{Order, Tender};

/// Makes the card's share of `money`, by tender, one that cards take. What is beyond the last whole
/// step comes from other tenders; where these have nothing left, the card gives a whole step, and
/// they so much less. Where neither can be, the rest stays with the purchase, for its last refund:
/// that much is the answer.
///
/// `left` is what each tender has not given back yet, in its first numbers.
pub(super) fn round(order: &Order, left: &[(i64, i64)], money: &mut [i64]) -> i64 {
    let step = order.total.currency.card_step();
    let Some(card) = order.tenders.iter().position(|it| matches!(it, Tender::Card { .. })) else {
        return 0;
    };
    let (Some(share), Some((of_card, _))) = (money.get(card).copied(), left.get(card)) else {
        return 0;
    };
    let beyond = share.checked_rem(step).unwrap_or(0);
    // The last of it goes back as it was paid.
    if beyond == 0 || share == *of_card {
        return 0;
    }
    let mut whole = share.saturating_sub(beyond);
    let tenders = money.iter_mut().zip(left).enumerate().filter(|(at, _)| *at != card);
    let mut others: Vec<_> = tenders.map(|(_, (money, (left, _)))| (money, *left)).collect();
    let mut rest = beyond;
    for (money, left) in &mut others {
        let more = left.saturating_sub(**money).min(rest);
        **money = money.saturating_add(more);
        rest = rest.saturating_sub(more);
    }
    let given = others.iter().map(|(money, _)| **money).fold(0, i64::saturating_add);
    let mut less = step.saturating_sub(rest);
    if rest > 0 && given >= less && whole.saturating_add(step) <= *of_card {
        for (money, _) in &mut others {
            let it = less.min(**money);
            **money = money.saturating_sub(it);
            less = less.saturating_sub(it);
        }
        whole = whole.saturating_add(step);
        rest = 0;
    }
    if let Some(money) = money.get_mut(card) {
        *money = whole;
    }
    rest
}
