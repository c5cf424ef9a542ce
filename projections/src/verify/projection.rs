//! A read model beside a fresh fold of the log up to its checkpoint.

use accrue_event_store::codec::Codec;
use accrue_event_store::follow::{self, Applied, is_data_error};
use accrue_event_store::record::Position;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{Finding, Progress};
use crate::error::Error;
use crate::model::{Model, prepare_writer, script};
use crate::rebuild::{Loader, Pace};

/// Folds into temporary tables, in one transaction that is rolled back.
pub(super) async fn verify(
    options: &PgConnectOptions,
    codec: &Codec,
    model: &'static Model,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Finding>, Error> {
    let options = options.clone().application_name("accrue verify").options([
        // A table without a schema is a temporary one here; the live one is named in full.
        ("search_path", "pg_temp,public"),
        ("temp_buffers", "64MB"),
        ("work_mem", "64MB"),
    ]);
    let mut conn = options.connect().await?;
    prepare_writer(&mut conn).await?;
    let done = compare(&mut conn, codec, model, progress).await;
    // Rolls back.
    let _ = conn.close().await;
    done
}

async fn compare(
    conn: &mut PgConnection,
    codec: &Codec,
    model: &'static Model,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Finding>, Error> {
    let found = |position, detail: String| Finding { subject: model.name, position, detail };
    script(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    if let Err(error) = hold(conn, model).await {
        return missing(error).map(|detail| vec![found(0, detail)]);
    }
    let until = follow::position(conn, model.name).await?.unwrap_or_default();
    // Where Kafka feeds it, partitions are ahead of the position that all of them have.
    let applied = Applied::read(conn, model.name).await?;
    let parked = follow::parked(conn, model.name).await?;
    let mut findings: Vec<_> = parked
        .iter()
        .map(|it| {
            let stream = format!("{} {}", it.aggregate_type, it.aggregate_id);
            found(it.position, format!("{stream} is parked from here on: {}", it.reason))
        })
        .collect();
    model.create(conn).await?;
    let mut loader = Loader::new(model, codec.clone(), Pace::Fast);
    for stream in parked {
        loader.park(stream);
    }
    let position = until;
    let until = until.max(applied.latest());
    loader.only(position, applied);
    let mut tell = |position| progress(Progress { subject: model.name, position, until });
    let folded = match loader.read(conn, until, &mut tell).await {
        Ok(()) => loader.catch_up(conn, until).await,
        failed => failed,
    };
    match folded {
        Err(Error::Follow(error)) if is_data_error(&error) => {
            findings.push(found(loader.position(), format!("the log does not fold: {error}")));
            return Ok(findings);
        }
        done => done?,
    }
    for table in model.tables {
        if let Some((position, rows)) = difference(conn, table).await? {
            let detail = format!("{rows} rows of {table} are not what the log says");
            findings.push(found(position, detail));
        }
    }
    Ok(findings)
}

/// Keeps the live tables where they are, before the snapshot is taken: a rebuild that switched
/// them later would show this transaction empty ones.
async fn hold(conn: &mut PgConnection, model: &Model) -> sqlx::Result<()> {
    let tables: Vec<_> = model.tables.iter().map(|table| format!("read.{table}")).collect();
    script(conn, &format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "))).await
}

fn missing(error: sqlx::Error) -> Result<String, Error> {
    match &error {
        // undefined_table, invalid_schema_name
        sqlx::Error::Database(database)
            if matches!(database.code().as_deref(), Some("42P01" | "3F000")) =>
        {
            Ok("its tables are missing; a server makes them when it starts".to_owned())
        }
        _ => Err(error.into()),
    }
}

/// Rows that only one side has: the first position that they name, and their number.
async fn difference(conn: &mut PgConnection, table: &str) -> sqlx::Result<Option<(Position, i64)>> {
    // A whole table is compared with another: sorts and hashes are right here.
    script(conn, "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on").await?;
    let (position, rows): (Option<Position>, i64) = sqlx::query_as(&format!(
        "SELECT min(position), count(*) FROM (
             (SELECT * FROM read.{table} EXCEPT ALL SELECT * FROM pg_temp.{table})
             UNION ALL
             (SELECT * FROM pg_temp.{table} EXCEPT ALL SELECT * FROM read.{table})) d"
    ))
    .fetch_one(conn)
    .await?;
    Ok((rows > 0).then_some((position.unwrap_or_default(), rows)))
}
