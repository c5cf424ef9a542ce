//! What goes wrong on purpose.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// What goes wrong; nothing by default. Numbers count the calls that are still to be hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Goes wrong only with calls of this kind; with all where absent.
    pub only: Option<CallKind>,
    /// Every authorisation is declined with this code, whatever the card; so are captures and
    /// refunds where `only` names them.
    pub decline: Option<String>,
    /// Every authorisation needs 3-D Secure.
    pub customer_action: bool,
    /// Every call waits this long before it is worked on, in milliseconds; it is worked on also
    /// when its caller did not wait for it.
    pub slow_ms: u64,
    /// So many calls never get an answer, and have no effect.
    pub hang: u32,
    /// Calls that get an error from in front of the API, without effect, and not kept under their
    /// key.
    pub fail: Option<Fail>,
    /// So many changing calls are worked on, and lose their connection instead of an answer.
    pub drop_connection: u32,
    /// Refunds are taken on, and not settled.
    pub pending_refunds: bool,
    /// Keys are forgotten, as Stripe forgets them after a day: a call that was made before is taken
    /// for a new one.
    pub forget_keys: bool,
    /// Every webhook comes twice.
    pub webhook_twice: bool,
    /// Webhooks arrive before the answer to the call that caused them.
    pub webhook_first: bool,
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Money is to be held.
    Authorise,
    /// Held money is to be taken.
    Capture,
    /// A hold is to be ended.
    Void,
    /// Money is to be given back.
    Refund,
    /// A payment is read, or searched for.
    Read,
}

impl CallKind {
    /// The kind of a call; what is not simulated is told from nothing else, and so is read.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        if method != Method::POST {
            return Self::Read;
        }
        match path.trim_start_matches("/v1/").split('/').collect::<Vec<_>>()[..] {
            ["payment_intents"] => Self::Authorise,
            ["payment_intents", _, "capture"] => Self::Capture,
            ["payment_intents", _, "cancel"] => Self::Void,
            ["refunds"] => Self::Refund,
            _ => Self::Read,
        }
    }
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
    pub(super) pending_refunds: bool,
    pub(super) forget_keys: bool,
    pub(super) webhook_twice: bool,
    pub(super) webhook_first: bool,
}

impl Switches {
    /// Counts one call, and says what happens to it.
    pub(super) fn take_for(&mut self, kind: CallKind) -> Fate {
        if self.only.is_none_or(|only| only == kind) {
            return self.take(kind);
        }
        let Self { webhook_twice, webhook_first, .. } = *self;
        Self { webhook_twice, webhook_first, ..Self::default() }.take(kind)
    }

    fn take(&mut self, kind: CallKind) -> Fate {
        let fail = self.fail.as_mut().and_then(|it| take(&mut it.times).then_some(it.status));
        let hang = fail.is_none() && take(&mut self.hang);
        let reaches_us = fail.is_none() && !hang && kind != CallKind::Read;
        let declines = self.only == Some(kind) || kind == CallKind::Authorise;
        Fate {
            decline: self.decline.clone().filter(|_| declines),
            customer_action: self.customer_action,
            slow_ms: self.slow_ms,
            hang,
            fail,
            drop_connection: reaches_us && take(&mut self.drop_connection),
            pending_refunds: self.pending_refunds,
            forget_keys: self.forget_keys,
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
