//! Commands: a typed body, what its path names and who sends it become one domain envelope, the
//! same for a single call and for a line of `POST /v1/commands`.

use std::sync::Arc;

use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{CommandId, OF_AWARD, OF_PURCHASE, ProgramId};
use accrue_http::header::{IDEMPOTENCY_KEY, IF_MATCH};
use accrue_http::problem::Problem;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::target::Target;

/// What `If-Match` is called in an envelope.
pub(crate) const EXPECTED_VERSION: &str = "expected_version";

/// A kind of command: the body of a single call. Its serialised form is what fingerprints are
/// made of, so fields that are absent are left out: a field that is added later changes no
/// fingerprint of before.
pub(crate) trait Command: Serialize + DeserializeOwned {
    /// Its name in an envelope's `type`.
    const TYPE: &'static str;
    /// What an accepted one is answered: 201 where it creates something, else 200.
    const STATUS: StatusCode = StatusCode::OK;
    /// As [`Command::STATUS`] for a line of `POST /v1/commands`, which waits for nothing behind the
    /// command itself.
    const STATUS_IN_BULK: StatusCode = Self::STATUS;
    /// The name that the body's `id` has in an envelope, where `id` is the command's.
    const ID_IN_ENVELOPE: Option<&'static str> = None;
    /// Does the body have an `actor` of its own?
    const HAS_ACTOR: bool = false;
    /// May it say which version it changes? Not for a sale or a purchase that is new.
    const HAS_VERSION: bool = true;
    /// Its path parameters.
    type Target: Target;

    /// Business time.
    fn occurred_at(&self) -> Option<DateTime<Utc>>;

    /// The body's own `actor`, which is the sender too where no other is named.
    fn actor(&self) -> Option<&str> {
        None
    }

    /// What to do.
    ///
    /// # Errors
    /// A problem where the fields do not fit each other, or the rules do not compile.
    fn actions(self, target: Self::Target) -> Result<Vec<Action>, Problem>;
}

/// Who sends a command, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The client's key.
    pub(crate) key: Option<CommandId>,
    pub(crate) correlation_id: Option<Arc<str>>,
    pub(crate) causation_id: Option<Arc<str>>,
    pub(crate) actor: Option<Arc<str>>,
    /// `If-Match`.
    pub(crate) expected_version: Option<i64>,
}

/// The domain envelope of a command.
///
/// # Errors
/// As [`Command::actions`].
pub(crate) fn envelope<C: Command>(
    program: ProgramId,
    sender: Sender,
    target: C::Target,
    body: C,
) -> Result<Envelope, Problem> {
    // An id that is made here is known to nobody before the answer, so no retry can bring it.
    let fingerprint = sender.key.as_ref().map(|_| fingerprint(&target, &body));
    let id = sender.key.unwrap_or_else(fresh_id);
    let occurred_at = body.occurred_at();
    let actor = sender.actor.or_else(|| body.actor().map(Arc::from));
    Ok(Envelope {
        id,
        fingerprint,
        program,
        occurred_at,
        correlation_id: sender.correlation_id,
        causation_id: sender.causation_id,
        actor,
        expected_version: sender.expected_version,
        actions: unreserved(body.actions(target)?)?,
    })
}

/// Refuses ids that follow from others: a purchase's holds and its sale, and the lot of an award, are
/// the saga's alone.
fn unreserved(actions: Vec<Action>) -> Result<Vec<Action>, Problem> {
    use accrue_domain::account::command::{Change, Command as OnAccount, Issue};
    use accrue_domain::product::command::Command as OnProduct;
    use accrue_domain::wallet::command::Command as OnWallet;
    for action in &actions {
        let named = match action {
            Action::Account(
                _,
                OnAccount::PlaceHold { hold, .. }
                | OnAccount::CaptureHold { hold, .. }
                | OnAccount::ReleaseHold { hold, .. },
            )
            | Action::Product(
                _,
                OnProduct::HoldStock { hold, .. }
                | OnProduct::CaptureStock { hold, .. }
                | OnProduct::ReleaseStock { hold, .. },
            )
            | Action::Wallet(
                _,
                OnWallet::Hold { hold, .. }
                | OnWallet::Capture { hold, .. }
                | OnWallet::Release { hold, .. },
            ) => Some(("/hold", hold.as_str(), OF_PURCHASE)),
            Action::Sale(sale, _) => Some(("/sale", sale.as_str(), OF_PURCHASE)),
            Action::Account(
                _,
                OnAccount::Issue(Issue { lot: Some(lot), .. })
                | OnAccount::Adjust { change: Change::Credit { lot: Some(lot), .. }, .. },
            ) => Some(("/lot", lot.as_str(), OF_AWARD)),
            _ => None,
        };
        if let Some((field, id, reserved)) = named
            && id.starts_with(reserved)
        {
            let detail = format!("expected an id that does not begin with {reserved}");
            return Err(Problem::invalid(field, detail));
        }
    }
    Ok(actions)
}

/// How far a client's clock may be ahead of ours.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// Refuses a command that claims to come from the future. Not a decision of the ledger: a retry
/// under the same key may well be accepted once our clock has got there.
///
/// # Errors
/// A problem that names `/occurred_at`.
pub(crate) fn not_ahead(envelope: &Envelope, now: DateTime<Utc>) -> Result<(), Problem> {
    match envelope.occurred_at {
        Some(at) if at > now + CLOCK_SKEW_MAX => Err(Problem::invalid(
            "/occurred_at",
            format!("expected an instant that is not in the future, got {}", at.to_rfc3339()),
        )),
        _ => Ok(()),
    }
}

/// A refusal names fields as the domain does; a single call knows them by the names of its own
/// body, path and headers.
pub(crate) fn in_call<C: Command>(mut problem: Problem) -> Problem {
    for error in &mut problem.errors {
        let Some(name) = error.pointer.strip_prefix('/') else { continue };
        if C::ID_IN_ENVELOPE == Some(name) {
            "/id".clone_into(&mut error.pointer);
        } else if let Some(name) = C::Target::KEYS.iter().find(|key| **key == name) {
            (*name).clone_into(&mut error.pointer);
        }
    }
    if problem.status == StatusCode::PRECONDITION_FAILED.as_u16() {
        let detail = problem.detail.clone();
        return problem.at(IF_MATCH.shown, detail);
    }
    problem
}

/// As [`in_call`], for a line: there it is the body's id that has another name, and the key is
/// the line's own `id`.
pub(crate) fn in_envelope(id_in_envelope: Option<&str>, mut problem: Problem) -> Problem {
    for error in &mut problem.errors {
        if let ("/id", Some(name)) = (error.pointer.as_str(), id_in_envelope) {
            error.pointer = format!("/{name}");
        } else if error.pointer == IDEMPOTENCY_KEY.shown {
            "/id".clone_into(&mut error.pointer);
        }
    }
    if problem.status == StatusCode::PRECONDITION_FAILED.as_u16() {
        let detail = problem.detail.clone();
        return problem.at(format!("/{EXPECTED_VERSION}"), detail);
    }
    problem
}

/// An id for a command that came without one; later ones sort behind earlier ones.
pub(crate) fn fresh_id() -> CommandId {
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    CommandId::new(text).expect("a UUID is 36 visible characters")
}

/// A digest of what is asked, by meaning and not by spelling.
fn fingerprint<C: Command>(target: &C::Target, body: &C) -> [u8; 32] {
    Sha256::digest(asked(target, body)).into()
}

/// Type, path parameters and body as one text. It is kept, hashed, with the answers of released
/// versions, so it never changes for a request that an earlier version would have taken.
fn asked<C: Command>(target: &C::Target, body: &C) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(C::TYPE.as_bytes());
    for id in target.ids() {
        text.push(0);
        text.extend_from_slice(id.as_bytes());
    }
    text.push(0);
    serde_json::to_writer(&mut text, body).expect("bodies are texts, numbers and lists of them");
    text
}

#[cfg(test)]
mod tests;
