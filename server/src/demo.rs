//! `accrue demo`: the server, a sample campaign, a year of a real shop's sales, and the catalogue
//! of what it sold, all brought in through the public API.

use std::process::ExitCode;
use std::time::Duration;

use accrue_domain::id::ProgramId;
use accrue_domain::money::Currency;
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::boot::{Server, Signals, unless_stopped};
use crate::cli::DemoArgs;
use crate::client::Client;
use crate::config::{Config, Layers, Target};
use crate::import::{Catalogue, DateReader, Format, Plan, Source, Tally};
use crate::output::{self, grouped};
use crate::{logging, serve};

/// *Online Retail*, D. Chen, UCI Machine Learning Repository, 2015, CC BY 4.0.
static INVOICES: &[u8] = include_bytes!("../../data/online-retail/invoices.csv");

/// The first of these invoices line by line, from the same source.
static LINES: &[u8] = include_bytes!("../../data/online-retail/lines.csv");

const COLUMNS: &str = "id=InvoiceNo,occurred_at=InvoiceDate,account=CustomerID,total=TotalPrice";
/// The sample campaign's id.
pub(crate) const CAMPAIGN: &str = "a-tenth-above-100";

/// How long the server is waited for, though it is our own.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Within so many days points count as expiring soon.
const SOON_DAYS: i64 = 30;

/// Accounts that are asked for at a time.
const QUESTIONS_AT_A_TIME: usize = 16;

/// Runs the demo until a signal, or to the end of the table with `--once`.
pub(crate) async fn demo(arguments: &DemoArgs) -> Result<ExitCode> {
    let mut layers = Layers::of_server(&arguments.serve.server)?;
    // Lines about batches and followers would stand between the story's.
    layers.default_to("log_filter", "warn");
    // Whoever tries it has no payment provider, and is to see cards work all the same.
    layers.default_to("payments", "simulator");
    let config = Config::read(&layers)?;
    logging::start(&config)?;
    let mut signals = Signals::listen()?;
    let started = serve::start(&config, None, &mut signals).await?;
    let Some(server) = started else { return Ok(ExitCode::SUCCESS) };
    let told = unless_stopped(&mut signals, story(&server)).await;
    let failed = match told {
        None => return serve::stop(server, signals).await.map(|()| ExitCode::SUCCESS),
        Some(told) => told.err(),
    };
    if let Some(error) = failed {
        server.drain().await?;
        return Err(error);
    }
    if arguments.once {
        server.drain().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let server = match &arguments.serve.ready_file {
        Some(path) => serve::told(server, path).await?,
        None => server,
    };
    let elsewhere = layers.text("program") != ProgramId::default().as_str();
    output::announce(&next_steps(&server.url, if elsewhere { " --program default" } else { "" }));
    signals.stop().await;
    serve::stop(server, signals).await.map(|()| ExitCode::SUCCESS)
}

/// Set up, import, wait, show.
async fn story(server: &Server) -> Result<()> {
    let (url, program) = (server.url.clone(), ProgramId::default());
    let client = Client::new(Target { url, program })?;
    set_up(&client).await.context("the sample campaign cannot be created")?;
    output::announce(
        "Importing a year of invoices (Online Retail, D. Chen, UCI, 2015, CC BY 4.0) …",
    );
    let tally = plan()?.run(&client).await?;
    if tally.recorded == 0 && tally.bad == 0 {
        let invoices = grouped(i64::try_from(tally.already).unwrap_or(i64::MAX));
        output::announce(&format!(
            "All {invoices} invoices were there already; nothing was changed."
        ));
    } else {
        output::announce(&format!("{tally}."));
    }
    let catalogue = Catalogue::read(LINES, Currency::GBP)?;
    let offered = catalogue.offer(&client, RETRY_FOR).await.context("the catalogue")?;
    let position = server.caught_up(tally.position.max(offered.position)).await;
    let products = catalogue.len();
    let table = table(&client, &tally, products, position).await?;
    output::announce(&format!("\n{table}"));
    Ok(())
}

/// Settings and campaign, unless the campaign is there: what somebody has changed since stays.
async fn set_up(client: &Client) -> Result<()> {
    if client.find(&format!("/v1/campaigns/{CAMPAIGN}")).await?.is_some() {
        return Ok(());
    }
    let settings = json!({
        "currency": "GBP",
        "zone": "Europe/London",
        "expiry": {"after": "P12M", "round": "month_end"},
    });
    client.send(Method::PUT, "/v1/program", "demo/program", &settings).await?;
    client.send(Method::POST, "/v1/campaigns", "demo/campaign", &campaign()).await?;
    Ok(())
}

/// The sample campaign, as it is created.
pub(crate) fn campaign() -> Value {
    json!({
        "id": CAMPAIGN,
        "name": "A tenth above 100",
        "activate": true,
        "rules": [{
            "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than", "value": 100},
            "action": {"command": "issue", "formula": "$.amount/10"},
        }],
    })
}

fn plan() -> Result<Plan> {
    Ok(Plan {
        source: Source::BuiltIn(INVOICES),
        format: Format::Csv,
        delimiter: b',',
        mapping: COLUMNS.parse().map_err(|error: String| anyhow::anyhow!(error))?,
        dates: DateReader::new(None, chrono_tz::Europe::London)?,
        currency: Currency::GBP,
        // Points of 2011 would have lapsed long ago.
        shift_to_today: true,
        retry_for: RETRY_FOR,
    })
}

/// What the read models have at this position or later.
async fn table(client: &Client, tally: &Tally, products: usize, position: i64) -> Result<String> {
    let campaign = format!("/v1/campaigns/{CAMPAIGN}?min_position={position}");
    let campaign = client.get(&campaign).await?;
    let accounts = all(client, "/v1/accounts", Some(position)).await?;
    let expiring = expiring(client, &accounts).await?;
    let sum = |field: &str| accounts.iter().map(|it| number(it, field)).sum::<i64>();
    let invoices = i64::try_from(tally.recorded + tally.already).unwrap_or(i64::MAX);
    let row = |name: &str, count: i64| vec![name.to_owned(), grouped(count)];
    let mut rows = vec![
        row("customers", i64::try_from(accounts.len()).unwrap_or(i64::MAX)),
        row("invoices", invoices),
        row("products", i64::try_from(products).unwrap_or(i64::MAX)),
        row("points issued", number(&campaign, "points")),
        row("available", sum("available")),
        row(&format!("expiring in {SOON_DAYS} days"), expiring),
        vec!["top accounts".to_owned()],
    ];
    let mut top = accounts;
    top.sort_by_key(|it| std::cmp::Reverse(number(it, "available")));
    rows.extend(top.iter().take(5).map(|it| {
        let account = it["account"].as_str().unwrap_or_default();
        row(&format!("  {account}"), number(it, "available"))
    }));
    Ok(output::table(&rows))
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

/// Everything in a list, page by page, as of this position at least.
async fn all(client: &Client, list: &str, position: Option<i64>) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let position = position.map(|position| format!("&min_position={position}"));
    let mut path = format!("{list}?limit=500{}", position.unwrap_or_default());
    loop {
        let mut page = client.get(&path).await?;
        if let Some(items) = page["items"].as_array_mut() {
            all.append(items);
        }
        let Some(next) = page["next"].as_str() else { return Ok(all) };
        path = format!("{list}?limit=500&cursor={next}");
    }
}

/// Points of those whose instant has come by then.
fn sum_by(items: &[Value], instant: &str, then: DateTime<Utc>, points: &str) -> i64 {
    items.iter().filter(|it| is_by(it, instant, then)).map(|it| number(it, points)).sum()
}

fn is_by(item: &Value, instant: &str, then: DateTime<Utc>) -> bool {
    let at = item[instant].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
    at.is_some_and(|at| at <= then)
}

/// Points that lapse soon, of all accounts.
async fn expiring(client: &Client, accounts: &[Value]) -> Result<i64> {
    let soon = Utc::now() + TimeDelta::days(SOON_DAYS);
    let ids = accounts.iter().filter_map(|it| it["account"].as_str().map(str::to_owned));
    let ids: Vec<String> = ids.collect();
    let of_one = |id: String| async move {
        let balance = client.get(&format!("/v1/accounts/{id}")).await?;
        let dates = balance["expiring"].as_array().map_or(&[][..], Vec::as_slice);
        let all_are_soon = dates.last().is_some_and(|last| is_by(last, "at", soon));
        if balance["expiring_more"] == true && all_are_soon {
            let lots = all(client, &format!("/v1/accounts/{id}/lots"), None).await?;
            return Ok(sum_by(&lots, "expires_at", soon, "remaining"));
        }
        anyhow::Ok(sum_by(dates, "at", soon, "points"))
    };
    let asked = stream::iter(ids).map(of_one).buffer_unordered(QUESTIONS_AT_A_TIME);
    asked.try_fold(0, async |sum, points| Ok(sum + points)).await
}

fn next_steps(url: &str, program: &str) -> String {
    format!(
        "Try:\n  curl {url}/v1/accounts/12748\n  curl {url}/v1/accounts/12748/statement\n  \
         curl {url}/v1/accounts/12748/points/redeem -H 'Content-Type: application/json' \
         -d '{{\"points\": 100}}'\n  accrue tour --url {url}{program}      \
         purchases: completed, refused, given back\n\nServing on; stop with Ctrl-C.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invoices_that_are_built_in_are_those_of_the_source() {
        let text = std::str::from_utf8(INVOICES).unwrap();
        assert_eq!(text.lines().count(), 1 + 18_532);
        assert!(plan().is_ok());
        let text = std::str::from_utf8(LINES).unwrap();
        assert_eq!(text.lines().count(), 1 + 10_000);
    }
}
