//! Leases: work that one process at a time may do, taken over within seconds when it dies.
//!
//! Invariants
//! - At most one holder's epoch stands in the table, and each holder's is higher than the last's.
//! - A holder that was paused past its term may still believe that it holds: whoever writes on the
//!   strength of a lease does so in a transaction that has asked [`guard`], and whoever acts
//!   elsewhere gives the other side a way to refuse what is late.
//! - Times are the database's. A holder measures its own term from before it asked, by a clock that
//!   nobody sets, so that it never believes longer than the table does.

mod lead;

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

pub use lead::{Terms, lead};

/// How long a lease lasts without being renewed. With [`RETRY_INTERVAL`] it bounds how long work
/// stands still when its holder dies.
pub const TERM: Duration = Duration::from_secs(3);

/// How often a holder renews its lease.
pub const RENEW_INTERVAL: Duration = Duration::from_millis(750);

/// How often those ask who would have it.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A lease that is held, as far as its holder knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: String,
    epoch: i64,
    term: Duration,
    until: Instant,
}

impl Lease {
    /// Takes the lease if nobody holds it; none when somebody does.
    ///
    /// # Errors
    /// As Postgres gives them; the lease may then be taken all the same, and lapses.
    pub async fn acquire(
        conn: &mut PgConnection,
        name: &str,
        holder: &str,
        term: Duration,
    ) -> sqlx::Result<Option<Self>> {
        let asked = Instant::now();
        // The clock of the moment and not of the transaction's start, which may have waited for
        // the row's lock.
        let epoch: Option<i64> = sqlx::query_scalar(
            "INSERT INTO leases AS it (name, holder, epoch, until)
             VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 ms')
                 ON CONFLICT (name) DO UPDATE
                SET holder = EXCLUDED.holder, epoch = it.epoch + 1, until = EXCLUDED.until
              WHERE it.until <= clock_timestamp()
             RETURNING epoch",
        )
        .bind(name)
        .bind(holder)
        .bind(millis(term))
        .fetch_optional(conn)
        .await?;
        let name = name.to_owned();
        Ok(epoch.map(|epoch| Self { name, epoch, term, until: asked + term }))
    }

    /// Holds it for another term; false when somebody else has taken it. One that has lapsed and
    /// that nobody has taken is held again: no one else can have worked in between.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub async fn renew(&mut self, conn: &mut PgConnection) -> sqlx::Result<bool> {
        let asked = Instant::now();
        let done = sqlx::query(
            "UPDATE leases SET until = clock_timestamp() + $3 * interval '1 ms'
              WHERE name = $1 AND epoch = $2",
        )
        .bind(&self.name)
        .bind(self.epoch)
        .bind(millis(self.term))
        .execute(conn)
        .await?;
        let held = done.rows_affected() == 1;
        if held {
            self.until = asked + self.term;
        }
        Ok(held)
    }

    /// Gives it back, so that another need not wait until it lapses.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub async fn release(self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("UPDATE leases SET until = '-infinity' WHERE name = $1 AND epoch = $2")
            .bind(&self.name)
            .bind(self.epoch)
            .execute(conn)
            .await
            .map(|_| ())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of this holder: higher than that of any before.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// When it lapses, as far as is known, by this process's clock.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }
}

/// Is this still the epoch that holds? The answer stays true until the caller's transaction ends:
/// until then nobody takes the lease over.
///
/// # Errors
/// As Postgres gives them.
pub async fn guard(conn: &mut PgConnection, name: &str, epoch: i64) -> sqlx::Result<bool> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT epoch FROM leases WHERE name = $1 AND epoch = $2 FOR SHARE")
            .bind(name)
            .bind(epoch)
            .fetch_optional(conn)
            .await?;
    Ok(found.is_some())
}

fn millis(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}
