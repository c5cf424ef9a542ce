//! What the tests of the relay share.

use std::fmt::Write as _;
use std::ops::Range;

use accrue_private_kafka::broker::Broker;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::kafka::flags;
use accrue_tests::server::Server;

/// A server on a database of its own, that publishes there.
pub(crate) async fn serve(broker: &Broker, prefix: &str) -> (Database, Server) {
    serve_with(broker, prefix, &[]).await
}

/// As [`serve`], with more flags.
pub(crate) async fn serve_with(broker: &Broker, prefix: &str, more: &[&str]) -> (Database, Server) {
    let database = Database::create().await;
    let flags = flags(&database, broker, prefix);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let server = Server::start_with(&flags).await;
    (database, server)
}

/// Commands in bulk, over a few hundred accounts.
pub(crate) fn lines(ids: Range<usize>) -> String {
    ids.fold(String::new(), |mut text, at| {
        let account = at % 300;
        writeln!(
            text,
            r#"{{"id":"l-{at}","type":"issue_points","account":"m{account}","points":1}}"#
        )
        .expect("a String takes all that is written to it");
        text
    })
}

/// A whole number among a server's metrics.
pub(crate) async fn figure(client: &Client, name: &str) -> Option<i64> {
    let metrics = client.get("/metrics").await.expect(200);
    let line = metrics.text.lines().find(|it| it.split(' ').next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
}
