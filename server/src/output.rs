//! Writing to standard output, where a reader that has gone away is no error.

use std::io::{self, Write};

/// Nobody reads what is written any more. For a command that writes for somebody that is its end, and
/// no failure, as for any filter.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

/// Did it end since nobody reads what it writes?
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(says_closed))
}

fn says_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// Writes a line beside work that goes on whether it can be written or not.
pub(crate) fn announce(text: &str) {
    let _unheard = line(text);
}

/// Writes a line to standard error; where that is closed there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let _unheard = writeln!(io::stderr(), "{text}");
}

/// Writes what a command has found, whose exit code says the most of it, also where nobody reads more.
///
/// # Errors
/// When standard output cannot be written though it is open.
pub(crate) fn conclude(text: &str) -> io::Result<()> {
    match line(text) {
        Err(error) if says_closed(&error) => Ok(()),
        done => done,
    }
}

/// Writes a line to standard output.
///
/// # Errors
/// When standard output cannot be written, or [is closed](is_closed).
pub(crate) fn line(text: &str) -> io::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes as they are.
///
/// # Errors
/// As [`line`].
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if is_end(&error) => Err(io::Error::other(Closed)),
        done => done,
    }
}

/// As [`write`], while others of the task's are polled: a reader may take its time.
///
/// # Errors
/// As [`line`].
pub(crate) async fn write_on(bytes: Vec<u8>) -> io::Result<()> {
    tokio::task::spawn_blocking(move || write(&bytes)).await.map_err(io::Error::other)?
}

/// Has the reader of a pipe gone away, or a terminal?
fn is_end(error: &io::Error) -> bool {
    // A disk, too, says that there is an input or output error.
    let to_terminal = || {
        let status = rustix::fs::fstat(io::stdout());
        let kind = status.map(|it| rustix::fs::FileType::from_raw_mode(it.st_mode));
        kind.is_ok_and(|it| it == rustix::fs::FileType::CharacterDevice)
    };
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::PIPE) => true,
        Some(rustix::io::Errno::IO) => to_terminal(),
        _ => false,
    }
}

/// A table: words to the left; columns of numbers to the right, their heading too.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (at, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
            let (left, right) = if of_numbers(rows, at) { (&*pad, "") } else { ("", &*pad) };
            line.push_str(&format!(" {left}{cell}{right}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Do numbers stand in a column, but perhaps for its first cell?
fn of_numbers(rows: &[Vec<String>], at: usize) -> bool {
    let is_number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    at > 0 && rows.iter().skip(1).filter_map(|row| row.get(at)).all(is_number)
}

/// `18532` as `18,532`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 7, 999, 1_000, 18_532, 891_140_790, -1_234].map(grouped);
        assert_eq!(shown, ["0", "7", "999", "1,000", "18,532", "891,140,790", "-1,234"]);
    }

    #[test]
    fn a_table_aligns_words_left_and_numbers_right() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(&[row("name", "n"), row("customers", "4,338"), row("x", "7")]);
        assert_eq!(text, "  name          n\n  customers 4,338\n  x             7\n");
        let text = table(&[row("a", "1"), row("bc", "x"), row("d", "22")]);
        assert_eq!(text, "  a  1\n  bc x\n  d  22\n");
    }
}
