//! `accrue-bench`: Accrue's figures, each beside what it is compared with, in one run.
#![expect(clippy::float_arithmetic, reason = "rates and ratios; neither points nor money")]

mod baseline;
mod load;
mod machine;
mod postgres;
mod process;
mod report;
mod scenario;

use anyhow::bail;
use clap::{Parser, Subcommand};
use machine::Machine;
use report::{Circumstances, Figure};
use scenario::{Bench, Settings, Side};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Measures Accrue against a baseline on the same Postgres and machine
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every scenario; one table, written to bench/results
    All(Settings),
    /// Durable single commands at 64, 256 and 512 connections, against the baseline
    Issue(Settings),
    /// One hot account, 64 connections, against the baseline
    Hot(Settings),
    /// Bulk commands, against one connection inserting the same rows
    Bulk(Settings),
    /// Reading an account, against a bare handler that reads one row
    Read(Settings),
    /// Projection lag at 5,000 commands a second
    Lag(Settings),
    /// Events a second of a projection's rebuild
    Rebuild(Settings),
    /// A ledger of 5 million events, against an empty one
    Growth(Settings),
    /// Purchases from a wallet, from the order to its completion
    Purchases(Settings),
    /// Events into Kafka from a full log, and until they can be consumed at 2,000 commands a second
    Relay(Settings),
    /// Read models from Kafka, by one worker and by two, against from the log
    Feed(Settings),
    /// Two processes that take commands for one log, against one
    Two(Settings),
    /// The baseline alone
    #[command(subcommand)]
    Baseline(Baseline),
}

#[derive(Debug, Subcommand)]
enum Baseline {
    /// Serve it, with its tables already made
    Serve {
        #[arg(long)]
        database_url: String,
        #[arg(long)]
        port: u16,
        #[arg(long, default_value_t = 32)]
        pool: u32,
    },
    /// Find its best pool size
    Sweep(Settings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Issue,
    Hot,
    Bulk,
    Read,
    Lag,
    Rebuild,
    Growth,
    Purchases,
    Relay,
    Feed,
    Two,
}

const ALL: [Scenario; 11] = [
    Scenario::Issue,
    Scenario::Hot,
    Scenario::Bulk,
    Scenario::Read,
    Scenario::Lag,
    Scenario::Rebuild,
    Scenario::Growth,
    Scenario::Purchases,
    Scenario::Relay,
    Scenario::Feed,
    Scenario::Two,
];

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let (settings, scenarios) = match command {
        Command::All(settings) => (settings, &ALL[..]),
        Command::Issue(settings) => (settings, &[Scenario::Issue][..]),
        Command::Hot(settings) => (settings, &[Scenario::Hot][..]),
        Command::Bulk(settings) => (settings, &[Scenario::Bulk][..]),
        Command::Read(settings) => (settings, &[Scenario::Read][..]),
        Command::Lag(settings) => (settings, &[Scenario::Lag][..]),
        Command::Rebuild(settings) => (settings, &[Scenario::Rebuild][..]),
        Command::Growth(settings) => (settings, &[Scenario::Growth][..]),
        Command::Purchases(settings) => (settings, &[Scenario::Purchases][..]),
        Command::Relay(settings) => (settings, &[Scenario::Relay][..]),
        Command::Feed(settings) => (settings, &[Scenario::Feed][..]),
        Command::Two(settings) => (settings, &[Scenario::Two][..]),
        Command::Baseline(Baseline::Serve { database_url, port, pool }) => {
            let runtime = tokio::runtime::Runtime::new()?;
            return runtime.block_on(baseline::serve(&database_url, port, pool));
        }
        Command::Baseline(Baseline::Sweep(settings)) => {
            return one_thread(sweep(settings.resolved()));
        }
    };
    one_thread(measure(settings.resolved(), scenarios))
}

/// Runs the work; when told to stop, drops it, which ends the servers and removes the cluster.
fn one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            _ = terminate.recv() => bail!("stopped by a signal"),
            _ = tokio::signal::ctrl_c() => bail!("stopped by a signal"),
        }
    })
}

async fn sweep(settings: Settings) -> anyhow::Result<()> {
    let mut bench = Bench::start(Settings { only: Some(Side::Baseline), ..settings }).await?;
    scenario::sweep::run(&mut bench).await
}

async fn measure(settings: Settings, scenarios: &[Scenario]) -> anyhow::Result<()> {
    let load_before = machine::load_average();
    let results = results_folder(&settings, scenarios);
    let mut bench = Bench::start(settings).await?;
    let about = Circumstances {
        machine: Machine::this(),
        postgres: bench.postgres.line().await?,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        load_before,
        notes: Vec::new(),
    };
    println!("{}\n{}\n", about.machine.line(), about.postgres);
    if cfg!(debug_assertions) {
        eprintln!("note: a debug build, as is the accrue beside it: its figures say nothing");
    }
    let mut figures = Vec::new();
    for scenario in scenarios {
        figures.extend(one(&mut bench, *scenario).await?);
    }
    if bench.settings.only.is_some() {
        return Ok(()); // with one side alone there is nothing to compare
    }
    println!("\n{}", report::table(&figures));
    if let Some(folder) = results {
        let about = Circumstances { notes: bench.notes, ..about };
        println!("written: {}", report::write(&folder, &about, &figures)?.display());
    }
    Ok(())
}

fn results_folder(settings: &Settings, scenarios: &[Scenario]) -> Option<PathBuf> {
    let complete = scenarios == ALL && !settings.quick;
    let default = complete.then(|| PathBuf::from("bench/results"));
    settings.results.clone().or(default)
}

async fn one(bench: &mut Bench, scenario: Scenario) -> anyhow::Result<Vec<Figure>> {
    match scenario {
        Scenario::Issue => scenario::issue::run(bench).await,
        Scenario::Hot => scenario::hot::run(bench).await,
        Scenario::Bulk => scenario::bulk::run(bench).await,
        Scenario::Read => scenario::read::run(bench).await,
        Scenario::Lag => scenario::lag::run(bench).await,
        Scenario::Rebuild => scenario::rebuild::run(bench).await,
        Scenario::Growth => scenario::growth::run(bench).await,
        Scenario::Purchases => scenario::purchases::run(bench).await,
        Scenario::Relay => scenario::relay::run(bench).await,
        Scenario::Feed => scenario::feed::run(bench).await,
        Scenario::Two => scenario::two::run(bench).await,
    }
}
