//! How far a follower has applied each partition, and what follows from that for it as a whole, in
//! SQL.

use std::collections::BTreeMap;

use accrue_event_store::codec::Codec;
use accrue_event_store::follow::{self, FollowError};
use accrue_event_store::log;
use accrue_event_store::placement::{of_event, program_in_topic};
use accrue_event_store::record::Position;
use sqlx::{Connection, PgConnection};

use crate::progress::NAME as RELAY;
use crate::topics;

/// A partition of a topic.
pub(super) type Place = (String, i32);

/// How far a partition was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Mark {
    /// Everything of the partition up to here is applied.
    pub(super) position: Position,
    /// The record that was read last, -1 for none, and the position of its event.
    pub(super) last_offset: i64,
    pub(super) last_event: Position,
}

/// A partition's mark as it was, and as it is to be.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) place: &'a Place,
    pub(super) from: Mark,
    pub(super) to: Mark,
}

/// What a follower has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Everything up to here is applied.
    pub(super) position: Position,
    /// Partitions that the relay publishes to.
    pub(super) partitions: i64,
}

/// The topics that the relay publishes to, and how many partitions of each. Every topic is here
/// before the relay's checkpoint passes the first event in it.
pub(super) async fn topics(conn: &mut PgConnection) -> sqlx::Result<BTreeMap<String, i32>> {
    let rows: Vec<(String, i32)> =
        sqlx::query_as("SELECT topic, count(*)::int FROM relayed GROUP BY topic")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().collect())
}

/// The marks of these partitions. Of one that is begun here, everything up to the follower's
/// position is applied: either there was nothing, or the follower was fed otherwise.
pub(super) async fn enter(
    conn: &mut PgConnection,
    follower: &str,
    prefix: &str,
    places: &[Place],
) -> Result<Vec<Mark>, FollowError> {
    let names: Vec<_> = places.iter().map(|(topic, _)| topic.as_str()).collect();
    let numbers: Vec<_> = places.iter().map(|(_, partition)| *partition).collect();
    let programs = names.iter().map(|topic| topics::program_of(prefix, topic).unwrap_or_default());
    let mut tx = conn.begin().await?;
    // Locked, so that no rebuild and no other feed moves it before the rows are there to be moved.
    let (position, feed): (Position, String) =
        sqlx::query_as("SELECT position, feed FROM checkpoints WHERE follower = $1 FOR SHARE")
            .bind(follower)
            .fetch_one(&mut *tx)
            .await?;
    if feed != "kafka" {
        return Err(FollowError::NotReady(format!("another process feeds it by {feed}")));
    }
    sqlx::query(
        "INSERT INTO feed_checkpoints (follower, topic, partition, program, position)
         SELECT $1, d.topic, d.partition, d.program, $5
           FROM unnest($2::text[], $3::int[], $4::text[]) AS d(topic, partition, program)
             ON CONFLICT DO NOTHING",
    )
    .bind(follower)
    .bind(&names)
    .bind(&numbers)
    .bind(programs.collect::<Vec<_>>())
    .bind(position)
    .execute(&mut *tx)
    .await?;
    let marks = sqlx::query_as(
        "SELECT f.position, f.last_offset, f.last_event
           FROM unnest($2::text[], $3::int[]) WITH ORDINALITY AS d(topic, partition, ordinal)
           JOIN feed_checkpoints f
             ON f.follower = $1 AND f.topic = d.topic AND f.partition = d.partition
          ORDER BY d.ordinal",
    )
    .bind(follower)
    .bind(&names)
    .bind(&numbers)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(marks)
}

/// Moves marks, all of them or, when somebody else has moved one, none: the caller takes its
/// transaction back then.
pub(super) async fn advance(
    conn: &mut PgConnection,
    follower: &str,
    steps: &[Step<'_>],
) -> sqlx::Result<bool> {
    if steps.is_empty() {
        return Ok(true);
    }
    let done = sqlx::query(
        "UPDATE feed_checkpoints f
            SET position = d.position, last_offset = d.last_offset, last_event = d.last_event
           FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[],
                       $7::bigint[], $8::bigint[])
                AS d(topic, partition, from_position, from_offset, position, last_offset,
                     last_event)
          WHERE f.follower = $1 AND f.topic = d.topic AND f.partition = d.partition
            AND f.position = d.from_position AND f.last_offset = d.from_offset AND NOT f.closed",
    )
    .bind(follower)
    .bind(steps.iter().map(|it| it.place.0.as_str()).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.place.1).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.from.position).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.from.last_offset).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.to.position).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.to.last_offset).collect::<Vec<_>>())
    .bind(steps.iter().map(|it| it.to.last_event).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(u64::try_from(steps.len()).is_ok_and(|count| count == done.rows_affected()))
}

/// How far the follower is, and moves it as far as all partitions allow.
///
/// One snapshot tells the relay's checkpoint and the last event that each partition holds up to it.
/// A partition whose last event is applied is complete up to the relay's checkpoint; another one is
/// up to its mark. One that nobody has begun is up to where the follower is: behind that is its
/// first event, so a reader who waits for it waits. No end of a topic has to be asked for.
pub(super) async fn settle(
    conn: &mut PgConnection,
    follower: &str,
    kinds: &[&'static str],
) -> sqlx::Result<Option<Standing>> {
    let found: Option<(Position, Option<Position>, i64, bool)> = sqlx::query_as(
        "SELECT c.position, p.position, p.partitions,
                EXISTS (SELECT FROM parked r
                         WHERE r.follower = $2 AND r.aggregate_type = ANY($3)
                           AND NOT EXISTS (SELECT FROM parked o
                                            WHERE o.follower = $1
                                              AND o.aggregate_type = r.aggregate_type
                                              AND o.aggregate_id = r.aggregate_id))
           FROM checkpoints c,
                LATERAL (
                SELECT min(CASE WHEN coalesce(f.position, c.position) >= r.position
                                THEN relay.position
                                ELSE coalesce(f.position, c.position) END) AS position,
                       count(*) AS partitions
                  FROM relayed r
                  JOIN checkpoints relay ON relay.follower = $2
                  LEFT JOIN feed_checkpoints f
                    ON f.follower = $1 AND f.topic = r.topic AND f.partition = r.partition) p
          WHERE c.follower = $1 AND c.feed = 'kafka'",
    )
    .bind(follower)
    .bind(RELAY)
    .bind(kinds)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((position, upto, partitions, aside)) = found else { return Ok(None) };
    // Before the position passes what Kafka does not have.
    if aside {
        set_aside(conn, follower, kinds).await?;
    }
    let upto = upto.unwrap_or(position).max(position);
    if upto > position {
        sqlx::query(
            "UPDATE checkpoints SET position = $2
              WHERE follower = $1 AND position < $2 AND feed = 'kafka'",
        )
        .bind(follower)
        .bind(upto)
        .execute(conn)
        .await?;
    }
    Ok(Some(Standing { position: upto, partitions }))
}

/// The first event between two positions, neither of them included, that the relay has published to
/// that partition. The log is read for it: a partition may be quiet for long.
pub(super) async fn between(
    conn: &mut PgConnection,
    codec: &Codec,
    prefix: &str,
    (topic, partition): &Place,
    (from, until): (Position, Position),
) -> sqlx::Result<Option<Position>> {
    let program = topics::program_of(prefix, topic).unwrap_or_default();
    let count: i32 = sqlx::query_scalar("SELECT count(*)::int FROM relayed WHERE topic = $1")
        .bind(topic)
        .fetch_one(&mut *conn)
        .await?;
    let aside = follow::parked(conn, RELAY).await?;
    let mut first = from + 1;
    while first < until {
        let last = (first + log::PAGE_EVENTS_MAX).min(until) - 1;
        let page = log::read_range(conn, codec, first, last).await?;
        let missing = page.iter().find(|event| {
            let row = &event.row;
            let is_aside = |it: &follow::Parked| {
                (it.aggregate_type.as_str(), it.aggregate_id.as_str())
                    == (&*row.aggregate_type, &*row.aggregate_id)
                    && event.position >= it.position
            };
            program_in_topic(&row.program) == program
                && of_event(row, count) == *partition
                && !aside.iter().any(is_aside)
        });
        if let Some(missing) = missing {
            return Ok(Some(missing.position));
        }
        first = last + 1;
    }
    Ok(None)
}

/// Streams that the relay has set aside, since Kafka does not take one of their events, are set
/// aside here, too: what is behind that event does not come. What the log, or a rebuild, brought of
/// them before is there.
async fn set_aside(
    conn: &mut PgConnection,
    follower: &str,
    kinds: &[&'static str],
) -> sqlx::Result<()> {
    tracing::error!(follower, "streams that are not in Kafka are parked");
    sqlx::query(
        "INSERT INTO parked (follower, aggregate_type, aggregate_id, position, reason)
         SELECT $1, r.aggregate_type, r.aggregate_id, greatest(r.position, c.position + 1),
                'not in Kafka: ' || r.reason
           FROM parked r JOIN checkpoints c ON c.follower = $1
          WHERE r.follower = $2 AND r.aggregate_type = ANY($3)
             ON CONFLICT DO NOTHING",
    )
    .bind(follower)
    .bind(RELAY)
    .bind(kinds)
    .execute(conn)
    .await?;
    Ok(())
}
