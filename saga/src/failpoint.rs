//! Named places where a test lets the process die. Built in with the feature `failpoints` only.

/// Dies here if the environment says so: `ACCRUE_FAILPOINT` holds the place's name.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(saga: &str, step: &str, moment: &str) {
    use std::sync::OnceLock;
    static ARMED: OnceLock<Option<String>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var("ACCRUE_FAILPOINT").ok());
    let Some(armed) = armed else { return };
    // A step's own number or id is not part of the place's name.
    let step = step.split('/').next().unwrap_or_default();
    if *armed == format!("{saga}.{step}.{moment}") {
        // As a kill: nothing is flushed, closed or told to anybody.
        std::process::abort();
    }
}

/// Nothing: the feature is off.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn reach(_saga: &str, _step: &str, _moment: &str) {}
