//! Log lines, to standard error.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat};

/// As the configuration has it.
pub(crate) fn start(config: &Config) -> Result<()> {
    let filter = EnvFilter::builder().parse(&config.log_filter).context("log_filter")?;
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
