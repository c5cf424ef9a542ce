//! Sees to it that the programs of PostgreSQL are there. Everything else comes with cargo.

use std::path::Path;
use std::process::Command;

use accrue_private_postgres::binaries;
use accrue_private_postgres::error::Error;
use anyhow::{Result, bail};

use crate::process::{holds, run};

const CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.conf";

pub(crate) fn setup() -> Result<()> {
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

/// Debian starts a cluster of the whole machine with the package. Nobody asked for that, so its
/// settings say no before the server arrives; settings that were there already are left alone.
fn install_with_apt(rights: Rights) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let waiting = ["-o", "DPkg::Lock::Timeout=300"];
        run(&mut rights.command("apt-get", &[&waiting, arguments].concat()))
    };
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
