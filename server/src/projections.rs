//! `accrue projections` and `accrue verify`: the read models, seen to from outside the server.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use accrue_event_store::codec::Codec;
use accrue_projections::model::MODELS;
use accrue_projections::rebuild::{self, Progress};
use accrue_projections::verify::{self, Finding};
use anyhow::Result;
use sqlx::{ConnectOptions, Connection};

use crate::database::{self, Database};
use crate::output::{self, grouped};

/// Prints every read model and how far it has come.
pub(crate) async fn list(database: &Database) -> Result<()> {
    let mut conn = database.options.connect().await?;
    database::check_schema(&mut conn, &database.name).await?;
    let mut rows =
        vec![["name", "version", "position", "behind", "parked"].map(str::to_owned).to_vec()];
    for it in accrue_projections::list::list(&mut conn).await? {
        let version = it.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        let parked = grouped(i64::try_from(it.parked).unwrap_or(i64::MAX));
        rows.push(vec![it.name.to_owned(), version, grouped(it.position), grouped(it.lag), parked]);
    }
    output::write(output::table(&rows).as_bytes())?;
    conn.close().await?;
    Ok(())
}

/// Builds a read model anew and says how it goes.
pub(crate) async fn rebuild(database: &Database, name: &str) -> Result<()> {
    check_schema(database).await?;
    let begun = std::time::Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let show = |progress: Progress| {
        if terminal {
            let (position, head) = (grouped(progress.position), grouped(progress.head));
            transient(&format!("{position} of {head} events"));
        }
    };
    let done = rebuild::rebuild(&database.options, &Codec::default(), name, show).await;
    if terminal {
        transient("");
    }
    let done = done?;
    let (position, took) = (grouped(done.position), begun.elapsed());
    output::line(&format!(
        "{name} was built anew up to position {position} in {}.{} s",
        took.as_secs(),
        took.subsec_millis() / 100
    ))?;
    if done.parked > 0 {
        output::line(&format!("{} streams could not be digested and are parked", done.parked))?;
    }
    Ok(())
}

/// Verifies, and prints what differs.
pub(crate) async fn verify(database: &Database) -> Result<ExitCode> {
    check_schema(database).await?;
    let mut seen: Vec<(&'static str, i64)> = Vec::new();
    let terminal = std::io::stderr().is_terminal();
    let show = |progress: accrue_projections::verify::Progress| {
        let accrue_projections::verify::Progress { subject, position, until } = progress;
        match seen.last_mut().filter(|(last, _)| *last == subject) {
            Some((_, known)) => *known = position,
            None => seen.push((subject, position)),
        }
        if terminal {
            transient(&format!("{subject}: {} of {} events", grouped(position), grouped(until)));
        }
    };
    let findings = verify::verify(&database.options, &Codec::default(), show).await;
    if terminal {
        transient("");
    }
    let findings = findings?;
    for finding in &findings {
        let Finding { subject, position, detail } = finding;
        output::conclude(&format!("{subject}: position {position}: {detail}"))?;
    }
    if !findings.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let head = seen.iter().map(|(_, position)| *position).max().unwrap_or(0);
    let models: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    output::line(&format!(
        "{} events: the hash chain holds, and {} equal the fold of the log",
        grouped(head),
        models.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn check_schema(database: &Database) -> Result<()> {
    let mut conn = database.options.connect().await?;
    database::check_schema(&mut conn, &database.name).await?;
    conn.close().await?;
    Ok(())
}

/// A line on the terminal that the next one takes the place of.
fn transient(text: &str) {
    let _unseen = write!(std::io::stderr(), "\r\x1b[K{text}");
}
