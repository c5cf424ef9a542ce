//! Bulk: `POST /v1/commands` and `accrue import sales` against the ceiling, which is one
//! connection inserting the very rows that the server wrote.

use super::{ACCOUNTS, Bench, Side, ceiling};
use crate::load::outcome::per_second;
use crate::postgres::Database;
use crate::process::{Server, run_accrue};
use crate::report::{Figure, Goal, median, ratio};
use std::ffi::OsStr;
use std::io::{self, BufWriter, Write as _};
use tempfile::NamedTempFile;

const COMMANDS: u64 = 500_000;

/// Rows of the file that is imported.
const SALES: u64 = 300_000;

/// What a log is filled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Commands,
    Import,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Commands => "bulk commands",
            Self::Import => "import of sales",
        }
    }
}

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for way in [Way::Commands, Way::Import] {
        let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
        for _ in 0..bench.settings.repeats {
            let (rate, ceiling) = beside_ceiling(bench, way).await?;
            ours.push(rate);
            ceilings.push(ceiling);
        }
        let (ours, ceiling) = (median(ours), median(ceilings));
        figures.push(Figure {
            name: format!("{}, against the ceiling", way.name()),
            accrue: format!("{ours:.0}/s"),
            beside: format!("{ceiling:.0}/s"),
            value: ratio(ours, ceiling),
            unit: "x",
            goal: Goal::AtLeast(0.6),
        });
    }
    Ok(figures)
}

/// Commands a second of a log that is filled, and of one connection that inserts the same rows.
async fn beside_ceiling(bench: &mut Bench, way: Way) -> anyhow::Result<(f64, f64)> {
    let database = bench.fresh(Side::Accrue).await?;
    let server = bench.serve_commands(Side::Accrue, &database).await?;
    let accounts = bench.settings.scaled(ACCOUNTS);
    let (commands, rate) = match way {
        Way::Commands => {
            let commands = bench.settings.scaled(COMMANDS);
            let outcome = bench.fill(&server, commands, accounts).await?;
            bench.note(format!("bulk  accrue  : {}", outcome.line()));
            (commands, outcome.rate())
        }
        Way::Import => {
            let sales = bench.settings.scaled(SALES);
            let rate = import(bench, &server, &database, sales, accounts).await?;
            bench.note(format!("import accrue : {rate:>9.0}/s"));
            (sales, rate)
        }
    };
    server.stop().await?;
    let copy = bench.postgres.fresh("accrue_bench_ceiling").await?;
    let time = ceiling::measure(&database, &copy).await?;
    let ceiling = per_second(commands, time);
    bench.note(format!("bulk  ceiling : {ceiling:>9.0}/s"));
    bench.postgres.drop(copy).await?;
    bench.postgres.drop(database).await?;
    Ok((rate, ceiling))
}

/// Sales a second of `accrue import sales`, from its start to its end.
async fn import(
    bench: &Bench,
    server: &Server,
    database: &Database,
    sales: u64,
    accounts: u64,
) -> anyhow::Result<f64> {
    let file = NamedTempFile::with_suffix(".csv")?;
    write_sales(&file, sales, accounts)?;
    let url = format!("http://{}", server.address);
    let map = "id=id,occurred_at=at,account=account,total=total";
    let arguments = ["import", "sales", "--url", &url, "--map", map].map(OsStr::new);
    let arguments = arguments.into_iter().chain([file.path().as_os_str()]);
    let time = run_accrue(&bench.settings.accrue, arguments).await?;
    // Each member opens with the first sale.
    let head = database.head().await?;
    anyhow::ensure!(head == sales + accounts, "the import left something out: {head} events");
    Ok(per_second(sales, time))
}

/// A till's history: sales spread evenly over the accounts, in the order of their time.
fn write_sales(file: &NamedTempFile, sales: u64, accounts: u64) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    writeln!(file, "id,at,account,total")?;
    for sale in 0..sales {
        let (minute, second) = (sale / 60 % 60, sale % 60);
        let (day, hour) = (1 + sale / 86_400 % 28, sale / 3_600 % 24);
        let (account, pence) = (sale % accounts, sale % 100);
        writeln!(
            file,
            "s{sale},2025-03-{day:02}T{hour:02}:{minute:02}:{second:02}Z,m{account:08},{}.{pence:02}",
            1 + sale % 200
        )?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::write_sales;
    use std::collections::HashSet;
    use tempfile::NamedTempFile;

    #[test]
    fn a_file_has_a_sale_a_row_spread_over_the_accounts() {
        let file = NamedTempFile::new().unwrap();
        write_sales(&file, 90_000, 100).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split(',').collect()).collect();
        assert_eq!(rows.len(), 90_001);
        assert_eq!(rows[1], ["s0", "2025-03-01T00:00:00Z", "m00000000", "1.00"]);
        assert_eq!(rows[86_401][1], "2025-03-02T00:00:00Z");
        let distinct = |at: usize| rows[1..].iter().map(|row| row[at]).collect::<HashSet<_>>();
        assert_eq!((distinct(0).len(), distinct(2).len()), (90_000, 100));
    }
}
