//! Building a read model anew: beside the live one, then in its place.
//!
//! The new tables grow in a schema of their own while the old ones are read and written as ever.
//! One transaction at the end takes the checkpoint's row (so the live follower, in whatever
//! process, stands still), catches up, and puts the new tables where the old ones were. The
//! follower notices that the checkpoint moved, and goes on from there.

use accrue_event_store::codec::Codec;
use accrue_event_store::follow::is_data_error;
use accrue_event_store::ledger::PLANS;
use accrue_event_store::log;
use accrue_event_store::record::Position;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::error::Error;
use crate::model::{Model, prepare_writer, script};

mod intake;
mod load;
mod switch;

pub(crate) use load::{Loader, Pace};

/// Events behind the head from which on the rest is done while the live follower waits.
const CATCH_UP_EVENTS_MAX: i64 = 2_000;

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is done.
    pub position: Position,
    /// The end of the log, as far as it is known.
    pub head: Position,
}

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The checkpoint of the new tables.
    pub position: Position,
    /// Streams that could not be digested, and are parked.
    pub parked: usize,
}

/// Builds a read model anew, while servers run or not.
///
/// # Errors
/// [`Error`]; the live tables are as they were then.
pub async fn rebuild(
    options: &PgConnectOptions,
    codec: &Codec,
    name: &str,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Rebuilt, Error> {
    let model = Model::by_name(name).ok_or_else(|| Error::unknown(name))?;
    let mut conn = connect(options, model).await?;
    let free: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('accrue'), hashtext($1))")
            .bind(model.name)
            .fetch_one(&mut conn)
            .await?;
    if !free {
        return Err(Error::Busy(model.name));
    }
    let done = build(&mut conn, options, codec, model, &mut progress).await;
    release(conn, model).await;
    done
}

/// Lets go of the model, and ends what a failed build has left open. The lock goes with the
/// session in any case, but only once its backend has noticed, and the next build may be sooner.
async fn release(mut conn: PgConnection, model: &Model) {
    let unlocked = sqlx::query("SELECT pg_advisory_unlock(hashtext('accrue'), hashtext($1))")
        .bind(model.name)
        .execute(&mut conn)
        .await;
    if let Err(error) = unlocked {
        tracing::debug!(%error, projection = model.name, "the lock goes with its session");
    }
    let _ = conn.close().await;
}

/// Makes the live tables of a model where they are missing or of another version; a server does
/// so before it serves. Waits for another process that does the same.
pub(crate) async fn ensure(
    options: &PgConnectOptions,
    codec: &Codec,
    model: &'static Model,
) -> Result<(), Error> {
    let mut conn = connect(options, model).await?;
    sqlx::query("SELECT pg_advisory_lock(hashtext('accrue'), hashtext($1))")
        .bind(model.name)
        .execute(&mut conn)
        .await?;
    if !switch::is_current(&mut conn, model).await? {
        tracing::info!(projection = model.name, version = model.version, "building tables");
        let done = build(&mut conn, options, codec, model, &mut |_| {}).await?;
        tracing::info!(projection = model.name, position = done.position, "tables built");
    }
    release(conn, model).await;
    Ok(())
}

async fn connect(options: &PgConnectOptions, model: &Model) -> sqlx::Result<PgConnection> {
    let options = options.clone().application_name("accrue rebuild").options(PLANS).options([
        ("search_path", format!("{},public", schema(model))),
        // Nobody reads these rows before the switch; what is lost in a crash is built again.
        ("synchronous_commit", "off".to_owned()),
        // Sorts for the indexes, one at a time.
        ("maintenance_work_mem", "128MB".to_owned()),
    ]);
    options.connect().await
}

fn schema(model: &Model) -> String {
    format!("rebuild_{}", model.name)
}

async fn build(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    codec: &Codec,
    model: &'static Model,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Rebuilt, Error> {
    prepare_writer(conn).await?;
    match attempt(conn, options, codec, model, Pace::Fast, progress).await {
        Err(Error::Follow(error)) if is_data_error(&error) => {
            tracing::warn!(projection = model.name, %error, "building anew, to find a bad event");
            attempt(conn, options, codec, model, Pace::Careful, progress).await
        }
        done => done,
    }
}

async fn attempt(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    codec: &Codec,
    model: &'static Model,
    pace: Pace,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Rebuilt, Error> {
    switch::begin(conn, model, &schema(model)).await?;
    let mut loader = Loader::new(model, codec.clone(), pace);
    let mut head = log::head(conn).await?;
    while head - loader.position() > CATCH_UP_EVENTS_MAX {
        loader
            .load(conn, options, head, &mut |position| progress(Progress { position, head }))
            .await?;
        head = log::head(conn).await?;
    }
    loader.catch_up(conn, head).await?;
    model.finish(conn).await?;
    let analyze = format!("ANALYZE {}", model.tables.join(", "));
    script(&mut *conn, &analyze).await?;
    let done = switch::into_place(conn, model, &schema(model), &mut loader).await?;
    progress(Progress { position: done.position, head: done.position });
    Ok(done)
}
