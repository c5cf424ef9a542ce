//! A circuit breaker: a provider that keeps failing is left alone for a while, then probed by one
//! call. Pure: `now` is handed in.
//!
//! Invariants
//! - While open, no call is permitted before `open_for` has passed.
//! - While half-open, at most one probe is out. A probe that never reports (its caller was
//!   dropped) is given up after another `open_for`.
//! - Only calls permitted in the present spell count: an answer to a call from before the breaker
//!   opened neither closes it nor holds it open.

use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures_max: u32,
    /// How long it stays open before one call may probe.
    pub open_for: Duration,
}

/// For calls to a payment provider.
pub const PAYMENT: Settings = Settings { failures_max: 5, open_for: Duration::from_secs(15) };

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It lets all of them pass.
    Closed,
    /// It refuses all of them.
    Open,
    /// One may pass, or has passed and has not reported yet.
    HalfOpen,
}

/// A call was not permitted: it surely had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the circuit is open for another {} ms", .retry_after.as_millis())]
pub struct Open {
    /// When asking again makes sense; zero while a probe is out that may report at any moment.
    pub retry_after: Duration,
}

/// The right to make one call, handed back with its result.
#[derive(Debug)]
#[must_use = "a call whose result is not reported counts for nothing"]
pub struct Permit {
    spell: u64,
}

/// How a permitted call went, as far as the provider's health goes. A refusal (a declined card)
/// is the answer of a healthy provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It answered.
    Healthy,
    /// It did not answer, or said that it cannot.
    Failing,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing { until: Instant },
}

/// The breaker of one provider.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    phase: Phase,
    /// Counts the changes of phase.
    spell: u64,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, phase: Phase::Closed { failures: 0 }, spell: 0 }
    }

    /// What it does with calls now; for metrics too.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until } if now < until => State::Open,
            Phase::Open { .. } | Phase::Probing { .. } => State::HalfOpen,
        }
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// [`Open`] when the call must not be made now.
    pub fn permit(&mut self, now: Instant) -> Result<Permit, Open> {
        match self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if now < until => {
                return Err(Open { retry_after: until.duration_since(now) });
            }
            Phase::Probing { until } if now < until => {
                return Err(Open { retry_after: Duration::ZERO });
            }
            Phase::Open { .. } | Phase::Probing { .. } => {
                self.enter(Phase::Probing { until: now + self.settings.open_for });
            }
        }
        Ok(Permit { spell: self.spell })
    }

    /// Says how a permitted call went. The permit is used up, so no call counts twice.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is good for one report")]
    pub fn report(&mut self, permit: Permit, report: Report, now: Instant) {
        if permit.spell != self.spell {
            return;
        }
        match (report, self.phase) {
            (Report::Healthy, Phase::Closed { .. }) => self.phase = Phase::Closed { failures: 0 },
            (Report::Healthy, _) => self.enter(Phase::Closed { failures: 0 }),
            (Report::Failing, Phase::Closed { failures })
                if failures.saturating_add(1) < self.settings.failures_max =>
            {
                self.phase = Phase::Closed { failures: failures.saturating_add(1) };
            }
            (Report::Failing, _) => {
                self.enter(Phase::Open { until: now + self.settings.open_for });
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.spell = self.spell.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::Report::{Failing, Healthy};
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);
    const TICK: Duration = Duration::from_millis(1);

    fn breaker() -> Breaker {
        Breaker::new(Settings { failures_max: 3, open_for: OPEN_FOR })
    }

    fn call(breaker: &mut Breaker, report: Report, now: Instant) {
        let permit = breaker.permit(now).unwrap();
        breaker.report(permit, report, now);
    }

    /// A breaker that opened at the moment returned.
    fn opened() -> (Breaker, Instant) {
        let (mut it, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            call(&mut it, Failing, now);
        }
        (it, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_over() {
        let (mut it, now) = (breaker(), Instant::now());
        for report in [Failing, Failing, Healthy, Failing, Failing] {
            call(&mut it, report, now);
            assert_eq!(it.state(now), State::Closed);
        }
        call(&mut it, Failing, now);
        assert_eq!(it.state(now), State::Open);
        assert_eq!(it.permit(now).unwrap_err(), Open { retry_after: OPEN_FOR });
    }

    #[test]
    fn it_stays_open_to_the_last_moment_and_then_lets_one_probe_pass() {
        let (mut it, start) = opened();
        assert_eq!(it.state(start + OPEN_FOR - TICK), State::Open);
        assert_eq!(it.permit(start + OPEN_FOR - TICK).unwrap_err(), Open { retry_after: TICK });
        let later = start + OPEN_FOR;
        assert_eq!(it.state(later), State::HalfOpen);
        let probe = it.permit(later).unwrap();
        assert_eq!(it.permit(later).unwrap_err(), Open { retry_after: Duration::ZERO });
        it.report(probe, Healthy, later);
        assert_eq!(it.state(later), State::Closed);
        call(&mut it, Failing, later);
        assert_eq!(it.state(later), State::Closed, "old failures are forgotten");
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let (mut it, start) = opened();
        let later = start + OPEN_FOR;
        call(&mut it, Failing, later);
        assert_eq!(it.state(later + OPEN_FOR - TICK), State::Open);
        assert_eq!(it.state(later + OPEN_FOR), State::HalfOpen);
    }

    #[test]
    fn a_probe_that_never_reports_does_not_block_for_ever() {
        let (mut it, start) = opened();
        let lost = it.permit(start + OPEN_FOR).unwrap();
        let later = start + OPEN_FOR + OPEN_FOR;
        assert!(it.permit(later - TICK).is_err());
        let second = it.permit(later).unwrap();
        it.report(lost, Healthy, later);
        assert_eq!(it.state(later), State::HalfOpen, "the given-up probe counts for nothing");
        it.report(second, Healthy, later);
        assert_eq!(it.state(later), State::Closed);
    }

    #[test]
    fn an_answer_from_before_it_opened_counts_for_nothing() {
        let (mut it, now) = (breaker(), Instant::now());
        let (slow, slower) = (it.permit(now).unwrap(), it.permit(now).unwrap());
        for _ in 0..3 {
            call(&mut it, Failing, now);
        }
        it.report(slow, Healthy, now);
        assert_eq!(it.state(now), State::Open);
        it.report(slower, Failing, now + TICK);
        assert_eq!(it.state(now + OPEN_FOR), State::HalfOpen, "not held open any longer");
    }
}
