//! One broker a test run, topics of its own a test, and the comparison with the log.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use accrue_private_kafka::broker::{Broker, Options};
use tokio::sync::OnceCell;

use crate::database::Database;
use crate::eventually::while_it_gets_on;
use crate::program::{Said, workspace};

static BROKER: OnceCell<Broker> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The broker that all tests share, which none of them may harm.
pub async fn broker() -> &'static Broker {
    let start = async || Broker::scratch(Options::small()).await.expect("a broker starts");
    BROKER.get_or_init(start).await
}

/// A name for topics that no other test has.
#[must_use]
pub fn prefix() -> String {
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The flags of a server that publishes there.
#[must_use]
pub fn flags(database: &Database, broker: &Broker, prefix: &str) -> Vec<String> {
    let bootstrap = broker.bootstrap();
    let flags = [
        ("--database-url", database.url.as_str()),
        ("--kafka-bootstrap", &bootstrap),
        ("--kafka-topic-prefix", prefix),
    ];
    flags.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
}

/// Waits until everything that is in the log now was published.
pub async fn published(database: &Database) {
    let head = database.number("SELECT position FROM log_head").await;
    reached(database, "relay", head).await;
}

/// Waits until a follower of the log has come to that position.
pub async fn reached(database: &Database, follower: &str, position: i64) {
    let at =
        format!("SELECT coalesce(max(position), 0) FROM checkpoints WHERE follower = '{follower}'");
    while_it_gets_on(&format!("{follower} comes to {position}"), async || {
        let at = database.number(&at).await;
        (at, at >= position)
    })
    .await;
}

/// What of the log is to be compared, and with what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Within<'a> {
    /// All is in this one topic.
    pub topic: Option<&'a str>,
    /// The first position.
    pub first: Option<i64>,
}

/// Compares the topics with the log, in another language.
///
/// # Panics
/// When it cannot be run at all.
pub async fn compare(
    broker: &Broker,
    database: &Database,
    prefix: &str,
    within: Within<'_>,
) -> Said {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let dump = dir.path().join("log");
    let events = "SELECT json_build_object('position', position, 'program', program,
                         'aggregate_type', aggregate_type, 'aggregate_id', aggregate_id,
                         'sequence', sequence, 'event_type', event_type,
                         'event_version', event_version, 'payload', payload::text,
                         'metadata', metadata::text)::text FROM events ORDER BY position";
    let parked = "SELECT json_build_object('aggregate_type', aggregate_type,
                         'aggregate_id', aggregate_id, 'parked', position)::text
                    FROM parked WHERE follower = 'relay'";
    let mut text = String::new();
    for line in [database.texts(events).await, database.texts(parked).await].concat() {
        writeln!(text, "{line}").expect("a String takes all that is written to it");
    }
    std::fs::write(&dump, text).expect("the dump can be written");
    let mut differ = Command::new(python());
    differ.arg(workspace().join("tests/kafka/differ.py"));
    differ.args(["--bootstrap", &broker.bootstrap(), "--prefix", prefix, "--dump"]).arg(&dump);
    if let Some(topic) = within.topic {
        differ.args(["--topic", topic]);
    }
    if let Some(first) = within.first {
        differ.args(["--first", &first.to_string()]);
    }
    differ.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || differ.output()).await;
    output.expect("the thread lives").expect("the differ runs: see `cargo xtask setup`").into()
}

/// Each event of the log is in its topic, once and in order, to the byte.
///
/// # Panics
/// When that is not so.
pub async fn expect_same(broker: &Broker, database: &Database, prefix: &str) {
    compare(broker, database, prefix, Within::default()).await.expect_success();
}

/// The Python that `cargo xtask setup` has made for us.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace().join("target")).join("differ/bin/python")
}
