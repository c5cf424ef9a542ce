//! The command line: what can be asked, with its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{AllFlags, DatabaseFlags, ServerFlags};
use crate::events::{ExportArgs, TailArgs};
use crate::import::SalesArgs;
use crate::relay::RepublishArgs;
use crate::simulator::{self, SimulatorArgs};
use crate::tour::TourArgs;

const EXAMPLES: &str = "\
Examples:
  accrue demo                                  serve, with a year of real sales in it
  accrue tour                                  see purchases work on a server that runs
  accrue serve                                 serve on http://127.0.0.1:8080, data in ./accrue-data
  accrue serve --port 0 --database-url postgres://accrue@localhost/accrue
  accrue serve --roles projections --database-url postgres://accrue@one,two/accrue
  accrue import sales till.csv --map id=Receipt,occurred_at=Date,account=Member,total=Total
  accrue events tail --follow
  accrue verify";

/// An event-sourced loyalty ledger: commands in, one durable log, points with expiry out.
#[derive(Debug, Parser)]
#[command(name = "accrue", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the ledger until SIGTERM or Ctrl-C
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Serve, with a sample campaign, a year of a real shop's sales and its products
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// See purchases work on a running server: completed, refused, and given back, step by step
    Tour(TourArgs),
    /// Bring history in through a running server
    #[command(subcommand)]
    Import(Import),
    /// Read the log
    #[command(subcommand)]
    Events(Events),
    /// See to the events in Kafka
    #[command(subcommand)]
    Relay(Relay),
    /// See to the read models
    #[command(subcommand)]
    Projections(Projections),
    /// Bring the schema of the database up to date, and end
    #[command(after_help = MIGRATE_NOTE)]
    Migrate(DatabaseFlags),
    /// Recompute the hash chain and every read model; exit code 1 where something differs
    #[command(after_help = DATABASE_NOTE)]
    Verify(DatabaseFlags),
    /// See the configuration
    #[command(subcommand)]
    Config(Config),
    /// Take card payments without any money, and fail as asked
    #[command(after_help = simulator::EXAMPLES)]
    PaymentsSimulator(SimulatorArgs),
    /// Write the contracts
    #[command(subcommand)]
    Schemas(Schemas),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// Which shell
        #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
        shell: Shell,
    },
}

const SERVE_EXAMPLES: &str = "\
Every setting can also stand in the environment (ACCRUE_PORT) or in a TOML file (port = 8080);
flags win over the environment, the environment over the file. `accrue config show` prints them.

Without --database-url a private PostgreSQL runs in the data folder, which is kept across restarts.

Examples:
  accrue serve --port 0 --ready-file /tmp/accrue.url
  accrue serve --data-dir /var/lib/accrue
  ACCRUE_DATABASE_URL=postgres://accrue:secret@db/accrue accrue serve
  accrue serve --roles api --database-url postgres://accrue@one,two/accrue \\
    --read-database-url postgres://accrue@two/accrue";

const DEMO_EXAMPLES: &str = "\
The sales are those of a UK giftware shop, moved so that the last day is today: Online Retail,
D. Chen, UCI Machine Learning Repository, 2015, CC BY 4.0.

Cards are paid with a simulator, and no real money, unless --payments names another provider.
`accrue tour` then shows what a purchase does.

Examples:
  accrue demo
  accrue demo --port 0 --data-dir /tmp/accrue-demo --once";

const DATABASE_NOTE: &str = "\
With the private PostgreSQL of --data-dir (the server may be running or not), or a given one.

Examples:
  accrue verify
  accrue verify --database-url postgres://accrue@localhost/accrue";

const MIGRATE_NOTE: &str = "\
Every server does so itself when it starts; this is for a release of several, to be told at once and
in one place that it cannot be done. What is migrated suits the release before, too.

Examples:
  accrue migrate --database-url postgres://accrue@localhost/accrue";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  accrue completion bash > ~/.local/share/bash-completion/completions/accrue
  accrue completion zsh > ~/.zfunc/_accrue
  accrue completion fish > ~/.config/fish/completions/accrue.fish";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Write the URL into this file when the server is ready
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// End after the table instead of serving on
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Record sales of a CSV or NDJSON file, a row a sale or a row a line of one
    #[command(after_help = crate::import::EXAMPLES)]
    Sales(Box<SalesArgs>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Print events of a running server, one JSON object a line
    Tail(TailArgs),
    /// Print the whole log from the database, one JSON object a line
    Export(ExportArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Relay {
    /// Publish the log, or its end, into a topic of its own
    Republish(RepublishArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Projections {
    /// List the read models and how far each has come
    List(DatabaseFlags),
    /// Build a read model anew beside the live one, and switch
    Rebuild {
        /// Its name, as `list` prints it
        name: String,
        #[command(flatten)]
        database: DatabaseFlags,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every setting, and where its value comes from
    Show(AllFlags),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schemas {
    /// Write OpenAPI, event samples and JSON Schemas into a folder
    Write {
        /// The folder, `schemas/` in the repository
        dir: PathBuf,
    },
    /// Say what would break readers of released events; ends with 1 if anything would
    Check {
        /// Folder of released event schemas, `schemas/released/<version>` in the repository
        released: PathBuf,
        /// Folder of the present ones
        #[arg(default_value = "schemas/events")]
        present: PathBuf,
    },
}
