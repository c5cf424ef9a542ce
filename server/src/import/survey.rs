//! The first pass over a file: how much there is, and where its history begins and ends.

use accrue_domain::id::SaleId;
use anyhow::Result;

use super::Plan;
use super::dates::{DateReader, Moment, Shift};

/// What the first pass found.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// Rows, bad ones too.
    pub(super) rows: u64,
    /// Of the rows that are sales; none where no row is one.
    pub(super) history: Option<History>,
}

/// Where the history of a file begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    /// The first sale in the order of the file.
    pub(super) sale: SaleId,
    /// When that one took place.
    pub(super) first: Moment,
    /// The latest moment of all.
    pub(super) last: Moment,
}

impl History {
    /// Takes in one more sale.
    pub(super) fn add(known: &mut Option<Self>, dates: &DateReader, sale: &SaleId, at: Moment) {
        let Some(history) = known else {
            *known = Some(Self { sale: sale.clone(), first: at, last: at });
            return;
        };
        let instant = |at| dates.instant(at, Shift::default());
        if instant(at) > instant(history.last) {
            history.last = at;
        }
    }
}

/// Reads the file once. Where it begins and ends counts only if it is to be moved.
pub(super) fn survey(plan: &Plan) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut rows = plan.rows()?;
    while let Some(row) = rows.next()? {
        survey.rows += 1;
        if !plan.shift_to_today {
            continue;
        }
        let Ok(sale) = row.and_then(|row| row.sale(plan)) else { continue };
        History::add(&mut survey.history, &plan.dates, &sale.id, sale.at);
    }
    Ok(survey)
}
