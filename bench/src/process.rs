//! The servers under test: started as processes of their own, ended by process number.

use crate::load::client::Client;
use crate::machine::Memory;
use crate::postgres::Database;
use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const READY_WAIT_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Of a server's log, what is shown when it fails.
const LOG_TAIL_LINES: usize = 15;

#[derive(Debug)]
pub(crate) struct Server {
    pub address: SocketAddr,
    child: Child,
    log: NamedTempFile,
}

/// Starts `accrue serve` on the database and waits until it is ready.
pub(crate) async fn accrue(
    binary: &Path,
    database: &Database,
    roles: &str,
) -> anyhow::Result<Server> {
    accrue_with(binary, database, roles, &[]).await
}

/// As [`accrue`], with more flags.
pub(crate) async fn accrue_with(
    binary: &Path,
    database: &Database,
    roles: &str,
    more: &[&str],
) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("--database-url").arg(database.url());
    command.arg("--port").arg(port.to_string()).arg("--roles").arg(roles).args(more);
    start(command, port).await.with_context(|| format!("starting {}", binary.display()))
}

/// Starts this program's own `baseline serve` and waits until it is ready.
pub(crate) async fn baseline(database: &Database, pool_size: u32) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["baseline", "serve", "--database-url"]).arg(database.url());
    command.arg("--port").arg(port.to_string()).arg("--pool").arg(pool_size.to_string());
    start(command, port).await.context("starting the baseline")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}

async fn start(mut command: Command, port: u16) -> anyhow::Result<Server> {
    let log = NamedTempFile::with_prefix("accrue-bench-server-")?;
    // One open file for both, so that they share its end and do not write over each other.
    let end = log.reopen()?;
    command.stdin(Stdio::null()).stdout(end.try_clone()?).stderr(end).kill_on_drop(true);
    let child = command.spawn()?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut server = Server { address, child, log };
    server.wait_ready().await?;
    Ok(server)
}

impl Server {
    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + READY_WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}; the end of its log:\n{}", self.log_tail());
            }
            if self.is_ready().await {
                return Ok(());
            }
            if Instant::now() > limit {
                bail!("it is not ready after {READY_WAIT_MAX:?}; its log:\n{}", self.log_tail());
            }
            sleep(POLL).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut client) = Client::connect(self.address).await else { return false };
        matches!(client.get("/readyz").await, Ok((200, _)))
    }

    /// Waits until an account can be read as of this position: the read models have come so far.
    pub(crate) async fn wait_position(&self, account: &str, position: u64) -> anyhow::Result<()> {
        self.wait_shown(&format!("/v1/accounts/{account}"), position).await
    }

    /// Waits until a resource can be read as of this position.
    pub(crate) async fn wait_shown(&self, resource: &str, position: u64) -> anyhow::Result<()> {
        let mut client = Client::connect(self.address).await?;
        let path = format!("{resource}?min_position={position}");
        let limit = Instant::now() + Duration::from_secs(1800);
        while Instant::now() < limit {
            match client.get(&path).await? {
                (200, _) => return Ok(()),
                (503, _) => sleep(POLL).await,
                (status, body) => bail!("{path}: {status}: {}", String::from_utf8_lossy(&body)),
            }
        }
        bail!("the read models did not reach position {position}")
    }

    /// Waits until memory is filled with what was used last.
    pub(crate) async fn wait_filled(&self) -> anyhow::Result<()> {
        let mut client = Client::connect(self.address).await?;
        let limit = Instant::now() + Duration::from_secs(1800);
        while Instant::now() < limit {
            let (_, text) = client.get("/metrics").await?;
            let text = String::from_utf8_lossy(&text);
            match text.lines().find_map(|line| line.strip_prefix("accrue_cache_filling ")) {
                Some("0") => return Ok(()),
                Some(_) => sleep(POLL).await,
                None => bail!("/metrics does not say whether memory is being filled"),
            }
        }
        bail!("memory was not filled")
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        Memory::of(self.child.id()?)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("a server ended during the run with {status}:\n{}", self.log_tail());
        }
        self.child.kill().await.context("ending a server")
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

/// Runs a command of the accrue binary to its end; how long it took.
pub(crate) async fn run_accrue(
    binary: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> anyhow::Result<Duration> {
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let started = Instant::now();
    let output = command.output().await.with_context(|| format!("running {}", binary.display()))?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(started.elapsed())
}

/// Beside this program, so that both are of one profile and one target folder.
pub(crate) fn default_binary() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("accrue")
}

#[cfg(test)]
mod tests {
    use super::{free_port, run_accrue, start};
    use std::path::Path;
    use tokio::process::Command;

    #[tokio::test]
    async fn a_server_that_does_not_come_up_is_reported_with_the_end_of_its_log() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo the port is taken >&2; exit 3"]);
        let failure = start(command, free_port().unwrap()).await.unwrap_err().to_string();
        assert!(failure.starts_with("it ended with exit status: 3"), "{failure}");
        assert!(failure.ends_with("\n100\nthe port is taken"), "{failure}");
        assert!(!failure.contains("\n50\n"), "{failure}");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_not_timed() {
        let failure = run_accrue(Path::new("sh"), ["-c", "echo no database >&2; exit 1"]).await;
        assert_eq!(failure.unwrap_err().to_string(), "exit status: 1: no database");
    }
}
