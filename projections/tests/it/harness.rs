//! A ledger over a fresh database, a clock that is set, and random histories.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use accrue_domain::account::command::{Change, Command, Issue, Source};
use accrue_domain::action::Action;
use accrue_domain::campaign;
use accrue_domain::envelope::Envelope;
use accrue_domain::expiry::Policy;
use accrue_domain::id::{
    AccountId, CampaignId, CommandId, HoldId, LotId, ProductId, ProgramId, SaleId, WalletId,
};
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::points::Amount;
use accrue_domain::product::{self, Offering};
use accrue_domain::quantity::{Delta, Quantity};
use accrue_domain::wallet::command::Command as OnWallet;
use accrue_event_store::clock::SettableClock;
use accrue_event_store::codec::Codec;
use accrue_event_store::executor::Limits;
use accrue_event_store::follow::Feeds;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_private_postgres::cluster::Cluster;
use accrue_private_postgres::options::Options;
use accrue_projections::live::{Started, Views, start};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::registry::Registry;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<SettableClock>,
    commands: u64,
}

/// So many hours behind 1 March 2026.
pub(crate) fn hour(hours: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
    start + TimeDelta::hours(hours)
}

impl World {
    pub(crate) async fn new() -> Self {
        let make = || async { Cluster::scratch(Options::small()).await.unwrap() };
        let cluster = CLUSTER.get_or_init(make).await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::connect(&cluster.url()).await.unwrap();
        conn.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
        conn.close().await.unwrap();
        let clock = Arc::new(SettableClock::new(hour(0)));
        let config = Config {
            servers: cluster.url_of(&name).parse::<PgConnectOptions>().unwrap().into(),
            pool_connections_max: 4,
            limits: Limits::default(),
            codec: Codec::default(),
            clock: clock.clone(),
        };
        let ledger = Ledger::open(config, &mut Registry::default()).await.unwrap();
        Self { ledger, clock, commands: 0 }
    }

    pub(crate) async fn follow(&self) -> Started {
        start(&self.ledger, &Feeds::by_log(), CancellationToken::new()).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        let options = self.ledger.servers().current().options([("search_path", "read,public")]);
        options.connect().await.unwrap()
    }

    pub(crate) async fn act(&mut self, actions: Vec<Action>) -> Result<Receipt, ExecuteError> {
        self.act_in("default", actions).await
    }

    pub(crate) async fn act_in(
        &mut self,
        program: &str,
        actions: Vec<Action>,
    ) -> Result<Receipt, ExecuteError> {
        self.commands += 1;
        let envelope = Envelope {
            id: CommandId::new(&format!("command-{}", self.commands)).unwrap(),
            fingerprint: None,
            program: ProgramId::new(program).unwrap(),
            occurred_at: None,
            correlation_id: None,
            causation_id: None,
            actor: None,
            expected_version: None,
            actions,
        };
        self.ledger.execute(envelope).await
    }

    /// A server's routes over this ledger, with followers of their own.
    pub(crate) async fn web(&self) -> Web {
        let mut started = self.follow().await;
        let web = self.web_of(&started);
        started.runners.detach_all();
        web
    }

    pub(crate) fn web_of(&self, started: &Started) -> Web {
        Web { router: accrue_projections::api::router(started.views.clone()), program: None }
    }

    /// How many commands were given.
    pub(crate) fn commands(&self) -> u64 {
        self.commands
    }

    /// Appends an event that nobody decided.
    pub(crate) async fn forge(&self, id: &str, event_type: &str, sequence: i64, payload: &str) {
        let mut conn = self.connect().await;
        let metadata = r#"{"command_id":"forged","occurred_at":"2026-03-01T00:00:00Z"}"#;
        sqlx::query(
            "WITH head AS (UPDATE log_head SET position = position + 1 RETURNING position)
             INSERT INTO events SELECT position, 'default', 'account', 'default/' || $1, $2, $3, '1',
                                       $4::json, $5::json, now() FROM head",
        )
        .bind(id)
        .bind(sequence)
        .bind(event_type)
        .bind(payload)
        .bind(metadata)
        .execute(&mut conn)
        .await
        .unwrap();
    }

    pub(crate) async fn to(&mut self, id: &str, command: Command) -> Receipt {
        self.act(vec![account(id, command)]).await.unwrap()
    }

    /// So many random commands to a few accounts, while time goes on; refusals are part of it.
    pub(crate) async fn live(&mut self, seed: u64, steps: usize) {
        let mut dice = Dice(seed);
        for _ in 0..steps {
            let now = self.pass_time(&mut dice);
            let id = format!("member-{}", dice.roll(4));
            let action = match dice.roll(5) {
                0 => wallet(&id, dice.wallet_command(now)),
                _ => account(&id, dice.command(now)),
            };
            self.try_to(seed, vec![action]).await;
        }
    }

    /// As [`World::live`], to a few products: `product-0` is a service.
    pub(crate) async fn trade(&mut self, seed: u64, steps: usize) {
        let mut dice = Dice(seed);
        for _ in 0..steps {
            let now = self.pass_time(&mut dice);
            let number = dice.roll(4);
            let kind = if number == 0 { Offering::Service } else { Offering::Goods };
            let command = dice.product_command(kind, now);
            self.try_to(seed, vec![product(&format!("product-{number}"), command)]).await;
        }
    }

    pub(crate) fn pass_time(&self, dice: &mut Dice) -> DateTime<Utc> {
        let now = accrue_event_store::clock::Clock::now(&*self.clock);
        if dice.roll(4) == 0 {
            self.clock.set(now + TimeDelta::hours(1 + dice.roll(12)));
        }
        accrue_event_store::clock::Clock::now(&*self.clock)
    }

    pub(crate) async fn try_to(&mut self, seed: u64, actions: Vec<Action>) {
        match self.act(actions).await {
            Ok(_) | Err(ExecuteError::Refused { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

/// A client of the routes.
#[derive(Clone)]
pub(crate) struct Web {
    router: Router,
    program: Option<&'static str>,
}

impl Web {
    /// The same, speaking for a program.
    pub(crate) fn of(&self, program: &'static str) -> Self {
        Self { program: Some(program), ..self.clone() }
    }

    pub(crate) async fn send(&self, path: &str, lines: bool) -> Response<Body> {
        let mut request = Request::get(path);
        if lines {
            request = request.header("Accept", "application/x-ndjson");
        }
        if let Some(program) = self.program {
            request = request.header("Accrue-Program", program);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let response = self.send(path, false).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    pub(crate) async fn lines(&self, path: &str) -> (StatusCode, String) {
        let response = self.send(path, true).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

pub(crate) async fn caught_up(world: &World, views: &Views) {
    let head = *world.ledger.tail().head().borrow();
    for status in views.statuses() {
        let reached = status.reached(head);
        let reached = tokio::time::timeout(std::time::Duration::from_secs(20), reached).await;
        assert!(reached.is_ok(), "{}: {:?}", status.name(), status.health());
        assert_eq!(status.health().parked, 0, "{} parked something", status.name());
    }
}

/// Every row of a read model's tables, in order, as text.
pub(crate) async fn dump(conn: &mut PgConnection, tables: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for table in tables {
        let sql = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY t::text");
        rows.extend(sqlx::query_scalar::<_, String>(&sql).fetch_all(&mut *conn).await.unwrap());
    }
    rows
}

pub(crate) fn account(id: &str, command: Command) -> Action {
    Action::Account(AccountId::new(id).unwrap(), command)
}

pub(crate) fn wallet(id: &str, command: OnWallet) -> Action {
    Action::Wallet(WalletId::new(id).unwrap(), command)
}

pub(crate) fn money(amount: i64, currency: &str) -> Money {
    Money { amount: Minor::new(amount).unwrap(), currency: currency.parse().unwrap() }
}

pub(crate) fn campaign(id: &str, command: campaign::Command) -> Action {
    Action::Campaign(CampaignId::new(id).unwrap(), command)
}

pub(crate) fn product(id: &str, command: product::command::Command) -> Action {
    Action::Product(ProductId::new(id).unwrap(), command)
}

/// Offers a product at a price in pence.
pub(crate) fn offer(name: &str, kind: Offering, price: i64) -> product::command::Command {
    product::command::Command::Create(product::command::New {
        name: name.into(),
        kind,
        description: None,
        image: None,
        price: pence(price),
    })
}

pub(crate) fn adjust(units: i64) -> product::command::Command {
    let delta = Delta::new(units).unwrap();
    product::command::Command::AdjustStock { delta, reason: "count".into(), reference: None }
}

pub(crate) fn set_aside(
    hold: &str,
    units: i64,
    until: Option<DateTime<Utc>>,
) -> product::command::Command {
    let (hold, quantity) = (HoldId::new(hold).unwrap(), Quantity::new(units).unwrap());
    product::command::Command::HoldStock { hold, quantity, until, reference: None }
}

pub(crate) fn pence(amount: i64) -> Money {
    Money { amount: Minor::new(amount).unwrap(), currency: Currency::GBP }
}

/// Creates a campaign that judges at once.
pub(crate) fn activate(id: &str) -> Action {
    let rules = serde_json::json!([{"rule": 1}]);
    campaign(id, campaign::Command::Create { name: "A tenth".into(), rules, activate: true })
}

pub(crate) fn amount(points: i64) -> Amount {
    Amount::new(points).unwrap()
}

pub(crate) fn issue(lot: &str, points: i64) -> Issue {
    Issue {
        lot: Some(LotId::new(lot).unwrap()),
        points: amount(points),
        available_from: None,
        expires: Some(Policy::Never),
        source: Source::Issue,
        reference: None,
    }
}

pub(crate) fn award(campaign: &str, sale: &str) -> Source {
    Source::Campaign {
        campaign: CampaignId::new(campaign).unwrap(),
        version: 1,
        event: 1,
        sale: Some(SaleId::new(sale).unwrap()),
    }
}

/// Chance that a seed repeats.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % sides
    }

    fn later(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.roll(2) == 0).then(|| now + TimeDelta::hours(1 + self.roll(12)))
    }

    fn wallet_command(&mut self, now: DateTime<Utc>) -> OnWallet {
        let currency = if self.roll(3) == 0 { "JPY" } else { "USD" };
        let money = money(1 + self.roll(50), currency);
        let hold = HoldId::new(&format!("hold-{}", self.roll(12))).unwrap();
        match self.roll(8) {
            0 | 1 => OnWallet::TopUp { money, reference: None },
            2 => OnWallet::Refund { money, reference: None },
            3..=5 => OnWallet::Hold { hold, money, until: self.later(now), reference: None },
            6 => OnWallet::Capture {
                hold,
                money: (self.roll(2) == 0).then_some(money),
                reference: None,
            },
            _ => OnWallet::Release { hold, reference: None },
        }
    }

    fn command(&mut self, now: DateTime<Utc>) -> Command {
        let points = 1 + self.roll(50);
        let name = format!("id-{}", self.roll(40));
        match self.roll(14) {
            0..=3 => {
                let available_from = self.later(now);
                let start = available_from.unwrap_or(now);
                let expires = self.later(start).map_or(Policy::Never, Policy::At);
                let source = match self.roll(2) {
                    0 => Source::Issue,
                    _ => award("tenth", &format!("sale-{}", self.roll(3))),
                };
                Command::Issue(Issue {
                    available_from,
                    expires: Some(expires),
                    source,
                    ..issue(&name, points)
                })
            }
            4 => Command::Adjust {
                change: Change::Credit { points: amount(points), lot: None, expires: None },
                reason: "goodwill".into(),
                actor: "desk".into(),
                reference: None,
            },
            5 => Command::Adjust {
                change: Change::Debit { points: amount(points) },
                reason: "mistake".into(),
                actor: "desk".into(),
                reference: None,
            },
            6 => Command::Redeem { points: amount(points), reference: Some("order".into()) },
            7 => {
                Command::Reverse { lot: LotId::new(&name).unwrap(), points: None, reference: None }
            }
            8 | 9 => Command::PlaceHold {
                hold: HoldId::new(&format!("hold-{}", self.roll(12))).unwrap(),
                points: amount(1 + points / 3),
                until: self.later(now),
                reference: None,
            },
            10..=12 => {
                let hold = HoldId::new(&format!("hold-{}", self.roll(12))).unwrap();
                match self.roll(5) {
                    0 | 1 => Command::CaptureHold { hold, points: None, reference: None },
                    2 => Command::CaptureHold { hold, points: Some(amount(1)), reference: None },
                    3 => Command::RestoreHold {
                        hold,
                        points: amount(1 + points / 10),
                        spent: None,
                        reference: None,
                    },
                    _ => Command::ReleaseHold { hold, reference: None },
                }
            }
            _ => Command::Settle,
        }
    }

    fn product_command(&mut self, kind: Offering, now: DateTime<Utc>) -> product::command::Command {
        use product::command::{Changes, Command};
        let hold = format!("hold-{}", self.roll(30));
        let units = 1 + self.roll(9);
        match self.roll(40) {
            0 if units == 1 => Command::Retire,
            0..=5 => offer("Thing", kind, 100),
            6..=12 => adjust(if self.roll(3) == 0 { -units } else { units * 2 }),
            13..=15 => {
                let description = ["", "Blue", "Of wood"].get(usize::from(units > 3));
                Command::Change(Changes {
                    name: (units > 5).then(|| format!("Thing no. {units}")),
                    description: description.map(ToString::to_string),
                    image: (units == 2).then(|| "/thing.png".to_owned()),
                    price: Some(pence(units)),
                })
            }
            16..=27 => {
                let until = self.later(now);
                set_aside(&hold, 1 + units / 3, until)
            }
            28..=37 => {
                let hold = HoldId::new(&hold).unwrap();
                let one = Quantity::new(1).ok().filter(|_| units < 5);
                match self.roll(2) {
                    0 => Command::CaptureStock { hold, quantity: one, reference: None },
                    _ => Command::ReleaseStock { hold, reference: None },
                }
            }
            _ => Command::Settle,
        }
    }
}
