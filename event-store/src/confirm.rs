//! What shows on a primary is not always with its synchronous standby: a commit whose wait was cut
//! short (its backend was ended, or the whole server) shows there all the same.

use sqlx::{Connection, PgConnection};

/// Waits until the synchronous standby, where there is one, has everything that shows here by now:
/// another commit behind it waits for all. It takes no lock, so it may be called while somebody holds
/// the log.
///
/// # Errors
/// As Postgres gives them; nothing is known then.
pub(crate) async fn confirm(conn: &mut PgConnection) -> sqlx::Result<()> {
    let standbys: String =
        sqlx::query_scalar("SELECT current_setting('synchronous_standby_names')")
            .fetch_one(&mut *conn)
            .await?;
    if standbys.is_empty() {
        return Ok(());
    }
    let mut tx = conn.begin().await?;
    // A statement that is cancelled in its wait ends as if the standby had answered.
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
    sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
    // Something has to be written, or the commit would wait for nothing.
    sqlx::query("SELECT pg_logical_emit_message(true, 'accrue', '')").execute(&mut *tx).await?;
    tx.commit().await
}
