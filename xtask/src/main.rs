//! Chores in Rust: `cargo xtask <chore>`. Each prints the commands that it runs.

mod check;
mod process;
mod setup;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::process::{built_program, cargo, run, shown};

/// How many tests of a program run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what is missing on this machine (the programs of PostgreSQL; for the tests those of Kafka too)
    Setup,
    /// Set up, build, and run `accrue demo`
    Demo(PassedOn),
    /// Set up and run every test
    Test(PassedOn),
    /// Everything that a change must pass: format, lints, dependencies (where cargo-deny is), tests
    Ci,
    /// Write `schemas/` from the types
    Schemas,
    /// Build accrue and the load generator, and run it
    Bench(PassedOn),
}

/// Words for the program that the chore runs: see [`passed_on`].
#[derive(Debug, clap::Args)]
struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    match perform(&Arguments::parse_from(&words).chore, passed_on(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, also where RUST_BACKTRACE is set.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All that follows the chore, as it was typed: a parser would keep the `--` to itself that divides
/// cargo's words from those of the tests.
fn passed_on(words: &[String]) -> &[String] {
    words.get(2..).unwrap_or_default()
}

fn perform(chore: &Chore, passed_on: &[String]) -> Result<()> {
    match chore {
        Chore::Setup => setup::postgres().and_then(|()| setup::kafka()),
        Chore::Demo(_) => demo(passed_on),
        Chore::Test(_) => test(passed_on),
        Chore::Ci => ci(),
        Chore::Schemas => {
            run(cargo().args(["run", "-p", "accrue", "--", "schemas", "write", "schemas/"]))
        }
        Chore::Bench(_) => {
            // The load generator takes the one beside itself, which may be older.
            let release = ["--release", "-p"];
            run(cargo().arg("build").args(release).arg("accrue"))?;
            run(cargo().arg("run").args(release).args(["accrue-bench", "--"]).args(passed_on))
        }
    }
}

fn demo(arguments: &[String]) -> Result<()> {
    setup::postgres()?;
    let program = built_program("accrue")?;
    let mut demo = Command::new(program);
    demo.arg("demo").args(arguments);
    eprintln!("$ {}", shown(&demo));
    // In our place, so that Ctrl-C and signals reach it and nothing stands in between.
    Err(demo.exec().into())
}

fn test(arguments: &[String]) -> Result<()> {
    setup::postgres()?;
    setup::kafka()?;
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).args(arguments);
    if env::var_os(THREADS).is_none() {
        // Most tests wait most of the time: for a server, a broker, a lease that runs out.
        let threads = thread::available_parallelism().map_or(1, usize::from) * 2;
        tests.env(THREADS, threads.to_string());
    }
    run(&mut tests)
}

fn ci() -> Result<()> {
    check::format()?;
    check::lints()?;
    check::dependencies()?;
    test(&["--locked".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_tests_stay_behind_their_double_dash() {
        let typed = ["xtask", "test", "-p", "accrue", "--", "--nocapture"].map(str::to_owned);
        assert!(matches!(Arguments::parse_from(&typed).chore, Chore::Test(_)));
        assert_eq!(passed_on(&typed), ["-p", "accrue", "--", "--nocapture"]);
        assert!(passed_on(&["xtask".to_owned(), "test".to_owned()]).is_empty());
    }
}
