//! The tour through purchases, as somebody at a terminal sees it.

use accrue_tests::database::Database;
use accrue_tests::program::{self, Said};
use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::json;

/// The sample campaign of the demo.
const CAMPAIGN: &str = "a-tenth-above-100";

async fn tour(url: &str) -> Said {
    program::run(["tour", "--url", url]).await
}

/// Its steps, and behind each what has changed.
fn steps(said: &str) -> String {
    let heading = |line: &str| line.starts_with(|first: char| first.is_ascii_digit());
    let changed = |line: &str| line.starts_with("   wallet ");
    let lines = said.lines().filter(|line| heading(line) || changed(line));
    lines.collect::<Vec<_>>().join("\n")
}

async fn with_campaign(server: &Server) {
    let campaign = json!({
        "id": CAMPAIGN, "name": "A tenth above 100", "activate": true,
        "rules": [{
            "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than", "value": 100},
            "action": {"command": "issue", "formula": "$.amount/10"}
        }],
    });
    server.client().post("/v1/campaigns", campaign).await.expect(201);
}

#[tokio::test]
async fn the_tour_can_be_taken_twice_and_tells_what_each_step_changes() {
    let database = Database::create().await;
    let flags = ["--database-url", &database.url, "--payments", "simulator"];
    let server = Server::start_with(&flags).await;
    with_campaign(&server).await;
    let first = tour(&server.url).await.expect_success();
    assert_snapshot!(steps(&first), @r"
    1. Put 2000.00 USD into a wallet
       wallet 0.00 USD → 2000.00 USD, stock 0, points 0
    2. Put a product on sale: 1700.00 USD, 4 in stock
       wallet 2000.00 USD, stock 0 → 4, points 0
    3. Buy one from the wallet: it is completed
       wallet 2000.00 USD → 300.00 USD, stock 4 → 3, points 0 → 170
    4. Buy 5: refused for stock, and nothing of the payment was tried
       wallet 300.00 USD, stock 3, points 170
    5. Buy one more: refused for money, and the stock is released
       wallet 300.00 USD, stock 3, points 170
    6. Pay what is missing by a card that is declined: all is released, the latest first
       wallet 300.00 USD, stock 3, points 170
    7. Give the first one back: money, stock and points return
       wallet 300.00 USD → 2000.00 USD, stock 3 → 4, points 170 → 0
    8. Buy one with a tenth taken off: 1530.00 USD are paid, and points are for those
       wallet 2000.00 USD → 470.00 USD, stock 4 → 3, points 0 → 153
    ");
    let trails = first.lines().filter(|line| line.starts_with("   placed")).map(str::trim);
    assert_snapshot!(trails.collect::<Vec<_>>().join("\n"), @r"
    placed, hold_stock done, hold_tenders done, completed
    placed, hold_stock refused (insufficient_stock), rejected
    placed, hold_stock done, hold_tenders refused (insufficient_funds), hold_stock undone, rejected
    placed, hold_stock done, hold_tenders done, authorise_card started, authorise_card refused (payment_declined), hold_tenders undone, hold_stock undone, rejected
    placed, hold_stock done, hold_tenders done, completed, refund_requested, refunded
    ");
    assert!(!first.contains('\x1b'), "colours belong on a terminal: {first}");

    let second = tour(&server.url).await.expect_success();
    assert_eq!(steps(&second), steps(&first));
    // What it says can be typed, and the same order again is no other one.
    let ordered = first.lines().filter(|line| line.contains("/v1/purchases -H"));
    let bodies = ordered.filter_map(|line| line.split_once("-d '")?.1.strip_suffix('\''));
    let bodies: Vec<_> = bodies.map(str::to_owned).collect();
    assert_eq!(bodies.len(), 5, "{first}");
    for body in bodies {
        server.client().post_text("/v1/purchases", body).await.expect(201);
    }
    let placed = "SELECT count(*) FROM events WHERE event_type = 'PurchasePlaced'";
    assert_eq!(database.number(placed).await, 10);
}

#[tokio::test]
async fn without_a_payment_provider_the_tour_says_so_and_goes_on() {
    let (database, server) = Server::create().await;
    let said = tour(&server.url).await.expect_success();
    let why = "the card cannot be tried: no payment provider is configured on this server";
    assert!(said.contains(why), "{said}");
    assert!(said.contains(&format!("(campaign {CAMPAIGN} of the demo is not here)")), "{said}");
    assert!(steps(&said).ends_with("wallet 2000.00 USD → 470.00 USD, stock 4 → 3, points 0"));
    // The order that waited for a provider waits no more.
    let open = "SELECT count(*) FROM timers";
    assert_eq!(database.number(open).await, 0);
}

#[tokio::test]
async fn what_is_not_as_it_must_be_ends_the_tour_in_one_line() {
    let database = Database::create().await;
    let flags = ["--database-url", &database.url, "--roles", "api,projections"];
    let server = Server::start_with(&flags).await;
    let said = tour(&server.url).await;
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
    let why = "is still running: does a process with the role saga run?";
    assert!(said.err.starts_with("error: step 3: purchase tour-"), "{}", said.err);
    assert!(said.err.trim_end().ends_with(why), "{}", said.err);
}
