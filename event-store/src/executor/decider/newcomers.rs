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

/// What loads have shown so far, by kind.
#[derive(Debug, Default)]
pub(super) struct Newcomers(HashMap<Kind, Row>);

#[derive(Debug)]
struct Row {
    /// Streams without events since the last one that had some.
    length: u32,
    /// How long it has to be.
    wanted: u32,
    /// Guesses that were right, since the last that was wrong.
    right: u32,
}

impl Default for Row {
    fn default() -> Self {
        Self { length: 0, wanted: ROW_MIN, right: 0 }
    }
}

impl Newcomers {
    /// Is the next stream of this kind taken for new?
    pub(super) fn expects(&self, kind: Kind) -> bool {
        self.0.get(&kind).is_some_and(|row| row.length >= row.wanted)
    }

    /// A stream was looked for; or it is there, and has gone from memory.
    pub(super) fn learn(&mut self, kind: Kind, is_new: bool) {
        let row = self.0.entry(kind).or_default();
        row.length = if is_new { row.length.saturating_add(1) } else { 0 };
    }

    /// Memory has lost something: what is not in it may well be there.
    pub(super) fn forget(&mut self) {
        self.0.values_mut().for_each(|row| row.length = 0);
    }

    /// A stream that was taken for new was.
    pub(super) fn confirm(&mut self, kind: Kind) {
        let row = self.0.entry(kind).or_default();
        row.right = row.right.saturating_add(1);
        if row.right >= ROW_MAX {
            row.wanted = ROW_MIN;
        }
    }

    /// A batch with streams of the kind that were taken for new met another's event.
    pub(super) fn disappoint(&mut self, kind: Kind) {
        let row = self.0.entry(kind).or_default();
        let wanted = row.wanted.saturating_mul(GROWTH).min(ROW_MAX);
        *row = Row { length: 0, wanted, right: 0 };
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
        newcomers.disappoint(Kind::Account);
        seen(&mut newcomers, ROW_MIN * GROWTH - 1);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, 1);
        assert!(newcomers.expects(Kind::Account));
        (0..20).for_each(|_| newcomers.disappoint(Kind::Account));
        seen(&mut newcomers, ROW_MAX - 1);
        assert!(!newcomers.expects(Kind::Account));
        seen(&mut newcomers, 1);
        assert!(newcomers.expects(Kind::Account));
    }

    #[test]
    fn after_many_right_guesses_a_short_row_is_enough_again() {
        let mut newcomers = Newcomers::default();
        newcomers.disappoint(Kind::Account);
        (1..ROW_MAX).for_each(|_| newcomers.confirm(Kind::Account));
        seen(&mut newcomers, ROW_MIN);
        assert!(!newcomers.expects(Kind::Account));
        newcomers.confirm(Kind::Account);
        assert!(newcomers.expects(Kind::Account));
    }

    #[test]
    fn a_kind_is_judged_by_its_own() {
        let mut newcomers = Newcomers::default();
        seen(&mut newcomers, ROW_MIN);
        newcomers.disappoint(Kind::Sale);
        assert!(newcomers.expects(Kind::Account));
        newcomers.disappoint(Kind::Account);
        (0..ROW_MAX).for_each(|_| newcomers.confirm(Kind::Sale));
        seen(&mut newcomers, ROW_MIN);
        assert!(!newcomers.expects(Kind::Account));
        newcomers.forget();
        seen(&mut newcomers, ROW_MIN * GROWTH - 1);
        assert!(!newcomers.expects(Kind::Account), "what was forgotten begins the row anew");
    }
}
