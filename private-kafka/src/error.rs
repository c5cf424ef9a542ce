//! Every way in which the private Kafka can be refused, with the way out in it.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the programs of Kafka are not in {0:?}: run `cargo xtask setup`")]
    NotInstalled(PathBuf),

    #[error("there is no Java: run `cargo xtask setup`, or install a JDK of version 17 or newer")]
    NoJava,

    #[error("there is neither HOME nor XDG_CACHE_HOME to keep the programs of Kafka in")]
    NoCache,

    #[error("{program} failed: {output}")]
    Program { program: &'static str, output: String },

    #[error("Kafka ended before it answered: {last_lines} (see {log:?})")]
    NotStarted { last_lines: String, log: PathBuf },

    #[error("Kafka does not answer after {waited_seconds} s: {last_lines} (see {log:?})")]
    NotReady { waited_seconds: u64, last_lines: String, log: PathBuf },

    #[error("Kafka does not end: {last_lines} (see {log:?})")]
    NotEnded { last_lines: String, log: PathBuf },

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
