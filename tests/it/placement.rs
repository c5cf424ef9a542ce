//! What placing programs on several ledgers, or a table on several machines, needs of the schema:
//! whatever belongs to a program says so in every one of its keys. See docs/scale.md.

use accrue_domain::aggregate::Kind;
use accrue_event_store::snapshots::SNAPSHOT_EVENTS_MIN;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use serde_json::json;

use crate::follow::append_foreign;
use crate::roles::business;

/// Of the ledger as a whole: they stay with it, whatever programs do.
const OF_THE_LEDGER: [&str; 9] = [
    "_sqlx_migrations",
    "checkpoints",
    "commits",
    "feed_checkpoints",
    "leases",
    "log_head",
    "models",
    "relayed",
    "schema_support",
];

/// The one key of a program's rows without the program: `position` is the ledger's own order, one
/// dense count over all programs, by which the hash chain and every follower go. It does not move
/// with a program: the ledger that takes the program's events gives them positions of its own.
const ORDER: &str = "events events_pkey position";

/// The name of one begins as the other's.
const PROGRAMS: [&str; 2] = ["default", "default-2"];

/// Where a stream's id stands for the program in a key, and the programs whose rows are looked at.
const OF_STREAMS: [(&str, &[&str]); 4] = [
    ("events", &PROGRAMS),
    // Only the stream of a damaged event is set aside; there is one.
    ("parked", &["default"]),
    ("snapshots", &PROGRAMS),
    ("timers", &PROGRAMS),
];

#[tokio::test]
async fn the_program_is_in_every_key() {
    let database = Database::create().await;
    let _server = Server::start(&database).await;
    let keys = database
        .texts(
            "SELECT t.relname || ' ' || i.relname || ' '
                    || string_agg(a.attname, ',' ORDER BY k.place)
               FROM pg_index x
               JOIN pg_class t ON t.oid = x.indrelid
               JOIN pg_class i ON i.oid = x.indexrelid
               JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname IN ('public', 'read')
              CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(number, place)
               LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
              WHERE x.indisunique AND t.relkind = 'r'
              GROUP BY t.relname, i.relname",
        )
        .await;
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let parts: Vec<_> = key.split(' ').collect();
        let [table, _, columns] = parts[..] else { panic!("{key}") };
        let has = |column: &str| columns.split(',').any(|it| it == column);
        // The test below looks at those ids.
        let by_stream = has("aggregate_id") && OF_STREAMS.iter().any(|(it, _)| *it == table);
        let told = has("program") || by_stream;
        assert!(told || OF_THE_LEDGER.contains(&table) || key == ORDER, "{key}");
    }
}

/// Fills what is keyed by streams: events of every kind, a deadline, a stream that is long enough
/// for a snapshot.
async fn live(client: &Client) {
    business(client).await;
    let late = json!({"points": 1, "expires": {"at": "2999-01-01T00:00:00Z"}});
    client.post("/v1/accounts/late/points/issue", late).await.expect(201);
    let line = |at: i64| {
        let id = format!("l{at}");
        let line = json!({"id": id, "type": "issue_points", "account": "long", "points": 1});
        format!("{line}\n")
    };
    let lines: Vec<_> = (0..SNAPSHOT_EVENTS_MIN).map(line).collect();
    client.post_lines("/v1/commands", lines.concat()).await.expect(200);
}

#[tokio::test]
async fn the_id_of_every_stream_begins_with_its_program() {
    let (database, server) = Server::create().await;
    live(&server.client()).await;
    // Before other commands, so that those who follow the log come to it.
    append_foreign(&database, 0, "PointsIssued", r#"{"PointsIssued":{"lot":7}}"#).await;
    live(&server.client().of_program(PROGRAMS[1])).await;

    for (table, programs) in OF_STREAMS {
        let begins =
            format!("SELECT DISTINCT split_part(aggregate_id, '/', 1) FROM {table} ORDER BY 1");
        let found = eventually(&format!("{table} is filled"), async || {
            let found = database.texts(&begins).await;
            (found.len() >= programs.len()).then_some(found)
        })
        .await;
        assert_eq!(found, programs, "{table}");
    }
    let kinds = "SELECT count(DISTINCT (program, aggregate_type)) FROM events";
    let kinds = usize::try_from(database.number(kinds).await);
    assert_eq!(kinds, Ok(PROGRAMS.len() * Kind::ALL.len()), "every kind of stream in each");

    // The column is cut from the id: of another form, it would still agree. Hence the names above.
    let events = "SELECT program || ' has ' || aggregate_id FROM events
                   WHERE NOT starts_with(aggregate_id, program || '/')";
    assert_eq!(database.texts(events).await, [""; 0]);
    for (table, _) in OF_STREAMS {
        let astray = format!(
            "SELECT t.aggregate_id FROM {table} t
              WHERE NOT EXISTS (
                    SELECT FROM events e
                     WHERE e.aggregate_id = t.aggregate_id
                       AND e.aggregate_type = t.aggregate_type
                       AND starts_with(t.aggregate_id, e.program || '/'))"
        );
        assert_eq!(database.texts(&astray).await, [""; 0], "{table}");
    }
}
