//! Whether streams that are not in memory are likely to be new: while members are taken over from
//! elsewhere, or for a kind whose every command opens a stream, as sales do, a look for what is
//! not there is a sixth of a command's cost.

use std::collections::HashMap;

use accrue_domain::aggregate::Kind;

/// So many streams in a row that were looked for and had no event, before the next is taken for
/// new without a look.
const ROW_MIN: u32 = 256;

/// What that grows to. A wrong guess costs a batch that is rejected, which is as much as some
/// hundred looks.
const ROW_MAX: u32 = 65_536;

/// By what it grows with each batch that is rejected.
const GROWTH: u32 = 4;

/// What loads have shown so far.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// By kind, streams without events since the last one that had some.
    rows: HashMap<Kind, u32>,
    /// How long a row has to be.
    wanted: u32,
    /// Guesses that were right, since the last that was wrong.
    right: u32,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self { rows: HashMap::new(), wanted: ROW_MIN, right: 0 }
    }
}

impl Newcomers {
    /// Is the next stream of this kind taken for new?
    pub(super) fn expects(&self, kind: Kind) -> bool {
        self.rows.get(&kind).is_some_and(|row| *row >= self.wanted)
    }

    /// A stream was looked for; or it is there, and has gone from memory.
    pub(super) fn learn(&mut self, kind: Kind, is_new: bool) {
        let row = self.rows.entry(kind).or_default();
        *row = if is_new { row.saturating_add(1) } else { 0 };
    }

    /// Memory is empty: what is not in it may well be there.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }

    /// A stream that was taken for new was.
    pub(super) fn confirm(&mut self) {
        self.right = self.right.saturating_add(1);
        if self.right >= ROW_MAX {
            self.wanted = ROW_MIN;
        }
    }

    /// A batch with streams that were taken for new met another's event.
    pub(super) fn disappoint(&mut self) {
        self.rows.clear();
        self.right = 0;
        self.wanted = self.wanted.saturating_mul(GROWTH).min(ROW_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(newcomers: &mut Newcomers, count: u32) {
        (0..count).for_each(|_| newcomers.learn(Kind::Account, true));
    }

    #[test]
    fn a_row_of_new_streams_of_a_kind_makes_the_next_expected() {
        let mut newcomers = Newcomers::default();
        seen(&mut newcomers, ROW_MIN - 1);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, 1);
        assert!(newcomers.expects(Kind::Account));
        assert!(!newcomers.expects(Kind::Sale));
    }

    #[test]
    fn a_stream_that_was_there_begins_the_row_anew() {
        let mut newcomers = Newcomers::default();
        seen(&mut newcomers, ROW_MIN);
        newcomers.learn(Kind::Account, false);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, ROW_MIN);
        assert!(newcomers.expects(Kind::Account));
    }

    #[test]
    fn after_each_wrong_guess_the_row_must_be_longer() {
        let mut newcomers = Newcomers::default();
        seen(&mut newcomers, ROW_MIN);
        newcomers.disappoint();
        seen(&mut newcomers, ROW_MIN * GROWTH - 1);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, 1);
        assert!(newcomers.expects(Kind::Account));
        (0..20).for_each(|_| newcomers.disappoint());
        seen(&mut newcomers, ROW_MAX - 1);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, 1);
        assert!(newcomers.expects(Kind::Account));
    }

    #[test]
    fn after_many_right_guesses_a_short_row_is_enough_again() {
        let mut newcomers = Newcomers::default();
        newcomers.disappoint();
        (1..ROW_MAX).for_each(|_| newcomers.confirm());
        seen(&mut newcomers, ROW_MIN);
        assert!(!newcomers.expects(Kind::Account));
        newcomers.confirm();
        assert!(newcomers.expects(Kind::Account));
    }
}
