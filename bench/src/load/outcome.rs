//! What a run of load came to: answers by kind, and latencies.

use hdrhistogram::Histogram;
use std::time::Duration;

const LATENCY_MICROS_MAX: u64 = 120_000_000;

/// Answers by kind. `other` are answers of a good status that do not say what was wanted; `lost` are requests whose connection broke or that were never answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub ok: u64,
    pub conflict: u64,
    pub refused: u64,
    pub fault: u64,
    pub other: u64,
    pub lost: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, status: u16) {
        match status {
            200..=299 => self.ok += 1,
            409 => self.conflict += 1,
            400..=499 => self.refused += 1,
            _ => self.fault += 1,
        }
    }

    pub(crate) fn errors(&self) -> u64 {
        self.conflict + self.refused + self.fault + self.other + self.lost
    }

    /// The errors in words; `none` when there is none.
    pub(crate) fn errors_text(&self) -> String {
        let kinds = [
            (self.conflict, "409"),
            (self.refused, "4xx"),
            (self.fault, "5xx"),
            (self.other, "other than wanted"),
            (self.lost, "lost"),
        ];
        let seen: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} × {kind}"))
            .collect();
        if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub tally: Tally,
    /// Units of work done by the answers that were ok: 1 each, or the commands of a bulk request.
    pub units: u64,
    /// The measured window, warm-up excluded.
    pub window: Duration,
    /// Of the answers that were ok: a refusal that comes fast must not make a server look fast.
    micros: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn new(window: Duration) -> Self {
        let micros = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)
            .expect("the bounds and precision are constants that the histogram accepts");
        Self { tally: Tally::default(), units: 0, window, micros }
    }

    pub(crate) fn answered(&mut self, status: u16, latency: Duration, units: u64) {
        self.tally.count(status);
        if (200..=299).contains(&status) {
            self.units += units;
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            self.micros.saturating_record(micros);
        }
    }

    /// Units a second.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.units, self.window)
    }

    /// Infinite when nothing was ok, so that it meets no limit.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.micros.is_empty() {
            return f64::INFINITY;
        }
        self.micros.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.micros.max() as f64 / 1000.0
    }

    /// One line: rate, percentiles, errors.
    pub(crate) fn line(&self) -> String {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|q| self.quantile_ms(q));
        format!(
            "{:>9.0}/s  p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {:.2} ms  \
             errors: {}",
            self.rate(),
            self.max_ms(),
            self.tally.errors_text(),
        )
    }
}

pub(crate) fn per_second(units: u64, window: Duration) -> f64 {
    if window.is_zero() { 0.0 } else { units as f64 / window.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use std::time::Duration;

    fn of(millis: impl IntoIterator<Item = u64>) -> Outcome {
        let mut outcome = Outcome::new(Duration::from_secs(10));
        for latency in millis {
            outcome.answered(200, Duration::from_millis(latency), 1);
        }
        outcome
    }

    #[test]
    fn percentiles_are_those_of_the_sample_to_three_digits() {
        let outcome = of(1..=1000);
        for (quantile, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
            let measured = outcome.quantile_ms(quantile);
            assert!((measured - expected).abs() <= expected / 1000.0, "{quantile}: {measured}");
        }
        assert_eq!(outcome.rate(), 100.0);
    }

    #[test]
    fn the_line_shows_rate_percentiles_and_errors() {
        let mut outcome = of([2; 99].into_iter().chain([10]));
        outcome.answered(409, Duration::from_millis(50), 1);
        outcome.tally.lost += 2;
        assert_eq!(
            outcome.line(),
            "       10/s  p50 2.00  p90 2.00  p99 2.00  p99.9 10.01  max 10.01 ms  \
             errors: 1 × 409, 2 × lost"
        );
    }

    #[test]
    fn only_good_answers_count_as_work_and_each_status_has_its_kind() {
        let mut outcome = of([]);
        for status in [200, 201, 404, 409, 422, 500, 503] {
            outcome.answered(status, Duration::from_millis(1), 500);
        }
        let tally = outcome.tally;
        assert_eq!((tally.ok, tally.conflict, tally.refused, tally.fault), (2, 1, 2, 2));
        assert_eq!((outcome.units, tally.errors()), (1000, 5));
    }

    #[test]
    fn a_latency_beyond_the_scale_is_kept_at_its_end() {
        let outcome = of([2, 10_000_000]);
        assert!(outcome.max_ms() >= 119_000.0);
    }

    #[test]
    fn a_run_without_a_good_answer_has_no_good_latency() {
        let mut outcome = of([]);
        assert!(outcome.line().ends_with("errors: none"));
        outcome.answered(503, Duration::from_millis(1), 1);
        assert_eq!(outcome.quantile_ms(0.99), f64::INFINITY);
    }
}
