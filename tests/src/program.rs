//! The program under test, as cargo builds it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

/// How long a command may take to come to its end, on a machine that is busy with others.
const RUN_MAX: Duration = Duration::from_secs(120);

static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `accrue` of this workspace, built once a run and in the profile of the tests.
///
/// # Panics
/// When it does not build.
pub fn accrue() -> &'static PathBuf {
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // With the whole workspace, as the tests are: the dependencies are then built once.
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--bin", "accrue"]);
    // The places at which a test lets it die; nothing else differs from what is released.
    cargo.args(["--features", "accrue/failpoints"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // Cargo tells us of our own package. Passed on, it would look like a change to build scripts
    // that watch these names, and have half of the tree built anew each time.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let output = cargo.current_dir(workspace()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = output.output().expect("cargo runs");
    assert!(output.status.success(), "accrue does not build");
    let text = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let messages = text.lines().filter_map(|it| serde_json::from_str(it).ok());
    let built = messages
        .filter(|it: &serde_json::Value| it["target"]["name"] == "accrue")
        .find_map(|it| it["executable"].as_str().map(PathBuf::from));
    built.expect("cargo says where it put the program")
}

/// A command of it, with nothing from the environment that could configure it.
#[must_use]
pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(accrue());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ACCRUE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What a command that ends by itself has said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// What it printed.
    ///
    /// # Panics
    /// When it failed.
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self.out
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs a command of it to its end.
///
/// # Panics
/// When it cannot be run at all, or has not ended after [`RUN_MAX`]: one that serves where it
/// should have refused would be waited for for ever.
pub async fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Said {
    // Files, so that what it has printed is there although it does not end.
    let (out, err) = (file(), file());
    let shared = |file: &File| file.try_clone().expect("a file can be shared");
    let mut command = tokio::process::Command::from(command(arguments));
    command.stdout(shared(&out)).stderr(shared(&err)).kill_on_drop(true);
    let mut child = command.spawn().expect("accrue runs");
    let in_time = timeout(RUN_MAX, child.wait()).await.is_ok();
    if !in_time {
        child.kill().await.expect("a child of ours can be killed");
    }
    let status = child.wait().await.expect("a child of ours can be waited for");
    let said = Said::from(Output { status, stdout: content(out), stderr: content(err) });
    assert!(in_time, "not ended within {RUN_MAX:?}:\n{}\n{}", said.out, said.err);
    said
}

fn file() -> File {
    tempfile::tempfile().expect("a temporary file can be made")
}

fn content(mut file: File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().expect("a file has a beginning");
    file.read_to_end(&mut content).expect("a file of ours can be read");
    content
}

/// Sends a signal to a process that a test has begun.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    kill_process(pid, signal).expect("it is there");
}
