//! What a read model is: its tables, and how events become rows.
//!
//! SQL of a model names its tables without a schema: the connection's `search_path` decides
//! whether that is the live one, one that is being built beside it, or one made to be compared.

use std::collections::HashMap;

use accrue_domain::aggregate::Kind;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::Recorded;
use async_trait::async_trait;
use sqlx::{Executor as _, PgConnection};

use crate::models::{balances, campaigns, orders, sagas, statement, stock, takings, wallets};

/// Separates what a table needs while it is filled from what may come once it is full.
const AFTER_LOAD: &str = "-- After the load.";

/// A map for folding: its keys are many, and none is chosen to collide with another's.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A read model.
#[derive(Debug)]
pub struct Model {
    /// Its name, and its follower's.
    pub name: &'static str,
    /// Shape of its tables and meaning of its rows: raised with every change of either, so that
    /// a server that starts rebuilds what an older build has left.
    pub version: i32,
    /// Its tables.
    pub tables: &'static [&'static str],
    /// The kinds of stream that it is made of.
    pub kinds: &'static [Kind],
    pub(crate) ddl: &'static str,
    pub(crate) fold: fn() -> Box<dyn Fold>,
}

/// Every read model.
pub static MODELS: [&Model; 8] = [
    &balances::MODEL,
    &statement::MODEL,
    &campaigns::MODEL,
    &stock::MODEL,
    &wallets::MODEL,
    &orders::MODEL,
    &sagas::MODEL,
    &takings::MODEL,
];

/// Events on their way to rows: they are folded in memory, and the result is written in few
/// statements.
#[async_trait]
pub(crate) trait Fold: Send + Sync {
    /// Takes an event in.
    fn event(&mut self, event: &Recorded) -> Result<(), FollowError>;

    /// Splits off what has grown so large that it is to be written; none while there is nothing.
    /// What changes again and again stays. Parts are written in the order in which they were
    /// split off.
    fn part(&mut self) -> Option<Box<dyn Fold>>;

    /// Writes everything that was taken in.
    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError>;
}

impl Model {
    /// The model of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        MODELS.into_iter().find(|model| model.name == name)
    }

    /// Makes its tables in the first schema of the search path, without what slows filling them.
    pub(crate) async fn create(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        script(conn, self.sections().0).await
    }

    /// Adds the indexes that readers need.
    pub(crate) async fn finish(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        script(conn, self.sections().1).await
    }

    fn sections(&self) -> (&'static str, &'static str) {
        self.ddl.split_once(AFTER_LOAD).unwrap_or((self.ddl, ""))
    }
}

/// Prepares a connection that writes rows: each statement touches rows by key, many at a time, in
/// tables that grow from empty. A plan that was made while they were small must still fit then.
pub(crate) async fn prepare_writer(conn: &mut PgConnection) -> sqlx::Result<()> {
    let settings =
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
                    SET plan_cache_mode = force_generic_plan";
    script(conn, settings).await
}

/// Did a statement touch as many rows as it named? If not, an event speaks of what is not there.
pub(crate) fn expect_rows(
    what: &str,
    named: usize,
    found: u64,
    position: i64,
) -> Result<(), FollowError> {
    if u64::try_from(named).is_ok_and(|named| named == found) {
        return Ok(());
    }
    let reason = format!("{named} {what} are named, {found} are there");
    Err(FollowError::Poison { position, reason })
}

/// Runs statements without parameters, several at a time.
pub(crate) async fn script(conn: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    conn.execute(sql).await?;
    Ok(())
}
