//! The idempotency keys of a purchase's calls: they follow from program, purchase and step, so a
//! call that is made again after a crash is the same call.
//!
//! A provider answers a call under the key of a refused one with the same refusal for ever. So the
//! keys of what people may ask for anew are numbered, and the number is in the purchase's events.

use accrue_domain::id::RefundId;
use accrue_domain::purchase::step::KeyNumber;
use accrue_gateways::payment::names::IdempotencyKey;
use accrue_gateways::payment::{NotDone, Outcome, Refusal};

/// The keys of one purchase.
pub(super) struct Keys {
    /// The purchase's name at the provider: program and id.
    name: String,
    /// Of what undoes.
    back: KeyNumber,
    /// Of the refund that is carried out now.
    refund: KeyNumber,
}

/// That no key can be made is unreachable while ids are short visible ASCII; then a call is refused
/// rather than made without one.
pub(super) fn no_key() -> NotDone {
    NotDone::Refused(Refusal::Invalid { code: "no_key".to_owned() })
}

impl Keys {
    pub(super) const fn new(name: String, back: KeyNumber, refund: KeyNumber) -> Self {
        Self { name, back, refund }
    }

    pub(super) fn authorise(&self) -> Outcome<IdempotencyKey> {
        self.key("authorise_card", KeyNumber::default())
    }

    pub(super) fn capture(&self) -> Outcome<IdempotencyKey> {
        self.key("capture_card", KeyNumber::default())
    }

    pub(super) fn void(&self) -> Outcome<IdempotencyKey> {
        self.key("authorise_card.undo", self.back)
    }

    /// Those under which what was captured may have been given back, the present one last.
    pub(super) fn give_back(&self) -> Outcome<Vec<IdempotencyKey>> {
        self.back.until().map(|number| self.key(&returning(None), number)).collect()
    }

    /// Those under which the card's part of the refund may have been given back, the present one
    /// last.
    pub(super) fn refund(&self, id: &RefundId) -> Outcome<Vec<IdempotencyKey>> {
        self.refund.until().map(|number| self.key(&returning(Some(id)), number)).collect()
    }

    /// That of money on its way back: of a refund, or else of what was captured.
    pub(super) fn of(
        &self,
        refund: Option<&RefundId>,
        number: KeyNumber,
    ) -> Option<IdempotencyKey> {
        self.key(&returning(refund), number).ok()
    }

    /// Ids have no `#`, so that no number is taken for a part of one.
    fn key(&self, step: &str, number: KeyNumber) -> Outcome<IdempotencyKey> {
        let key = if number == KeyNumber::default() {
            IdempotencyKey::of(&self.name, step)
        } else {
            IdempotencyKey::of(&self.name, &format!("{step}#{}", number.get()))
        };
        key.map_err(|_| no_key())
    }
}

fn returning(refund: Option<&RefundId>) -> String {
    refund.map_or_else(|| "capture_card.undo".to_owned(), |id| format!("refund.{id}"))
}
