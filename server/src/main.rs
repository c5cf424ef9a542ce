//! The one binary: the server, and the commands that work with it.

mod boot;
mod cli;
mod client;
mod commands;
mod config;
mod database;
mod demo;
mod events;
mod figures;
mod health;
mod import;
mod lock;
mod logging;
mod output;
mod payments;
mod projections;
mod relay;
mod schemas;
mod serve;
mod simulator;
mod telemetry;
mod tour;
mod web;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use config::{Config, Layers, Place, Target};
use telemetry::Telemetry;

/// Commands, events and answers are many small allocations that one thread makes and another
/// frees, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, also where RUST_BACKTRACE is set.
            output::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let done = runtime.block_on(perform(command));
    // What is still running by now was told to stop and given its time.
    runtime.shutdown_background();
    done
}

async fn perform(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(arguments) => {
            let config = Config::read(&Layers::of_server(&arguments.server)?)?;
            logging::start(&config)?;
            let telemetry = Telemetry::start(&config)?;
            let served = serve::serve(&config, arguments.ready_file.as_deref()).await;
            telemetry.end().await;
            served?;
        }
        Command::Demo(arguments) => return demo::demo(&arguments).await,
        Command::Tour(arguments) => tour::run(&arguments).await?,
        Command::Import(cli::Import::Sales(arguments)) => return import::run(*arguments).await,
        Command::Events(cli::Events::Tail(arguments)) => events::tail(&arguments).await?,
        Command::Events(cli::Events::Export(arguments)) => events::export(&arguments).await?,
        Command::Projections(cli::Projections::List(flags)) => {
            database::with(&place(&flags)?, projections::list).await?;
        }
        Command::Projections(cli::Projections::Rebuild { name, database: flags }) => {
            let rebuild = async |database: &_| projections::rebuild(database, &name).await;
            database::with(&place(&flags)?, rebuild).await?;
        }
        Command::Migrate(flags) => {
            database::with(&place(&flags)?, database::migrate).await?;
        }
        Command::Verify(flags) => {
            return database::with(&place(&flags)?, projections::verify).await;
        }
        Command::Config(cli::Config::Show(flags)) => {
            let layers = Layers::of_all(&flags)?;
            output::write(output::table(&layers.shown()).as_bytes())?;
            // Not refused: Kubernetes sets such ones for a service of that name.
            let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            for name in Layers::unknown(variables) {
                output::complain(&format!("note: {name} is no setting"));
            }
            // Shown even when it is wrong, and then what is wrong with it.
            Config::read(&layers)?;
            Target::read(&layers)?;
        }
        Command::Relay(cli::Relay::Republish(arguments)) => relay::republish(&arguments).await?,
        Command::PaymentsSimulator(arguments) => simulator::run(&arguments).await?,
        Command::Schemas(cli::Schemas::Write { dir }) => schemas::write(&dir)?,
        Command::Schemas(cli::Schemas::Check { released, present }) => {
            schemas::check(&released, &present)?;
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "accrue", &mut script);
            output::write(&script)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Which database a command works on; it logs warnings only.
fn place(flags: &config::DatabaseFlags) -> Result<Place> {
    let place = Place::read(&Layers::of_database(flags)?)?;
    logging::quiet();
    Ok(place)
}
