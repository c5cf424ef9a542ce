//! How far the log is in Kafka, as Postgres remembers it: a checkpoint, and the last acknowledged
//! event of each partition. Written behind acknowledgements only, and only by who holds the lease.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use accrue_event_store::follow::{self, Parked};
use accrue_event_store::lease;
use accrue_event_store::record::Position;
use sqlx::{Connection, PgConnection};

/// The relay's name: its follower, and its lease.
pub(crate) const NAME: &str = "relay";

/// What is known of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) position: Position,
    pub(crate) next_offset: i64,
}

/// A partition, and what was acknowledged in it last.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) known: Known,
}

/// Where the relay was.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) position: Position,
    /// By topic; every partition of each, in order.
    pub(crate) topics: BTreeMap<String, Vec<Known>>,
    pub(crate) parked: HashSet<(Arc<str>, Arc<str>)>,
}

/// What is remembered.
pub(crate) async fn read(conn: &mut PgConnection) -> sqlx::Result<Progress> {
    let position = follow::begin(conn, NAME).await?;
    let parked = follow::parked(conn, NAME).await?.into_iter();
    let parked = parked.map(|it| (it.aggregate_type.into(), it.aggregate_id.into())).collect();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT topic, position, next_offset FROM relayed ORDER BY topic, partition",
    )
    .fetch_all(conn)
    .await?;
    let mut topics = BTreeMap::<String, Vec<Known>>::new();
    for (topic, position, next_offset) in rows {
        topics.entry(topic).or_default().push(Known { position, next_offset });
    }
    Ok(Progress { position, topics, parked })
}

/// Is this a topic that the relay publishes to, by whatever name it calls its own?
pub(crate) async fn is_of_the_relay(conn: &mut PgConnection, topic: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM relayed WHERE topic = $1)")
        .bind(topic)
        .fetch_one(conn)
        .await
}

/// Remembers that so much was acknowledged; false when the lease, or the checkpoint, is somebody
/// else's by now.
pub(crate) async fn write(
    conn: &mut PgConnection,
    epoch: i64,
    from: Position,
    to: Position,
    moved: &[Moved],
) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let ours = lease::guard(&mut tx, NAME, epoch).await?
        && (from >= to || follow::advance(&mut tx, NAME, from, to).await?);
    if !ours {
        tx.rollback().await?;
        return Ok(false);
    }
    if !moved.is_empty() {
        upsert(&mut tx, moved).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn upsert(conn: &mut PgConnection, moved: &[Moved]) -> sqlx::Result<()> {
    // A partition that lost its end is behind what is known of it until it has caught up; until
    // then what is known stays, so that a crash in between forgets nothing.
    sqlx::query(
        "INSERT INTO relayed (topic, partition, position, next_offset)
         SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
             ON CONFLICT (topic, partition) DO UPDATE
            SET position = EXCLUDED.position, next_offset = EXCLUDED.next_offset
          WHERE relayed.position <= EXCLUDED.position",
    )
    .bind(moved.iter().map(|it| &*it.topic).collect::<Vec<_>>())
    .bind(moved.iter().map(|it| it.partition).collect::<Vec<_>>())
    .bind(moved.iter().map(|it| it.known.position).collect::<Vec<_>>())
    .bind(moved.iter().map(|it| it.known.next_offset).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(|_| ())
}

/// Partitions of a topic are going to be filled up anew: whoever is fed by them reads them from their
/// beginning. What such a worker has read already is refused to it, since its mark is another now:
/// it may have gone on, behind the place where it was, in what was filled up meanwhile. False as in
/// [`write`].
pub(crate) async fn read_anew(
    conn: &mut PgConnection,
    epoch: i64,
    topic: &str,
    partitions: &[i32],
) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let ours = lease::guard(&mut tx, NAME, epoch).await?;
    if ours {
        // A crash of the database that lost this would be noticed by nobody.
        sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
        sqlx::query(
            "UPDATE feed_checkpoints SET last_offset = -1, last_event = 0
              WHERE topic = $1 AND partition = ANY ($2) AND last_offset >= 0",
        )
        .bind(topic)
        .bind(partitions)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(ours)
}

/// Sets a stream aside; false as in [`write`].
pub(crate) async fn park(
    conn: &mut PgConnection,
    epoch: i64,
    stream: &Parked,
) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let ours = lease::guard(&mut tx, NAME, epoch).await?;
    if ours {
        follow::park(&mut tx, NAME, stream).await?;
    }
    tx.commit().await?;
    Ok(ours)
}
