//! What the tests of the feed by Kafka share.

use accrue_private_kafka::broker::Broker;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::history;
use accrue_tests::kafka::flags;
use accrue_tests::server::Server;

use crate::relay_world::figure;

/// A process with these roles on that database, fed by Kafka.
pub(crate) async fn fed(database: &Database, broker: &Broker, prefix: &str, roles: &str) -> Server {
    with_feed(database, broker, prefix, roles, "kafka").await
}

/// As [`fed`], by that feed.
pub(crate) async fn with_feed(
    database: &Database,
    broker: &Broker,
    prefix: &str,
    roles: &str,
    feed: &str,
) -> Server {
    with_flags(database, broker, prefix, roles, &["--feed", feed]).await
}

/// As [`fed`], with these flags besides its roles.
pub(crate) async fn with_flags(
    database: &Database,
    broker: &Broker,
    prefix: &str,
    roles: &str,
    more: &[&str],
) -> Server {
    let flags = flags(database, broker, prefix);
    let flags = flags.iter().map(String::as_str).chain(["--roles", roles]);
    Server::start_with(&flags.chain(more.iter().copied()).collect::<Vec<_>>()).await
}

/// Waits until everybody has come to the end of the log, and compares every read model with it.
pub(crate) async fn verified(database: &Database) {
    history::settled(database).await;
    history::verify(database).await.expect_success();
}

/// How many partitions a process takes for a follower.
pub(crate) async fn partitions(server: &Server, follower: &str) -> i64 {
    let name = format!("accrue_feed_partitions{{follower=\"{follower}\"}}");
    figure(&server.client(), &name).await.unwrap_or_default()
}

/// Waits until a process takes so many partitions for a follower.
pub(crate) async fn takes(server: &Server, follower: &str, count: i64) {
    eventually("the partitions are shared", async || {
        (partitions(server, follower).await == count).then_some(())
    })
    .await;
}

/// How far a follower has come, and the end of the log.
pub(crate) async fn lag(database: &Database, follower: &str) -> i64 {
    let sql = format!(
        "SELECT h.position - coalesce(max(c.position), 0) FROM log_head h
           LEFT JOIN checkpoints c ON c.follower = '{follower}' GROUP BY h.position"
    );
    database.number(&sql).await
}
