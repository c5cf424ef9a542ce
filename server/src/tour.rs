//! `accrue tour`: buys, fails to buy and gives back on a live server, and says what it does.
//!
//! Everything that it touches has an id of this run, so it can be run any number of times. A line
//! with `$` is what was sent, no more and no less: whoever types it gets the same answer.

mod shop;
mod voice;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::config::ClientFlags;
use crate::output;
use shop::Shop;

pub(crate) const EXAMPLES: &str = "\
It opens a wallet, puts a product on sale, buys it, and then shows what happens where the stock,
the money or the card does not suffice, how a purchase is given back, and what a discount does.
Each step prints the request as a line for curl, the answer in short, and what has changed. All ids
are of this run.

Exit code 1, with one line, where something is not as it must be.

Examples:
  accrue tour
  accrue tour --url http://127.0.0.1:9000 --program acme";

/// Whom the tour visits.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TourArgs {
    #[command(flatten)]
    client: ClientFlags,
}

/// What one unit costs, in cents.
const PRICE: i64 = 170_000;

/// What is put into the wallet: enough for one unit, and something to spare.
const TOP_UP: i64 = 200_000;

/// What is left of it behind the first purchase.
const LEFT: i64 = TOP_UP - PRICE;

/// Units in stock at the beginning.
const UNITS: i64 = 4;

/// More than there are.
const TOO_MANY: i64 = 5;

/// What one unit costs with a tenth taken off.
const REDUCED: i64 = PRICE - PRICE / 10;

/// A token of the payment provider for a card that is always declined; no card's number.
const DECLINED_CARD: &str = "pm_card_chargeDeclined";

/// Goes through the tour from its first step to its last.
pub(crate) async fn run(arguments: &TourArgs) -> Result<()> {
    let mut shop = Shop::new(&arguments.client)?;
    let done = steps(&mut shop).await;
    done.with_context(|| format!("step {}", shop.voice.step()))?;
    output::line("\nAll is as it must be. Each run has ids of its own: run it again any time.")?;
    Ok(())
}

async fn steps(shop: &mut Shop) -> Result<()> {
    top_up(shop).await?;
    offer(shop).await?;
    let bought = buy_one(shop).await?;
    buy_too_many(shop).await?;
    buy_without_money(shop).await?;
    buy_with_a_declined_card(shop).await?;
    give_back(shop, &bought).await?;
    buy_with_a_discount(shop).await
}

async fn top_up(shop: &mut Shop) -> Result<()> {
    shop.voice.step_begins("Put 2000.00 USD into a wallet")?;
    let path = format!("/v1/wallets/{}/top-ups", shop.customer);
    let position = shop.command(&path, &json!({"money": usd(TOP_UP)})).await?;
    shop.must_have(position, TOP_UP, 0).await
}

async fn offer(shop: &mut Shop) -> Result<()> {
    shop.voice.step_begins("Put a product on sale: 1700.00 USD, 4 in stock")?;
    let product = shop.product.clone();
    let details = json!({"id": product, "name": "Unicorn", "kind": "goods", "price": usd(PRICE)});
    shop.command("/v1/products", &details).await?;
    let delivery = json!({"delta": UNITS, "reason": "delivery"});
    let position = shop.command(&format!("/v1/products/{product}/stock"), &delivery).await?;
    shop.must_have(position, TOP_UP, UNITS).await
}

async fn buy_one(shop: &mut Shop) -> Result<String> {
    shop.voice.step_begins("Buy one from the wallet: it is completed")?;
    let bought = shop.order(1, json!([shop.wallet()])).await?;
    must_be(&bought, "completed", None)?;
    let trail = shop.trail(&bought).await?;
    ensure!(trail.ends_with("completed"), "the trail does not end with completed: {trail}");
    shop.earns(PRICE).await?;
    shop.must_have(position(&bought), LEFT, UNITS - 1).await?;
    Ok(id(&bought))
}

async fn buy_too_many(shop: &mut Shop) -> Result<()> {
    let told = format!("Buy {TOO_MANY}: refused for stock, and nothing of the payment was tried");
    shop.voice.step_begins(&told)?;
    let refused = shop.order(TOO_MANY, json!([shop.wallet()])).await?;
    must_be(&refused, "rejected", Some("insufficient_stock"))?;
    let trail = shop.trail(&refused).await?;
    ensure!(!trail.contains("hold_tenders"), "a payment was tried: {trail}");
    shop.must_have(position(&refused), LEFT, UNITS - 1).await
}

async fn buy_without_money(shop: &mut Shop) -> Result<()> {
    shop.voice.step_begins("Buy one more: refused for money, and the stock is released")?;
    let refused = shop.order(1, json!([shop.wallet()])).await?;
    must_be(&refused, "rejected", Some("insufficient_funds"))?;
    let trail = shop.trail(&refused).await?;
    let way = ["hold_stock done", "hold_tenders refused", "hold_stock undone"];
    must_follow(&trail, &way)?;
    shop.must_have(position(&refused), LEFT, UNITS - 1).await
}

async fn buy_with_a_declined_card(shop: &mut Shop) -> Result<()> {
    let told = "Pay what is missing by a card that is declined: all is released, the latest first";
    shop.voice.step_begins(told)?;
    let mut from_wallet = shop.wallet();
    from_wallet["money"] = usd(LEFT);
    let card = json!({"kind": "card", "payment_method": DECLINED_CARD});
    let answer = shop.order_by_card(1, json!([from_wallet, card])).await?;
    if answer["state"] == "waiting" {
        return without_a_provider(shop, &answer).await;
    }
    must_be(&answer, "rejected", None)?;
    let reason = answer["reason"].as_str().unwrap_or_default();
    // A provider that does not know the token refuses it as well, for another reason.
    let by_card = ["payment_declined", "payment_refused"].contains(&reason);
    ensure!(by_card, "expected that the card is declined, got {reason}");
    let trail = shop.trail(&answer).await?;
    let way = ["authorise_card refused", "hold_tenders undone", "hold_stock undone"];
    must_follow(&trail, &way)?;
    shop.must_have(position(&answer), LEFT, UNITS - 1).await
}

/// The order waits for a provider; it is cancelled, so that nothing stays behind.
async fn without_a_provider(shop: &mut Shop, waiting: &Value) -> Result<()> {
    let why = shop.delayed(waiting).await?;
    shop.voice.says(&format!("the card cannot be tried: {why}; so the order is cancelled"))?;
    let path = format!("/v1/purchases/{}/cancel", id(waiting));
    let cancelled = shop.purchase(&path, &json!({})).await?;
    must_be(&cancelled, "rejected", Some("cancelled"))?;
    shop.must_have(position(&cancelled), LEFT, UNITS - 1).await
}

async fn give_back(shop: &mut Shop, bought: &str) -> Result<()> {
    shop.voice.step_begins("Give the first one back: money, stock and points return")?;
    let lines = json!({"lines": [{"line": 1, "quantity": 1, "restock": true}]});
    let refunded = shop.purchase(&format!("/v1/purchases/{bought}/refund"), &lines).await?;
    must_be(&refunded, "refunded", None)?;
    shop.trail(&refunded).await?;
    shop.loses().await?;
    shop.must_have(position(&refunded), TOP_UP, UNITS).await
}

async fn buy_with_a_discount(shop: &mut Shop) -> Result<()> {
    let told = "Buy one with a tenth taken off: 1530.00 USD are paid, and points are for those";
    shop.voice.step_begins(told)?;
    let discounts = json!([{"id": "welcome", "reason": "a tenth off", "percent": "10"}]);
    let bought = shop.order_reduced(1, discounts, json!([shop.wallet()])).await?;
    must_be(&bought, "completed", None)?;
    let (total, off) = (&bought["total"]["amount"], &bought["discount"]);
    let as_asked = *total == REDUCED && *off == PRICE - REDUCED;
    ensure!(as_asked, "expected a total of {REDUCED} cents, got {total}, with {off} taken off");
    shop.earns(REDUCED).await?;
    shop.must_have(position(&bought), TOP_UP - REDUCED, UNITS - 1).await
}

fn usd(cents: i64) -> Value {
    json!({"amount": cents, "currency": "USD"})
}

fn id(purchase: &Value) -> String {
    purchase["id"].as_str().unwrap_or_default().to_owned()
}

fn position(answer: &Value) -> i64 {
    answer["position"].as_i64().unwrap_or_default()
}

/// Has the purchase come to that?
fn must_be(purchase: &Value, state: &str, reason: Option<&str>) -> Result<()> {
    let found = purchase["state"].as_str().unwrap_or("nothing");
    ensure!(
        !matches!(found, "running" | "waiting"),
        "purchase {} is still {found}: does a process with the role saga run?",
        id(purchase)
    );
    let got = purchase["reason"].as_str();
    let as_asked = found == state && (reason.is_none() || got == reason);
    let named = |state: &str, reason: Option<&str>| match reason {
        Some(reason) => format!("{state} ({reason})"),
        None => state.to_owned(),
    };
    ensure!(as_asked, "expected {}, got {}", named(state, reason), named(found, got));
    Ok(())
}

/// Do these stand in the trail, in this order?
fn must_follow(trail: &str, way: &[&str]) -> Result<()> {
    let mut rest = trail;
    for step in way {
        let found = rest.split_once(step);
        let (_, behind) = found.with_context(|| format!("expected {step} in: {trail}"))?;
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: Result<()>) -> String {
        result.map_or_else(|error| format!("{error:#}"), |()| "as it must be".to_owned())
    }

    #[test]
    fn a_purchase_must_have_come_to_what_was_expected() {
        let purchase = |state: &str| json!({"id": "p", "state": state, "reason": "declined"});
        let check = |state: &str| told(must_be(&purchase(state), "rejected", Some("declined")));
        assert_eq!(check("rejected"), "as it must be");
        assert_eq!(check("completed"), "expected rejected (declined), got completed (declined)");
        let without_sagas = "purchase p is still running: does a process with the role saga run?";
        assert_eq!(check("running"), without_sagas);
        let other = told(must_be(&purchase("rejected"), "rejected", Some("cancelled")));
        assert_eq!(other, "expected rejected (cancelled), got rejected (declined)");
    }

    #[test]
    fn steps_must_stand_in_their_order() {
        let check = |way: &[&str]| told(must_follow("a done, b refused, a undone", way));
        assert_eq!(check(&["a done", "b refused", "a undone"]), "as it must be");
        let failure = "expected a done in: a done, b refused, a undone";
        assert_eq!(check(&["a undone", "a done"]), failure);
    }
}
