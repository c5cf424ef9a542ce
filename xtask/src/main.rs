//! Chores in Rust: `cargo xtask <chore>`. Each prints the commands that it runs.

mod check;
mod process;
mod setup;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::process::{built_program, cargo, run, shown};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what is missing on this machine (the programs of PostgreSQL)
    Setup,
    /// Set up, build, and run `accrue demo`
    Demo(PassedOn),
    /// Set up and run every test
    Test(PassedOn),
    /// What continuous integration runs: format, lints, dependencies, tests
    Ci,
    /// Write `schemas/` from the types
    Schemas,
    /// Run the load generator
    Bench(PassedOn),
}

/// What the chore hands to the program that it runs.
#[derive(Debug, clap::Args)]
struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, also where RUST_BACKTRACE is set.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(chore: Chore) -> Result<()> {
    match chore {
        Chore::Setup => setup::setup(),
        Chore::Demo(passed_on) => demo(&passed_on.arguments),
        Chore::Test(passed_on) => test(&passed_on.arguments),
        Chore::Ci => ci(),
        Chore::Schemas => {
            run(cargo().args(["run", "-p", "accrue", "--", "schemas", "write", "schemas/"]))
        }
        Chore::Bench(passed_on) => {
            let bench = ["run", "--release", "-p", "accrue-bench", "--"];
            run(cargo().args(bench).args(passed_on.arguments))
        }
    }
}

fn demo(arguments: &[String]) -> Result<()> {
    setup::setup()?;
    let program = built_program("accrue")?;
    let mut demo = Command::new(program);
    demo.arg("demo").args(arguments);
    eprintln!("$ {}", shown(&demo));
    // In our place, so that Ctrl-C and signals reach it and nothing stands in between.
    Err(demo.exec().into())
}

fn test(arguments: &[String]) -> Result<()> {
    setup::setup()?;
    run(cargo().args(["test", "--workspace"]).args(arguments))
}

fn ci() -> Result<()> {
    check::format()?;
    check::lints()?;
    check::dependencies()?;
    test(&["--locked".to_owned()])
}
