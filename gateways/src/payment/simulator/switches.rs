//! What goes wrong on purpose.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// What goes wrong; nothing by default. Numbers count the calls that are still to be hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Every authorisation is declined with this code, whatever the card.
    pub decline: Option<String>,
    /// Every authorisation needs 3-D Secure.
    pub customer_action: bool,
    /// Every call waits this long before it is worked on, in milliseconds.
    pub slow_ms: u64,
    /// So many calls never get an answer, and have no effect.
    pub hang: u32,
    /// Calls that get an error from in front of the API, without effect, and not kept under their
    /// key.
    pub fail: Option<Fail>,
    /// So many changing calls are worked on, and lose their connection instead of an answer.
    pub drop_connection: u32,
    /// Every webhook comes twice.
    pub webhook_twice: bool,
    /// Webhooks arrive before the answer to the call that caused them.
    pub webhook_first: bool,
}

/// Errors without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// The HTTP status.
    pub status: u16,
    /// So many calls get it.
    pub times: u32,
}

/// What goes wrong with one call.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) decline: Option<String>,
    pub(super) customer_action: bool,
    pub(super) slow_ms: u64,
    pub(super) hang: bool,
    pub(super) fail: Option<u16>,
    pub(super) drop_connection: bool,
    pub(super) webhook_twice: bool,
    pub(super) webhook_first: bool,
}

impl Switches {
    /// Counts one call, and says what happens to it.
    pub(super) fn take_for(&mut self, method: &Method) -> Fate {
        let fail = self.fail.as_mut().and_then(|it| take(&mut it.times).then_some(it.status));
        let hang = fail.is_none() && take(&mut self.hang);
        let reaches_us = fail.is_none() && !hang && method == Method::POST;
        Fate {
            decline: self.decline.clone(),
            customer_action: self.customer_action,
            slow_ms: self.slow_ms,
            hang,
            fail,
            drop_connection: reaches_us && take(&mut self.drop_connection),
            webhook_twice: self.webhook_twice,
            webhook_first: self.webhook_first,
        }
    }
}

/// Takes one of so many, if any is left.
fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}
