//! A small shop: a server with a payment provider, something to sell, and somebody who buys.

use accrue_gateways::payment::simulator::{Simulator, Totals};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::database::Database;
use crate::eventually::eventually;
use crate::server::Server;

/// What the shop starts with: units of product `1` at 1,700.00 USD.
pub const STOCK: i64 = 1_000;

/// Cents in derick's wallet.
pub const MONEY: i64 = 10_000_000;

/// Points of derick's account; 100 of them pay a dollar.
pub const POINTS: i64 = 1_000_000;

/// The price of one unit in cents.
pub const PRICE: i64 = 170_000;

/// The shop.
#[derive(Debug)]
pub struct Shop {
    /// Its log.
    pub database: Database,
    /// Its server.
    pub server: Server,
    /// The payment provider.
    pub provider: Simulator,
}

/// What is where, in units, cents and points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Units on hand, and of them held.
    pub stock: (i64, i64),
    /// Cents in the wallet that can be spent, and that are held.
    pub wallet: (i64, i64),
    /// Points that can be spent, and that are held.
    pub points: (i64, i64),
    /// Cents that the provider took and did not give back, and that it holds.
    pub card: (i64, i64),
}

/// What a shop holds that has sold nothing.
pub const UNTOUCHED: Holdings =
    Holdings { stock: (STOCK, 0), wallet: (MONEY, 0), points: (POINTS, 0), card: (0, 0) };

impl Shop {
    /// A shop with goods, money and points in it, and no campaign.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn open() -> Self {
        Self::open_on(Database::create().await).await
    }

    /// A shop on that database.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn open_on(database: Database) -> Self {
        let provider = Simulator::start(None).await.expect("the simulator starts");
        let url = provider.base_url();
        let flags = ["--payments", &url, "--payments-timeout-seconds", "1"];
        let flags = ["--database-url", &database.url].into_iter().chain(flags);
        let key = [("ACCRUE_PAYMENTS_KEY", "sk_test_shop")];
        let server = Server::start_in(&flags.collect::<Vec<_>>(), &key).await;
        let shop = Self { database, server, provider };
        shop.stock_up().await;
        shop
    }

    async fn stock_up(&self) {
        let client = self.client();
        let settings = json!({
            "currency": "USD", "zone": "UTC", "expiry": "never",
            "points_rate": {"points": 100, "amount": 100},
        });
        client.put("/v1/program", settings).await.expect(200);
        let unicorn = json!({"id": "1", "name": "Unicorn", "kind": "goods", "price": usd(PRICE)});
        client.post("/v1/products", unicorn).await.expect(201);
        let delivery = json!({"delta": STOCK, "reason": "delivery"});
        client.post("/v1/products/1/stock", delivery).await.expect(200);
        let top_up = json!({"money": usd(MONEY)});
        client.post("/v1/wallets/derick/top-ups", top_up).await.expect(201);
        let points = json!({"points": POINTS});
        client.post("/v1/accounts/derick/points/issue", points).await.expect(201);
    }

    /// A client of its server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// Places an order and waits for its end, or for where it waits for somebody.
    pub async fn buy(&self, id: &str, quantity: i64, tenders: Value) -> Answer {
        self.client().post("/v1/purchases", order(id, quantity, tenders)).await
    }

    /// A purchase that has come to an end, or is stuck.
    pub async fn ended(&self, id: &str) -> Value {
        let path = format!("/v1/purchases/{id}");
        eventually(&format!("{id} comes to an end"), async || {
            let answer = self.client().get(&path).await;
            let purchase = (answer.status == 200).then(|| answer.json())?;
            let over = !matches!(purchase["state"].as_str()?, "running" | "waiting");
            let refunds = purchase["refunds"].as_array().map_or(&[][..], |it| &it[..]);
            let refunded = refunds.iter().all(|it| it["state"] != "running");
            (over && refunded).then_some(purchase)
        })
        .await
    }

    /// What is where.
    ///
    /// # Panics
    /// When one of the answers is not what it should be.
    pub async fn holdings(&self) -> Holdings {
        let client = self.client();
        let product = client.get("/v1/products/1").await.expect(200).json();
        let (product, number) = (&product["stock"], |it: &Value| it.as_i64().expect("a number"));
        let wallet = client.get("/v1/wallets/derick").await.expect(200).json();
        let wallet = &wallet["balances"][0];
        let head = self.database.number("SELECT position FROM log_head").await;
        let account = format!("/v1/accounts/derick?min_position={head}");
        let account = client.get(&account).await.expect(200).json();
        let Totals { authorised, captured, refunded, released } = self.provider_totals().await;
        Holdings {
            stock: (number(&product["on_hand"]), number(&product["held"])),
            wallet: (number(&wallet["available"]), number(&wallet["held"])),
            points: (number(&account["available"]), number(&account["held"])),
            card: (captured - refunded, authorised - captured - released),
        }
    }

    /// What the provider has done in dollars.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn provider_totals(&self) -> Totals {
        let provider = Client::new(&self.provider.base_url());
        let ledger = provider.get("/_ledger").await.expect(200).json();
        let usd = ledger.get("usd").cloned();
        usd.map_or_else(Totals::default, |it| serde_json::from_value(it).expect("totals"))
    }

    /// Lets the provider misbehave.
    pub async fn switch(&self, switches: Value) {
        Client::new(&self.provider.base_url()).post("/_switches", switches).await.expect(204);
    }
}

/// An order of product `1` by derick.
#[must_use]
pub fn order(id: &str, quantity: i64, tenders: Value) -> Value {
    let lines = json!([{"product": "1", "quantity": quantity}]);
    json!({"id": id, "account": "derick", "lines": lines, "tenders": tenders})
}

/// 100.00 in points, 500.00 from the wallet, the rest by a card of that kind.
#[must_use]
pub fn mixed(payment_method: &str) -> Value {
    json!([
        {"kind": "points", "points": 10_000},
        {"kind": "wallet", "wallet": "derick", "money": usd(50_000)},
        {"kind": "card", "payment_method": payment_method},
    ])
}

/// All from the wallet.
#[must_use]
pub fn by_wallet() -> Value {
    json!([{"kind": "wallet", "wallet": "derick"}])
}

/// So many cents.
#[must_use]
pub fn usd(cents: i64) -> Value {
    json!({"amount": cents, "currency": "USD"})
}
