//! Sees to it that the programs of PostgreSQL are there, and for the tests those of Kafka and a
//! Python that reads it. Everything else comes with cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use accrue_private_kafka::programs;
use accrue_private_postgres::binaries;
use accrue_private_postgres::error::Error;
use anyhow::{Result, bail};

use crate::process::{holds, run};

const CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.conf";

/// What the server needs.
pub(crate) fn postgres() -> Result<()> {
    match binaries::find() {
        Ok(_) => return Ok(()),
        Err(Error::NotInstalled { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    let Some(rights) = Rights::ours().filter(|_| holds("apt-get", &["--version"])) else {
        bail!("PostgreSQL is not installed, and this user cannot install it: {}", instructions());
    };
    install_with_apt(rights)?;
    let found = binaries::find()?;
    eprintln!("PostgreSQL {} is in {}", found.major, found.bin_dir.display());
    Ok(())
}

/// What the tests need beside it: a broker, and another language to read it in.
pub(crate) fn kafka() -> Result<()> {
    let mut missing = Vec::new();
    if programs::java().is_err() {
        missing.push("openjdk-17-jre-headless");
    }
    if programs::find().is_err() && !holds("mvn", &["--version"]) {
        missing.push("maven");
    }
    let python = target().join("differ");
    if !holds("python3", &["-c", "import venv, ensurepip"]) && !is_complete(&python) {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        packages(&missing)?;
    }
    if programs::find().is_err() {
        let folder = programs::install()?;
        eprintln!("Kafka is in {}", folder.display());
    }
    kcat();
    differ(&python)
}

/// What people write records with from a shell. Without it the same records are written by our own
/// client, so that a machine that cannot have it tests all else.
fn kcat() {
    if holds("kcat", &["-V"]) {
        return;
    }
    if let Err(error) = packages(&["kcat"]) {
        eprintln!("kcat cannot be installed, its test goes without: {error:#}");
    }
}

/// Installs Debian's packages of these names, or says which they are.
fn packages(names: &[&str]) -> Result<()> {
    let Some(rights) = Rights::ours().filter(|_| holds("apt-get", &["--version"])) else {
        let names = names.join(", ");
        bail!("install {names} (by the names of Debian's packages), then try again");
    };
    apt(rights, &["update"])?;
    apt(rights, &[&["install", "-y", "--no-install-recommends"], names].concat())
}

/// A Python of our own with what `tests/kafka/differ.py` imports.
fn differ(folder: &Path) -> Result<()> {
    if is_complete(folder) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let needed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kafka/requirements.txt");
    let mut pip = Command::new(folder.join("bin/python"));
    run(pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(needed))
}

fn is_complete(folder: &Path) -> bool {
    let python = folder.join("bin/python");
    holds(&python.to_string_lossy(), &["-c", "import confluent_kafka"])
}

fn target() -> PathBuf {
    let given = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

fn instructions() -> String {
    let how = binaries::how_to_install();
    if how.starts_with("`brew") || !how.starts_with('`') {
        return format!("{how}, then try again");
    }
    format!("as root {how}, then try again")
}

/// By what right we may install packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn ours() -> Option<Self> {
        if holds("sh", &["-c", "test \"$(id -u)\" = 0"]) {
            return Some(Self::Root);
        }
        // Without a password only: a prompt would hang where nobody is there to answer.
        holds("sudo", &["-n", "true"]).then_some(Self::Sudo)
    }

    fn command(self, program: &str, arguments: &[&str]) -> Command {
        let mut words = match self {
            Self::Root => vec![],
            Self::Sudo => vec!["sudo", "-n"],
        };
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", program]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments);
        command
    }
}

fn apt(rights: Rights, arguments: &[&str]) -> Result<()> {
    let waiting = ["-o", "DPkg::Lock::Timeout=300"];
    run(&mut rights.command("apt-get", &[&waiting, arguments].concat()))
}

/// Debian starts a cluster of the whole machine with the package. Nobody asked for that, so its
/// settings say no before the server arrives; settings that were there already are left alone.
fn install_with_apt(rights: Rights) -> Result<()> {
    let apt = |arguments: &[&str]| apt(rights, arguments);
    apt(&["update"])?;
    if !Path::new(CLUSTER_SETTINGS).exists() {
        apt(&["install", "-y", "--no-install-recommends", "postgresql-common"])?;
        let no_cluster = "s/^#? *create_main_cluster *=.*/create_main_cluster = false/";
        run(&mut rights.command("sed", &["-i", "-E", no_cluster, CLUSTER_SETTINGS]))?;
    }
    apt(&["install", "-y", "--no-install-recommends", "postgresql"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::shown;

    #[test]
    fn packages_are_installed_without_a_question_by_root_and_by_sudo() {
        let install = |rights: Rights| shown(&rights.command("apt-get", &["install", "-y"]));
        assert_eq!(install(Rights::Root), "env DEBIAN_FRONTEND=noninteractive apt-get install -y");
        assert_eq!(
            install(Rights::Sudo),
            "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y"
        );
    }
}
