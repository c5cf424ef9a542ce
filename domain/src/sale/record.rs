//! Recording a sale.

use super::error::Error;
use super::{Event, Line, Recorded, Sale};
use crate::aggregate::Context;
use crate::expiry::instant;
use crate::text;

/// Most lines of one sale.
pub(super) const LINES_MAX: usize = 1_000;

impl Sale {
    pub(super) fn record(
        &self,
        mut asked: Recorded,
        context: &Context<'_>,
    ) -> Result<Vec<Event>, Error> {
        check(&asked, context)?;
        asked.occurred_at = instant(asked.occurred_at)?;
        if let Some(seen) = &self.recorded {
            return if asked == *seen { Ok(Vec::new()) } else { Err(Error::Exists) };
        }
        let Recorded { account, total, lines, occurred_at, reference } = asked;
        Ok(vec![Event::SaleRecorded { account, total, lines, occurred_at, reference }])
    }
}

fn check(asked: &Recorded, context: &Context<'_>) -> Result<(), Error> {
    let (expected, actual) = (context.settings.currency, asked.total.currency);
    if expected != actual {
        return Err(Error::InvalidCurrency { field: "/total/currency", expected, actual });
    }
    if asked.lines.len() > LINES_MAX {
        return Err(Error::InvalidLines("a sale has at most 1000 lines"));
    }
    asked.lines.iter().try_for_each(check_line)?;
    text::check_optional(asked.reference.as_deref())
        .map_err(|why| Error::InvalidText { field: "/reference", why })
}

fn check_line(line: &Line) -> Result<(), Error> {
    if line.quantity == 0 {
        return Err(Error::InvalidLines("a line has a quantity of at least 1"));
    }
    text::check(&line.product).map_err(|why| Error::InvalidText { field: "/lines", why })
}
