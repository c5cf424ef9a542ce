//! Named places where a test lets the process die, or stand still while something else fails.
//! Built in with the feature `failpoints` only.

/// Dies here if the environment says so: `ACCRUE_FAILPOINT` holds the place's name. With
/// `ACCRUE_FAILPOINT_FILE` it makes that file instead, and stands still until it is gone again.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(saga: &str, step: &str, moment: &str) {
    use std::sync::OnceLock;
    static ARMED: OnceLock<Option<String>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var("ACCRUE_FAILPOINT").ok());
    let Some(armed) = armed else { return };
    // A step's own number or id is not part of the place's name.
    let step = step.split('/').next().unwrap_or_default();
    if *armed == format!("{saga}.{step}.{moment}") {
        if let Ok(file) = std::env::var("ACCRUE_FAILPOINT_FILE") {
            stand_still(std::path::Path::new(&file));
            return;
        }
        // As a kill: nothing is flushed, closed or told to anybody.
        std::process::abort();
    }
}

/// Once a process: behind the fault it goes on as if nothing had been.
#[cfg(feature = "failpoints")]
fn stand_still(file: &std::path::Path) {
    static STOOD: std::sync::Once = std::sync::Once::new();
    STOOD.call_once(|| {
        if std::fs::write(file, "").is_ok() {
            while file.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    });
}

/// Nothing: the feature is off.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn reach(_saga: &str, _step: &str, _moment: &str) {}
