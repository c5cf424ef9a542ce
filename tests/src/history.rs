//! A year of a real shop's sales, and what must come of them.

use serde_json::json;

use crate::client::Client;
use crate::database::Database;
use crate::eventually::while_it_gets_on;
use crate::program::{self, Said, workspace};

/// What the history comes to, as SQL over the log counts it.
pub const FIGURES: &str =
    "18532 sales of 4338 accounts, 891140790 pence, 16355 awards of 872537 points";

/// Creates the sample campaign: more than 100 earns a tenth.
pub async fn campaign(client: &Client) {
    let campaign = json!({
        "id": "tenth", "name": "A tenth of big baskets", "activate": true,
        "rules": [{
            "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than", "value": 100},
            "action": {"command": "issue", "formula": "$.amount/10"}
        }],
    });
    client.keyed("tenth").post("/v1/campaigns", campaign).await.expect(201);
}

/// Imports the invoices through the public API of that server, into that program.
///
/// # Panics
/// When the file is not where it belongs.
pub async fn import(url: &str, into: &str) -> Said {
    let file = workspace().join("data/online-retail/invoices.csv");
    let file = file.to_str().expect("the workspace has a path of text");
    let map = "id=InvoiceNo,occurred_at=InvoiceDate,account=CustomerID,total=TotalPrice";
    program::run(["import", "sales", file, "--map", map, "--url", url, "--program", into]).await
}

/// Imports the lines of the first 512 invoices in the same way.
///
/// # Panics
/// When the file is not where it belongs.
pub async fn import_lines(url: &str, into: &str) -> Said {
    let file = workspace().join("data/online-retail/lines.csv");
    let file = file.to_str().expect("the workspace has a path of text");
    let map = "id=InvoiceNo,occurred_at=InvoiceDate,account=CustomerID,product=StockCode,\
               quantity=Quantity,price=UnitPrice";
    let dates = ["--date-format", "%m-%d-%Y %H:%M", "--zone", "Europe/London"];
    let import =
        ["import", "sales", "--lines", file, "--map", map, "--url", url, "--program", into];
    program::run(import.into_iter().chain(dates)).await
}

/// Sales, accounts, money, awards and points of one program in the log of a database.
pub async fn figures(database: &Database, program: &str) -> String {
    let sql = format!(
        "
        SELECT count(*) FILTER (WHERE event_type = 'SaleRecorded') || ' sales of '
            || count(*) FILTER (WHERE event_type = 'AccountOpened') || ' accounts, '
            || coalesce(sum((payload->'SaleRecorded'->'total'->>'amount')::bigint), 0)
            || ' pence, ' || count(*) FILTER (WHERE event_type = 'PointsIssued') || ' awards of '
            || coalesce(sum((payload->'PointsIssued'->>'points')::bigint), 0) || ' points'
          FROM events WHERE program = '{program}'"
    );
    database.text(&sql).await
}

/// Waits until every sale was judged and every award is in the log.
pub async fn settled(database: &Database) {
    while_it_gets_on("every sale is judged and every award read", async || {
        let far = "SELECT coalesce(sum(position), 0)::bigint FROM checkpoints";
        let far = database.number(far).await;
        let behind = "SELECT count(*) FROM checkpoints c, log_head h WHERE c.position < h.position";
        (far, database.number(behind).await == 0)
    })
    .await;
}

/// Recomputes the hash chain and every read model.
pub async fn verify(database: &Database) -> Said {
    program::run(["verify", "--database-url", &database.url]).await
}

/// Every row of every read model, in an order of its own.
pub async fn read_models(database: &Database) -> Vec<(String, String)> {
    let tables = database
        .texts("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'read' ORDER BY 1")
        .await;
    let mut dumps = Vec::new();
    for table in tables {
        let sql =
            format!("SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM read.{table} t");
        let rows = database.texts(&format!("SELECT coalesce(({sql}), '')")).await.concat();
        dumps.push((table, rows));
    }
    dumps
}
