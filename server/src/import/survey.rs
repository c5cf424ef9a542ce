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

/// Sales at the beginning of a file that are looked for, to see how far it was moved before: more
/// than are refused in a row, unless all are, and few enough to be asked for one by one.
pub(super) const FIRST_SALES_MAX: usize = 20;

/// Where the history of a file begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    /// The first sales in the order of the file, and when they took place. More than one, since a
    /// server may refuse what the file has right.
    pub(super) first: Vec<(SaleId, Moment)>,
    /// The latest moment of all.
    pub(super) last: Moment,
}

impl History {
    /// Takes in one more sale.
    pub(super) fn add(known: &mut Option<Self>, dates: &DateReader, sale: &SaleId, at: Moment) {
        let history = known.get_or_insert_with(|| Self { first: Vec::new(), last: at });
        if history.first.len() < FIRST_SALES_MAX {
            history.first.push((sale.clone(), at));
        }
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
    rows.check_fields()?;
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sales_are_kept_and_the_latest_moment_of_all() {
        let dates = DateReader::new(None, chrono_tz::Tz::UTC).unwrap();
        let mut history = None;
        for number in 1..=FIRST_SALES_MAX + 1 {
            let at = dates.read(&format!("2011-01-{number:02}")).unwrap();
            History::add(&mut history, &dates, &SaleId::new(&format!("s{number}")).unwrap(), at);
        }
        let History { first, last } = history.unwrap();
        let ids: Vec<_> = first.iter().map(|(sale, _)| sale.as_str().to_owned()).collect();
        assert_eq!(ids.len(), FIRST_SALES_MAX);
        assert_eq!((&*ids[0], &*ids[19]), ("s1", "s20"));
        assert_eq!(last, dates.read("2011-01-21").unwrap());
    }
}
