//! The payment provider, with what a saga needs to call it with care: a circuit breaker, pauses
//! between attempts, and a count of how calls end.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use accrue_gateways::breaker::{self, Breaker, Report};
use accrue_gateways::payment::{NotDone, Outcome, PaymentGateway, Trouble};
use accrue_gateways::retry::{self, Backoff, Chance};
use chrono::TimeDelta;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// How long a provider is trusted to know an idempotency key where nobody says otherwise. Stripe
/// keeps them for 24 hours.
pub const KEYS_KEPT: TimeDelta = TimeDelta::hours(20);

/// The kinds of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Authorise,
    Capture,
    Void,
    Refund,
    LookUp,
}

/// A call and how it ended, as labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    call: &'static str,
    outcome: &'static str,
}

/// The payment provider. Cheap to clone: clones share its breaker and counts.
#[derive(Clone)]
pub struct Payments {
    gateway: Option<Arc<dyn PaymentGateway>>,
    breaker: Arc<Mutex<Breaker>>,
    backoff: Backoff,
    /// Longer than a call can take: behind it another process may make it.
    lease: TimeDelta,
    /// How long the provider is trusted to know a key.
    keys_kept: TimeDelta,
    /// 32 random bits.
    chance: fn() -> u32,
    calls: Family<Ended, Counter>,
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.breaker_state();
        f.debug_struct("Payments").field("breaker", &state).finish_non_exhaustive()
    }
}

impl Payments {
    /// A provider whose calls end within `lease`; none: cards wait until there is one.
    #[must_use]
    pub fn new(
        gateway: Option<Arc<dyn PaymentGateway>>,
        lease: TimeDelta,
        chance: fn() -> u32,
    ) -> Self {
        let breaker = Arc::new(Mutex::new(Breaker::new(breaker::PAYMENT)));
        let (backoff, keys_kept, calls) = (retry::PAYMENT, KEYS_KEPT, Family::default());
        Self { gateway, breaker, backoff, lease, keys_kept, chance, calls }
    }

    /// The same with a provider that is trusted to know a key for so long.
    #[must_use]
    pub fn with_keys_kept(self, keys_kept: TimeDelta) -> Self {
        Self { keys_kept, ..self }
    }

    /// The same with other pauses between attempts.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// The same with another circuit breaker, closed.
    #[must_use]
    pub fn with_breaker(self, settings: breaker::Settings) -> Self {
        Self { breaker: Arc::new(Mutex::new(Breaker::new(settings))), ..self }
    }

    /// Is there a provider?
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.gateway.is_some()
    }

    /// What the circuit breaker does with calls now.
    #[must_use]
    pub fn breaker_state(&self) -> breaker::State {
        self.breaker().state(Instant::now())
    }

    /// Is the provider left alone for now? A call would not be made.
    pub(super) fn is_left_alone(&self) -> bool {
        self.breaker_state() == breaker::State::Open
    }

    /// Adds its figures.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Calls to the payment provider, by how they ended";
        let ours = registry.sub_registry_with_prefix("accrue");
        ours.register("payments_calls", help, self.calls.clone());
        registry.register_collector(Box::new(BreakerState(Arc::clone(&self.breaker))));
    }

    pub(super) const fn lease(&self) -> TimeDelta {
        self.lease
    }

    pub(super) const fn keys_kept(&self) -> TimeDelta {
        self.keys_kept
    }

    pub(super) const fn attempts_max(&self) -> u32 {
        self.backoff.attempts_max
    }

    /// How long to wait after so many attempts; none behind the last.
    pub(super) fn pause(&self, attempt: u32) -> Option<TimeDelta> {
        let pause = self.backoff.delay(attempt, Chance((self.chance)()))?;
        Some(TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX))
    }

    /// Makes a call, if the breaker lets it pass.
    pub(super) async fn call<'a, T, F>(
        &'a self,
        kind: Kind,
        call: impl FnOnce(&'a dyn PaymentGateway) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        let Some(gateway) = self.gateway.as_deref() else {
            return Err(NotDone::NoEffect(Trouble::Connect));
        };
        let permit = self.breaker().permit(Instant::now());
        let Ok(permit) = permit else {
            self.count(kind, "not_made");
            return Err(NotDone::NoEffect(Trouble::LeftAlone));
        };
        let outcome = call(gateway).await;
        let (report, name) = match &outcome {
            Ok(_) => (Report::Healthy, "done"),
            // A refusal is the answer of a healthy provider.
            Err(NotDone::Refused(_)) => (Report::Healthy, "refused"),
            Err(NotDone::NoEffect(_)) => (Report::Failing, "no_effect"),
            Err(NotDone::Unknown(_)) => (Report::Failing, "unknown"),
        };
        self.breaker().report(permit, report, Instant::now());
        self.count(kind, name);
        outcome
    }

    fn count(&self, kind: Kind, outcome: &'static str) {
        self.calls.get_or_create(&Ended { call: kind.as_str(), outcome }).inc();
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::LookUp => "look_up",
        }
    }
}

/// Read when somebody asks for it: it changes by the passing of time, too.
#[derive(Debug)]
struct BreakerState(Arc<Mutex<Breaker>>);

impl Collector for BreakerState {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let breaker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match breaker.state(Instant::now()) {
            breaker::State::Closed => 0_i64,
            breaker::State::HalfOpen => 1,
            breaker::State::Open => 2,
        };
        drop(breaker);
        let gauge = ConstGauge::new(state);
        let name = "accrue_payments_breaker_state";
        let help = "Calls to the payment provider: 0 pass, 1 are probed by one, 2 are not made";
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}
