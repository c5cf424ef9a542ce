//! The tour's shop: one customer, one product, and what there is of money, goods and points.

use std::time::Duration;

use accrue_domain::money::{Currency, Minor, Money};
use anyhow::{Context, Result, anyhow, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::id;
use super::voice::Voice;
use crate::client::Client;
use crate::config::ClientFlags;
use crate::demo;

/// Characters of a run's name, behind the words of its ids.
const NAME_CHARS: usize = 10;

/// How long points, and a purchase that waits for a provider, are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// The shop of one run.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) voice: Voice,
    /// Account and wallet.
    pub(super) customer: String,
    pub(super) product: String,
    name: String,
    orders: u32,
    client: Client,
    seen: Holdings,
}

/// What there is. Nothing of it may stay held behind a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Holdings {
    wallet: i64,
    wallet_held: i64,
    stock: i64,
    stock_held: i64,
    points: i64,
}

impl Shop {
    pub(super) fn new(flags: &ClientFlags) -> Result<Self> {
        let client = Client::read(flags)?;
        let mut name = Uuid::new_v4().simple().to_string();
        name.truncate(NAME_CHARS);
        Ok(Self {
            voice: Voice::new(),
            customer: format!("ann-{name}"),
            product: format!("unicorn-{name}"),
            name,
            orders: 0,
            client,
            seen: Holdings::default(),
        })
    }

    /// The customer's wallet, as a tender that takes the rest.
    pub(super) fn wallet(&self) -> Value {
        json!({"kind": "wallet", "wallet": self.customer})
    }

    /// Sends a command that is done at once; the position of its event.
    pub(super) async fn command(&self, path: &str, body: &Value) -> Result<i64> {
        let (status, answer) = self.post(path, body, None).await?;
        let events = answer["events"].as_array().into_iter().flatten();
        let types: Vec<&str> = events.filter_map(|event| event["type"].as_str()).collect();
        let position = answer["position"].as_i64().context("an answer without a position")?;
        self.voice.says(&format!("{status} {} at position {position}", types.join(", ")))?;
        Ok(position)
    }

    /// Orders so many units.
    pub(super) async fn order(&mut self, quantity: i64, tenders: Value) -> Result<Value> {
        let body = self.next_order(quantity, tenders);
        self.purchase("/v1/purchases", &body).await
    }

    /// Orders so many units at less than their price.
    pub(super) async fn order_reduced(
        &mut self,
        quantity: i64,
        discounts: Value,
        tenders: Value,
    ) -> Result<Value> {
        let mut body = self.next_order(quantity, tenders);
        body["discounts"] = discounts;
        self.purchase("/v1/purchases", &body).await
    }

    /// Orders so many units with a card: where nobody takes cards the order would be waited for
    /// in vain.
    pub(super) async fn order_by_card(&mut self, quantity: i64, tenders: Value) -> Result<Value> {
        let body = self.next_order(quantity, tenders);
        let answer = self.post("/v1/purchases", &body, Some("wait=2")).await?;
        let mut purchase = self.told(answer)?;
        let limit = Instant::now() + PATIENCE;
        while purchase["state"] == "running" && Instant::now() < limit {
            sleep(POLL).await;
            purchase = self.client.get(&format!("/v1/purchases/{}", id(&purchase))).await?;
        }
        Ok(purchase)
    }

    fn next_order(&mut self, quantity: i64, tenders: Value) -> Value {
        self.orders += 1;
        json!({
            "id": format!("tour-{}-{}", self.name, self.orders),
            "account": self.customer,
            "lines": [{"product": self.product, "quantity": quantity}],
            "tenders": tenders,
        })
    }

    /// Sends a command that a purchase answers.
    pub(super) async fn purchase(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.post(path, body, None).await?;
        self.told(answer)
    }

    fn told(&self, (status, purchase): (u16, Value)) -> Result<Value> {
        let state = purchase["state"].as_str().context("an answer without a state")?;
        let reason = match (purchase["reason"].as_str(), purchase["detail"].as_str()) {
            (Some(reason), Some(detail)) => format!(", {reason}: {detail}"),
            _ => String::new(),
        };
        self.voice.says(&format!("{status} {state}{reason}"))?;
        Ok(purchase)
    }

    async fn post(&self, path: &str, body: &Value, prefer: Option<&str>) -> Result<(u16, Value)> {
        let mut request = self.client.request(Method::POST, path).json(body);
        let mut headers = "-H 'Content-Type: application/json'".to_owned();
        if let Some(prefer) = prefer {
            request = request.header("Prefer", prefer);
            headers.push_str(&format!(" -H 'Prefer: {prefer}'"));
        }
        self.voice.sends(&format!("{} {headers} -d '{body}'", self.curl(path)))?;
        let response = self.client.answer(request).await?;
        let status = response.status().as_u16();
        let answer = response.json().await.map_err(|error| self.client.lost(&error))?;
        Ok((status, answer))
    }

    fn curl(&self, path: &str) -> String {
        let of_program = match self.client.program().as_str() {
            "default" => String::new(),
            program => format!(" -H 'Accrue-Program: {program}'"),
        };
        format!("curl -s {}{path}{of_program}", self.client.url())
    }

    /// Shows the steps that a purchase has taken, and returns them in words.
    pub(super) async fn trail(&self, purchase: &Value) -> Result<String> {
        let path = format!("/v1/purchases/{}", id(purchase));
        self.voice.sends(&self.curl(&path))?;
        let answer = self.client.get(&path).await?;
        let trail = steps(&answer).into_iter().map(words).collect::<Vec<_>>().join(", ");
        self.voice.says(&trail)?;
        Ok(trail)
    }

    /// Why a call to the payment provider is put off.
    pub(super) async fn delayed(&self, purchase: &Value) -> Result<String> {
        let path = format!("/v1/purchases/{}", id(purchase));
        let answer = self.client.get(&path).await?;
        let delayed = steps(&answer).into_iter().rfind(|step| step["what"] == "delayed");
        let why = delayed.and_then(|step| step["detail"].as_str());
        Ok(why.unwrap_or("the customer is asked to act").to_owned())
    }

    /// Waits for the sample campaign's points for what was paid, where it judges this program's
    /// purchases: a tenth in major units.
    pub(super) async fn earns(&self, paid: i64) -> Result<()> {
        if !self.has_sample_campaign().await? {
            let campaign = demo::CAMPAIGN;
            self.voice.says(&format!("(campaign {campaign} of the demo is not here)"))?;
            return Ok(());
        }
        let earned = paid / 100 / 10;
        let points = self.await_points(|points| points >= earned).await?;
        ensure!(points == earned, "expected {earned} points, got {points}");
        Ok(())
    }

    /// Waits until all that was earned is taken back.
    pub(super) async fn loses(&self) -> Result<()> {
        let points = self.await_points(|points| points == 0).await?;
        ensure!(points == 0, "expected that all points are taken back, {points} are left");
        Ok(())
    }

    async fn has_sample_campaign(&self) -> Result<bool> {
        let found = self.client.find(&format!("/v1/campaigns/{}", demo::CAMPAIGN)).await?;
        let sample = demo::campaign();
        Ok(found.is_some_and(|it| it["status"] == "active" && it["rules"] == sample["rules"]))
    }

    /// Awards follow the log at a pace of their own.
    async fn await_points(&self, enough: impl Fn(i64) -> bool) -> Result<i64> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let points = self.points().await?;
            if enough(points) || Instant::now() > limit {
                return Ok(points);
            }
            sleep(POLL).await;
        }
    }

    async fn points(&self) -> Result<i64> {
        // There is no account before something is earned.
        let account = self.client.find(&format!("/v1/accounts/{}", self.customer)).await?;
        Ok(account.map_or(0, |it| number(&it, "available")))
    }

    /// Tells what has changed, and makes sure that no more than that has.
    pub(super) async fn must_have(&mut self, position: i64, wallet: i64, stock: i64) -> Result<()> {
        let now = self.holdings(position).await?;
        self.voice.says(&change(self.seen, now)?)?;
        self.seen = now;
        let wanted = Holdings { wallet, stock, wallet_held: 0, stock_held: 0, points: now.points };
        ensure!(now == wanted, "expected wallet {}, stock {stock}, nothing held", usd(wallet)?);
        Ok(())
    }

    async fn holdings(&self, position: i64) -> Result<Holdings> {
        let Self { client, customer, product, .. } = self;
        let wallet = format!("/v1/wallets/{customer}?min_position={position}");
        let wallet = client.get(&wallet).await?;
        let money = &wallet["balances"][0];
        let stock = format!("/v1/products/{product}/stock?min_position={position}");
        let stock = client.find(&stock).await?.unwrap_or_default();
        Ok(Holdings {
            wallet: number(money, "available"),
            wallet_held: number(money, "held"),
            stock: number(&stock, "available"),
            stock_held: number(&stock, "held"),
            points: self.points().await?,
        })
    }
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

fn steps(purchase: &Value) -> Vec<&Value> {
    purchase["steps"].as_array().into_iter().flatten().collect()
}

/// A step in words, such as `hold_stock done`.
fn words(step: &Value) -> String {
    let text = |field: &str| step[field].as_str().unwrap_or_default();
    let words = [text("step"), text("what")].join(" ");
    // The end repeats the reason of the step that was refused.
    let reason = if text("step").is_empty() { "" } else { text("reason") };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{}{reason}", words.trim())
}

/// What there was and is, such as `wallet 3.00 → 2.00 USD, stock 4, points 0 → 10`.
fn change(before: Holdings, now: Holdings) -> Result<String> {
    let one = |name: &str, before: String, now: String| {
        if before == now { format!("{name} {now}") } else { format!("{name} {before} → {now}") }
    };
    let held = |what: &str, units: i64| match units {
        0 => String::new(),
        units => format!(", {what} held {units}"),
    };
    Ok(format!(
        "{}, {}, {}{}{}",
        one("wallet", usd(before.wallet)?, usd(now.wallet)?),
        one("stock", before.stock.to_string(), now.stock.to_string()),
        one("points", before.points.to_string(), now.points.to_string()),
        held("cents", now.wallet_held),
        held("units", now.stock_held),
    ))
}

fn usd(cents: i64) -> Result<String> {
    let currency: Currency = "USD".parse()?;
    let amount = Minor::new(cents).map_err(|error| anyhow!("a wallet with {cents}: {error}"))?;
    Ok(Money { amount, currency }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_where_there_is_one_and_so_is_what_stays_held() {
        let before = Holdings { wallet: 200_000, stock: 4, ..Holdings::default() };
        let now = Holdings { wallet: 30_000, stock: 3, points: 170, ..before };
        let text = "wallet 2000.00 USD → 300.00 USD, stock 4 → 3, points 0 → 170";
        assert_eq!(change(before, now).unwrap(), text);
        let held = Holdings { stock_held: 1, ..now };
        let text = "wallet 300.00 USD, stock 3, points 170, units held 1";
        assert_eq!(change(now, held).unwrap(), text);
    }

    #[test]
    fn a_step_is_told_with_its_reason_once() {
        let refused = json!({"what": "refused", "step": "hold_stock", "reason": "too_few"});
        assert_eq!(words(&refused), "hold_stock refused (too_few)");
        assert_eq!(words(&json!({"what": "rejected", "reason": "too_few"})), "rejected");
        assert_eq!(words(&json!({"what": "done", "step": "settle"})), "settle done");
    }
}
