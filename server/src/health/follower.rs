//! One follower's health: by the age of its last look at the log, and by progress.

use std::time::Duration;

use accrue_event_store::follow::{Health, Status};
use accrue_event_store::record::Position;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{Check, Lag};

/// A follower looks at the log at least twice a second; one that has not for so long hangs.
const POLL_AGE_MAX: Duration = Duration::from_secs(10);

/// With events before it, a follower moves within so long, or it hangs.
const PROGRESS_AGE_MAX: Duration = Duration::from_secs(30);

/// A follower, and since when it is where it is.
#[derive(Debug)]
pub(super) struct Watched {
    status: Status,
    position: Position,
    /// When it last moved, or had nothing before it.
    moved_at: Instant,
    pub(super) lag: Duration,
}

impl Watched {
    pub(super) fn new(status: Status, now: Instant) -> Self {
        Self { status, position: -1, moved_at: now, lag: Duration::ZERO }
    }

    pub(super) fn name(&self) -> &str {
        self.status.name()
    }

    /// Notes where it is.
    pub(super) fn note(&mut self, head: Position, now: Instant) -> Position {
        let position = *self.status.position().borrow();
        if position != self.position || position >= head {
            self.position = position;
            self.moved_at = now;
        }
        position
    }

    pub(super) fn check(
        &self,
        head: Position,
        now: DateTime<Utc>,
        at: Instant,
        lag_max: Option<Duration>,
    ) -> Check {
        let position = *self.status.position().borrow();
        let health = self.status.health();
        let events = (head - position.max(0)).max(0);
        let polled = health.polled_at.and_then(|polled_at| (now - polled_at).to_std().ok());
        let still = (events > 0).then(|| at.saturating_duration_since(self.moved_at));
        let lag = if events > 0 { self.lag } else { Duration::ZERO };
        let reason = reason(&health, position, polled, still);
        let reason = reason.or_else(|| too_late(lag, lag_max));
        Check {
            name: self.name().to_owned(),
            ok: reason.is_none(),
            reason,
            position: Some(position.max(0)),
            lag: Some(Lag {
                events,
                seconds: Some(lag.as_secs_f64()),
                polled_seconds_ago: health
                    .polled_at
                    .map(|_| polled.unwrap_or_default().as_secs_f64()),
                parked: health.parked,
            }),
        }
    }
}

/// Why a follower is not well; none when it is.
fn reason(
    health: &Health,
    position: Position,
    polled: Option<Duration>,
    still: Option<Duration>,
) -> Option<String> {
    if let Some(stopped) = &health.stopped {
        return Some(stopped.clone());
    }
    if position < 0 {
        return Some("it has not begun".to_owned());
    }
    if let Some(age) = polled.filter(|age| *age > POLL_AGE_MAX) {
        return Some(format!("it has not looked at the log for {} s", age.as_secs()));
    }
    if let Some(age) = still.filter(|age| *age > PROGRESS_AGE_MAX) {
        return Some(format!("it has events before it and has not moved for {} s", age.as_secs()));
    }
    None
}

/// Why a follower that moves is too far behind; none when it is not.
fn too_late(lag: Duration, lag_max: Option<Duration>) -> Option<String> {
    let most = lag_max.filter(|most| lag > *most)?;
    Some(format!("it is {} s behind, more than {} s", lag.as_secs(), most.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn a_follower_is_well_while_it_looks_and_moves() {
        let well = Health::default();
        assert_eq!(reason(&well, 7, seconds(10), seconds(30)), None);
        assert_eq!(reason(&well, 0, None, None), None);
    }

    #[test]
    fn how_far_behind_is_too_far_is_for_the_configuration_to_say() {
        let most = seconds(60);
        assert_eq!(too_late(Duration::from_secs(9_999), None), None);
        assert_eq!(too_late(Duration::from_secs(60), most), None);
        let late = too_late(Duration::from_secs(61), most);
        assert_eq!(late.as_deref(), Some("it is 61 s behind, more than 60 s"));
    }

    #[test]
    fn each_way_of_standing_still_is_seen() {
        let well = Health::default();
        let says = |health: &Health, position, polled, still| {
            reason(health, position, polled, still).unwrap_or_default()
        };
        let stopped = Health { stopped: Some("why".to_owned()), ..Health::default() };
        assert_eq!(says(&stopped, 7, seconds(0), None), "why");
        assert_eq!(says(&well, -1, None, None), "it has not begun");
        assert_eq!(says(&well, 7, seconds(11), None), "it has not looked at the log for 11 s");
        let still = says(&well, 7, seconds(0), seconds(31));
        assert_eq!(still, "it has events before it and has not moved for 31 s");
    }

    #[tokio::test]
    async fn progress_is_a_move_or_nothing_left_to_do() {
        let status = Status::new("f");
        let begun = Instant::now();
        let mut it = Watched::new(status.clone(), begun);
        let later = |seconds| begun + Duration::from_secs(seconds);
        status.moved(3);
        it.note(9, later(1));
        it.note(9, later(2));
        assert_eq!(it.moved_at, later(1), "3 of 9, and still 3: no progress");
        status.moved(4);
        it.note(9, later(3));
        assert_eq!(it.moved_at, later(3));
        it.note(4, later(4));
        assert_eq!(it.moved_at, later(4), "nothing before it");
    }
}
