//! What time makes of an account's rows: the same as the account itself would settle, without
//! writing anything.
//!
//! - A lapsed lot's free points are gone.
//! - An overdue hold's parts are free again (and gone where their lot has lapsed).
//! - Free points repay a debt: first those that can be spent, then pending ones.

/// Sums over an account's rows at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Free points of all lots.
    pub(crate) free: i64,
    /// Held points of all lots.
    pub(crate) held: i64,
    /// Debt.
    pub(crate) debt: i64,
    /// Of `free`: in lots that have lapsed.
    pub(crate) lapsed: i64,
    /// Of `free`: in lots that have neither begun nor lapsed.
    pub(crate) pending: i64,
    /// Of `held`: by overdue holds, in lots that can be spent.
    pub(crate) back_active: i64,
    /// Of `held`: by overdue holds, in lots that have not begun.
    pub(crate) back_pending: i64,
    /// Of `held`: by overdue holds, in lots that have lapsed.
    pub(crate) back_lapsed: i64,
}

/// What an account has at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) available: i64,
    pub(crate) pending: i64,
    pub(crate) held: i64,
    pub(crate) debt: i64,
    /// What the debt took of the spendable points.
    pub(crate) repaid_active: i64,
    /// What the debt took of the pending ones.
    pub(crate) repaid_pending: i64,
}

impl Settled {
    /// Does the debt take something that is not recorded yet?
    pub(crate) const fn repays(self) -> bool {
        self.repaid_active > 0 || self.repaid_pending > 0
    }
}

impl Totals {
    pub(crate) fn settled(&self) -> Settled {
        let active = self.free - self.lapsed - self.pending + self.back_active;
        let pending = self.pending + self.back_pending;
        let repaid_active = self.debt.min(active);
        let repaid_pending = (self.debt - repaid_active).min(pending);
        Settled {
            available: active - repaid_active,
            pending: pending - repaid_pending,
            held: self.held - self.back_active - self.back_pending - self.back_lapsed,
            debt: self.debt - repaid_active - repaid_pending,
            repaid_active,
            repaid_pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(totals: Totals) -> (i64, i64, i64, i64) {
        let Settled { available, pending, held, debt, .. } = totals.settled();
        (available, pending, held, debt)
    }

    #[test]
    fn lapsed_points_are_gone_and_pending_ones_wait() {
        let totals = Totals { free: 100, held: 5, lapsed: 30, pending: 20, ..Totals::default() };
        assert_eq!(settled(totals), (50, 20, 5, 0));
    }

    #[test]
    fn an_overdue_hold_is_over_and_its_lapsed_parts_are_gone() {
        let back = Totals { back_active: 4, back_pending: 2, back_lapsed: 1, ..Totals::default() };
        assert_eq!(settled(Totals { free: 10, held: 9, ..back }), (14, 2, 2, 0));
    }

    #[test]
    fn what_comes_back_repays_the_debt_spendable_points_first() {
        let back = Totals { back_active: 4, back_pending: 3, held: 7, ..Totals::default() };
        assert_eq!(settled(Totals { debt: 3, ..back }), (1, 3, 0, 0));
        assert_eq!(settled(Totals { debt: 5, ..back }), (0, 2, 0, 0));
        assert_eq!(settled(Totals { debt: 9, ..back }), (0, 0, 0, 2));
    }
}
