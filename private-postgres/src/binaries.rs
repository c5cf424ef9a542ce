//! Finds the Postgres server programs. Distributions keep them off the `PATH`, each elsewhere.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// Oldest major version that we start.
pub const MAJOR_MIN: u32 = 13;

const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_ctl", "createdb"];

/// Where versions live side by side: the folder above them, what a version's folder starts with.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
];

/// A complete set of server programs, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub bin_dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// The programs to use for a new cluster: the first on the `PATH`, else the newest installed.
pub fn find() -> Result<Binaries, Error> {
    choose(installed(), None, Path::new(""))
}

/// The programs for `data_dir`: those of the version that made it, when it was made already.
pub(crate) fn find_for(
    data_dir: &Path,
    made_by: Option<&str>,
    bin_dir: Option<&Path>,
) -> Result<Binaries, Error> {
    let candidates = match bin_dir {
        Some(dir) => inspect(dir).into_iter().collect(),
        None => installed(),
    };
    choose(candidates, made_by, data_dir)
}

fn choose(
    candidates: Vec<Binaries>,
    made_by: Option<&str>,
    data_dir: &Path,
) -> Result<Binaries, Error> {
    let Some(first) = candidates.first().cloned() else {
        return Err(Error::NotInstalled { how: how_to_install() });
    };
    let Some(made_by) = made_by else {
        let usable = candidates.into_iter().find(|found| found.major >= MAJOR_MIN);
        return usable.ok_or(Error::TooOld {
            found: first.major,
            needed: MAJOR_MIN,
            bin_dir: first.bin_dir,
        });
    };
    let majors: Vec<String> = candidates.iter().map(|found| found.major.to_string()).collect();
    candidates.into_iter().find(|found| found.major.to_string() == made_by).ok_or_else(|| {
        Error::OtherVersion {
            data_dir: data_dir.to_path_buf(),
            made_by: made_by.to_owned(),
            installed: majors.join(" and "),
        }
    })
}

/// What this machine's package manager calls the server.
pub fn how_to_install() -> &'static str {
    let has = |program: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
    };
    let ways = [
        ("apt-get", "`apt-get install postgresql`"),
        ("dnf", "`dnf install postgresql-server`"),
        ("apk", "`apk add postgresql`"),
        ("pacman", "`pacman -S postgresql`"),
        ("zypper", "`zypper install postgresql-server`"),
        ("brew", "`brew install postgresql@17`"),
    ];
    ways.into_iter()
        .find(|(program, _)| has(program))
        .map_or("install its server from https://www.postgresql.org/download/", |(_, how)| how)
}

fn installed() -> Vec<Binaries> {
    let mut found: Vec<Binaries> = Vec::new();
    for dir in candidate_dirs() {
        if let Some(binaries) = inspect(&dir)
            && !found.contains(&binaries)
        {
            found.push(binaries);
        }
    }
    found
}

fn candidate_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).filter_map(|d| home_of(&d)).collect();
    dirs.extend(output("pg_config", "--bindir").map(PathBuf::from));
    dirs.extend(VERSIONED.iter().flat_map(|(parent, prefix)| versions(parent, prefix)));
    dirs
}

/// A `postgres` on the `PATH` is often a link; its companions are beside what it points to.
fn home_of(path_dir: &Path) -> Option<PathBuf> {
    let program = path_dir.join("postgres").canonicalize().ok()?;
    program.parent().map(Path::to_path_buf)
}

/// `<parent>/<prefix>*/bin`, newest version first.
fn versions(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            Some((version.parse().unwrap_or(0), entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// `None` for a folder that lacks a program, or whose `postgres` is a wrapper that does not run.
fn inspect(bin_dir: &Path) -> Option<Binaries> {
    if !PROGRAMS.iter().all(|name| bin_dir.join(name).is_file()) {
        return None;
    }
    let version = output(bin_dir.join("postgres"), "--version")?;
    Some(Binaries { bin_dir: bin_dir.to_path_buf(), major: major_of(&version)? })
}

/// `postgres (PostgreSQL) 15.18 (Debian …)`, `18beta1`, `17devel`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..digits)?.parse().ok()
}

fn output(program: impl AsRef<OsStr>, argument: &str) -> Option<String> {
    let run = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    if !run.status.success() {
        return None;
    }
    Some(String::from_utf8(run.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(major: u32) -> Binaries {
        Binaries { bin_dir: PathBuf::from(format!("/pg/{major}/bin")), major }
    }

    #[test]
    fn the_major_version_is_read_from_releases_betas_and_distributions() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 17"), Some(17));
        assert_eq!(major_of("postgres: command not found"), None);
    }

    #[test]
    fn an_existing_cluster_gets_the_version_that_made_it_and_a_new_one_the_first() {
        let chosen = |made_by| choose(vec![of(17), of(15)], made_by, Path::new("/d")).unwrap();
        assert_eq!(chosen(Some("15")), of(15));
        assert_eq!(chosen(None), of(17));
    }

    #[test]
    fn a_cluster_of_a_version_that_is_not_installed_is_refused_by_name() {
        let refused = choose(vec![of(17), of(15)], Some("18"), Path::new("/d")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"/d\" was made by PostgreSQL 18, this machine has 17 and 15: install PostgreSQL 18, \
             or choose another folder with --data-dir"
        );
    }

    #[test]
    fn a_version_too_old_is_passed_over_and_named_only_when_it_is_all_there_is() {
        assert_eq!(choose(vec![of(12), of(15)], None, Path::new("")).unwrap(), of(15));
        let refused = choose(vec![of(12)], None, Path::new("")).unwrap_err();
        assert!(matches!(refused, Error::TooOld { found: 12, needed: MAJOR_MIN, .. }));
        assert_eq!(choose(vec![of(MAJOR_MIN)], None, Path::new("")).unwrap(), of(MAJOR_MIN));
    }

    #[test]
    fn nothing_installed_says_how_to_install_it() {
        let refused = choose(Vec::new(), None, Path::new("")).unwrap_err().to_string();
        assert!(refused.contains("cargo xtask setup") && refused.contains(how_to_install()));
    }
}
