//! The programs of the cluster: makes it, starts it, stops it, and reads what they leave behind.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::binaries::Binaries;
use crate::error::Error;
use crate::layout::{DATABASE, Layout, PORT, ROLE, private_dir, socket_lock};
use crate::options::Options;
use crate::os_user::OsUser;

/// At a start beyond this size the log moves to `postgres.log.1`, so two files bound it.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_TAIL_BYTES_MAX: u64 = 16 * 1024;

/// From how much memory on a process of Postgres gives what it has freed back to the system, in one
/// piece or at the end of its heap (glibc's malloc). Each batch needs some hundred kilobytes for a
/// moment, and what was given back comes again by page faults.
const FREED_KEPT_BYTES: u32 = 16 * 1024 * 1024;

/// Everything that it takes to run the programs of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Postmaster {
    pub(crate) layout: Layout,
    pub(crate) user: OsUser,
    pub(crate) binaries: Binaries,
    pub(crate) options: Options,
}

/// What `postmaster.pid` says of the process that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: u32,
    pub(crate) socket_dir: Option<PathBuf>,
}

impl Postmaster {
    /// Makes the cluster under another name and renames it, so that a crash leaves none by halves.
    pub(crate) async fn make_cluster(&self) -> Result<(), Error> {
        let unfinished = self.unfinished()?;
        let mut initdb = self.user.command(&self.binaries.program("initdb"));
        initdb.args(["-U", ROLE, "--encoding=UTF8", "--locale=C", "--data-checksums"]);
        initdb.args(["--auth-local=trust", "--auth-host=reject"]);
        if !self.options.fsync {
            initdb.arg("--no-sync");
        }
        initdb.arg("-D").arg(&unfinished);
        run("initdb", initdb).await?;
        self.finish(&unfinished)
    }

    /// Copies a running cluster into one that replays what that one writes, under that name.
    pub(crate) async fn copy_cluster(&self, socket_dir: &Path, name: &str) -> Result<(), Error> {
        let unfinished = self.unfinished()?;
        let socket_dir = socket_dir.to_string_lossy();
        let source = format!("host='{socket_dir}' port={PORT} user={ROLE} application_name={name}");
        let mut copy = self.user.command(&self.binaries.program("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "-d"]);
        copy.arg(source).arg("-D").arg(&unfinished);
        run("pg_basebackup", copy).await?;
        self.finish(&unfinished)
    }

    fn unfinished(&self) -> Result<PathBuf, Error> {
        let data_dir = &self.layout.data_dir;
        remove_unfinished(data_dir)?;
        let unfinished = data_dir.join(format!("{UNFINISHED}{}", std::process::id()));
        private_dir(&unfinished, &self.user)?;
        Ok(unfinished)
    }

    fn finish(&self, unfinished: &Path) -> Result<(), Error> {
        let data_dir = &self.layout.data_dir;
        let made = self.layout.postgres_dir();
        fs::rename(unfinished, &made).map_err(Error::io("cannot create", &made))?;
        let parent = File::open(data_dir).map_err(Error::io("cannot open", data_dir))?;
        parent.sync_all().map_err(Error::io("cannot sync", data_dir))
    }

    /// Starts the postmaster; that it then takes connections is for the caller to see.
    pub(crate) async fn spawn(&self, socket_dir: &Path) -> Result<Child, Error> {
        private_dir(socket_dir, &self.user)?;
        self.disown_foreign_pid().await?;
        self.remove_socket_lock(socket_dir).await?;
        let wal_compression = self.wal_compression().await;
        // A path of ours is valid UTF-8, which the layout has checked.
        let settings = self.options.settings(&socket_dir.to_string_lossy(), wal_compression);
        let log = self.open_log()?;
        let copy = log.try_clone().map_err(Error::io("cannot open", &self.layout.log_file()))?;
        let mut postgres = self.user.command(&self.binaries.program("postgres"));
        postgres.arg("-D").arg(self.layout.postgres_dir());
        for name in ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"] {
            postgres.env(name, FREED_KEPT_BYTES.to_string());
        }
        postgres.args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
        postgres.stdout(copy).stderr(log);
        let program = self.binaries.program("postgres");
        postgres.spawn().map_err(Error::io("cannot run", &program))
    }

    pub(crate) async fn stop(&self, mode: &str) -> Result<(), Error> {
        let mut pg_ctl = self.user.command(&self.binaries.program("pg_ctl"));
        pg_ctl.args(["stop", "--silent", "--wait", "--timeout=120", "--mode", mode, "-D"]);
        pg_ctl.arg(self.layout.postgres_dir());
        match run("pg_ctl", pg_ctl).await {
            Err(Error::Program { output, .. }) if self.pid_file().is_some() => {
                Err(Error::NotStopped(output))
            }
            // Without its file the postmaster is gone, whatever pg_ctl thought of that.
            Err(Error::Program { .. }) | Ok(_) => Ok(()),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn create_database(&self, socket_dir: &Path) -> Result<(), Error> {
        let mut createdb = self.user.command(&self.binaries.program("createdb"));
        createdb.arg("-h").arg(socket_dir).args(["-p", &PORT.to_string(), "-U", ROLE, DATABASE]);
        run("createdb", createdb).await.map(|_| ())
    }

    pub(crate) fn pid_file(&self) -> Option<PidFile> {
        read_pid_file(&fs::read_to_string(self.pid_path()).ok()?)
    }

    /// Whether the process that `postmaster.pid` names is a postmaster of this very cluster.
    pub(crate) fn runs(&self, pid: u32) -> bool {
        has_argument(pid, &self.layout.postgres_dir())
    }

    /// The last line of the log that tells why, from `start` on.
    pub(crate) fn last_log_line(&self, start: u64) -> String {
        let tail = self.log_tail(start).unwrap_or_default();
        telling_line(&tail).unwrap_or("no line in its log").to_owned()
    }

    pub(crate) fn log_length(&self) -> u64 {
        fs::metadata(self.layout.log_file()).map_or(0, |metadata| metadata.len())
    }

    fn log_tail(&self, start: u64) -> std::io::Result<String> {
        let mut file = File::open(self.layout.log_file())?;
        let length = file.metadata()?.len();
        let from = if start > length { 0 } else { start };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_log(&self) -> Result<File, Error> {
        let path = self.layout.log_file();
        if self.log_length() > LOG_BYTES_MAX {
            let old = path.with_extension("log.1");
            fs::rename(&path, &old).map_err(Error::io("cannot write", &old))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(Error::io("cannot write", &path))
    }

    /// lz4 costs a tenth of the processor time, but not every build has it.
    async fn wal_compression(&self) -> &'static str {
        let mut ask = self.user.command(&self.binaries.program("postgres"));
        ask.args(["-C", "wal_compression", "-c", "wal_compression=lz4", "-D"]);
        ask.arg(self.layout.postgres_dir());
        if run("postgres", ask).await.is_ok() { "lz4" } else { "on" }
    }

    /// After a crash the number in `postmaster.pid` may be that of some other program by now, or of a
    /// postmaster that its parent has yet to wait for, and Postgres then refuses to start. Put our
    /// own number there: it takes its parent's for stale.
    ///
    /// The rest of the file stays, so its check that no old backend is left still holds; deleting
    /// the file would switch off that check.
    async fn disown_foreign_pid(&self) -> Result<(), Error> {
        let named = self.pid_file().map(|file| file.pid);
        if named.is_none_or(|pid| self.runs(pid) || !exists(pid)) {
            return Ok(());
        }
        // As the cluster's user, in whose folder root should follow no link.
        let mut shell = self.user.command(Path::new("/bin/sh"));
        shell.args(["-c", DISOWN]).arg(self.pid_path()).arg(std::process::id().to_string());
        run("sh", shell).await.map(|_| ())
    }

    /// The socket's lock file may be as stale, or empty. It guards nothing that the turn to start and
    /// `postmaster.pid` do not, and nobody listens there.
    async fn remove_socket_lock(&self, socket_dir: &Path) -> Result<(), Error> {
        let lock = socket_lock(socket_dir);
        if !lock.exists() {
            return Ok(());
        }
        // As the cluster's user, in whose folder root should follow no link.
        let mut remove = self.user.command(Path::new("/bin/rm"));
        remove.arg("-f").arg(lock);
        run("rm", remove).await.map(|_| ())
    }

    fn pid_path(&self) -> PathBuf {
        self.layout.postgres_dir().join("postmaster.pid")
    }
}

/// `$0` is the pid file, `$1` the number for its first line.
const DISOWN: &str = r#"{ echo "$1"; tail -n +2 "$0"; } > "$0.new" && mv "$0.new" "$0""#;

const UNFINISHED: &str = "postgres.new-";

fn remove_unfinished(data_dir: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(data_dir).map_err(Error::io("cannot read", data_dir))?;
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(Error::io("cannot remove", &path))?;
        }
    }
    Ok(())
}

async fn run(program: &'static str, mut command: Command) -> Result<Output, Error> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let path = PathBuf::from(command.get_program());
    let output = tokio::process::Command::from(command).output().await;
    let output = output.map_err(Error::io("cannot run", &path))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line =
        text.lines().map(str::trim).find(|line| line.contains("error:") || line.contains("FATAL"));
    let line = line.or_else(|| text.lines().rfind(|line| !line.trim().is_empty()));
    Err(Error::Program { program, output: line.unwrap_or("no message").trim().to_owned() })
}

fn read_pid_file(content: &str) -> Option<PidFile> {
    let mut lines = content.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    // Lines: pid, data folder, start time, port, socket folder, …
    let socket_dir = lines.nth(3).filter(|line| line.starts_with('/')).map(PathBuf::from);
    Some(PidFile { pid, socket_dir })
}

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
        || Command::new("ps")
            .args(["-p", &pid.to_string()])
            .output()
            .is_ok_and(|ps| ps.status.success())
}

/// Whether `argument` is among those of the process. A zombie has none left.
fn has_argument(pid: u32, argument: &Path) -> bool {
    let argument = argument.as_os_str().as_encoded_bytes();
    // `/proc` where there is one: a slim container has no `ps`.
    if Path::new("/proc/self/cmdline").exists() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        return line.split(|byte| *byte == 0).any(|given| given == argument);
    }
    let ps = Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output();
    ps.is_ok_and(|ps| ps.stdout.windows(argument.len()).any(|given| given == argument))
}

fn telling_line(log: &str) -> Option<&str> {
    let grave = |line: &&str| line.contains("FATAL:") || line.contains("PANIC:");
    let line = log.lines().rfind(grave).or_else(|| log.lines().rfind(|line| !line.is_empty()))?;
    // Time and process number in front are of no use in a one-line message.
    Some(line.split_once("] ").map_or(line, |(_, message)| message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_also_while_it_is_being_written() {
        let whole = "42\n/d/postgres\n1700000000\n5432\n/d/socket\n\n  1 2\nready   \n";
        let socket_dir = Some(PathBuf::from("/d/socket"));
        assert_eq!(read_pid_file(whole), Some(PidFile { pid: 42, socket_dir }));
        assert_eq!(read_pid_file("42\n/d\n"), Some(PidFile { pid: 42, socket_dir: None }));
        assert_eq!(read_pid_file(""), None);
    }

    #[test]
    fn the_log_line_that_is_quoted_is_the_gravest_without_its_prefix() {
        let log = "2026-01-01 UTC [7] LOG:  starting\n2026-01-01 UTC [7] FATAL:  disk full\n\
                   2026-01-01 UTC [7] LOG:  database system is shut down\n";
        assert_eq!(telling_line(log), Some("FATAL:  disk full"));
        assert_eq!(
            telling_line("2026 [7] LOG:  redo in progress\n"),
            Some("LOG:  redo in progress")
        );
        assert_eq!(telling_line(""), None);
    }
}
