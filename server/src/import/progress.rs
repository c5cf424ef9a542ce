//! How far an import has come: a bar on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Tally;
use super::rows::BadRow;
use crate::output::{self, grouped};

/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress on standard error, and bad rows between it.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    rows: u64,
    begun: Instant,
    told: Mutex<Instant>,
    /// It was said that the server is waited for.
    waiting: AtomicBool,
}

impl Progress {
    pub(crate) fn new(rows: u64) -> Self {
        let style = "{bar:30} {human_pos}/{human_len} sales  {msg}  {eta} left";
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::new(rows).with_style(style.progress_chars("=> ")));
        let now = Instant::now();
        Self { bar, rows, begun: now, told: Mutex::new(now), waiting: AtomicBool::new(false) }
    }

    /// Shows bad rows only: of work whose size is not known, and that is soon done.
    pub(crate) fn silent() -> Self {
        let now = Instant::now();
        Self {
            bar: None,
            rows: 0,
            begun: now,
            told: Mutex::new(now),
            waiting: AtomicBool::new(false),
        }
    }

    pub(crate) fn show(&self, tally: &Tally) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
        let rate = number(tally.rate(self.begun.elapsed()));
        if let Some(bar) = &self.bar {
            bar.set_position(tally.done());
            bar.set_message(format!("{rate} a second"));
        } else if self.rows > 0 && told.elapsed() >= LINE_INTERVAL {
            *told = Instant::now();
            let (done, rows) = (number(tally.done()), number(self.rows));
            self.say(&format!("{done} of {rows} rows, {rate} a second"));
        }
    }

    pub(crate) fn bad_row(&self, bad: &BadRow) {
        self.say(&format!("line {}: {}", bad.line, bad.reason));
    }

    /// Says once that the server is waited for, and why.
    pub(crate) fn waiting(&self, reason: &dyn Display) {
        if !self.waiting.swap(true, Ordering::Relaxed) {
            self.say(&format!("waiting: {reason}"));
        }
    }

    /// The server answers again.
    pub(crate) fn answered(&self) {
        if self.waiting.swap(false, Ordering::Relaxed) {
            self.say("the server answers, going on");
        }
    }

    /// Writes a line to standard error; where that is closed there is nobody to tell.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::complain(text)),
            None => output::complain(text),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
