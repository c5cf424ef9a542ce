//! `accrue import sales`: a file's rows become commands, through the public API like anybody's.
//!
//! Keys are made of the sales' own ids, so a second import changes nothing, and one that was cut
//! off goes on where it was. Nothing in the file can stop an import: what cannot become a command
//! is told with its line and reason, and the rest goes in.
//!
//! A row is a sale, or with `--lines` one line of a sale: see `lines.rs`.

mod catalogue;
mod dates;
mod lines;
mod mapping;
mod money;
mod numbered;
mod progress;
mod rows;
mod send;
mod survey;
mod tally;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use accrue_domain::expiry::zone::Zone;
use accrue_domain::money::Currency;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use crate::client::Client;
use crate::config::ClientFlags;
use crate::output;

pub(crate) use catalogue::Catalogue;
pub(crate) use dates::DateReader;
pub(crate) use lines::charges::Charges;
pub(crate) use mapping::Mapping;
pub(crate) use progress::Progress;
pub(crate) use tally::Tally;

pub(crate) const EXAMPLES: &str = "\
--map says which column holds what: id, occurred_at and total are needed; account, currency and
reference may be left out. Totals are in major units (139.12) and are rounded half up.

With --lines a row is one line of an invoice: id, occurred_at, product, quantity and price (of one
unit) are needed. The rows of one id become one sale, wherever they stand. A cancellation becomes a
return of the newest earlier invoice of the same account that has so many units left. What is
neither is reported with its line and reason; so is a discount, since no amount is below zero.

Examples:
  accrue import sales invoices.csv \\
    --map id=InvoiceNo,occurred_at=InvoiceDate,account=CustomerID,total=TotalPrice
  accrue import sales till.csv --delimiter ';' --date-format '%d.%m.%Y %H:%M' --zone Europe/Berlin \\
    --currency EUR --map id=Bon,occurred_at=Datum,total=Summe
  accrue import sales sales.ndjson --map id=id,occurred_at=time,account=member,total=total
  accrue import sales sales.ndjson --map id=id,occurred_at=time,total=total --print \\
    | kcat -P -b localhost:9092 -t accrue.commands.default
  accrue import sales --lines lines.csv --date-format '%m-%d-%Y %H:%M' --zone Europe/London \\
    --map id=No,occurred_at=Date,account=Who,product=Code,quantity=Units,price=Each";

/// What is imported, and how it is to be read.
#[derive(Debug, Args)]
pub(crate) struct SalesArgs {
    /// The file: CSV with a header line, or one JSON object a line
    file: PathBuf,
    /// A row is one line of an invoice, and the rows of an invoice become one sale
    #[arg(long)]
    lines: bool,
    /// Which column holds what: id=…,occurred_at=…,total=…[,account=…,currency=…,reference=…];
    /// with --lines product=…,quantity=…,price=… instead of total and reference
    #[arg(long, value_name = "FIELD=COLUMN,…")]
    map: String,
    /// Products of --lines that are no goods but charges; `*` stands for any ending
    #[arg(long, value_name = "CODE,…", default_value = lines::charges::USUAL, requires = "lines")]
    charges: Charges,
    /// What the id of a cancellation begins with, in a file of --lines
    #[arg(long, value_name = "TEXT", default_value = "C", requires = "lines")]
    cancellations: String,
    /// How the file is written [default: by its name's ending]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the columns of a CSV file: one ASCII character, or `tab`
    #[arg(long, default_value = ",", value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: u8,
    /// How dates are written, as in strftime [default: ISO 8601]
    #[arg(long, value_name = "FORMAT")]
    date_format: Option<String>,
    /// Time zone of dates that name none
    #[arg(long, default_value = "UTC", value_name = "NAME")]
    zone: Zone,
    /// Currency of totals whose row names none
    #[arg(long, default_value = "GBP", value_name = "CODE")]
    currency: Currency,
    /// Move all dates by the same number of days, so that the last is today, or yesterday where its
    /// clock time is still to come; a file that was imported before, as far as then
    #[arg(long)]
    shift_to_today: bool,
    /// Print the commands, one a line, instead of sending them: for a topic of commands
    #[arg(long, conflicts_with_all = ["lines", "shift_to_today"])]
    print: bool,
    /// How long a server that does not answer is waited for
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    retry_for: u64,
    #[command(flatten)]
    client: ClientFlags,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Csv,
    Ndjson,
}

/// Where the bytes are. Read twice: to survey, and to send.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(PathBuf),
    BuiltIn(&'static [u8]),
}

/// Everything about one import, by what its rows are mapped to.
#[derive(Debug, Clone)]
pub(crate) struct Plan<M = Mapping> {
    pub(crate) source: Source,
    pub(crate) format: Format,
    pub(crate) delimiter: u8,
    pub(crate) mapping: M,
    pub(crate) dates: DateReader,
    pub(crate) currency: Currency,
    pub(crate) shift_to_today: bool,
    pub(crate) retry_for: Duration,
}

/// Imports a file and prints how it went.
pub(crate) async fn run(arguments: SalesArgs) -> Result<ExitCode> {
    if arguments.print {
        let plan = Plan::<Mapping>::of(arguments)?;
        let fits = tokio::task::spawn_blocking(move || send::print(&plan)).await??;
        return Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let client = Client::read(&arguments.client)?;
    let nothing_fits = if arguments.lines {
        let (charges, cancels) = (arguments.charges.clone(), arguments.cancellations.clone());
        let file = Plan::of(arguments)?;
        let summary = lines::Lines { file, charges, cancels }.run(&client).await?;
        output::conclude(summary.to_string().trim_end())?;
        summary.nothing_fits()
    } else {
        let tally = Plan::<Mapping>::of(arguments)?.run(&client).await?;
        output::conclude(&tally.to_string())?;
        tally.bad > 0 && tally.bad == tally.rows
    };
    // A file of which nothing fits was read with a wrong mapping or date format.
    Ok(if nothing_fits { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl<M: FromStr<Err = String>> Plan<M> {
    fn of(arguments: SalesArgs) -> Result<Self> {
        let format = match arguments.format {
            Some(format) => format,
            None => by_name(&arguments.file)?,
        };
        let dates = DateReader::new(arguments.date_format, arguments.zone.tz())?;
        Ok(Self {
            source: Source::File(arguments.file),
            format,
            delimiter: arguments.delimiter,
            mapping: arguments.map.parse().map_err(|error| anyhow!("--map: {error}"))?,
            dates,
            currency: arguments.currency,
            shift_to_today: arguments.shift_to_today,
            retry_for: Duration::from_secs(arguments.retry_for),
        })
    }
}

impl<M> Plan<M> {
    fn rows_of<const N: usize>(&self, names: [Option<String>; N]) -> Result<rows::Rows<N>> {
        rows::Rows::open(self.source.open()?, self.format, self.delimiter, names)
    }
}

impl Plan {
    /// Surveys the file, then sends it.
    pub(crate) async fn run(&self, client: &Client) -> Result<Tally> {
        let plan = self.clone();
        let survey = tokio::task::spawn_blocking(move || survey::survey(&plan)).await??;
        send::send(self, &survey, client).await
    }

    fn rows(&self) -> Result<rows::Rows<{ mapping::FIELDS.len() }>> {
        self.rows_of(self.mapping.columns())
    }
}

impl Source {
    fn open(&self) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::File(path) => {
                let file =
                    File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                if file.metadata().is_ok_and(|it| it.is_dir()) {
                    bail!("{} is a folder", path.display());
                }
                Ok(Box::new(file))
            }
            Self::BuiltIn(bytes) => Ok(Box::new(*bytes)),
        }
    }
}

/// Shells hand a tab over as it is only where it is quoted in their own way.
fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        b"tab" | br"\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n') => Ok(*one),
        _ => Err("expected one ASCII character that is no quote, or tab"),
    }
}

fn by_name(file: &Path) -> Result<Format> {
    let ending = file.extension().and_then(|it| it.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "txt" => Ok(Format::Csv),
        "ndjson" | "jsonl" => Ok(Format::Ndjson),
        _ => bail!("{}: cannot tell CSV from NDJSON by the name: say --format", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::delimiter;

    #[test]
    fn a_tab_can_be_said_in_every_shell() {
        let delimiters = [";", "\t", "tab", r"\t"].map(|text| delimiter(text).ok());
        assert_eq!(delimiters, [Some(b';'), Some(b'\t'), Some(b'\t'), Some(b'\t')]);
        for text in ["", ";;", "\"", "\n", "→"] {
            assert!(delimiter(text).is_err(), "{text:?}");
        }
    }
}
