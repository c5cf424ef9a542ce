//! Commands that are stopped, or that nobody reads: none leaves its private Postgres behind.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use accrue_tests::client::Client;
use accrue_tests::eventually::eventually;
use accrue_tests::program;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::private::{folder, postmaster};

/// A data folder, and the file into which its server writes its URL.
struct Place {
    _folder: TempDir,
    data_dir: PathBuf,
    data: String,
    ready: PathBuf,
    ready_file: String,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
        let (data_dir, ready) = (folder.path().join("data"), folder.path().join("ready"));
        let (data, ready_file) = (text(&data_dir), text(&ready));
        Self { _folder: folder, data_dir, data, ready, ready_file }
    }

    fn serve(&self) -> [&str; 7] {
        ["serve", "--port", "0", "--data-dir", &self.data, "--ready-file", &self.ready_file]
    }

    fn postmaster(&self) -> Option<String> {
        postmaster(&self.data_dir)
    }

    /// The client of its server, once that answers.
    async fn client(&self) -> Option<Client> {
        let url = std::fs::read_to_string(&self.ready).ok()?;
        let client = Client::new(url.trim());
        (client.get("/livez").await.status == 200).then_some(client)
    }

    /// A ledger with so many events that no pipe holds them, and no server.
    async fn fill(&self) {
        let mut server = start(DEFAULT, &self.serve(), Stdio::null());
        let client = eventually("it serves", async || self.client().await).await;
        let line = |at| json!({"id": format!("k{at}"), "type": "issue_points", "account": "ann", "points": 1});
        let lines: Vec<_> = (0..1_000).map(|at| line(at).to_string()).collect();
        let answers = client.post_text("/v1/commands", lines.join("\n")).await.expect(200);
        assert_eq!(answers.text.matches("\"status\":201").count(), 1_000);
        assert_eq!(ended(&mut server, &[Signal::TERM]).await, Some(0));
        assert_eq!(self.postmaster(), None);
    }
}

/// SIGHUP as it is at a terminal.
const DEFAULT: &str = "--default-signal=HUP";

/// A command, behind others that make it what it is to be. How it takes SIGHUP would otherwise depend on
/// how the tests were started.
fn command(before: &[&str], arguments: &[&str]) -> Command {
    let plain = program::command(arguments.iter().copied());
    let mut command = Command::new("env");
    command.args(before).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.kill_on_drop(true);
    command
}

fn start(hangup: &str, arguments: &[&str], out: Stdio) -> Child {
    let mut command = command(&[hangup], arguments);
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    command.spawn().expect("accrue runs")
}

/// The exit code of a command that gets these signals.
async fn ended(child: &mut Child, signals: &[Signal]) -> Option<i32> {
    for signal in signals {
        program::signal(child.id().expect("it runs"), *signal);
    }
    child.wait().await.expect("a child of ours").code()
}

/// As [`ended`], of a command that nobody reads, once that holds.
async fn ended_by(
    hangup: &str,
    arguments: &[&str],
    signals: &[Signal],
    when: impl AsyncFn() -> Option<()>,
) -> Option<i32> {
    let mut child = start(hangup, arguments, Stdio::piped());
    drop(child.stdout.take());
    eventually("it has come so far", when).await;
    ended(&mut child, signals).await
}

#[tokio::test]
async fn no_command_leaves_its_cluster_behind_when_it_is_stopped() {
    let place = Place::new();
    let served = async || place.client().await.map(drop);
    // A server serves although nobody reads its banner, and the end of its terminal is a stop.
    assert_eq!(ended_by(DEFAULT, &place.serve(), &[Signal::HUP], served).await, Some(0));
    assert_eq!(place.postmaster(), None, "after a server");
    std::fs::remove_file(&place.ready).expect("it was there");
    // Two signals are a stop at once, but here the first is none.
    let signals = [Signal::HUP, Signal::TERM];
    let under_nohup = ended_by("--ignore-signal=HUP", &place.serve(), &signals, served).await;
    assert_eq!(under_nohup, Some(0));
    assert_eq!(place.postmaster(), None, "after a server under nohup");
    let started = async || place.postmaster().map(drop);
    let verify = ["verify", "--data-dir", &*place.data];
    let republish = [
        "relay",
        "republish",
        "--from=1",
        "--topic=again",
        "--kafka-bootstrap=127.0.0.1:9",
        "--data-dir",
        &*place.data,
    ];
    for command in [&verify[..], &republish] {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let code = ended_by(DEFAULT, command, &[signal], started).await;
            assert!(matches!(code, Some(0 | 1)), "{command:?}, {signal:?}: {code:?}");
            assert_eq!(place.postmaster(), None, "{command:?}, {signal:?}");
        }
    }
}

#[tokio::test]
async fn an_export_ends_with_its_reader_and_can_be_stopped_while_that_stands_still() {
    let place = Place::new();
    place.fill().await;
    let export = ["events", "export", "--data-dir", &*place.data];
    let unread = ended_by(DEFAULT, &export, &[], async || Some(())).await;
    assert_eq!((unread, place.postmaster()), (Some(0), None));
    let mut child = start(DEFAULT, &export, Stdio::piped());
    let pipe = child.stdout.take().expect("it has one");
    let is_full = async || {
        let waiting = rustix::io::ioctl_fionread(&pipe).expect("a pipe can be asked");
        (waiting >= 1 << 16).then_some(())
    };
    eventually("the pipe is full", is_full).await;
    assert_eq!(ended(&mut child, &[Signal::TERM]).await, Some(1));
    assert_eq!(place.postmaster(), None);
}

#[tokio::test]
async fn a_server_ends_in_order_when_its_terminal_is_gone() {
    let place = Place::new();
    let (terminal, program) = terminal();
    let mut command = command(&[DEFAULT, "setsid", "--ctty"], &place.serve());
    // Nobody reads what is written there, and it holds a few kilobytes.
    command.env("ACCRUE_LOG_FILTER", "error");
    let shared = || program.try_clone().expect("a file can be shared");
    command.stdin(shared()).stdout(shared()).stderr(shared());
    let mut child = command.spawn().expect("accrue runs");
    drop((command, program));
    eventually("it serves", async || place.client().await).await;
    drop(terminal);
    assert_eq!(ended(&mut child, &[]).await, Some(0));
    assert_eq!(place.postmaster(), None);
}

/// A terminal: the end where people are, and that of programs.
fn terminal() -> (OwnedFd, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::openpt(flags).expect("there are terminals");
    rustix::pty::grantpt(&terminal).expect("it is ours");
    rustix::pty::unlockpt(&terminal).expect("it is ours");
    let name = rustix::pty::ptsname(&terminal, Vec::new()).expect("it has a name");
    let name = name.into_string().expect("a path of text");
    let no_owner = i32::try_from(OFlags::NOCTTY.bits()).expect("a small number");
    let mut options = OpenOptions::new();
    let program = options.read(true).write(true).custom_flags(no_owner).open(name);
    (terminal, program.expect("it can be opened"))
}

#[tokio::test]
async fn a_server_that_cannot_say_that_it_is_ready_leaves_nothing_behind() {
    let place = Place::new();
    let nowhere = place.data_dir.join("no/such/folder");
    let nowhere = nowhere.to_str().expect("a path of text");
    let serve = ["serve", "--port", "0", "--data-dir", &*place.data, "--ready-file", nowhere];
    let said = program::run(serve).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("error: cannot write"), "{said:?}");
    assert_eq!(place.postmaster(), None);
}

#[tokio::test]
async fn a_command_that_waits_for_its_database_ends_with_the_second_signal() {
    let place = Place::new();
    place.fill().await;
    let lock = File::open(place.data_dir.join("start.lock")).expect("it is there");
    lock.lock().expect("nobody else holds it");
    let mut child = start(DEFAULT, &["verify", "--data-dir", &place.data], Stdio::null());
    let status = format!("/proc/{}/status", child.id().expect("it runs"));
    let listens = async || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        let caught = u64::from_str_radix(caught, 16).ok()?;
        let signal = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
        (caught & signal(Signal::TERM) != 0 && caught & signal(Signal::INT) != 0).then_some(())
    };
    eventually("it listens", listens).await;
    assert_eq!(ended(&mut child, &[Signal::INT, Signal::TERM]).await, Some(1));
}

#[tokio::test]
async fn who_is_not_heard_at_all_fails_as_others_do() {
    let import = ["import", "sales", "none.csv", "--map", "id=a,occurred_at=b,total=c"];
    let mut plain = program::command(import);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let unheard = plain.stdout(Stdio::null()).stderr(writer).status().expect("accrue runs");
    assert_eq!(unheard.code(), Some(1));
}
