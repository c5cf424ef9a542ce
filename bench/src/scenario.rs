//! The scenarios, and what they share: a Postgres, two sides, repeats.

pub(crate) mod bulk;
pub(crate) mod ceiling;
pub(crate) mod feed;
pub(crate) mod growth;
pub(crate) mod hot;
pub(crate) mod issue;
pub(crate) mod lag;
pub(crate) mod purchases;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod relay;
pub(crate) mod sweep;
pub(crate) mod two;

use crate::baseline;
use crate::load::outcome::Outcome;
use crate::load::request::{Commands, Requests};
use crate::load::{self, Load, Pace, bulk as bulk_load};
use crate::machine::Machine;
use crate::postgres::{Database, Postgres};
use crate::process::{self, Server};
use anyhow::bail;
use std::path::PathBuf;
use std::time::Duration;

/// Accounts of the scenarios that do not say otherwise.
pub(crate) const ACCOUNTS: u64 = 100_000;

/// Everything in one process.
const ALL_ROLES: &str = "api,projections,saga,campaigns,timers";

/// And publishing.
const ALL_ROLES_AND_RELAY: &str = "api,projections,saga,campaigns,relay,timers";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// The accrue binary, built as this one is
    #[arg(long, default_value_os_t = process::default_binary())]
    pub accrue: PathBuf,
    /// Postgres to use, as a superuser; databases named accrue_bench_* are replaced in it
    /// [default: a private one, in the temporary folder]
    #[arg(long)]
    pub database_url: Option<String>,
    /// How often both sides are measured in turn; figures are medians
    #[arg(long, default_value_t = 3)]
    pub repeats: u32,
    /// Length of one measurement
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Load before each measurement that is not counted
    #[arg(long, default_value_t = 3)]
    pub warm_up_seconds: u64,
    /// Buffers of the private Postgres, MiB [default: a quarter of the machine's memory, as
    /// Postgres's manual has it]
    #[arg(long)]
    pub shared_buffers_mb: Option<u32>,
    /// Connections of the baseline's pool
    #[arg(long, default_value_t = 32)]
    pub pool: u32,
    /// One repeat of 3 seconds, a tenth of the data; says whether it works, not how fast
    #[arg(long)]
    pub quick: bool,
    /// Measure one side alone, where a scenario has two, without figures
    #[arg(long)]
    pub only: Option<Side>,
    /// Folder for the report [default for `all`, unless quick: bench/results]
    #[arg(long)]
    pub results: Option<PathBuf>,
}

impl Settings {
    /// The settings with `--quick` worked in.
    pub(crate) fn resolved(mut self) -> Self {
        if self.quick {
            (self.repeats, self.seconds, self.warm_up_seconds) = (1, 3, 1);
        }
        self
    }

    /// A number of accounts or commands, a tenth of it when quick.
    pub(crate) fn scaled(&self, number: u64) -> u64 {
        if self.quick { number / 10 } else { number }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    Baseline,
    Accrue,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Accrue => "accrue",
        }
    }
}

/// One value a side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sides<T> {
    pub baseline: T,
    pub accrue: T,
}

impl<T> Sides<T> {
    pub(crate) fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Baseline => &mut self.baseline,
            Side::Accrue => &mut self.accrue,
        }
    }
}

fn quarter_of_memory_mb() -> u32 {
    u32::try_from(Machine::this().memory_gib * 256).unwrap_or(256)
}

#[derive(Debug)]
pub(crate) struct Bench {
    pub settings: Settings,
    pub postgres: Postgres,
    /// One line a run, for the report.
    pub notes: Vec<String>,
}

impl Bench {
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let binary = &settings.accrue;
        if settings.only != Some(Side::Baseline) && !binary.exists() {
            bail!("no accrue at {}: cargo build --release -p accrue", binary.display());
        }
        let url = settings.database_url.as_deref();
        let buffers = settings.shared_buffers_mb.unwrap_or_else(quarter_of_memory_mb);
        let postgres = Postgres::start(url, buffers).await?;
        Ok(Self { settings, postgres, notes: Vec::new() })
    }

    /// The sides to measure, in turn.
    pub(crate) fn sides(&self) -> Vec<Side> {
        self.settings.only.map_or_else(|| vec![Side::Baseline, Side::Accrue], |side| vec![side])
    }

    /// A line of progress that the report keeps.
    pub(crate) fn note(&mut self, line: String) {
        println!("{line}");
        self.notes.push(line);
    }

    /// A fresh database for a side, under its usual name.
    pub(crate) async fn fresh(&self, side: Side) -> anyhow::Result<Database> {
        let database = self.postgres.fresh(&format!("accrue_bench_{}", side.name())).await?;
        if side == Side::Baseline {
            database.execute(baseline::DDL).await?;
        }
        Ok(database)
    }

    pub(crate) async fn serve(&self, side: Side, database: &Database) -> anyhow::Result<Server> {
        match side {
            Side::Baseline => process::baseline(database, self.settings.pool).await,
            Side::Accrue => process::accrue(&self.settings.accrue, database, ALL_ROLES).await,
        }
    }

    /// As [`Bench::serve`], but Accrue only takes commands: what follows the log, which the
    /// baseline does not have, would be another process.
    pub(crate) async fn serve_commands(
        &self,
        side: Side,
        database: &Database,
    ) -> anyhow::Result<Server> {
        match side {
            Side::Baseline => self.serve(side, database).await,
            Side::Accrue => process::accrue(&self.settings.accrue, database, "api").await,
        }
    }

    /// A closed loop of the usual length, begun at a checkpoint.
    pub(crate) async fn closed(
        &self,
        server: &Server,
        connections: usize,
        requests: &Requests,
    ) -> anyhow::Result<Outcome> {
        self.postgres.checkpoint().await?;
        load::run(&self.load(server, connections, Pace::Closed), requests).await
    }

    pub(crate) fn load(&self, server: &Server, connections: usize, pace: Pace) -> Load {
        Load {
            address: server.address,
            connections,
            warm_up: Duration::from_secs(self.settings.warm_up_seconds),
            duration: Duration::from_secs(self.settings.seconds),
            pace,
        }
    }

    /// Issues points in bulk: so many commands, spread evenly over the accounts.
    pub(crate) async fn fill(
        &self,
        server: &Server,
        commands: u64,
        accounts: u64,
    ) -> anyhow::Result<Outcome> {
        self.bulk(server, commands, Commands::Issue { accounts }).await
    }

    /// So many commands in bulk.
    pub(crate) async fn bulk(
        &self,
        server: &Server,
        commands: u64,
        of: Commands,
    ) -> anyhow::Result<Outcome> {
        let plan = bulk_load::Bulk {
            address: server.address,
            connections: 4,
            commands_per_request: 1_000,
            commands,
            of,
        };
        bulk_load::run(&plan).await
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn quick_is_short_and_small() {
        let parse = |line: &[&str]| Line::parse_from(line).settings.resolved();
        let quick = parse(&["bench", "--quick", "--repeats", "9"]);
        assert_eq!((quick.repeats, quick.seconds, quick.scaled(5_000)), (1, 3, 500));
        let whole = parse(&["bench", "--repeats", "9"]);
        assert_eq!((whole.repeats, whole.seconds, whole.scaled(5_000)), (9, 10, 5_000));
    }
}
