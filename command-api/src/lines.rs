//! Lines of a body that comes in pieces, in bounded memory.

use bytes::{Buf, Bytes, BytesMut};

/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Longest line, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Something stands in it.
    Text(Bytes),
    /// It is longer than [`LINE_BYTES_MAX`]; its text is gone.
    TooLong,
}

/// Cuts pieces into lines. Blank lines are counted and left out.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// No line ends before this place in the buffer.
    searched: usize,
    /// The line that is coming in is too long: all of it up to its end is dropped.
    skipping: bool,
    number: u64,
}

impl Lines {
    /// Takes in the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line and its number, from 1; none until another piece came in.
    pub(crate) fn next(&mut self) -> Option<(u64, Line)> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(found) = found else {
                self.keep_bounded();
                return None;
            };
            let line = self.buffer.split_to(self.searched + found).freeze();
            self.buffer.advance(1);
            if let Some(line) = self.take(line) {
                return Some(line);
            }
        }
    }

    /// The rest behind the last line's end, once no piece comes any more.
    pub(crate) fn rest(&mut self) -> Option<(u64, Line)> {
        let line = self.buffer.split().freeze();
        if line.is_empty() && !self.skipping {
            return None;
        }
        self.take(line)
    }

    fn take(&mut self, mut line: Bytes) -> Option<(u64, Line)> {
        self.number += 1;
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        self.searched = 0;
        let too_long = std::mem::take(&mut self.skipping) || line.len() > LINE_BYTES_MAX;
        if too_long {
            return Some((self.number, Line::TooLong));
        }
        let blank = line.iter().all(u8::is_ascii_whitespace);
        (!blank).then_some((self.number, Line::Text(line)))
    }

    fn keep_bounded(&mut self) {
        if self.buffer.len() > LINE_BYTES_MAX {
            self.skipping = true;
        }
        if self.skipping {
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u64, String)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        found.extend(lines.rest());
        let text = |line| match line {
            Line::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Line::TooLong => "too long".to_owned(),
        };
        found.into_iter().map(|(number, line)| (number, text(line))).collect()
    }

    fn lines(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
    }

    #[test]
    fn a_mark_before_the_first_line_is_none_of_it() {
        let marked = [BYTE_ORDER_MARK, b"1\n", BYTE_ORDER_MARK, b"2"].concat();
        assert_eq!(cut([&marked[..]]), lines(&[(1, "1"), (2, "\u{feff}2")]));
    }

    #[test]
    fn lines_are_the_same_however_the_body_is_cut_into_pieces() {
        let body: &[u8] = b"{\"a\":1}\n\n  \r\n{\"b\":2}\r\n{\"c\":3}";
        let whole = cut([body]);
        assert_eq!(whole, lines(&[(1, "{\"a\":1}"), (4, "{\"b\":2}\r"), (5, "{\"c\":3}")]));
        for size in 1..body.len() {
            assert_eq!(cut(body.chunks(size)), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn an_empty_body_has_no_line_and_a_last_end_makes_none() {
        assert_eq!(cut([]), []);
        assert_eq!(cut([&b"\n\n"[..]]), []);
        assert_eq!(cut([&b"a\n"[..]]), lines(&[(1, "a")]));
    }

    #[test]
    fn a_line_of_the_limit_is_taken_and_one_byte_more_is_not() {
        let longest = vec![b'x'; LINE_BYTES_MAX];
        let longer = vec![b'x'; LINE_BYTES_MAX + 1];
        let next: &[u8] = b"\nnext";
        let text = String::from_utf8(longest.clone()).unwrap();
        assert_eq!(cut([&longest, next]), lines(&[(1, &text), (2, "next")]));
        assert_eq!(cut([&longer, next]), lines(&[(1, "too long"), (2, "next")]));
        assert_eq!(cut([&longer[..]]), lines(&[(1, "too long")]));
    }

    #[test]
    fn a_line_that_is_too_long_takes_no_more_memory_than_one_that_is_not() {
        let mut lines = Lines::default();
        for _ in 0..64 {
            lines.push(&[b'x'; 1 << 18]);
            assert_eq!(lines.next(), None);
            assert!(lines.buffer.capacity() <= 4 * LINE_BYTES_MAX);
        }
        lines.push(b"\nnext\n");
        assert_eq!(lines.next(), Some((1, Line::TooLong)));
        assert_eq!(lines.next(), Some((2, Line::Text(Bytes::from_static(b"next")))));
    }
}
