//! A CSV text that knows on which of its lines a byte stands, and whether a quote is open there.
//!
//! The CSV reader's own count is that of the terminators before which it stopped, so it is behind where
//! lines end in `\r\n` or are empty. And it takes a quote that is not closed for a text that goes on, to
//! the end of the file if need be.

use std::collections::VecDeque;
use std::io::{self, Read};

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Most bytes of one row.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// Passes a text on, without a byte order mark.
pub(super) struct Unmarked {
    inner: Box<dyn Read + Send>,
    /// Bytes that were read to see whether they are a mark, and are none.
    ahead: Vec<u8>,
    begun: bool,
}

/// Passes a text on, and remembers where lines that are not empty begin.
pub(super) struct Numbered {
    inner: Unmarked,
    /// Bytes that were passed on.
    passed: u64,
    /// The line that the next byte stands on, from 1.
    line: u64,
    /// Nothing of that line was passed on.
    is_empty: bool,
    /// The last byte was a carriage return.
    returned: bool,
    /// An odd number of quotes was passed on.
    is_odd: bool,
    /// Lines that were not asked for yet.
    begins: VecDeque<Begin>,
}

/// Where a line begins.
#[derive(Debug, Clone, Copy)]
struct Begin {
    /// Its first byte.
    at: u64,
    line: u64,
    /// An odd number of quotes is before it.
    is_odd: bool,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) first: u64,
    pub(super) last: u64,
    /// It has an odd number of quotes.
    pub(super) is_odd: bool,
}

impl Unmarked {
    pub(super) const fn new(inner: Box<dyn Read + Send>) -> Self {
        Self { inner, ahead: Vec::new(), begun: false }
    }

    /// The first bytes, unless they are a mark.
    fn begin(&mut self) -> io::Result<()> {
        let mark = BYTE_ORDER_MARK.len() as u64;
        self.inner.by_ref().take(mark).read_to_end(&mut self.ahead)?;
        if self.ahead == BYTE_ORDER_MARK {
            self.ahead.clear();
        }
        self.begun = true;
        Ok(())
    }
}

impl Read for Unmarked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        if self.ahead.is_empty() {
            return self.inner.read(into);
        }
        let count = self.ahead.len().min(into.len());
        let (to, from) = (into.get_mut(..count), self.ahead.get(..count));
        to.zip(from).into_iter().for_each(|(to, from)| to.copy_from_slice(from));
        self.ahead.drain(..count);
        Ok(count)
    }
}

impl Numbered {
    pub(super) const fn new(inner: Unmarked) -> Self {
        Self {
            inner,
            passed: 0,
            line: 1,
            is_empty: true,
            returned: false,
            is_odd: false,
            begins: VecDeque::new(),
        }
    }

    /// The lines of the text up to a place, of those that are not empty and were not asked for yet.
    pub(super) fn lines(&mut self, until: u64) -> Lines {
        let end = Begin { at: self.passed, line: self.line, is_odd: self.is_odd };
        let first = self.begins.front().copied().unwrap_or(end);
        let mut last = first.line;
        while let Some(begin) = self.begins.pop_front_if(|begin| begin.at < until) {
            last = begin.line;
        }
        // Between the end of a row and the next line that is not empty there is no quote.
        let behind = self.begins.front().copied().unwrap_or(end);
        Lines { first: first.line, last, is_odd: first.is_odd != behind.is_odd }
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends = match byte {
                b'\n' => !self.returned,
                b'\r' => true,
                _ => {
                    if self.is_empty {
                        let (at, line, is_odd) = (self.passed, self.line, self.is_odd);
                        self.begins.push_back(Begin { at, line, is_odd });
                    }
                    self.is_empty = false;
                    self.is_odd ^= *byte == b'"';
                    false
                }
            };
            if ends {
                self.line += 1;
                self.is_empty = true;
            }
            self.returned = *byte == b'\r';
            self.passed += 1;
        }
    }

    /// A row that is too long is one whose quote is not closed, or no row at all.
    fn check_length(&self) -> io::Result<()> {
        match self.begins.front() {
            Some(begin) if self.passed - begin.at > ROW_BYTES_MAX => {
                Err(io::Error::other(format!(
                    "the row of line {} has more than {ROW_BYTES_MAX} bytes: is a quote not closed?",
                    begin.line
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Numbered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.check_length()?;
        let count = self.inner.read(into)?;
        self.note(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_end_and_empty_ones_too() {
        let text = "\u{feff}a\r\n\r\nb\n\n\nc\rd\n";
        let mut numbered = Numbered::new(Unmarked::new(Box::new(text.as_bytes())));
        let mut read = String::new();
        numbered.read_to_string(&mut read).unwrap();
        assert_eq!(read, &text["\u{feff}".len()..]);
        let place = |text: &str| read.find(text).unwrap() as u64;
        let mut lines = |until| {
            let Lines { first, last, is_odd } = numbered.lines(until);
            assert!(!is_odd);
            (first, last)
        };
        assert_eq!(lines(place("b")), (1, 1));
        assert_eq!(lines(place("d")), (3, 6));
        assert_eq!(lines(99), (7, 7));
    }
}
