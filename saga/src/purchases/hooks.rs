//! What a payment provider tells by itself: a payment has changed.
//!
//! Fed by: the server's route for webhooks, which has checked who sent them.
//! Invariants
//! - A webhook is a cue and nothing more. What counts is what the provider answers when it is
//!   asked about that payment, so one that is old, early, repeated or out of order is harmless.
//! - What it leads to is durable before it is acknowledged; else it is to be sent again.
//! - Money that the provider had taken on to give back, and could not, is noted with its purchase,
//!   which is stuck then: for people to retry or to abandon.
//! - A payment that turns up when its purchase is on its way back, or over without it, is undone
//!   under the keys of the purchase's own way back: one effect, whoever comes first.

use accrue_domain::action::Action;
use accrue_domain::aggregate::Kind;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::order::Order;
use accrue_domain::purchase::step::Step;
use accrue_domain::purchase::trail::Phase;
use accrue_event_store::ledger::Ledger;
use accrue_event_store::receipt::ExecuteError;
use accrue_event_store::stream::StreamKey;
use accrue_gateways::payment::names::PaymentId;
use accrue_gateways::payment::{NotDone, Payment, State};

use super::card::{Card, referred};
use super::payments::Kind as Call;
use super::{Payments, Purchases};
use crate::runner::Runner;
use crate::story::Story;

/// How often a purchase that moves on meanwhile is looked at again.
const TRIES_MAX: u32 = 5;

/// Takes in what payments have come to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks {
    ledger: Ledger,
    payments: Payments,
    stories: Runner<Purchases>,
}

/// What a webhook led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led {
    /// It says nothing new, or nothing about us.
    ToNothing,
    /// A purchase goes on.
    ToProgress,
    /// A payment that nobody waits for any more was voided or refunded.
    ToReturn,
}

/// It could not be taken in now, and is to be sent again.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    /// The provider could not be asked.
    #[error("the payment provider: {0}")]
    Provider(NotDone),
    /// The purchase could not be read.
    #[error("the log: {0}")]
    Database(#[from] sqlx::Error),
    /// The ledger did not take the note.
    #[error("the ledger: {0}")]
    Ledger(ExecuteError),
}

/// What is to be done about a payment.
enum Answer {
    Nothing,
    Note(Action),
    Void,
    Refund,
}

impl Hooks {
    pub(crate) const fn new(
        ledger: Ledger,
        payments: Payments,
        stories: Runner<Purchases>,
    ) -> Self {
        Self { ledger, payments, stories }
    }

    /// Looks at a payment of which it was told that it has changed.
    ///
    /// # Errors
    /// [`Missed`]: nothing was done, or not all of it.
    pub async fn payment_changed(&self, id: &PaymentId) -> Result<Led, Missed> {
        let found = match self.payments.call(Call::LookUp, |it| it.look_up(id)).await {
            Ok(found) => found,
            // Not a payment of this account.
            Err(NotDone::Refused(_)) => return Ok(Led::ToNothing),
            Err(not_done) => return Err(Missed::Provider(not_done)),
        };
        let Some((program, id)) = found.reference.as_ref().and_then(referred) else {
            return Ok(Led::ToNothing);
        };
        let stream = StreamKey::new(Kind::Purchase, &program, id.as_str());
        let story = Story { program, id };
        for _ in 0..TRIES_MAX {
            let state = self.ledger.load::<Purchase>(&story.program, story.id.as_str()).await?;
            let Some((state, _)) = state else { return Ok(Led::ToNothing) };
            let Some(order) = state.order() else { return Ok(Led::ToNothing) };
            let card = self.card(&story, order, &state);
            let late = match self.answer(&card, &found).await? {
                Answer::Nothing => return Ok(Led::ToNothing),
                Answer::Note(note) => {
                    match self.stories.tell(&story, &stream, "webhook", note).await {
                        Ok(()) => return Ok(Led::ToProgress),
                        // It has moved on meanwhile, perhaps turned round: look again.
                        Err(ExecuteError::Refused { .. }) => continue,
                        Err(error) => return Err(Missed::Ledger(error)),
                    }
                }
                Answer::Void => card.end_late(&found.id).await,
                Answer::Refund => card.give_back_late(&found.id).await,
            };
            return match late {
                Ok(()) => {
                    // Or had been: asked again under its key it is done again.
                    tracing::info!(%stream, payment = %found.id, "a late payment is given back");
                    Ok(Led::ToReturn)
                }
                // Told again it would be refused again; what people gave back before is, too.
                Err(NotDone::Refused(why)) => {
                    tracing::warn!(%stream, payment = %found.id, %why, "a late payment stays");
                    Ok(Led::ToNothing)
                }
                Err(not_done) => Err(Missed::Provider(not_done)),
            };
        }
        Ok(Led::ToNothing)
    }

    fn card<'a>(
        &'a self,
        story: &'a Story<accrue_domain::id::PurchaseId>,
        order: &'a Order,
        state: &'a Purchase,
    ) -> Card<'a> {
        Card { payments: &self.payments, story, order, state, now: self.ledger.clock().now() }
    }

    /// What is to be done, given what the payment and its refunds are found to be.
    async fn answer(&self, card: &Card<'_>, found: &Payment) -> Result<Answer, Missed> {
        if card.may_fail() {
            let refunds = self.payments.call(Call::LookUp, |it| it.refunds(&found.id)).await;
            let failed = card.failed(&refunds.map_err(Missed::Provider)?);
            if let Some(note) = failed {
                return Ok(Answer::Note(note));
            }
        }
        Ok(answer(card, found))
    }
}

/// What a payment that was found so means for its purchase.
fn answer(card: &Card<'_>, found: &Payment) -> Answer {
    let trail = card.state.trail();
    let undone = |step| !trail.done().contains(&step);
    match trail.phase() {
        Phase::Forward => {
            let asked = trail.request().is_some() && trail.payment() == Some(found.id.as_str());
            let note = asked.then(|| card.found(found.clone())).flatten();
            note.map_or(Answer::Nothing, Answer::Note)
        }
        Phase::Back | Phase::Rejected => match found.state {
            State::Authorised if undone(Step::AuthoriseCard) => Answer::Void,
            State::Captured if undone(Step::CaptureCard) && !trail.returned() => Answer::Refund,
            _ => Answer::Nothing,
        },
        Phase::Completed => Answer::Nothing,
    }
}
