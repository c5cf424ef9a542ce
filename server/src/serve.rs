//! `accrue serve`: boot, banner, wait for a signal, drain.

use std::path::Path;

use anyhow::{Context, Result};

use crate::boot::{Server, Signals, unless_stopped};
use crate::config::Config;
use crate::output;

/// Serves until told to stop.
pub(crate) async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<()> {
    let mut signals = Signals::listen()?;
    let Some(server) = start(config, ready_file, &mut signals).await? else { return Ok(()) };
    signals.stop().await;
    stop(server, signals).await
}

/// A server that has said that it is ready; none when it was told to stop before it was.
pub(crate) async fn start(
    config: &Config,
    ready_file: Option<&Path>,
    signals: &mut Signals,
) -> Result<Option<Server>> {
    // To be stopped while it boots would leave the private Postgres behind, so that a signal is
    // obeyed when the boot is over; a second one is not waited for.
    let booting = Server::start(config);
    tokio::pin!(booting);
    let server = match unless_stopped(signals, &mut booting).await {
        Some(server) => server?,
        None => {
            let server = unless_stopped(signals, booting).await;
            let Some(server) = server else { return Ok(None) };
            server?.drain().await?;
            return Ok(None);
        }
    };
    output::announce(&server.banner())?;
    if let Some(path) = ready_file {
        tell(path, &server.url)?;
    }
    Ok(Some(server))
}

/// Drains; a second signal ends the process at once.
pub(crate) async fn stop(server: Server, mut signals: Signals) -> Result<()> {
    output::announce("Stopping: what was acknowledged is durable. (Again to stop at once.)")?;
    match unless_stopped(&mut signals, server.drain()).await {
        Some(drained) => drained,
        None => anyhow::bail!("stopped at once; what was acknowledged is durable"),
    }
}

/// Writes the URL for whoever waits for it. Under another name first, so that whoever waits for the file never reads half of it.
pub(crate) fn tell(path: &Path, url: &str) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, format!("{url}\n"))
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
