//! Every way in which the private Postgres can be refused: one line each, with the way out in it.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Postgres server programs on this machine.
    #[error(
        "PostgreSQL is not installed: run `cargo xtask setup`, or {how}, or use --database-url"
    )]
    NotInstalled { how: &'static str },

    /// The programs that were found are older than what Accrue can use.
    #[error("PostgreSQL {found} in {bin_dir:?} is too old: {needed} or newer is needed")]
    TooOld { found: u32, needed: u32, bin_dir: PathBuf },

    /// The cluster in the data folder belongs to a Postgres major version that is not installed.
    #[error(
        "{data_dir:?} was made by PostgreSQL {made_by}, this machine has {installed}: install \
         PostgreSQL {made_by}, or choose another folder with --data-dir"
    )]
    OtherVersion { data_dir: PathBuf, made_by: String, installed: String },

    /// The data folder was written by a newer Accrue.
    #[error(
        "{data_dir:?} has data format {found}, this version knows up to {known}: use a newer \
         version of accrue, or choose another folder with --data-dir"
    )]
    NewerFormat { data_dir: PathBuf, found: u32, known: u32 },

    /// The `format` file holds something else than a number.
    #[error("{file:?} should hold a data format number, but holds {content:?}")]
    BadFormat { file: PathBuf, content: String },

    /// The folder holds something that is not ours.
    #[error("{dir:?} is not an Accrue data folder and not empty: choose another with --data-dir")]
    Occupied { dir: PathBuf },

    /// The folder belongs to another OS user.
    #[error(
        "{dir:?} belongs to another user (uid {uid}): run as that user, or choose another folder \
         with --data-dir"
    )]
    OtherOwner { dir: PathBuf, uid: u32 },

    /// As root the cluster runs as another user, and that user cannot get into the folder.
    #[error(
        "Postgres does not run as root, and the user {user} cannot enter {dir:?}: choose a folder \
         that it can reach with --data-dir (for example --data-dir /var/lib/accrue)"
    )]
    Unreachable { user: String, dir: PathBuf },

    /// Root needs another user to run the cluster as.
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor `nobody`: \
         create one (`useradd --system postgres`), or use --database-url"
    )]
    NoUser,

    #[error("the path {0:?} is not valid UTF-8: choose another folder with --data-dir")]
    NotUtf8(PathBuf),

    /// Another process has been starting or stopping the cluster for longer than we wait.
    #[error("another process has been starting or stopping Postgres in {0:?} for too long")]
    Locked(PathBuf),

    /// `initdb` or `createdb` failed.
    #[error("{program} failed: {output}")]
    Program { program: &'static str, output: String },

    /// The postmaster ended before it took connections.
    #[error("Postgres did not start: {last_line} (see {log:?})")]
    NotStarted { last_line: String, log: PathBuf },

    /// The postmaster runs, but did not take connections in time. It goes on trying.
    #[error(
        "Postgres is not ready after {waited_seconds} s, and goes on trying: {last_line} \
         (see {log:?})"
    )]
    NotReady { waited_seconds: u64, last_line: String, log: PathBuf },

    /// The postmaster did not stop in time.
    #[error("Postgres did not stop: {0}")]
    NotStopped(String),

    #[error("{what} {path:?}: {source}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl Error {
    /// For `map_err`: says what was tried, and on which path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
