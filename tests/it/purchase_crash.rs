//! The server dies at every step of a purchase, on the way there and on the way back, and again
//! while it recovers: money, stock and points are conserved, and every purchase comes to its end.

use accrue_domain::purchase::step::{Step, Way};
use accrue_private_postgres::cluster::{Cluster, Mode};
use accrue_private_postgres::options::Options;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::history;
use accrue_tests::server::Server;
use accrue_tests::shop::{Holdings, MONEY, POINTS, STOCK, Shop, UNTOUCHED, mixed, order};
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

/// A shop whose server dies at named places.
struct Deaths {
    shop: Shop,
    purchases: usize,
    /// Units that were sold and not given back, each by the same tenders.
    sold: i64,
}

impl Deaths {
    async fn open() -> Self {
        Self { shop: Shop::open().await, purchases: 0, sold: 0 }
    }

    fn next(&mut self) -> String {
        self.purchases += 1;
        format!("p-{}", self.purchases)
    }

    /// Starts the server so that it dies at that place, perhaps before it is ready.
    fn begin(&mut self, place: &str) {
        self.shop.server.kill9();
        let name = format!("purchase.{place}");
        self.shop.server.set("ACCRUE_FAILPOINT", Some(&name));
        self.shop.server.begin_restart_elsewhere();
    }

    /// As [`Deaths::begin`], and it is ready.
    async fn arm(&mut self, place: &str) {
        self.begin(place);
        self.shop.server.ready().await;
    }

    /// Waits until it has died there, which it does not do of itself otherwise.
    async fn dies(&mut self, place: &str) {
        let status = self.shop.server.exit().await;
        assert!(!status.success(), "{place} was never reached");
    }

    /// Starts it as it should be.
    async fn revive(&mut self) {
        self.shop.server.set("ACCRUE_FAILPOINT", None);
        self.shop.server.begin_restart_elsewhere();
        self.shop.server.ready().await;
    }

    /// Sends without waiting for more than the server lives to tell.
    async fn send(&self, path: &str, body: Value) {
        let client = self.shop.client().with("content-type", "application/json");
        let client = client.with("prefer", "respond-async");
        let sent = client.try_send(reqwest::Method::POST, path, Some(body.to_string())).await;
        if let Ok(answer) = sent {
            assert!(answer.status < 300, "{}", answer.text);
        }
    }

    async fn holds(&self) {
        let expected = Holdings {
            stock: (STOCK - self.sold, 0),
            wallet: (MONEY - self.sold * 50_000, 0),
            points: (POINTS - self.sold * 10_000, 0),
            card: (self.sold * 110_000, 0),
        };
        assert_eq!(self.shop.holdings().await, expected);
    }

    /// The server dies at that place of a purchase, and is started again.
    async fn purchase(&mut self, place: &str, payment_method: &str, quantity: i64) -> Value {
        let id = self.next();
        self.arm(place).await;
        self.send("/v1/purchases", order(&id, quantity, mixed(payment_method))).await;
        self.dies(place).await;
        self.revive().await;
        let purchase = self.shop.ended(&id).await;
        println!("{place}: {} {}", purchase["state"], purchase["reason"]);
        purchase
    }

    async fn verified(self) {
        history::settled(&self.shop.database).await;
        history::verify(&self.shop.database).await.expect_success();
    }
}

/// The part of a story that a move is in. Whoever adds a step says here where the server dies at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    There,
    /// On the way back of an order whose card is declined.
    Back,
    /// On the way back of one whose card was charged, or may have been.
    BackFromCard,
    OfRefund,
    /// There is no such move.
    None,
}

const fn part(step: Step, way: Way) -> Part {
    match (step, way) {
        (
            Step::HoldStock
            | Step::HoldTenders
            | Step::AuthoriseCard
            | Step::CaptureCard
            | Step::Settle,
            Way::Do,
        ) => Part::There,
        (Step::HoldStock | Step::HoldTenders, Way::Undo) => Part::Back,
        (Step::AuthoriseCard | Step::CaptureCard, Way::Undo) => Part::BackFromCard,
        (Step::RefundCard | Step::SettleRefund, Way::Do) => Part::OfRefund,
        (Step::Settle | Step::RefundCard | Step::SettleRefund, Way::Undo) => Part::None,
    }
}

/// Every place of the moves of a part.
fn places(of: Part) -> Vec<String> {
    let moves = Step::ALL.into_iter().flat_map(|step| [(step, Way::Do), (step, Way::Undo)]);
    let moves = moves.filter(|(step, way)| part(*step, *way) == of);
    let named = moves.flat_map(|(step, way)| {
        let undo = if way == Way::Undo { ".undo" } else { "" };
        let outside: &[&str] = &["before", "started", "answered", "after"];
        let moments = if step.is_outside() { outside } else { &["before", "after"] };
        moments.iter().map(move |moment| format!("{}{undo}.{moment}", step.as_str()))
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_every_step_of_the_way_there() {
    let mut deaths = Deaths::open().await;
    for place in places(Part::There) {
        let purchase = deaths.purchase(&place, "pm_card_visa", 1).await;
        assert_eq!(purchase["state"], "completed", "{place}: {purchase}");
        deaths.sold += 1;
        deaths.holds().await;
    }
    deaths.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_every_step_of_the_way_back() {
    let mut deaths = Deaths::open().await;
    for place in places(Part::Back) {
        let purchase = deaths.purchase(&place, "pm_card_chargeDeclined", 1).await;
        let end = (&purchase["state"], &purchase["reason"]);
        assert_eq!(end, (&json!("rejected"), &json!("payment_declined")), "{place}");
        deaths.holds().await;
    }
    for (place, quantity, reason) in [
        ("hold_stock.refused", STOCK + 1, "insufficient_stock"),
        // 900 times 1,700.00 less the card's part: more than the points and the wallet pay.
        ("hold_tenders.refused", 1, "insufficient_points"),
    ] {
        if place == "hold_tenders.refused" {
            let all = json!({"points": POINTS});
            deaths.shop.client().post("/v1/accounts/derick/points/redeem", all).await.expect(200);
        }
        let purchase = deaths.purchase(place, "pm_card_visa", quantity).await;
        let end = (&purchase["state"], &purchase["reason"]);
        assert_eq!(end, (&json!("rejected"), &json!(reason)), "{place}");
        let spent = place == "hold_tenders.refused";
        let points = if spent { (0, 0) } else { UNTOUCHED.points };
        assert_eq!(deaths.shop.holdings().await, Holdings { points, ..UNTOUCHED }, "{place}");
    }
    deaths.verified().await;
}

/// The first death leaves the card authorised, or perhaps captured; the purchase's time is over
/// when the server is back, and it dies again on the way back.
#[tokio::test(flavor = "multi_thread")]
async fn death_on_the_way_there_and_again_on_the_way_back() {
    let mut deaths = Deaths::open().await;
    let time_out = ["time_out.before", "time_out.after"].map(str::to_owned);
    let all = time_out.into_iter().chain(places(Part::BackFromCard));
    let (mut authorised, mut captured) = (
        ["authorise_card.after", "authorise_card.started", "authorise_card.answered"]
            .into_iter()
            .cycle(),
        ["capture_card.started", "capture_card.answered"].into_iter().cycle(),
    );
    for second in all {
        // By turns the provider was reached, has answered, or that was noted.
        let first =
            if second.starts_with("capture_card") { captured.next() } else { authorised.next() };
        let first = first.expect("there is always another");
        let id = deaths.next();
        deaths.arm(first).await;
        let until = Utc::now() + TimeDelta::milliseconds(1_500);
        let mut order = order(&id, 1, mixed("pm_card_visa"));
        order["until"] = json!(until.to_rfc3339_opts(SecondsFormat::Millis, true));
        deaths.send("/v1/purchases", order).await;
        deaths.dies(first).await;
        accrue_tests::eventually::eventually("its time is over", async || {
            (Utc::now() > until).then_some(())
        })
        .await;
        deaths.begin(&second);
        deaths.dies(&second).await;
        deaths.revive().await;
        let purchase = deaths.shop.ended(&id).await;
        let end = (&purchase["state"], &purchase["reason"]);
        assert_eq!(end, (&json!("rejected"), &json!("timed_out")), "{first}, {second}: {purchase}");
        deaths.holds().await;
    }
    deaths.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_every_step_of_a_refund() {
    let mut deaths = Deaths::open().await;
    for place in places(Part::OfRefund) {
        let id = deaths.next();
        let bought = deaths.shop.buy(&id, 1, mixed("pm_card_visa")).await.expect(201);
        assert_eq!(bought.json()["state"], "completed");
        deaths.arm(&place).await;
        let refund = json!({"id": "r", "all": true, "restock": true});
        deaths.send(&format!("/v1/purchases/{id}/refund"), refund).await;
        deaths.dies(&place).await;
        deaths.revive().await;
        assert_eq!(deaths.shop.ended(&id).await["state"], "refunded", "{place}");
        deaths.holds().await;
    }
    deaths.verified().await;
}

/// Buys with the same id again and again until there is an answer.
async fn insists(client: &Client, path: &str, body: &Value) {
    let client = client.with("content-type", "application/json").with("prefer", "wait=5");
    eventually("it is answered", async || {
        let sent = client.try_send(reqwest::Method::POST, path, Some(body.to_string())).await;
        let answer = sent.ok()?;
        assert!(answer.status < 300 || answer.status == 503, "{}", answer.text);
        (answer.status < 300).then_some(())
    })
    .await;
}

/// One buyer after another; every third order is given back.
async fn buys(client: Client, buyer: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..6 {
        let id = format!("p-{buyer}-{number}");
        insists(&client, "/v1/purchases", &order(&id, 1, mixed("pm_card_visa"))).await;
        if number % 3 == 2 {
            let refund = json!({"id": "r", "all": true, "restock": true});
            let it = format!("/v1/purchases/{id}");
            let path = format!("{it}/refund");
            eventually("it has come to its end", async || {
                let asked = client.try_send(reqwest::Method::GET, &it, None::<String>).await;
                let purchase = asked.ok().filter(|answer| answer.status == 200)?.json();
                (purchase["state"] != "running" && purchase["state"] != "waiting").then_some(())
            })
            .await;
            insists(&client, &path, &refund).await;
        }
        ids.push(id);
    }
    ids
}

/// Somewhere in the middle of what is going on.
async fn stop_again_and_again(cluster: &Cluster, shop: &Shop) {
    let steps = "SELECT count(*) FROM events WHERE event_type = 'PurchaseStepDone'";
    let mut seen = 0;
    for _ in 0..4 {
        let to = seen + 9;
        eventually("purchases go on", async || {
            seen = shop.database.number(steps).await;
            (seen >= to).then_some(())
        })
        .await;
        cluster.stop(Mode::Immediate).await.expect("Postgres stops");
        cluster.ensure_running().await.expect("Postgres starts again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stops_at_once_in_the_middle_of_purchases() {
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let shop = Shop::open_on(Database::create_in(&cluster).await).await;
    let buyers = futures::future::join_all((0..6).map(|buyer| buys(shop.client(), buyer)));
    let (bought, ()) = tokio::join!(buyers, stop_again_and_again(&cluster, &shop));
    let mut sold = 0;
    for id in bought.into_iter().flatten() {
        let purchase = shop.ended(&id).await;
        let state = purchase["state"].as_str().expect("a state");
        assert!(["completed", "refunded"].contains(&state), "{purchase}");
        sold += i64::from(state == "completed");
    }
    let deaths = Deaths { shop, purchases: 0, sold };
    deaths.holds().await;
    deaths.verified().await;
}

/// The server stands still at each place while Postgres is stopped and started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stops_at_every_step() {
    let cluster = Cluster::scratch(Options::small()).await.expect("a cluster of its own");
    let shop = Shop::open_on(Database::create_in(&cluster).await).await;
    let mut deaths = Deaths { shop, purchases: 0, sold: 0 };
    let folder = tempfile::tempdir().expect("a folder");
    let (back, refund) = (places(Part::Back), places(Part::OfRefund));
    for place in places(Part::There).iter().chain(&back).chain(&refund) {
        let (declined, refunded) = (back.contains(place), refund.contains(place));
        let id = deaths.next();
        if refunded {
            deaths.shop.buy(&id, 1, mixed("pm_card_visa")).await.expect(201);
        }
        let file = folder.path().join(place);
        deaths.shop.server.set("ACCRUE_FAILPOINT_FILE", file.to_str());
        deaths.arm(place).await;
        if refunded {
            let all = json!({"id": "r", "all": true, "restock": true});
            deaths.send(&format!("/v1/purchases/{id}/refund"), all).await;
        } else {
            let card = if declined { "pm_card_chargeDeclined" } else { "pm_card_visa" };
            deaths.send("/v1/purchases", order(&id, 1, mixed(card))).await;
        }
        eventually(place, async || file.exists().then_some(())).await;
        cluster.stop(Mode::Immediate).await.expect("Postgres stops");
        std::fs::remove_file(&file).expect("the server goes on");
        cluster.ensure_running().await.expect("Postgres starts again");
        let purchase = deaths.shop.ended(&id).await;
        let expected = match (declined, refunded) {
            (true, _) => "rejected",
            (_, true) => "refunded",
            _ => "completed",
        };
        assert_eq!(purchase["state"], expected, "{place}: {purchase}");
        deaths.sold += i64::from(expected == "completed");
        // Commits of read models are not waited for: what the crash took is made again.
        history::settled(&deaths.shop.database).await;
        deaths.holds().await;
    }
    deaths.shop.server.set("ACCRUE_FAILPOINT_FILE", None);
    deaths.shop.server.kill9();
    deaths.revive().await;
    deaths.verified().await;
}

/// Every step and every undo is tried by two servers: each has one effect.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_at_the_same_purchases() {
    let shop = Shop::open().await;
    let provider = shop.provider.base_url();
    let flags = ["--database-url", &shop.database.url, "--payments", &provider];
    let key = [("ACCRUE_PAYMENTS_KEY", "sk_test_shop")];
    let other = Server::start_in(&flags, &key).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let card = if number % 4 == 3 { "pm_card_chargeDeclined" } else { "pm_card_visa" };
        let id = format!("p-{number}");
        // By turns, so that each of them hears of some from the other.
        let client = if number % 2 == 0 { shop.client() } else { other.client() };
        let client = client.with("prefer", "respond-async");
        client.post("/v1/purchases", order(&id, 1, mixed(card))).await.taken();
        ids.push(id);
    }
    let mut sold = 0;
    for (number, id) in ids.iter().enumerate() {
        let purchase = shop.ended(id).await;
        let expected = if number % 4 == 3 { "rejected" } else { "completed" };
        assert_eq!(purchase["state"], expected, "{purchase}");
        if number % 4 == 0 {
            for (client, half) in [(shop.client(), "r"), (other.client(), "s")] {
                let amount = json!({"amount": 85_000, "currency": "USD"});
                let half = json!({"id": half, "amount": amount});
                let client = client.with("prefer", "respond-async");
                let refund = client.post(&format!("/v1/purchases/{id}/refund"), half).await;
                // It may be over by the time of the answer.
                assert!([201, 202].contains(&refund.status), "{}", refund.text);
            }
            assert_eq!(shop.ended(id).await["state"], "refunded");
        }
        sold += i64::from(expected == "completed" && number % 4 != 0);
    }
    // A part of the total brings no goods back.
    let held = shop.holdings().await;
    assert_eq!((held.stock.1, held.wallet.1, held.points.1, held.card.1), (0, 0, 0, 0));
    assert_eq!(held.stock.0, STOCK - 9);
    assert_eq!(held.wallet.0, MONEY - sold * 50_000);
    assert_eq!(held.points.0, POINTS - sold * 10_000);
    assert_eq!(held.card.0, sold * 110_000);
    let deaths = Deaths { shop, purchases: 0, sold };
    deaths.verified().await;
}
