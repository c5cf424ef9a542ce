//! A session as another session names it, so that one that was given up on does not stay behind: a
//! backend that waits for a lock, or for a synchronous standby, does not see that its client is gone.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A session's process on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    pid: i32,
    started: DateTime<Utc>,
}

impl Backend {
    /// That of this session.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub(crate) async fn of(conn: &mut PgConnection) -> sqlx::Result<Self> {
        let (pid, started) = sqlx::query_as(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .fetch_one(conn)
        .await?;
        Ok(Self { pid, started })
    }

    /// Has it end, and tells whether it is still there. One that waits for a synchronous standby is
    /// left to wait: its commit is what everybody would wait for, and to end the wait would show
    /// that commit to readers before the standby has it.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub(crate) async fn lives(self, conn: &mut PgConnection) -> sqlx::Result<bool> {
        let found: Option<bool> = sqlx::query_scalar(
            "SELECT CASE WHEN wait_event = 'SyncRep' THEN true ELSE pg_terminate_backend(pid) END
               FROM pg_stat_activity
              WHERE pid = $1 AND backend_start = $2",
        )
        .bind(self.pid)
        .bind(self.started)
        .fetch_optional(conn)
        .await?;
        Ok(found.is_some())
    }
}
