//! Rows of a file: CSV or NDJSON, each with its line number, bad ones with their reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};

use accrue_domain::id::{AccountId, SaleId};
use accrue_domain::money::{Currency, Money};
use anyhow::{Context, Result, anyhow, bail, ensure};
use csv::StringRecord;
use serde_json::value::RawValue;

use super::dates::Moment;
use super::mapping::FIELDS;
use super::numbered::{Lines, Numbered, Unmarked};
use super::{Format, Plan, money};

/// Longest line of an NDJSON file.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Longest part of a message that is made of what a file has.
const TEXT_CHARS_MAX: usize = 400;

/// The texts of one row, in the order of the fields that were asked for; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<const N: usize> {
    pub(super) line: u64,
    /// The last line of it: a quoted text may have several.
    pub(super) last: u64,
    pub(super) texts: [String; N],
}

/// A row that cannot become a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

impl BadRow {
    /// A row of these lines. Where a quote is not closed it has more of them than it should have, and the
    /// rows there are no rows.
    pub(super) fn over(line: u64, last: u64, reason: &str) -> Self {
        let mut reason = clipped(reason);
        if last > line {
            let _ = write!(
                reason,
                "; a quoted text reaches to line {last}: where its quote should have ended before, the \
                 rows up to there were not read"
            );
        }
        Self { line, reason }
    }
}

/// A text for people that may have a whole file in it, where a quote is not closed.
fn clipped(text: &str) -> String {
    let mut chars = text.chars();
    let mut clipped: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    clipped
}

/// A row as a sale, not moved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sale {
    pub(super) line: u64,
    pub(super) id: SaleId,
    pub(super) at: Moment,
    pub(super) total: Money,
    pub(super) account: Option<AccountId>,
    pub(super) reference: Option<String>,
}

/// The rows of a file, one by one: of each the texts of `N` fields.
pub(super) enum Rows<const N: usize> {
    Csv {
        reader: Box<csv::Reader<Numbered>>,
        /// Where each field stands in a record.
        places: [Option<usize>; N],
    },
    Ndjson {
        reader: BufReader<Unmarked>,
        names: [Option<String>; N],
        /// Which of them stood in a row so far; none where no row was an object.
        seen: Option<[bool; N]>,
        line: u64,
    },
}

impl<const N: usize> Rows<N> {
    pub(super) fn open(
        source: Box<dyn Read + Send>,
        format: Format,
        delimiter: u8,
        names: [Option<String>; N],
    ) -> Result<Self> {
        let source = Unmarked::new(source);
        if format == Format::Ndjson {
            let reader = BufReader::new(source);
            return Ok(Self::Ndjson { reader, names, seen: None, line: 0 });
        }
        let mut builder = csv::ReaderBuilder::new();
        builder.delimiter(delimiter).trim(csv::Trim::All);
        let mut reader = builder.from_reader(Numbered::new(source));
        let headers = reader.headers().map_err(|error| match error.kind() {
            csv::ErrorKind::Utf8 { .. } => anyhow!("the file is no UTF-8 text"),
            _ => anyhow!("the header line cannot be read: {error}"),
        })?;
        ensure!(!headers.is_empty(), "the file is empty: a header line with columns is needed");
        let places = places(headers, &names)?;
        let ends = reader.position().byte();
        reader.get_mut().lines(ends);
        Ok(Self::Csv { reader: Box::new(reader), places })
    }

    /// The next row; an error is one of the file as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Result<Row<N>, BadRow>>> {
        match self {
            Self::Csv { reader, places } => next_record(reader, places),
            Self::Ndjson { reader, names, seen, line } => next_object(reader, names, seen, line),
        }
    }

    /// To be asked behind the last row: was there each field that is asked for? A CSV file is asked by
    /// its header. Where no row was an object, each has been told of.
    ///
    /// # Errors
    /// Names one that stood in no row.
    pub(super) fn check_fields(&self) -> Result<()> {
        let Self::Ndjson { names, seen: Some(seen), .. } = self else { return Ok(()) };
        let mut unseen = names.iter().zip(seen).filter(|(_, seen)| !**seen);
        match unseen.find_map(|(name, _)| name.as_deref()) {
            None => Ok(()),
            Some(name) => bail!(
                "no row of the file has a field {name:?}: if that is so, leave it out of --map"
            ),
        }
    }
}

fn next_record<const N: usize>(
    reader: &mut csv::Reader<Numbered>,
    places: &[Option<usize>; N],
) -> Result<Option<Result<Row<N>, BadRow>>> {
    let mut record = StringRecord::new();
    let found = reader.read_record(&mut record);
    let ends = reader.position().byte();
    let Lines { first: line, last, is_odd } = reader.get_mut().lines(ends);
    match found {
        // A stray quote within a line is the reader's to judge; one that is open swallows rows.
        Ok(true) if is_odd && last > line => {
            Ok(Some(Err(BadRow::over(line, last, "a quote is not closed"))))
        }
        Ok(false) => Ok(None),
        Ok(true) => {
            let text = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
            Ok(Some(Ok(Row { line, last, texts: places.map(|at| text(at).to_owned()) })))
        }
        Err(error) if error.is_io_error() => Err(anyhow!("the file cannot be read: {error}")),
        Err(error) => {
            let reason = match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("expected {expected_len} columns, got {len}")
                }
                csv::ErrorKind::Utf8 { .. } => "expected UTF-8".to_owned(),
                _ => error.to_string(),
            };
            Ok(Some(Err(BadRow::over(line, last, &reason))))
        }
    }
}

fn next_object<const N: usize>(
    reader: &mut BufReader<Unmarked>,
    names: &[Option<String>; N],
    seen: &mut Option<[bool; N]>,
    line: &mut u64,
) -> Result<Option<Result<Row<N>, BadRow>>> {
    loop {
        let mut bytes = Vec::new();
        let limited = &mut reader.by_ref().take(LINE_BYTES_MAX);
        limited.read_until(b'\n', &mut bytes).context("the file cannot be read")?;
        if bytes.is_empty() {
            return Ok(None);
        }
        *line += 1;
        if bytes.len() as u64 >= LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            bail!("line {line} is longer than {LINE_BYTES_MAX} bytes: is this one object a line?");
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row = object(&bytes, names, seen, *line);
        return Ok(Some(row.map_err(|reason| BadRow::over(*line, *line, &reason))));
    }
}

/// Numbers are taken by their text, so that none passes through a float.
fn object<const N: usize>(
    bytes: &[u8],
    names: &[Option<String>; N],
    seen: &mut Option<[bool; N]>,
    line: u64,
) -> Result<Row<N>, String> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)
        .map_err(|error| format!("expected a JSON object ({error})"))?;
    let text = |name: &str| match fields.get(name).map(|raw| raw.get()) {
        None | Some("null") => Ok(String::new()),
        Some(raw) if raw.starts_with('"') => serde_json::from_str(raw)
            .map(|text: String| text.trim().to_owned())
            .map_err(|error| format!("{name}: {error}")),
        Some(raw) if raw.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            Ok(raw.to_owned())
        }
        Some(_) => Err(format!("{name}: expected a text or a number")),
    };
    for (name, seen) in names.iter().zip(seen.get_or_insert([false; N])) {
        *seen |= name.as_ref().is_none_or(|name| fields.contains_key(name));
    }
    let mut texts = [const { String::new() }; N];
    for (place, name) in texts.iter_mut().zip(names) {
        if let Some(name) = name {
            *place = text(name)?;
        }
    }
    Ok(Row { line, last: line, texts })
}

fn places<const N: usize>(
    headers: &StringRecord,
    names: &[Option<String>; N],
) -> Result<[Option<usize>; N]> {
    let mut places = [None; N];
    for (place, name) in places.iter_mut().zip(names) {
        let Some(name) = name else { continue };
        let mut found = headers.iter().enumerate().filter(|(_, header)| header == name);
        *place = found.next().map(|(at, _)| at);
        if place.is_none() {
            let all = clipped(&headers.iter().collect::<Vec<_>>().join(", "));
            bail!("the file has no column {name:?}; its columns are {all}");
        }
        ensure!(found.next().is_none(), "the file has more than one column {name:?}");
    }
    Ok(places)
}

impl Row<{ FIELDS.len() }> {
    /// Checks the texts.
    pub(super) fn sale(self, plan: &Plan) -> Result<Sale, BadRow> {
        let (line, last) = (self.line, self.last);
        self.checked(plan).map_err(|reason| BadRow::over(line, last, &reason))
    }

    fn checked(self, plan: &Plan) -> Result<Sale, String> {
        let [id, occurred_at, total, account, currency, reference] = self.texts;
        Ok(Sale {
            line: self.line,
            id: SaleId::new(&id).map_err(|error| format!("id: {error}"))?,
            at: plan.dates.read(&occurred_at)?,
            total: money::total(&total, currency_of(&currency, plan.currency)?)?,
            account: account_of(&account)?,
            reference: Some(reference).filter(|it| !it.is_empty()),
        })
    }
}

/// The currency that a row names, or the file's.
pub(super) fn currency_of(text: &str, of_file: Currency) -> Result<Currency, String> {
    if text.is_empty() {
        return Ok(of_file);
    }
    text.parse().map_err(|error| format!("currency: {error}"))
}

/// Whose a row is; an empty text is nobody's.
pub(super) fn account_of(text: &str) -> Result<Option<AccountId>, String> {
    let account = Some(text).filter(|it| !it.is_empty()).map(AccountId::new).transpose();
    account.map_err(|error| format!("account: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{DateReader, Source};

    fn read(format: Format, map: &str, text: &'static str) -> Vec<String> {
        let plan = Plan {
            source: Source::BuiltIn(text.as_bytes()),
            format,
            delimiter: b',',
            mapping: map.parse().unwrap(),
            dates: DateReader::new(None, chrono_tz::Tz::UTC).unwrap(),
            currency: Currency::GBP,
            shift_to_today: false,
            retry_for: std::time::Duration::ZERO,
        };
        let mut rows = plan.rows().unwrap();
        let mut seen = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            seen.push(match row.and_then(|row| row.sale(&plan)) {
                Ok(sale) => {
                    let account = sale.account.map_or("-".to_owned(), |it| it.to_string());
                    format!("{}: {} {account} {}", sale.line, sale.id, sale.total.major())
                }
                Err(bad) => format!("{}: {}", bad.line, bad.reason),
            });
        }
        seen
    }

    #[test]
    fn bad_rows_of_a_csv_file_have_their_line_and_the_others_are_read() {
        let text = "No,Date,Who,Sum\n\
                    1,2010-12-01,17850,139.12\n\
                    2,2010-12-01,,22.200000000000003\n\
                    3,2010-12-01,17850\n\
                    \"4\",2010-12-01,\"a\nb\",1\n\
                    5,yesterday,17850,1\n\
                    a/6,2010-12-01,17850,1\n\
                    7,2010-12-01,17850,-1\n\
                    8,2010-12-01,17850,1\n";
        let seen = read(Format::Csv, "id=No,occurred_at=Date,account=Who,total=Sum", text);
        let starts = [
            "2: 1 17850 139.12",
            "3: 2 - 22.20",
            "4: expected 4 columns, got 3",
            "5: account: expected letters",
            "7: occurred_at: expected a date",
            "8: id: expected letters",
            "9: total: -1 is negative",
            "10: 8 17850 1.00",
        ];
        assert_eq!(seen.len(), starts.len(), "{seen:#?}");
        for (seen, start) in seen.iter().zip(starts) {
            assert!(seen.starts_with(start), "{seen} instead of {start}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let map = "id=No,occurred_at=Date,account=Who,total=Sum";
        let text = "No,Date,Who,Sum\n\n1,2010-12-01,a,x\n\n\n2,2010-12-01\n3,2010-12-01,a,y\n";
        for text in [text.to_owned(), text.replace('\n', "\r\n"), text.replace('\n', "\r")] {
            for text in [text.clone(), format!("\u{feff}{text}")] {
                let seen = read(Format::Csv, map, String::leak(text));
                let lines: Vec<_> = seen.iter().filter_map(|it| it.split_once(':')).collect();
                let lines: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
                assert_eq!(lines, ["3", "6", "7"], "{seen:#?}");
            }
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_says_how_far_it_reaches() {
        let map = "id=No,occurred_at=Date,account=Who,total=Sum";
        let reaches = "a quoted text reaches to line 4";
        for (text, first) in [
            (
                "No,Date,Who,Sum\n1,\"2010-12-01,a,5\n2,2010-12-01,a,5\n3,2010-12-01,a,5\n",
                "2: expected 4",
            ),
            (
                "No,Date,Who,Sum\n1,2010-12-01,a,\"5\n2,2010-12-01,a,5\n3,2010-12-01,a,5\n",
                "2: a quote is not closed",
            ),
            (
                "No,Date,Who,Sum\n1,2010-12-01,\"a,5\n2,2010-12-01,a,5\n3,\"2010-12-01,a,5\n",
                "2: expected 4",
            ),
        ] {
            let seen = read(Format::Csv, map, text);
            assert_eq!(seen.len(), 1, "{seen:#?}");
            assert!(seen[0].starts_with(first) && seen[0].contains(reaches), "{seen:#?}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_swallows_no_row_silently() {
        let map = "id=No,occurred_at=Date,account=Who,total=Sum";
        let good =
            "7,2010-12-01,a,5,\"two\nlines\"\n8,2010-12-01,a,5,5\" pipe\n9,2010-12-01,a,5,\n";
        for (rows, found) in [
            ("1,2010-12-01,a,5,\"oops\n2,2010-12-01,a,5,\n3,2010-12-01,a,5,\n", 1),
            ("1,2010-12-01,a,5,\"oops\n2,2010-12-01,a,5,\"x\"\n3,2010-12-01,a,5,\n", 2),
            ("1,2010-12-01,a,5,\"oops\n\n2,2010-12-01,a,5,\"a \"\"b\"\" c\"\n", 1),
        ] {
            let text = format!("No,Date,Who,Sum,Note\n{good}{rows}");
            let seen = read(Format::Csv, map, String::leak(text));
            assert_eq!(seen[..3], ["2: 7 a 5.00", "4: 8 a 5.00", "5: 9 a 5.00"]);
            assert_eq!(seen.len(), 3 + found, "{seen:#?}");
            let told = "6: a quote is not closed; a quoted text reaches to line ";
            assert!(seen[3].starts_with(told), "{seen:#?}");
        }
    }

    #[test]
    fn a_row_is_not_read_without_end_and_not_told_of_at_length() {
        let map = "id=No,occurred_at=Date,account=Who,total=Sum";
        let long = format!("No,Date,Who,Sum\n1,2010-12-01,a,\"5{}\"\n", "x\n".repeat(5_000));
        let seen = read(Format::Csv, map, String::leak(long));
        assert!(seen[0].len() < 1_000 && seen[0].contains('…'), "{seen:#?}");
        let header = "No,Date,Who,Sum\n1,2010-12-01,a,\"5\n";
        let endless = std::io::Cursor::new(header).chain(std::io::repeat(b'x'));
        let names = ["No", "Date"].map(|name| Some(name.to_owned()));
        let mut rows = Rows::open(Box::new(endless), Format::Csv, b',', names).unwrap();
        let error = rows.next().unwrap_err().to_string();
        assert!(error.contains("the row of line 2 has more than"), "{error}");
    }

    #[test]
    fn a_column_that_is_there_twice_is_not_chosen_from() {
        let names = [Some("Sum".to_owned())];
        let text: &[u8] = b"No,Sum,Sum\n";
        let error = Rows::open(Box::new(text), Format::Csv, b',', names).err().unwrap();
        assert_eq!(error.to_string(), r#"the file has more than one column "Sum""#);
    }

    #[test]
    fn a_field_that_stands_in_no_object_is_found_and_one_that_cannot_be_read_is_there() {
        let missing = |text: &'static str| {
            let names = ["n", "d"].map(|name| Some(name.to_owned()));
            let source = Box::new(text.as_bytes());
            let mut rows = Rows::open(source, Format::Ndjson, b',', names).unwrap();
            while rows.next().unwrap().is_some() {}
            rows.check_fields().err().map(|error| error.to_string())
        };
        assert_eq!(missing("{\"n\":[3],\"d\":1}\n{}"), None);
        assert_eq!(missing("nonsense\n"), None);
        assert!(missing("nonsense\n{\"n\":1}\n{\"n\":2}").unwrap().contains("\"d\""));
    }

    #[test]
    fn numbers_of_an_ndjson_file_are_taken_by_their_text() {
        let text = "\u{feff}{\"n\": 1, \"d\": \"2010-12-01\", \"t\": 22.200000000000003}\n\n\
                    {\"n\": \"2\", \"d\": \"2010-12-01\", \"t\": \"0.005\", \"c\": \"KWD\"}\n\
                    {\"n\": [3], \"d\": \"2010-12-01\", \"t\": 1}\n\
                    nonsense\n\
                    {\"n\": 5, \"d\": \"2010-12-01\", \"t\": 1, \"c\": \"QQQ\"}";
        let seen = read(Format::Ndjson, "id=n,occurred_at=d,total=t,currency=c", text);
        assert_eq!(
            seen[..3],
            ["1: 1 - 22.20", "3: 2 - 0.005", "4: n: expected a text or a number"]
        );
        assert!(seen[3].starts_with("5: expected a JSON object"), "{seen:#?}");
        assert!(seen[4].starts_with("6: currency: expected an ISO 4217"), "{seen:#?}");
    }
}
