//! `--lines`: each row is one line of an invoice.
//!
//! The rows of an invoice become one sale, and the goods that a cancellation takes back a return
//! of the sale that they came from. Both need the whole file: an invoice's rows may stand anywhere,
//! and what is cancelled may have been bought a year before. So the file is read into a [`Book`]
//! of 24 bytes a row and some 200 an invoice, at most [`book::ROWS_MAX`] of them, and nothing is sent before it is
//! read to its end. Returns are sent when every sale is durable.
//!
//! What is matched depends on the file's own history up to the cancellation alone: the same file
//! again, or one that goes on after it, comes to the same returns under the same ids.

mod book;
pub(super) mod charges;
mod envelope;
mod returns;
mod row;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use self::book::Book;
use self::charges::Charges;
use self::returns::{Returned, Returns};
use self::row::Mapping;
use self::summary::Summary;
use super::rows::BadRow;
use super::send::{self, Chunks, Target};
use super::survey::History;
use super::{Plan, Progress, Tally};
use crate::client::Client;

/// An import of lines.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) file: Plan<Mapping>,
    pub(super) charges: Charges,
    /// What the id of a cancellation begins with.
    pub(super) cancels: String,
}

/// The file, read and understood.
#[derive(Debug)]
struct Read {
    book: Book,
    returns: Vec<Returned>,
    history: Option<History>,
    summary: Summary,
}

impl Lines {
    /// Reads the file, then sends the sales, then the returns.
    pub(super) async fn run(self, client: &Client) -> Result<Summary> {
        let begun = Instant::now();
        let (dates, retry_for) = (self.file.dates.clone(), self.file.retry_for);
        let shift_to_today = self.file.shift_to_today;
        let read = tokio::task::spawn_blocking(move || self.read()).await??;
        let Read { book, returns, history, mut summary } = read;
        let commands = book.sales.len().saturating_add(returns.len());
        let progress = Progress::new(u64::try_from(commands).unwrap_or(u64::MAX));
        let history = history.as_ref().filter(|_| shift_to_today);
        let shift = || send::shift(&dates, history, client);
        let shift = send::patient(retry_for, &progress, shift).await?;
        let head = send::patient(retry_for, &progress, || client.head()).await?;
        let target = Target { client, progress: &progress, retry_for, head };
        let to_command = envelope::Maker { dates, shift };
        let mut tally = Tally { position: head, ..Tally::default() };
        let book = Arc::new(book);
        let refused = send_sales(target, &to_command, &book, &mut tally).await?;
        summary.sales(&book, &refused);
        let (kept, lost) = returns::of_kept_sales(returns, &book, &refused);
        for bad in &lost {
            progress.bad_row(bad);
        }
        let kept = Arc::new(kept);
        let refused = send_returns(target, to_command, &book, &kept, &mut tally).await?;
        summary.returns(&kept, &refused, lost.len(), &tally);
        progress.finish();
        summary.took = begun.elapsed();
        Ok(summary)
    }

    /// Reads the file once, and reports what cannot become a command.
    fn read(&self) -> Result<Read> {
        let progress = Progress::silent();
        let (mut book, mut summary) = (Book::default(), Summary::new(self.file.currency));
        let mut rows = self.file.rows_of(self.file.mapping.columns())?;
        while let Some(row) = rows.next()? {
            summary.count_row();
            book::check_size(summary.rows)?;
            let entry = row.and_then(|row| row::entry(row, self));
            if let Err(bad) = entry.and_then(|entry| book.add(entry, &self.charges)) {
                summary.refused += 1;
                progress.bad_row(&bad);
            }
        }
        rows.check_fields()?;
        for bad in book.take_out_corrections() {
            summary.refused += 1;
            progress.bad_row(&bad);
        }
        summary.invoices = book.invoices();
        let Returns { returns, unmatched } = returns::matched(&book);
        for bad in &unmatched {
            summary.unmatched += 1;
            progress.bad_row(bad);
        }
        let mut history = None;
        for sale in &book.sales {
            History::add(&mut history, &self.file.dates, &sale.id, sale.at);
        }
        Ok(Read { book, returns, history, summary })
    }
}

/// What was refused: by the line that its command was made of, how often that is.
type Refused = BTreeMap<u64, BadRow>;

/// Sends every sale; they do not depend on each other.
async fn send_sales(
    target: Target<'_>,
    to_command: &envelope::Maker,
    book: &Arc<Book>,
    tally: &mut Tally,
) -> Result<Refused> {
    let (chunks, read) = mpsc::channel(send::REQUESTS_AT_A_TIME);
    let (to_command, book) = (to_command.clone(), Arc::clone(book));
    let reader = tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks::new(chunks);
        for sale in &book.sales {
            if chunks.push(to_command.sale(sale, &book)).is_err() {
                return;
            }
        }
        chunks.end();
    });
    let mut refused = Refused::new();
    let on_bad = |bad: &BadRow| drop(refused.insert(bad.line, bad.clone()));
    send::deliver_all(target, read, send::REQUESTS_AT_A_TIME, tally, on_bad).await?;
    reader.await.context("the maker of the commands ended early")?;
    Ok(refused)
}

/// Sends every return, one request after the other: of several returns of one sale each gives
/// back its share of what was left by those before it.
async fn send_returns(
    target: Target<'_>,
    to_command: envelope::Maker,
    book: &Arc<Book>,
    returns: &Arc<Vec<Returned>>,
    tally: &mut Tally,
) -> Result<Refused> {
    let (chunks, read) = mpsc::channel(1);
    let (book, returns) = (Arc::clone(book), Arc::clone(returns));
    let reader = tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks::new(chunks);
        for returned in returns.iter() {
            if chunks.push(to_command.returned(returned, &book)).is_err() {
                return;
            }
        }
        chunks.end();
    });
    let mut refused = Refused::new();
    let on_bad = |bad: &BadRow| drop(refused.insert(bad.line, bad.clone()));
    send::deliver_all(target, read, 1, tally, on_bad).await?;
    reader.await.context("the maker of the commands ended early")?;
    Ok(refused)
}
