//! What must hold before the tests are worth running.

use anyhow::Result;

use crate::process::{cargo, holds, run};

pub(crate) fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--", "--check"]))
}

pub(crate) fn lints() -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run(cargo().args(clippy))
}

/// Licenses, sources and known vulnerabilities of what we depend on.
pub(crate) fn dependencies() -> Result<()> {
    if !holds("cargo", &["deny", "--version"]) {
        eprintln!("skipped: dependency checks (`cargo install cargo-deny` to have them)");
        return Ok(());
    }
    run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    // The database is fetched, which an unplugged machine cannot; what is in it must pass.
    if !holds("cargo", &["deny", "fetch", "db"]) {
        eprintln!("skipped: known vulnerabilities (the advisory database cannot be fetched)");
        return Ok(());
    }
    run(cargo().args(["deny", "check", "advisories"]))
}
