//! Log lines, to standard error.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat};

/// What is told at other levels than its makers chose.
const QUIET: &str = "sqlx_core::pool=error";

/// As the configuration has it.
pub(crate) fn start(config: &Config) -> Result<()> {
    // Each connection of a pool that is lost is a warning of sqlx's own; an outage is told once. What
    // the operator says about it counts.
    let filter = format!("{QUIET},{}", config.log_filter);
    let filter = EnvFilter::builder().parse(filter).context("log_filter")?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours).with_target(false).init();
        }
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// For commands that end by themselves: only what somebody must look at.
pub(crate) fn quiet() {
    let filter = EnvFilter::new("error");
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    lines.with_target(false).without_time().init();
}
