//! A till that takes cards: the real server, a simulator of the payment provider, and the sums that
//! have to come out whatever goes wrong between them.

use std::collections::BTreeMap;

use accrue_gateways::payment::simulator::{
    CallKind, Completed, Completion, RefundFailure, Simulator, Switches, Totals, WebhookTarget,
};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::database::Database;
use crate::eventually::eventually;
use crate::server::Server;

/// What server and simulator sign webhooks with.
pub const SECRET: &str = "whsec_of_the_till";

/// A card that the issuer agrees to.
pub const GOOD_CARD: &str = "pm_card_visa";

/// A card whose customer must act first.
pub const CAREFUL_CARD: &str = "pm_card_authenticationRequired";

/// What the till starts with: units of tea, cents in Ada's wallet, points of Ada's.
const START: (i64, i64, i64) = (100, 100_000, 10_000);

/// An order is one tea for ten dollars: three from the wallet, two in points, the rest by card.
const PARTS: (i64, i64) = (300, 200);

/// The till.
#[derive(Debug)]
pub struct Till {
    /// Its log.
    pub database: Database,
    /// The real server.
    pub server: Server,
    /// Speaks to it.
    pub client: Client,
    /// The provider; none when it is not there.
    pub simulator: Option<Simulator>,
    http: reqwest::Client,
}

impl Till {
    /// A till with goods, a customer with money, and a provider that works.
    ///
    /// # Panics
    /// When something cannot be started.
    pub async fn open() -> Self {
        let simulator = Simulator::start(None).await.expect("a simulator");
        let base_url = simulator.base_url();
        let till = Self::open_at(&base_url, Some(simulator)).await;
        let url = format!("{}/v1/webhooks/payments", till.server.url);
        let target = WebhookTarget { url, secret: SECRET.to_owned() };
        till.tell("/_webhooks", &target).await;
        till
    }

    /// A till whose provider does not answer: nobody listens at its port.
    ///
    /// # Panics
    /// When there is no port, or the server does not start.
    pub async fn open_without_provider() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        Self::open_at(&format!("http://{address}"), None).await
    }

    async fn open_at(payments: &str, simulator: Option<Simulator>) -> Self {
        let database = Database::create().await;
        let flags = ["--database-url", &database.url, "--payments", payments];
        // Impatient, so that a test is: in earnest it is minutes.
        let impatience = ["--payments-timeout-seconds", "1", "--payments-retry-seconds-max", "1"];
        let soon_over = ["--payments-attempts-max", "3", "--payments-breaker-seconds", "1"];
        let flags = [&flags[..], &impatience, &soon_over].concat();
        let secrets =
            [("ACCRUE_PAYMENTS_KEY", "sk_test_till"), ("ACCRUE_PAYMENTS_WEBHOOK_SECRET", SECRET)];
        let server = Server::start_in(&flags, &secrets).await;
        let client = server.client();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
        let http = http.expect("a client can be made");
        let till = Self { database, server, client, simulator, http };
        till.stock_up().await;
        till
    }

    async fn stock_up(&self) {
        let (units, cents, points) = START;
        let rate = json!({"points": 1, "amount": 1});
        let program =
            json!({"currency": "USD", "zone": "UTC", "expiry": "never", "points_rate": rate});
        self.client.put("/v1/program", program).await.expect(200);
        let price = json!({"amount": 1_000, "currency": "USD"});
        let tea = json!({"id": "tea", "name": "Tea", "kind": "goods", "price": price});
        self.client.post("/v1/products", tea).await.expect(201);
        let delivery = json!({"delta": units, "reason": "delivery"});
        self.client.post("/v1/products/tea/stock", delivery).await.expect(200);
        let money = json!({"money": {"amount": cents, "currency": "USD"}});
        self.client.post("/v1/wallets/ada/top-ups", money).await.expect(201);
        let issue = json!({"points": points});
        self.client.post("/v1/accounts/ada/points/issue", issue).await.expect(201);
    }

    /// Places an order of one tea, and does not wait. `more` goes into the body.
    pub async fn place(&self, id: &str, card: &str, more: Value) -> Answer {
        let (wallet, points) = PARTS;
        let money = json!({"amount": wallet, "currency": "USD"});
        let mut order = json!({
            "id": id, "account": "ada", "lines": [{"product": "tea", "quantity": 1}],
            "tenders": [
                {"kind": "wallet", "wallet": "ada", "money": money},
                {"kind": "points", "points": points},
                {"kind": "card", "payment_method": card},
            ],
        });
        if let (Some(order), Value::Object(more)) = (order.as_object_mut(), more) {
            order.extend(more);
        }
        self.at_once().post("/v1/purchases", order).await
    }

    /// Asks for all of a purchase back, and does not wait.
    pub async fn refund(&self, id: &str) -> Answer {
        let path = format!("/v1/purchases/{id}/refund");
        self.at_once().post(&path, json!({"id": "all", "all": true})).await
    }

    /// Cancels a purchase, and does not wait.
    pub async fn cancel(&self, id: &str) -> Answer {
        self.at_once().post(&format!("/v1/purchases/{id}/cancel"), json!({})).await
    }

    /// A verb of an operator's.
    pub async fn operate(&self, id: &str, verb: &str) -> Answer {
        let body = json!({"reason": "looked at it", "actor": "night-desk"});
        self.client.post(&format!("/v1/sagas/purchase:{id}/{verb}"), body).await
    }

    fn at_once(&self) -> Client {
        self.client.with("prefer", "respond-async")
    }

    /// A purchase as it is now.
    pub async fn purchase(&self, id: &str) -> Value {
        self.client.get(&format!("/v1/purchases/{id}")).await.expect(200).json()
    }

    /// Waits until a purchase has come to that state.
    ///
    /// # Panics
    /// When it comes to another that it does not leave by itself, or to none in time.
    pub async fn comes_to(&self, id: &str, state: &str) -> Value {
        let what = format!("{id} is {state}");
        eventually(&what, async || {
            let it = self.purchase(id).await;
            if it["state"] == state {
                return Some(it);
            }
            let ended = ["rejected", "refunded", "stuck"].iter().any(|end| it["state"] == *end);
            assert!(!ended, "{id} should be {state}: {it}");
            None
        })
        .await
    }

    /// Has the provider fail so.
    pub async fn switch(&self, switches: &Switches) {
        self.tell("/_switches", switches).await;
    }

    /// Has the provider fail so in one kind of call.
    pub async fn switch_only(&self, kind: CallKind, switches: Switches) {
        self.switch(&Switches { only: Some(kind), ..switches }).await;
    }

    /// Waits until a call has run into the hang that was switched on.
    ///
    /// # Panics
    /// When none does, or the simulator does not tell.
    pub async fn hangs(&self) {
        let url = format!("{}/_switches", self.provider());
        eventually("a call hangs", async || {
            let answer = self.http.get(&url).send().await.expect("the simulator answers");
            let left: Switches = answer.json().await.expect("switches");
            (left.hang == 0).then_some(())
        })
        .await;
    }

    /// Has it work again.
    pub async fn calm(&self) {
        self.switch(&Switches::default()).await;
    }

    /// The customer of the payment of a purchase acts, and its webhook has been tried.
    pub async fn customer_acts(&self, id: &str, outcome: Completed) {
        let payment = self.payment(id).await;
        self.tell("/_complete", &Completion { payment, outcome }).await;
    }

    /// Refunds that the provider took on come to nothing, and their webhooks have been tried.
    pub async fn fail_refunds(&self) {
        self.tell("/_fail_refunds", &RefundFailure::default()).await;
    }

    /// The provider's name for the payment that a purchase waits for.
    pub async fn payment(&self, id: &str) -> String {
        let sql = format!(
            "SELECT payload->'PurchaseActionRequired'->>'payment' FROM events \
             WHERE event_type = 'PurchaseActionRequired' AND aggregate_id LIKE '%{id}' LIMIT 1"
        );
        self.database.text(&sql).await
    }

    /// What the provider has counted.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn totals(&self) -> Totals {
        let url = format!("{}/_ledger", self.provider());
        let answer = self.http.get(url).send().await.expect("the simulator answers");
        let totals: BTreeMap<String, Totals> = answer.json().await.expect("totals");
        totals.get("usd").copied().unwrap_or_default()
    }

    /// Somebody takes the money of a payment in the provider's dashboard.
    ///
    /// # Panics
    /// When the provider does not do it.
    pub async fn capture_by_hand(&self, payment: &str) {
        let url = format!("{}/v1/payment_intents/{payment}/capture", self.provider());
        let answer = self.http.post(url).bearer_auth("sk_test_hand");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let answer = answer.header(form.0, form.1).send().await;
        assert!(answer.as_ref().is_ok_and(|it| it.status().is_success()), "{answer:?}");
    }

    /// A figure of `/metrics`.
    pub async fn figure(&self, name: &str) -> Option<f64> {
        let text = self.client.get("/metrics").await.expect(200).text;
        let line = text.lines().find(|it| it.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    async fn tell(&self, path: &str, body: &impl serde::Serialize) {
        let request = self.http.post(format!("{}{path}", self.provider())).json(body);
        let answer = request.send().await.expect("the simulator answers");
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }

    fn provider(&self) -> String {
        self.simulator.as_ref().expect("the simulator is there").base_url()
    }

    /// Everything adds up: what the provider, the stock, the wallet and the points have come to is
    /// what the purchases say, and nothing is held any more. All of these purchases are over.
    ///
    /// # Panics
    /// When something does not add up.
    pub async fn adds_up(&self, purchases: &[&str]) {
        let mut paid = Paid::default();
        let mut position = 0;
        for id in purchases {
            let it = self.purchase(id).await;
            position = position.max(it["position"].as_i64().unwrap_or_default());
            paid.count(&it);
        }
        if self.simulator.is_some() {
            let it = self.totals().await;
            assert_eq!(it.captured - it.refunded, paid.card, "by card: {it:?}");
            assert_eq!(it.authorised - it.captured - it.released, 0, "held by card: {it:?}");
        }
        let (units, cents, points) = START;
        let stock = format!("/v1/products/tea/stock?min_position={position}");
        let stock = self.client.get(&stock).await.expect(200).json();
        let left = units - paid.units;
        assert_eq!((&stock["on_hand"], &stock["available"]), (&json!(left), &json!(left)));
        let wallet = self.client.get("/v1/wallets/ada").await.expect(200).json();
        let money = json!([{"currency": "USD", "available": cents - paid.wallet, "held": 0}]);
        assert_eq!(wallet["balances"], money);
        let account = format!("/v1/accounts/ada?min_position={position}");
        let account = self.client.get(&account).await.expect(200).json();
        assert_eq!(account["available"], points - paid.points, "{account}");
        assert_eq!((&account["held"], &account["debt"]), (&json!(0), &json!(0)), "{account}");
    }
}

/// What purchases have taken and not given back.
#[derive(Debug, Default)]
struct Paid {
    units: i64,
    card: i64,
    wallet: i64,
    points: i64,
}

impl Paid {
    fn count(&mut self, purchase: &Value) {
        match purchase["state"].as_str() {
            Some("completed" | "refunded") => {}
            Some("rejected") => return,
            state => panic!("{state:?} is not over: {purchase}"),
        }
        self.units += 1;
        self.tenders(&purchase["tenders"], 1);
        for refund in purchase["refunds"].as_array().into_iter().flatten() {
            if refund["state"] == "done" {
                self.tenders(&refund["tenders"], -1);
            }
        }
    }

    fn tenders(&mut self, tenders: &Value, sign: i64) {
        for tender in tenders.as_array().expect("tenders") {
            let amount = sign * tender["amount"].as_i64().expect("an amount");
            match tender["kind"].as_str() {
                Some("card") => self.card += amount,
                Some("wallet") => self.wallet += amount,
                Some("points") => self.points += sign * tender["points"].as_i64().expect("points"),
                kind => panic!("{kind:?}"),
            }
        }
    }
}
