//! A text that knows on which of its lines a byte stands, and has no byte order mark.
//!
//! The CSV reader's own count is that of the terminators before which it stopped, so it is behind where
//! lines end in `\r\n` or are empty.

use std::collections::VecDeque;
use std::io::{self, Read};

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Passes a text on, and remembers where lines that are not empty begin.
pub(super) struct Numbered {
    inner: Box<dyn Read + Send>,
    /// Bytes that were read to see whether they are a mark, and are none.
    ahead: Vec<u8>,
    begun: bool,
    /// Bytes that were passed on.
    passed: u64,
    /// The line that the next byte stands on, from 1.
    line: u64,
    /// Nothing of that line was passed on.
    is_empty: bool,
    /// The last byte was a carriage return.
    returned: bool,
    /// First byte and number of lines, from those that were not asked for yet.
    begins: VecDeque<(u64, u64)>,
}

impl Numbered {
    pub(super) fn new(inner: Box<dyn Read + Send>) -> Self {
        Self {
            inner,
            ahead: Vec::new(),
            begun: false,
            passed: 0,
            line: 1,
            is_empty: true,
            returned: false,
            begins: VecDeque::new(),
        }
    }

    /// The first and the last line of the text between two places, of lines that are not empty. Forgets
    /// what is before.
    pub(super) fn lines(&mut self, from: u64, until: u64) -> (u64, u64) {
        while self.begins.front().is_some_and(|(at, _)| *at < from) {
            self.begins.pop_front();
        }
        let first = self.begins.front().map_or(self.line, |(_, line)| *line);
        let within = self.begins.iter().take_while(|(at, _)| *at < until);
        (first, within.last().map_or(first, |(_, line)| *line))
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends = match byte {
                b'\n' => !self.returned,
                b'\r' => true,
                _ => {
                    if self.is_empty {
                        self.begins.push_back((self.passed, self.line));
                    }
                    self.is_empty = false;
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

impl Read for Numbered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        let count = if self.ahead.is_empty() {
            self.inner.read(into)?
        } else {
            let count = self.ahead.len().min(into.len());
            let (to, from) = (into.get_mut(..count), self.ahead.get(..count));
            to.zip(from).into_iter().for_each(|(to, from)| to.copy_from_slice(from));
            self.ahead.drain(..count);
            count
        };
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
        let mut numbered = Numbered::new(Box::new(text.as_bytes()));
        let mut read = String::new();
        numbered.read_to_string(&mut read).unwrap();
        assert_eq!(read, &text["\u{feff}".len()..]);
        let place = |text: &str| read.find(text).unwrap() as u64;
        assert_eq!(numbered.lines(0, place("b")), (1, 1));
        assert_eq!(numbered.lines(2, place("d") + 1), (3, 7));
        assert_eq!(numbered.lines(place("c"), place("d")), (6, 6));
        assert_eq!(numbered.lines(place("d"), 99), (7, 7));
    }
}
