//! `accrue events`: the log of a running server, or all of it from the database.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use accrue_event_store::codec::Codec;
use accrue_event_store::ledger::PLANS;
use accrue_event_store::log;
use accrue_http::receipt;
use anyhow::{Context, Result};
use clap::Args;
use futures::StreamExt;
use reqwest::Method;
use sqlx::{ConnectOptions, Connection};

use crate::boot::{Signals, unless_stopped};
use crate::client::{CallError, Client};
use crate::config::{ClientFlags, DatabaseFlags, Layers, Place};
use crate::database::{self, Database};
use crate::{logging, output};

/// How long a server that does not answer is waited for before it is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Events that `tail` prints where no beginning is named.
const TAIL_EVENTS_MAX: usize = 20;

/// So far back they are looked for at first, and ten times as far whenever they are not all there.
const REACH: i64 = 100;

/// Which events.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  accrue events tail --follow
  accrue events tail --after 0 --type PointsIssued --account 17850")]
pub(crate) struct TailArgs {
    /// Only events behind this position [default: the last 20 of those that are asked for]
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Only events of this type as they were written, such as PointsIssued
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events of this account
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Wait for more, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    client: ClientFlags,
}

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = "\
With the private PostgreSQL of --data-dir (the server may be running or not), or a given one.

Examples:
  accrue events export --output log.ndjson
  accrue events export | jq 'select(.type == \"PointsIssued\") | .data.points' | paste -sd+ | bc")]
pub(crate) struct ExportArgs {
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Prints events, and with `--follow` those that come.
pub(crate) async fn tail(arguments: &TailArgs) -> Result<()> {
    let client = Client::read(&arguments.client)?;
    let mut signals = Signals::listen()?;
    unless_stopped(&mut signals, print(&client, arguments)).await.unwrap_or(Ok(()))
}

async fn print(client: &Client, arguments: &TailArgs) -> Result<()> {
    let mut after = arguments.after;
    loop {
        match print_on(client, arguments, &mut after).await {
            Ok(()) if !arguments.follow => return Ok(()),
            Ok(()) => {}
            Err(error) => match error.downcast_ref::<CallError>() {
                Some(call) if arguments.follow && call.is_passing() => {}
                _ => return Err(error),
            },
        }
        // The server has gone, or the stream was quiet for long: it goes on where it was.
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Prints what is behind `after`, and moves it. Where it is not known yet, the last events and what
/// comes behind them.
async fn print_on(client: &Client, arguments: &TailArgs, after: &mut Option<i64>) -> Result<()> {
    let from = match *after {
        Some(after) => after,
        None => {
            let (lines, end) = last(client, arguments).await?;
            output::write_on(lines.concat()).await?;
            *after = Some(end);
            end
        }
    };
    read(client, arguments, from, arguments.follow, async |lines| {
        let last = lines.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
        let end = position(client, last.unwrap_or_default())?;
        output::write_on(lines).await?;
        *after = Some(end);
        Ok(())
    })
    .await
}

/// The last events that are asked for, a line each, and the position up to which they are that. They are
/// looked for near the end of the log first.
async fn last(client: &Client, arguments: &TailArgs) -> Result<(Vec<Vec<u8>>, i64)> {
    let head = client.head().await?;
    let mut reach = REACH;
    loop {
        let after = head.saturating_sub(reach).max(0);
        let (mut last, mut end) = (VecDeque::new(), head);
        read(client, arguments, after, false, async |lines| {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                if last.len() == TAIL_EVENTS_MAX {
                    last.pop_front();
                }
                last.push_back(line.to_owned());
            }
            Ok(())
        })
        .await?;
        if let Some(line) = last.back() {
            end = end.max(position(client, line)?);
        }
        if last.len() == TAIL_EVENTS_MAX || after == 0 {
            return Ok((last.into(), end));
        }
        reach = reach.saturating_mul(10);
    }
}

/// Reads what is behind `after`, some whole lines at a time.
async fn read(
    client: &Client,
    arguments: &TailArgs,
    after: i64,
    follow: bool,
    mut each: impl AsyncFnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut query = vec![("after", after.to_string())];
    query.extend(arguments.kind.iter().map(|kind| ("type", kind.clone())));
    query.extend(arguments.account.iter().map(|account| ("account", account.clone())));
    query.extend(follow.then(|| ("follow", "true".to_owned())));
    let request = client.request(Method::GET, "/v1/events").query(&query);
    let response = client.answer(request.header("Accept", "application/x-ndjson")).await?;
    let mut parts = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(part) = parts.next().await {
        rest.extend_from_slice(&part.map_err(|error| client.lost(&error))?);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let behind = rest.split_off(whole);
        let lines = std::mem::replace(&mut rest, behind);
        if !lines.is_empty() {
            each(lines).await?;
        }
    }
    Ok(())
}

fn position(client: &Client, line: &[u8]) -> Result<i64, CallError> {
    let event: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| client.foreign(error.to_string()))?;
    let position = event["position"].as_i64();
    position.ok_or_else(|| client.foreign("an event without a position".to_owned()))
}

/// Writes the whole log.
pub(crate) async fn export(arguments: &ExportArgs) -> Result<()> {
    let place = Place::read(&Layers::of_database(&arguments.database)?)?;
    logging::quiet();
    let count = database::with(&place, async |database: &Database| match &arguments.output {
        None => write_log(database, async |text| Ok(output::write_on(text.into()).await?)).await,
        Some(path) => {
            let wrong = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(wrong)?);
            let write = async |text: String| file.write_all(text.as_bytes()).with_context(wrong);
            let count = write_log(database, write).await?;
            file.flush().with_context(wrong)?;
            Ok(count)
        }
    })
    .await?;
    if let Some(path) = &arguments.output {
        let count = output::grouped(count);
        output::line(&format!("{count} events in {}", path.display()))?;
    }
    Ok(())
}

/// Every event up to the head as it is now, in order; how many there were.
async fn write_log(
    database: &Database,
    mut write: impl AsyncFnMut(String) -> Result<()>,
) -> Result<i64> {
    let mut conn = database.options.clone().options(PLANS).connect().await?;
    database::check_schema(&mut conn, &database.name).await?;
    let head = log::head(&mut conn).await?;
    let (codec, mut at) = (Codec::default(), 0);
    while at < head {
        let limit = log::PAGE_EVENTS_MAX.min(head - at);
        let page = log::read_after(&mut conn, &codec, at, limit).await?;
        let Some(last) = page.last() else { break };
        at = last.position;
        let mut text = String::with_capacity(page.len() * 500);
        for event in &page {
            receipt::write_read(&mut text, event, '\n');
        }
        write(text).await?;
    }
    conn.close().await?;
    Ok(at)
}
