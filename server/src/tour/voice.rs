//! What the tour says, and how it looks.

use std::io::{self, IsTerminal};

use crate::output;

/// Speaks on standard output, with colours where that is a terminal.
#[derive(Debug)]
pub(super) struct Voice {
    step: u32,
    colours: bool,
}

impl Voice {
    pub(super) fn new() -> Self {
        // https://no-color.org
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self { step: 0, colours: !unwanted && io::stdout().is_terminal() }
    }

    /// The step that is being taken.
    pub(super) const fn step(&self) -> u32 {
        self.step
    }

    pub(super) fn step_begins(&mut self, what: &str) -> io::Result<()> {
        self.step += 1;
        output::line(&format!("\n{}", self.styled("1", &format!("{}. {what}", self.step))))
    }

    /// A line to type.
    pub(super) fn sends(&self, line: &str) -> io::Result<()> {
        self.says(&self.styled("2", &format!("$ {line}")))
    }

    pub(super) fn says(&self, text: &str) -> io::Result<()> {
        output::line(&format!("   {text}"))
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
