//! What shows on a primary is not always with its synchronous standby: a commit whose wait was cut
//! short (its backend was ended, or the whole server) shows there all the same.

use sqlx::{Executor as _, PgConnection};
use tokio::sync::Mutex;

use crate::backend::Backend;

/// Asks whether the standby has it, one question at a time: while the standby is away each of them
/// waits for as long as it is, whoever asked and has gone.
#[derive(Debug, Default)]
pub(crate) struct Confirming {
    /// Whose answer was not there in time.
    waiting: Mutex<Option<Backend>>,
}

impl Confirming {
    /// Waits until the synchronous standby, where there is one, has everything that shows here by
    /// now: another commit behind it waits for all. It takes no lock of the database's, so it may
    /// be called while somebody holds the log. A connection whose answer is not waited for is of no
    /// use any more.
    ///
    /// # Errors
    /// As Postgres gives them, or that an earlier question is not answered yet; nothing is known
    /// then.
    pub(crate) async fn confirm(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let standbys: String =
            sqlx::query_scalar("SELECT current_setting('synchronous_standby_names')")
                .fetch_one(&mut *conn)
                .await?;
        if standbys.is_empty() {
            return Ok(());
        }
        let mut waiting = self.waiting.lock().await;
        if let Some(before) = *waiting
            && before.lives(&mut *conn).await?
        {
            return Err(sqlx::Error::PoolTimedOut);
        }
        *waiting = Some(Backend::of(&mut *conn).await?);
        // Something has to be written, or the commit would wait for nothing. Both statements are
        // one transaction, since they are sent as one.
        conn.execute(
            "SET LOCAL synchronous_commit = on;
             SELECT pg_logical_emit_message(true, 'accrue', '')",
        )
        .await?;
        *waiting = None;
        Ok(())
    }
}
