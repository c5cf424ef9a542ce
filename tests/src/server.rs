//! The real server as a process of its own, on a database of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::database::Database;
use crate::eventually::eventually;
use crate::program;

/// Of a log, what a failure shows.
const LOG_LINES_SHOWN: usize = 30;

/// A running server; it is killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it serves.
    pub url: String,
    child: Child,
    arguments: Vec<String>,
    /// What the next start has in its environment.
    environment: BTreeMap<String, String>,
    dir: TempDir,
}

impl Server {
    /// A server on a new database.
    pub async fn create() -> (Database, Self) {
        let database = Database::create().await;
        let server = Self::start(&database).await;
        (database, server)
    }

    /// A server on that database.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(&["--database-url", &database.url]).await
    }

    /// A server with those flags, on a port of its own.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(flags, &[]).await
    }

    /// As [`Server::start_with`], with these variables in its environment.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_in(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let arguments = flags.iter().map(ToString::to_string).collect();
        let environment = environment.iter();
        let environment =
            environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = spawn(&arguments, &environment, "0", &dir);
        let mut server = Self { url: String::new(), child, arguments, environment, dir };
        server.ready().await;
        server
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that speaks to it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Ends it without warning and waits until it is gone.
    ///
    /// # Panics
    /// When it is no child of ours.
    pub fn kill9(&mut self) {
        // A process that has ended already needs no killing.
        let _killed = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Lets it stand still, as a machine does that is paused.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on as if nothing had happened.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server takes signals");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the server ends", async || child.try_wait().expect("a child of ours")).await
    }

    /// Sets a variable of the environment for the next start, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.environment.insert(name.to_owned(), value.to_owned()),
            None => self.environment.remove(name),
        };
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn restart(&mut self) {
        self.begin_restart();
        self.ready().await;
    }

    /// Starts it again on the same port, without waiting until it is ready.
    ///
    /// # Panics
    /// When there is no such program any more.
    pub fn begin_restart(&mut self) {
        let port = self.url.rsplit(':').next().unwrap_or("0").to_owned();
        self.begin_restart_on(&port);
    }

    /// As [`Server::begin_restart`], on any port: another test may have got the old one meanwhile.
    ///
    /// # Panics
    /// As there.
    pub fn begin_restart_elsewhere(&mut self) {
        self.begin_restart_on("0");
    }

    fn begin_restart_on(&mut self, port: &str) {
        // What the last one wrote would speak for the next.
        let _removed = std::fs::remove_file(self.ready_file());
        self.child = spawn(&self.arguments, &self.environment, port, &self.dir);
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends instead, or takes too long.
    pub async fn ready(&mut self) {
        let (file, log) = (self.ready_file(), self.dir.path().join("log"));
        let child = &mut self.child;
        let url = eventually("the server is ready", async || {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("the server ended with {status}:\n{}", tail(&log));
            }
            std::fs::read_to_string(&file).ok()
        });
        self.url = url.await.trim().to_owned();
    }

    /// What it has printed and logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.path().join("url")
    }
}

fn spawn(
    arguments: &Vec<String>,
    environment: &BTreeMap<String, String>,
    port: &str,
    dir: &TempDir,
) -> Child {
    let log = dir.path().join("log");
    // One open file for both, so that they share its end and do not write over each other.
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    let mut command = program::command(["serve", "--port", port, "--ready-file"]);
    command.arg(dir.path().join("url")).args(arguments).current_dir(dir.path());
    command.envs(environment);
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    command.spawn().expect("the server starts")
}

fn tail(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("the end of the server's log:\n{}", tail(&self.dir.path().join("log")));
        }
    }
}
