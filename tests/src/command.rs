//! Commands in short.

use accrue_domain::account::command::{Command, Issue, Source};
use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{AccountId, CommandId, ProgramId};
use accrue_domain::points::Amount;

/// An account's id.
#[must_use]
pub fn account(id: &str) -> AccountId {
    AccountId::new(id).expect("a test's id is valid")
}

/// So many points.
#[must_use]
pub fn points(points: i64) -> Amount {
    Amount::new(points).expect("a test's amount is valid")
}

/// An envelope under a key; equal keys stand for equal requests.
#[must_use]
pub fn keyed(key: &str, actions: Vec<Action>) -> Envelope {
    let mut fingerprint = [0; 32];
    let text = format!("{actions:?}");
    for (at, byte) in text.bytes().enumerate() {
        fingerprint[at % 32] = u8::wrapping_mul(fingerprint[at % 32], 31).wrapping_add(byte);
    }
    Envelope { fingerprint: Some(fingerprint), ..unkeyed(key, actions) }
}

/// An envelope under an id that no retry knows.
#[must_use]
pub fn unkeyed(id: &str, actions: Vec<Action>) -> Envelope {
    Envelope {
        id: CommandId::new(id).expect("a test's key is valid"),
        fingerprint: None,
        program: ProgramId::default(),
        occurred_at: None,
        correlation_id: None,
        causation_id: None,
        actor: None,
        expected_version: None,
        actions,
    }
}

/// Issue so many points.
#[must_use]
pub fn issue(id: &str, count: i64) -> Action {
    let issue = Issue {
        lot: None,
        points: points(count),
        available_from: None,
        expires: None,
        source: Source::Issue,
        reference: None,
    };
    Action::Account(account(id), Command::Issue(issue))
}

/// Redeem so many points.
#[must_use]
pub fn redeem(id: &str, count: i64) -> Action {
    Action::Account(account(id), Command::Redeem { points: points(count), reference: None })
}
