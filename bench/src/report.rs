//! The table of figures, on the terminal and as a file.

use crate::load::outcome::Outcome;
use crate::machine::Machine;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a figure should reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Stated, not judged.
    None,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub name: String,
    pub accrue: String,
    /// What was measured beside it, in the same run.
    pub beside: String,
    /// What the goal judges, and its unit: a ratio `x`, or an absolute.
    pub value: f64,
    pub unit: &'static str,
    pub goal: Goal,
}

impl Figure {
    /// Answers that were not ok; Accrue is to have none.
    pub(crate) fn errors<'a>(
        name: &str,
        accrue: impl IntoIterator<Item = &'a Outcome>,
        beside: impl IntoIterator<Item = &'a Outcome>,
    ) -> Self {
        let accrue: u64 = accrue.into_iter().map(|run| run.tally.errors()).sum();
        let beside: u64 = beside.into_iter().map(|run| run.tally.errors()).sum();
        Self {
            name: format!("{name}, errors"),
            accrue: accrue.to_string(),
            beside: beside.to_string(),
            value: accrue as f64,
            unit: "",
            goal: Goal::AtMost(0.0),
        }
    }

    fn verdict(&self) -> (String, &'static str) {
        let met = |met| if met { "yes" } else { "NO" };
        match self.goal {
            Goal::AtLeast(least) => (format!("≥ {least}"), met(self.value >= least)),
            Goal::AtMost(most) => (format!("≤ {most}"), met(self.value <= most)),
            Goal::None => ("–".to_owned(), "–"),
        }
    }

    fn cells(&self) -> [String; 6] {
        let (goal, met) = self.verdict();
        let Self { name, accrue, beside, value, unit, .. } = self;
        let value = format!("{}{unit}", rounded(*value));
        [name.clone(), accrue.clone(), beside.clone(), value, goal, met.to_owned()]
    }
}

/// `accrue / beside`; 0 when there is nothing to divide by, which meets no goal.
pub(crate) fn ratio(accrue: f64, beside: f64) -> f64 {
    if beside > 0.0 { accrue / beside } else { 0.0 }
}

/// The middle of several repeats.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => f64::midpoint(values[middle - 1], *upper),
        (Some(value), _) => *value,
    }
}

pub(crate) fn rounded(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

const HEADER: [&str; 6] = ["figure", "accrue", "beside it", "value", "goal", "met"];

/// A Markdown table that is aligned, so that it reads well as plain text too.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        line(&mut text, row, widths);
        if index == 0 {
            line(&mut text, &widths.map(|width| "-".repeat(width)), widths);
        }
    }
    text
}

fn line(text: &mut String, cells: &[String; 6], widths: [usize; 6]) {
    for (cell, width) in cells.iter().zip(widths) {
        write!(text, "| {cell:<width$} ").expect("a String takes all that is written to it");
    }
    text.push_str("|\n");
}

/// What the figures were measured on and how.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    pub machine: Machine,
    pub postgres: String,
    pub command: String,
    /// Load average of the machine before the first run.
    pub load_before: String,
    pub notes: Vec<String>,
}

/// The report's text.
pub(crate) fn document(about: &Circumstances, figures: &[Figure], date: &str) -> String {
    let mut text = format!("# Figures of {date}\n\n");
    let facts = [
        ("Machine", about.machine.line()),
        ("Database", about.postgres.clone()),
        ("Command", format!("`{}`", about.command)),
        ("Load average before", about.load_before.clone()),
    ];
    for (name, value) in facts {
        writeln!(text, "- {name}: {value}").expect("a String takes all that is written to it");
    }
    text.push_str("- Load generator, server and Postgres share the machine.\n\n");
    text.push_str(&table(figures));
    if !about.notes.is_empty() {
        text.push_str("\n## Runs\n\n```text\n");
        text.push_str(&about.notes.join("\n"));
        text.push_str("\n```\n");
    }
    text
}

/// Writes the report as `<folder>/<date>-<host>.md`.
pub(crate) fn write(
    folder: &Path,
    about: &Circumstances,
    figures: &[Figure],
) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let date = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let path = folder.join(format!("{date}-{}.md", about.machine.host));
    std::fs::write(&path, document(about, figures, &date))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Figure, Goal, median, ratio, table};

    fn figure(value: f64, goal: Goal) -> Figure {
        let (accrue, beside) = ("24500/s".to_owned(), "4040/s".to_owned());
        Figure { name: "issue, 256".to_owned(), accrue, beside, value, unit: "x", goal }
    }

    #[test]
    fn the_table_is_aligned_and_says_which_goals_are_met() {
        let figures = [figure(6.06, Goal::AtLeast(6.0)), figure(112.3, Goal::AtMost(100.0))];
        let expected = "\
| figure     | accrue  | beside it | value | goal  | met |
| ---------- | ------- | --------- | ----- | ----- | --- |
| issue, 256 | 24500/s | 4040/s    | 6.06x | ≥ 6   | yes |
| issue, 256 | 24500/s | 4040/s    | 112x  | ≤ 100 | NO  |
";
        assert_eq!(table(&figures), expected);
    }

    #[test]
    fn a_goal_is_met_at_its_edge() {
        assert_eq!(figure(6.0, Goal::AtLeast(6.0)).verdict().1, "yes");
        assert_eq!(figure(5.999, Goal::AtLeast(6.0)).verdict().1, "NO");
        assert_eq!(figure(100.0, Goal::AtMost(100.0)).verdict().1, "yes");
        assert_eq!(figure(1.0, Goal::None).verdict().1, "–");
    }

    #[test]
    fn the_median_of_repeats_ignores_one_that_went_wrong() {
        assert_eq!(median([1.0, 900.0, 2.0]), 2.0);
        assert_eq!(median([1.0, 2.0, 4.0, 900.0]), 3.0);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn nothing_to_compare_with_meets_no_goal() {
        assert_eq!(ratio(5.0, 0.0), 0.0);
        assert_eq!(ratio(6.0, 4.0), 1.5);
    }
}
