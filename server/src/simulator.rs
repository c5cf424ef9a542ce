//! `accrue payments-simulator`: a payment provider to try things out with, in a process of its own.

use std::path::PathBuf;

use accrue_gateways::payment::simulator::{Simulator, WebhookEndpoint};
use accrue_gateways::payment::stripe::webhook::Secret;
use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::boot::Signals;
use crate::{output, serve};

pub(crate) const EXAMPLES: &str = "\
It speaks Stripe's protocol on loopback, keeps all in memory, and takes no real cards.

Test cards, as payment_method of a card tender:
  pm_card_visa, pm_card_mastercard, pm_card_amex   the issuer agrees
  pm_card_authenticationRequired                   the issuer asks for 3-D Secure
  pm_card_chargeDeclined                           declined; also …InsufficientFunds, …LostCard,
                                                   …StolenCard, …Fraudulent, …ExpiredCard,
                                                   …IncorrectCvc, …ProcessingError

POST /_switches says what goes wrong; each post replaces the one before, {} ends it all:
  only             of which calls: authorise, capture, void, refund, read; all where absent
  decline          a decline code for every authorisation (captures and refunds with `only`)
  customer_action  true: every authorisation needs 3-D Secure
  slow_ms          each call waits so long, and is worked on even if its caller has gone
  hang             so many calls get no answer and have no effect
  fail             {\"status\": 500, \"times\": 2}: so many errors without effect
  drop_connection  so many calls are worked on and lose their connection instead of an answer
  pending_refunds  true: refunds are taken on, and not settled
  forget_keys      true: a call made again under its key is taken for a new one, as after a day
  webhook_twice    true: every webhook comes twice
  webhook_first    true: webhooks come before the answer to the call that caused them

POST /_complete {\"payment\": \"pi_…\", \"outcome\": \"authorised\" | \"declined\"}: the customer acts.
POST /_fail_refunds {\"reason\": \"lost_or_stolen_card\"}: refunds that were taken on come to nothing.
POST /_webhooks {\"url\": …, \"secret\": …}: where webhooks go.
GET  /_ledger: what was authorised, captured, refunded and released, by currency.

Examples:
  accrue payments-simulator --port 9090
  ACCRUE_PAYMENTS_KEY=sk_test_any accrue serve --payments http://127.0.0.1:9090
  curl localhost:9090/_switches --json '{\"only\": \"capture\", \"drop_connection\": 1}'";

#[derive(Debug, Args)]
pub(crate) struct SimulatorArgs {
    /// Port; 0 picks a free one
    #[arg(long, default_value_t = 9090)]
    port: u16,
    /// Send webhooks there, signed with the secret in ACCRUE_PAYMENTS_WEBHOOK_SECRET
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Write the URL into this file when the simulator is ready
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Simulates until told to stop.
pub(crate) async fn run(arguments: &SimulatorArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let webhooks = arguments.webhook_url.clone().map(|url| {
        let secret = std::env::var("ACCRUE_PAYMENTS_WEBHOOK_SECRET").unwrap_or_default();
        ensure!(!secret.is_empty(), "--webhook-url: expected ACCRUE_PAYMENTS_WEBHOOK_SECRET too");
        Ok(WebhookEndpoint { url, secret: Secret::new(secret) })
    });
    let started = Simulator::start_on(arguments.port, webhooks.transpose()?).await;
    let simulator = started.with_context(|| format!("cannot listen on port {}", arguments.port))?;
    let url = simulator.base_url();
    output::announce(&format!(
        "Simulating card payments on {url}; no money moves. Stop with Ctrl-C."
    ));
    if let Some(path) = &arguments.ready_file {
        serve::tell(path, &url)?;
    }
    signals.stop().await;
    Ok(())
}
