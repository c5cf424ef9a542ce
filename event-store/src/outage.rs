//! Says once that the log's database is out of reach, and once that it is back, however many find out:
//! each connection and each follower does for itself. The tail, which looks at the log all the time
//! in every process, says when it is over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What lasts is told of again so often.
const REMINDER: Duration = Duration::from_secs(60);

/// Connections that are found broken so soon behind an outage were broken by it.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Says when what lasts is to be told of: at first, and again now and then.
#[derive(Debug, Default)]
pub struct Reminder(Option<Instant>);

impl Reminder {
    /// Of what was not told of yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Is it to be told of? If so, it counts as told.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|told| now.duration_since(told) >= REMINDER);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// Whether the database of some servers is out of reach.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the present outage was noticed.
    begun: Option<Instant>,
    reminder: Reminder,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Known {
    /// Is that to be told of?
    fn lost(&mut self, now: Instant) -> bool {
        let just_over = self.ended.is_some_and(|at| now.duration_since(at) < AFTERMATH);
        if self.begun.is_none() && just_over {
            return false;
        }
        self.begun.get_or_insert(now);
        self.reminder.is_due(now)
    }

    /// How long the outage was that has ended.
    fn over(&mut self, now: Instant) -> Option<Duration> {
        let begun = self.begun.take()?;
        (self.reminder, self.ended) = (Reminder::new(), Some(now));
        Some(now.duration_since(begun))
    }
}

impl Outage {
    /// Tells of an outage, if the error is one and it is news. Returns whether it is one, so that
    /// whoever met it need not tell of it.
    pub fn met(&self, error: &sqlx::Error) -> bool {
        // Who waits in vain for a connection may wait for his turn. In an outage it is that.
        let sure = !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed);
        let mut known = self.known();
        if !is_outage(error) || !(sure || known.begun.is_some()) {
            return false;
        }
        let news = known.lost(Instant::now());
        drop(known);
        if news {
            tracing::warn!(%error, "the database is out of reach; all goes on when it is back");
        }
        true
    }

    /// The database has answered.
    pub(crate) fn over(&self) {
        let lasted = self.known().over(Instant::now());
        if let Some(lasted) = lasted {
            tracing::info!(seconds = lasted.as_secs_f64(), "the database answers again");
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does an error say that the database does not answer at present?
#[must_use]
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_) => true,
        // Shutdown, crash, start-up, and a session that was idle for too long.
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "57P05"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_again_after_long() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert_eq!(known.over(now), None);
        assert!(known.lost(now));
        assert!(!known.lost(now + REMINDER / 2));
        assert!(known.lost(now + REMINDER));
        assert!(!known.lost(now + REMINDER));
        assert_eq!(known.over(now + REMINDER * 2), Some(REMINDER * 2));
        assert_eq!(known.over(now + REMINDER * 2), None);
    }

    #[test]
    fn what_is_found_broken_right_behind_an_outage_is_no_other() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.lost(now));
        known.over(now);
        assert!(!known.lost(now + AFTERMATH / 2));
        assert_eq!(known.over(now + AFTERMATH / 2), None);
        assert!(known.lost(now + AFTERMATH));
    }

    #[test]
    fn a_wait_for_a_connection_is_an_outage_while_there_is_one() {
        let outage = Outage::default();
        assert!(!outage.met(&sqlx::Error::PoolTimedOut));
        assert!(!outage.met(&sqlx::Error::RowNotFound));
        assert!(outage.met(&sqlx::Error::WorkerCrashed));
        assert!(outage.met(&sqlx::Error::PoolTimedOut));
        outage.over();
        assert!(!outage.met(&sqlx::Error::PoolTimedOut));
    }
}
