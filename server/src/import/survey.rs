//! The first pass over a file: how much there is, and where its history begins and ends.

use anyhow::Result;
use chrono::NaiveDate;

use super::Plan;
use super::rows::Sale;

/// What the first pass found.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// Rows, bad ones too.
    pub(super) rows: u64,
    /// The first row that is a sale.
    pub(super) first: Option<Sale>,
    /// The last day of all sales.
    pub(super) last_day: Option<NaiveDate>,
}

/// Reads the file once.
pub(super) fn survey(plan: &Plan) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut rows = plan.rows()?;
    while let Some(row) = rows.next()? {
        survey.rows += 1;
        let Ok(sale) = row.and_then(|row| row.sale(plan)) else { continue };
        let day = plan.dates.day(sale.at);
        survey.last_day = survey.last_day.max(Some(day));
        survey.first.get_or_insert(sale);
    }
    Ok(survey)
}
