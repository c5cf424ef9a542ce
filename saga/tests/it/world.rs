//! A ledger on a database of its own, with a clock that stands still, and sagas that come and go.

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use accrue_domain::account::command::{Command, Issue, Source};
use accrue_domain::action::Action;
use accrue_domain::campaign;
use accrue_domain::envelope::Envelope;
use accrue_domain::expiry::Policy;
use accrue_domain::id::{AccountId, CampaignId, CommandId, ProgramId, ReturnId, SaleId};
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::points::Amount;
use accrue_domain::sale::{self, Portion};
use accrue_event_store::clock::SettableClock;
use accrue_event_store::codec::Codec;
use accrue_event_store::executor::Limits;
use accrue_event_store::ledger::{Config, Ledger};
use accrue_event_store::receipt::Receipt;
use accrue_event_store::record::Position;
use accrue_event_store::state::FromState;
use accrue_private_postgres::cluster::Cluster;
use accrue_private_postgres::options::Options;
use accrue_saga::Sagas;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What every condition comes true within, or the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) options: PgConnectOptions,
    pub(crate) clock: Arc<SettableClock>,
    pub(crate) ledger: Ledger,
    commands: AtomicU64,
}

/// Sagas that run.
pub(crate) struct Running {
    pub(crate) sagas: Sagas,
    pub(crate) registry: Registry,
    stop: CancellationToken,
}

/// Noon of a summer's day, and some time later.
pub(crate) fn noon() -> DateTime<Utc> {
    "2011-06-15T12:00:00Z".parse().unwrap()
}

pub(crate) fn later(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

impl World {
    pub(crate) async fn new() -> Self {
        let small = Options { connections_max: 300, ..Options::small() };
        let start = async || Cluster::scratch(small).await.unwrap();
        let cluster = CLUSTER.get_or_init(start).await;
        let name = format!("saga_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let options = PgConnectOptions::from_str(&cluster.url()).unwrap();
        let mut conn = options.connect().await.unwrap();
        conn.execute(&*format!("CREATE DATABASE {name}")).await.unwrap();
        conn.close().await.unwrap();
        let options = PgConnectOptions::from_str(&cluster.url_of(&name)).unwrap();
        Self::open(options.disable_statement_logging(), noon()).await
    }

    /// Another process on the same database.
    pub(crate) async fn open(options: PgConnectOptions, now: DateTime<Utc>) -> Self {
        let clock = Arc::new(SettableClock::new(now));
        let config = Config {
            servers: options.clone().into(),
            pool_connections_max: 4,
            limits: Limits::default(),
            codec: Codec::default(),
            clock: Arc::clone(&clock) as _,
        };
        let ledger = Ledger::open(config, &mut Registry::default()).await.unwrap();
        Self { options, clock, ledger, commands: AtomicU64::new(1) }
    }

    /// Starts the sagas.
    pub(crate) fn start(&self) -> Running {
        self.start_with(accrue_saga::Config::default())
    }

    /// As [`World::start`], otherwise configured.
    pub(crate) fn start_with(&self, config: accrue_saga::Config) -> Running {
        let (mut registry, stop) = (Registry::default(), CancellationToken::new());
        let config = accrue_saga::Config { deadlines_every: Duration::from_millis(10), ..config };
        let sagas = accrue_saga::start(self.ledger.clone(), config, &mut registry, &stop);
        Running { sagas, registry, stop }
    }

    /// Starts the sagas, lets them take in all that there is, and ends them.
    pub(crate) async fn follow(&self) -> Running {
        let running = self.start();
        self.caught_up(&running).await;
        running
    }

    /// Waits until every event was judged, those included that this led to.
    pub(crate) async fn caught_up(&self, running: &Running) {
        let mut head = -1;
        while self.head().await > head {
            head = self.head().await;
            let awards = running.sagas.awards.as_ref().expect("all of the work is done here");
            let reached = awards.reached(head);
            let health = || awards.health();
            tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| {
                panic!("the awards did not come to {head}: {:?}", health());
            });
        }
    }

    pub(crate) async fn execute(&self, action: Action) -> Receipt {
        let id = format!("test-{}", self.commands.fetch_add(1, Ordering::Relaxed));
        self.execute_as(&id, action).await
    }

    pub(crate) async fn execute_as(&self, id: &str, action: Action) -> Receipt {
        self.ledger.execute(envelope(id, action)).await.unwrap()
    }

    pub(crate) async fn head(&self) -> Position {
        self.number("SELECT position FROM log_head").await
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.ledger.pool().current()).await.unwrap()
    }

    /// Rows of one column of text, as lines.
    pub(crate) async fn lines(&self, sql: &str) -> String {
        let lines: Vec<String> =
            sqlx::query_scalar(sql).fetch_all(&self.ledger.pool().current()).await.unwrap();
        lines.join("\n")
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::query(sql).execute(&self.ledger.pool().current()).await.unwrap();
    }

    /// Every event that an account had, without its opening.
    pub(crate) async fn account(&self, id: &str) -> String {
        self.lines(&format!(
            "SELECT position || ' ' || payload::text FROM events \
              WHERE aggregate_id = 'default/{id}' AND aggregate_type = 'account' \
                AND event_type <> 'AccountOpened' ORDER BY position"
        ))
        .await
    }

    /// `campaign version rule reason count last_position`, a line each.
    pub(crate) async fn skips(&self) -> String {
        self.lines(
            "SELECT concat_ws(' ', campaign, version, rule, reason, count, last_position) \
               FROM campaign_skips ORDER BY campaign, version, rule, reason",
        )
        .await
    }

    /// The state of an aggregate of the default program.
    pub(crate) async fn load<A: FromState>(&self, id: &str) -> A {
        let program = ProgramId::default();
        self.ledger.load::<A>(&program, id).await.unwrap().map(|(state, _)| state).unwrap()
    }

    /// Waits until the statement gives that number.
    pub(crate) async fn until(&self, sql: &str, expected: i64) {
        until(sql, expected, async || self.number(sql).await).await;
    }
}

impl Running {
    /// Ends the sagas.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.sagas.ended().await;
    }

    /// Waits until the metrics of that name are these.
    pub(crate) async fn until(&self, name: &str, expected: &str) {
        until(name, expected.to_owned(), async || self.metric(name)).await;
    }

    /// The lines of the metrics whose names begin so.
    pub(crate) fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

/// Asks again and again, for a bounded time.
async fn until<T: PartialEq + Debug>(what: &str, expected: T, ask: impl AsyncFn() -> T) {
    let begun = Instant::now();
    loop {
        let found = ask().await;
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn envelope(id: &str, action: Action) -> Envelope {
    Envelope {
        id: CommandId::new(id).unwrap(),
        fingerprint: Some([1; 32]),
        program: ProgramId::default(),
        occurred_at: None,
        correlation_id: None,
        causation_id: None,
        actor: None,
        expected_version: None,
        actions: vec![action],
    }
}

pub(crate) fn to_account(id: &str, command: Command) -> Action {
    Action::Account(AccountId::new(id).unwrap(), command)
}

pub(crate) fn issue(account: &str, points: i64, expires: Option<DateTime<Utc>>) -> Action {
    let issue = Issue {
        lot: None,
        points: Amount::new(points).unwrap(),
        available_from: None,
        expires: expires.map(Policy::At),
        source: Source::Issue,
        reference: None,
    };
    to_account(account, Command::Issue(issue))
}

pub(crate) fn redeem(account: &str, points: i64) -> Action {
    let points = Amount::new(points).unwrap();
    to_account(account, Command::Redeem { points, reference: None })
}

pub(crate) fn to_campaign(id: &str, command: campaign::Command) -> Action {
    Action::Campaign(CampaignId::new(id).unwrap(), command)
}

/// A campaign that begins at once.
pub(crate) fn campaign(id: &str, rules: Value) -> Action {
    let name = id.to_owned();
    to_campaign(id, campaign::Command::Create { name, rules, activate: true })
}

pub(crate) fn rules(id: &str, rules: Value) -> Action {
    to_campaign(id, campaign::Command::ReplaceRules { rules })
}

/// For every sale of more than nothing.
pub(crate) fn each(formula: &str) -> Value {
    json!([{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 0},
        "action": {"command": "issue", "formula": formula},
    }])
}

fn pounds(pence: i64) -> Money {
    Money { amount: Minor::new(pence).unwrap(), currency: Currency::GBP }
}

pub(crate) fn sale(id: &str, account: &str, pence: i64) -> Action {
    let account = Some(AccountId::new(account).unwrap());
    let (total, lines) = (pounds(pence), Vec::new());
    let record =
        sale::Command::Record { account, total, lines, occurred_at: None, reference: None };
    Action::Sale(SaleId::new(id).unwrap(), record)
}

pub(crate) fn give_back(sale: &str, id: &str, pence: i64) -> Action {
    let id = Some(ReturnId::new(id).unwrap());
    let portion = Portion::Amount(pounds(pence));
    let back = sale::Command::Return { id, portion, reference: None };
    Action::Sale(SaleId::new(sale).unwrap(), back)
}
