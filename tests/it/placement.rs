//! What placing programs on several ledgers, or a table on several machines, needs of the schema:
//! whatever belongs to a program says so in every one of its keys. See docs/scale.md.

use accrue_tests::database::Database;
use accrue_tests::server::Server;

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

/// The order of the ledger, which a program that moves elsewhere gets anew.
const ORDER: &str = "events_pkey";

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
        let [table, index, columns] = parts[..] else { panic!("{key}") };
        // A stream's id begins with its program.
        let told = columns.split(',').any(|it| it == "program" || it == "aggregate_id");
        assert!(told || OF_THE_LEDGER.contains(&table) || index == ORDER, "{key}");
    }
}
