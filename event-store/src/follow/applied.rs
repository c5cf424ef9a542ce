//! What a follower that was fed by Kafka has applied beyond its position: of each partition, the
//! events up to that partition's own position.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::FollowError;
use crate::placement::{of_event, program_in_topic};
use crate::record::{Position, Recorded};

/// How far each partition of each program was applied.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    programs: HashMap<String, Vec<Position>>,
    latest: Position,
}

#[derive(sqlx::FromRow)]
struct Partition {
    topic: String,
    program: String,
    partition: i32,
    position: Position,
    /// Partitions of its topic.
    count: i64,
}

impl Applied {
    /// What stands in the database; nothing for a follower that Kafka never fed, and of partitions
    /// that are not ahead of the follower's position.
    ///
    /// # Errors
    /// [`FollowError::NotReady`] where it is not known any more which partition an event is in; a
    /// rebuild of the follower's tables helps.
    pub async fn read(conn: &mut PgConnection, follower: &str) -> Result<Self, FollowError> {
        let rows: Vec<Partition> = sqlx::query_as(
            "SELECT f.topic, f.program, f.partition, f.position,
                    (SELECT count(*) FROM relayed r WHERE r.topic = f.topic) AS count
               FROM feed_checkpoints f
              WHERE f.follower = $1
                AND f.position > coalesce((SELECT position FROM checkpoints WHERE follower = $1), 0)",
        )
        .bind(follower)
        .fetch_all(conn)
        .await?;
        let mut applied = Self::default();
        for row in rows {
            let count = usize::try_from(row.count).unwrap_or_default();
            let partitions = applied.programs.entry(row.program).or_insert_with(|| vec![0; count]);
            let at = usize::try_from(row.partition).ok().and_then(|at| partitions.get_mut(at));
            let Some(at) = at else {
                return Err(FollowError::NotReady(format!(
                    "Kafka has fed it partition {} of {}, which the relay knows nothing of: which \
                     events those were cannot be told",
                    row.partition, row.topic
                )));
            };
            *at = row.position;
            applied.latest = applied.latest.max(row.position);
        }
        Ok(applied)
    }

    /// Forgets what stands in the database, once the follower's position tells all of it.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub(super) async fn forget(conn: &mut PgConnection, follower: &str) -> sqlx::Result<()> {
        sqlx::query(
            "DELETE FROM feed_checkpoints f USING checkpoints c
              WHERE f.follower = $1 AND c.follower = $1 AND c.feed = 'log'
                AND f.position <= c.position",
        )
        .bind(follower)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// The last position that any partition has come to. Behind it nothing is applied but what
    /// the follower's position tells.
    #[must_use]
    pub fn latest(&self) -> Position {
        self.latest
    }

    /// Is the event applied, whatever the follower's position?
    #[must_use]
    pub fn has(&self, event: &Recorded) -> bool {
        if event.position > self.latest {
            return false;
        }
        let partitions = self.programs.get(&program_in_topic(&event.row.program));
        partitions.is_some_and(|partitions| {
            let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
            let at = usize::try_from(of_event(&event.row, count)).unwrap_or(usize::MAX);
            partitions.get(at).is_some_and(|position| event.position <= *position)
        })
    }
}
