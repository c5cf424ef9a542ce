//! `accrue serve`: boot, banner, wait for a signal, drain.

use std::path::Path;

use anyhow::{Context, Result};

use crate::boot::{Server, Signals, unless_stopped, unless_stopped_again};
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
    // To be stopped while it boots would leave the private Postgres behind.
    let Some(server) = unless_stopped_again(signals, Server::start(config)).await else {
        return Ok(None);
    };
    let server = server?;
    if signals.heard() {
        server.drain().await?;
        return Ok(None);
    }
    output::announce(&server.banner());
    match ready_file {
        Some(path) => told(server, path).await.map(Some),
        None => Ok(Some(server)),
    }
}

/// A server whose URL was [told](tell); where that cannot be, it is drained.
pub(crate) async fn told(server: Server, path: &Path) -> Result<Server> {
    if let Err(error) = tell(path, &server.url) {
        server.drain().await?;
        return Err(error);
    }
    Ok(server)
}

/// Drains; a second signal ends the process at once.
pub(crate) async fn stop(server: Server, mut signals: Signals) -> Result<()> {
    output::announce("Stopping: what was acknowledged is durable. (Again to stop at once.)");
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
