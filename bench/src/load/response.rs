//! Reads HTTP/1.1 responses from a byte stream, as little of them as a benchmark needs.
//!
//! Written by hand so that the generator takes few cycles from the server it shares a machine with:
//! nothing is allocated for a response once the head buffer has grown.

/// What one response said about itself; its body goes to the caller's closure, piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    /// The server closes the connection after this answer.
    pub close: bool,
}

/// The bytes are not an HTTP/1.1 response.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed response: {0}")]
pub(crate) struct Malformed(&'static str);

const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// A body of known length; so many bytes are missing.
    Fixed(usize),
    /// In the line that gives the length of the next chunk, as read so far.
    ChunkSize {
        size: usize,
        extension: bool,
    },
    ChunkData(usize),
    /// In the line end that follows a chunk's data.
    ChunkEnd,
    /// After the last chunk; counts the bytes of the current trailer line.
    Trailer {
        line: usize,
    },
}

#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    head: Vec<u8>,
    answer: Answer,
}

impl Default for ResponseReader {
    fn default() -> Self {
        let answer = Answer { status: 0, close: false };
        Self { state: State::Head, head: Vec::new(), answer }
    }
}

impl ResponseReader {
    /// Takes bytes as they came from the socket. Returns how many belong to this response and, once
    /// it is complete, the answer; the rest of the bytes is the next response's.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        body: &mut impl FnMut(&[u8]),
    ) -> Result<(usize, Option<Answer>), Malformed> {
        let mut at = 0;
        if self.state == State::Head {
            let (used, complete) = self.take_head(bytes)?;
            at = used;
            if complete {
                return Ok((at, self.finish()));
            }
        }
        while at < bytes.len() {
            let (used, complete) = self.take_body(&bytes[at..], body)?;
            at += used;
            if complete {
                return Ok((at, self.finish()));
            }
        }
        Ok((at, None))
    }

    fn finish(&mut self) -> Option<Answer> {
        self.state = State::Head;
        self.head.clear();
        Some(self.answer)
    }

    /// Reads up to the blank line; true when the response has no body.
    fn take_head(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let before = self.head.len();
        if before == 0
            && let Some(end) = head_end(bytes)
        {
            return Ok((end, self.open(&bytes[..end])?)); // the common case: nothing is copied
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(Malformed("head too long"));
            }
            return Ok((bytes.len(), false));
        };
        let head = std::mem::take(&mut self.head);
        let empty = self.open(&head[..end])?;
        self.head = head;
        Ok((end - before, empty))
    }

    fn open(&mut self, head: &[u8]) -> Result<bool, Malformed> {
        let head = parse_head(head)?;
        self.answer = Answer { status: head.status, close: head.close };
        self.state = match head.body {
            Body::Fixed(0) => return Ok(true),
            Body::Fixed(length) => State::Fixed(length),
            Body::Chunked => State::ChunkSize { size: 0, extension: false },
        };
        Ok(false)
    }

    /// Reads one piece of the body; true when it was the last.
    fn take_body(
        &mut self,
        bytes: &[u8],
        body: &mut impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Malformed> {
        match self.state {
            State::Head => Err(Malformed("body before head")),
            State::Fixed(missing) => {
                let taken = missing.min(bytes.len());
                body(&bytes[..taken]);
                self.state = State::Fixed(missing - taken);
                Ok((taken, taken == missing))
            }
            State::ChunkSize { size, extension } => {
                self.state = chunk_size(size, extension, bytes[0])?;
                Ok((1, false))
            }
            State::ChunkData(missing) => {
                let taken = missing.min(bytes.len());
                body(&bytes[..taken]);
                let done = taken == missing;
                self.state = if done { State::ChunkEnd } else { State::ChunkData(missing - taken) };
                Ok((taken, false))
            }
            State::ChunkEnd => {
                if bytes[0] == b'\n' {
                    self.state = State::ChunkSize { size: 0, extension: false };
                }
                Ok((1, false))
            }
            State::Trailer { line } => match bytes[0] {
                b'\n' if line == 0 => Ok((1, true)),
                b'\n' => {
                    self.state = State::Trailer { line: 0 };
                    Ok((1, false))
                }
                b'\r' => Ok((1, false)),
                _ => {
                    self.state = State::Trailer { line: line + 1 };
                    Ok((1, false))
                }
            },
        }
    }
}

fn chunk_size(size: usize, extension: bool, byte: u8) -> Result<State, Malformed> {
    let digit = match byte {
        b'\n' if size == 0 => return Ok(State::Trailer { line: 0 }),
        b'\n' => return Ok(State::ChunkData(size)),
        b'\r' | b' ' | b'\t' => return Ok(State::ChunkSize { size, extension }),
        _ if extension || byte == b';' => return Ok(State::ChunkSize { size, extension: true }),
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => return Err(Malformed("chunk size")),
    };
    let size = size.checked_mul(16).and_then(|size| size.checked_add(usize::from(digit)));
    let size = size.ok_or(Malformed("chunk size"))?;
    Ok(State::ChunkSize { size, extension: false })
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

enum Body {
    Fixed(usize),
    Chunked,
}

struct Head {
    status: u16,
    close: bool,
    body: Body,
}

fn parse_head(head: &[u8]) -> Result<Head, Malformed> {
    let digits = head.get(9..12).filter(|_| head.starts_with(b"HTTP/1.1 "));
    let status = digits.and_then(number).and_then(|number| u16::try_from(number).ok());
    let status = status.ok_or(Malformed("status line"))?;
    let mut parsed = Head { status, close: false, body: Body::Fixed(0) };
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value).ok_or(Malformed("content-length"))?;
            parsed.body = Body::Fixed(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            parsed.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case(b"connection") {
            parsed.close = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(parsed)
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Answer, Malformed, ResponseReader};

    /// Feeds the pieces one after the other; every answer with its body.
    fn read(pieces: &[&[u8]]) -> Result<Vec<(Answer, String)>, Malformed> {
        let (mut reader, mut answers, mut body) =
            (ResponseReader::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (used, answer) = reader.feed(rest, &mut |part| body.extend_from_slice(part))?;
                rest = &rest[used..];
                if let Some(answer) = answer {
                    let text = String::from_utf8(std::mem::take(&mut body)).unwrap();
                    answers.push((answer, text));
                }
            }
        }
        Ok(answers)
    }

    fn ok(body: &str) -> (Answer, String) {
        (Answer { status: 200, close: false }, body.to_owned())
    }

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
        HTTP/1.1 409 Conflict\r\nContent-Length:0\r\nConnection: close\r\n\r\n";

    #[test]
    fn two_responses_in_one_read_are_told_apart() {
        let conflict = (Answer { status: 409, close: true }, String::new());
        assert_eq!(read(&[TWO]).unwrap(), [ok("hello"), conflict]);
    }

    #[test]
    fn a_response_may_be_cut_anywhere() {
        let whole = read(&[TWO]).unwrap();
        for cut in 1..TWO.len() {
            assert_eq!(read(&[&TWO[..cut], &TWO[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = TWO.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
    }

    #[test]
    fn chunks_are_joined_and_trailers_skipped() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            5;note=1\r\nhello\r\n1A\r\n, twenty-six bytes of text\r\n0\r\nx-sum: 1\r\n\r\n";
        let expected = [ok("hello, twenty-six bytes of text")];
        assert_eq!(read(&[chunked]).unwrap(), expected);
        for cut in 1..chunked.len() {
            let pieces = [&chunked[..cut], &chunked[cut..]];
            assert_eq!(read(&pieces).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_unfinished_response_is_no_answer() {
        assert_eq!(read(&[&TWO[..TWO.len() - 1]]).unwrap().len(), 1);
        assert_eq!(read(&[&TWO[..20]]).unwrap(), []);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(read(&[b"ICY/1.00 200 OK\r\n\r\n"]), Err(Malformed("status line")));
        let no_length = b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n";
        assert_eq!(read(&[no_length]), Err(Malformed("content-length")));
        let bad_chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(read(&[bad_chunk]), Err(Malformed("chunk size")));
    }
}
