//! Purchases: stock, points and wallets, card, and back.
//!
//! | step | done by | undone by |
//! | --- | --- | --- |
//! | hold stock | a hold on each product | releasing them |
//! | hold tenders | a hold on points and on each wallet | releasing them |
//! | authorise card | the payment provider holds the money | voiding it |
//! | capture card | the provider takes the money | refunding it |
//! | settle | capturing every hold, all at once: completed | – |
//!
//! A refund gives the card's share back first, the one that may be refused; then points, wallet
//! money and goods, all at once.
//!
//! Every id follows from the purchase's: the holds' name, the provider's idempotency keys, our
//! name for the payment. Invariants stand with the purchase in the domain.

pub mod hooks;
pub mod payments;

mod card;
mod keys;

use std::future::Future;
use std::pin::Pin;

use accrue_domain::account::command::Command as OnAccount;
use accrue_domain::action::Action;
use accrue_domain::event::Event;
use accrue_domain::id::{AccountId, PurchaseId};
use accrue_domain::money::{Minor, Money};
use accrue_domain::points::{Amount, Points};
use accrue_domain::product::Offering;
use accrue_domain::product::command::Command as OnProduct;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::command::Command;
use accrue_domain::purchase::error::OUT_OF_TURN;
use accrue_domain::purchase::event::Event as Happened;
use accrue_domain::purchase::order::{Order, Tender};
use accrue_domain::purchase::refunds::Refund;
use accrue_domain::purchase::step::{Step, Way};
use accrue_domain::purchase::trail::{Next, Phase};
use accrue_domain::quantity::Delta;
use accrue_domain::wallet::command::Command as OnWallet;
use accrue_event_store::receipt::Refusal;
use accrue_event_store::record::Recorded;
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};

use card::Card;
use payments::Payments;

use crate::story::{Plan, Saga, Story, Within};

/// The key of the checkpoint, where cues come by a feed.
pub(crate) const NAME: &str = "purchases";

/// The saga of purchases.
#[derive(Debug)]
pub(crate) struct Purchases {
    payments: Payments,
}

impl Purchases {
    pub(crate) const fn new(payments: Payments) -> Self {
        Self { payments }
    }
}

impl Saga for Purchases {
    type State = Purchase;
    type Id = PurchaseId;
    const ACTOR: &'static str = "accrue/purchases";
    const OUT_OF_TURN: &'static str = OUT_OF_TURN;

    fn id(&self, stream: &StreamKey) -> Option<PurchaseId> {
        PurchaseId::new(stream.id()).ok()
    }

    fn is_cue(&self, event: &Recorded) -> bool {
        event.events().iter().any(|event| {
            matches!(
                event,
                Event::Purchase(
                    Happened::PurchasePlaced { .. }
                        | Happened::PurchaseCancelled { .. }
                        | Happened::PurchaseRetried { .. }
                        | Happened::PurchaseStepAbandoned { .. }
                        | Happened::PurchaseRefundRequested { .. }
                )
            )
        })
    }

    fn late(
        &self,
        story: &Story<PurchaseId>,
        state: &Purchase,
        now: DateTime<Utc>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let order = state.order()?;
        let trail = state.trail();
        let turned = matches!(trail.phase(), Phase::Back | Phase::Rejected);
        // A step that still counts as done is undone in its turn.
        let known = trail.done().contains(&Step::AuthoriseCard) || trail.returned();
        let card = Card { payments: &self.payments, story, order, state, now };
        (turned && !known && order.card().is_some()).then(|| card.late())
    }

    fn plan(&self, story: &Story<PurchaseId>, state: &Purchase, now: DateTime<Utc>) -> Plan {
        let Some(order) = state.order() else { return Plan::Wait };
        let it = Move { id: &story.id, order, state };
        let card = || Card { payments: &self.payments, story, order, state, now };
        match state.next(now) {
            Next::Wait(_) => Plan::Wait,
            Next::TimeOut => it.note("time_out", Command::TimeOut),
            Next::LookUp => Plan::Outside(card().look_up()),
            Next::Move(step, way) => match (step, way) {
                (Step::HoldStock, Way::Do) => it.done(step, it.hold_stock()),
                (Step::HoldStock, Way::Undo) => it.undone(step, it.release_stock()),

                (Step::HoldTenders, Way::Do) => it.done(step, it.hold_tenders()),
                (Step::HoldTenders, Way::Undo) => it.undone(step, it.release_tenders()),

                (Step::AuthoriseCard, Way::Do) => Plan::Outside(card().authorise()),
                (Step::AuthoriseCard, Way::Undo) => Plan::Outside(card().void()),

                (Step::CaptureCard, Way::Do) => Plan::Outside(card().capture()),
                (Step::CaptureCard, Way::Undo) => Plan::Outside(card().give_back()),

                (Step::Settle, Way::Do) => it.done(step, it.capture_all()),

                (Step::RefundCard, Way::Do) => Plan::Outside(card().refund()),
                (Step::SettleRefund, Way::Do) => it.done(step, it.refund_all()),

                // Behind settling there is no way back, so nothing ever asks for it.
                (Step::Settle | Step::RefundCard | Step::SettleRefund, Way::Undo) => Plan::Wait,
            },
        }
    }
}

/// One move of one purchase.
struct Move<'a> {
    id: &'a PurchaseId,
    order: &'a Order,
    state: &'a Purchase,
}

impl Move<'_> {
    fn hold_stock(&self) -> Vec<Action> {
        let units = self.order.units().into_iter();
        let hold = |(product, quantity): (&_, _)| {
            let (hold, until, reference) = (self.id.hold(), None, None);
            Action::Product(
                Clone::clone(product),
                OnProduct::HoldStock { hold, quantity, until, reference },
            )
        };
        units.map(hold).collect()
    }

    fn release_stock(&self) -> Vec<Action> {
        let units = self.order.units().into_iter();
        let release = |(product, _): (&_, _)| {
            let (hold, reference) = (self.id.hold(), None);
            Action::Product(Clone::clone(product), OnProduct::ReleaseStock { hold, reference })
        };
        units.map(release).collect()
    }

    fn hold_tenders(&self) -> Vec<Action> {
        let (hold, until, reference) = (self.id.hold(), None, None);
        self.tenders(
            |points| OnAccount::PlaceHold {
                hold: hold.clone(),
                points,
                until,
                reference: reference.clone(),
            },
            |money| OnWallet::Hold {
                hold: hold.clone(),
                money,
                until,
                reference: reference.clone(),
            },
        )
    }

    fn release_tenders(&self) -> Vec<Action> {
        let (hold, reference) = (self.id.hold(), None);
        self.tenders(
            |_| OnAccount::ReleaseHold { hold: hold.clone(), reference: reference.clone() },
            |_| OnWallet::Release { hold: hold.clone(), reference: reference.clone() },
        )
    }

    /// Everything that is held is taken.
    fn capture_all(&self) -> Vec<Action> {
        let (hold, reference) = (self.id.hold(), None);
        let mut actions = self.tenders(
            |_| OnAccount::CaptureHold {
                hold: hold.clone(),
                points: None,
                reference: reference.clone(),
            },
            |_| OnWallet::Capture { hold: hold.clone(), money: None, reference: reference.clone() },
        );
        actions.extend(self.order.units().into_iter().map(|(product, _)| {
            let (hold, quantity, reference) = (hold.clone(), None, None);
            Action::Product(product.clone(), OnProduct::CaptureStock { hold, quantity, reference })
        }));
        actions
    }

    /// What a refund gives back within the ledger.
    fn refund_all(&self) -> Vec<Action> {
        let Some(refund) = self.state.refunds().open() else { return Vec::new() };
        let reference = Some(format!("refund {} of {}", refund.id, self.id));
        let mut actions = Vec::new();
        for (tender, part) in refund.tenders(self.order) {
            match (tender, &self.order.account) {
                (Tender::Points { .. }, Some(account)) => {
                    let points = Amount::new(part.points.get()).ok();
                    actions.extend(points.map(|points| {
                        let (hold, reference) = (self.id.hold(), reference.clone());
                        let command = OnAccount::RestoreHold {
                            hold,
                            points,
                            spent: self.state.spent(),
                            reference,
                        };
                        Action::Account(account.clone(), command)
                    }));
                }
                (Tender::Wallet { wallet, .. }, _) => {
                    let (money, reference) = (self.money(part.money), reference.clone());
                    let command = OnWallet::Refund { money, reference };
                    actions.push(Action::Wallet(wallet.clone(), command));
                }
                (Tender::Points { .. } | Tender::Card { .. }, _) => {}
            }
        }
        actions.extend(self.restock(refund, reference.as_ref()));
        actions
    }

    /// Goods that come back with a refund, each product once.
    fn restock(&self, refund: &Refund, reference: Option<&String>) -> Vec<Action> {
        let mut units: Vec<(&_, i64)> = Vec::new();
        for returned in refund.lines.iter().filter(|it| it.restock) {
            let at = usize::try_from(returned.line).ok().and_then(|number| number.checked_sub(1));
            let Some(line) = at.and_then(|at| self.order.lines.get(at)) else { continue };
            if line.kind != Offering::Goods {
                continue;
            }
            let more = returned.quantity.get();
            match units.iter_mut().find(|(product, _)| *product == &line.product) {
                Some((_, sum)) => *sum = sum.saturating_add(more),
                None => units.push((&line.product, more)),
            }
        }
        let adjust = |(product, units): (&_, i64)| {
            let (reason, reference) = ("refund".to_owned(), reference.cloned());
            let delta = Delta::new(units).ok()?;
            let command = OnProduct::AdjustStock { delta, reason, reference };
            Some(Action::Product(Clone::clone(product), command))
        };
        units.into_iter().filter_map(adjust).collect()
    }

    /// One action for the points, and one for each wallet.
    fn tenders(
        &self,
        points: impl Fn(Amount) -> OnAccount,
        money: impl Fn(Money) -> OnWallet,
    ) -> Vec<Action> {
        let of_account = |account: &AccountId, held: Points| {
            Some(Action::Account(account.clone(), points(Amount::new(held.get()).ok()?)))
        };
        let action = |tender: &Tender| match (tender, &self.order.account) {
            (Tender::Points { points, .. }, Some(account)) => of_account(account, *points),
            (Tender::Wallet { wallet, money: amount }, _) => {
                Some(Action::Wallet(wallet.clone(), money(self.money(*amount))))
            }
            (Tender::Points { .. } | Tender::Card { .. }, _) => None,
        };
        self.order.tenders.iter().filter_map(action).collect()
    }

    const fn money(&self, amount: Minor) -> Money {
        Money { amount, currency: self.order.total.currency }
    }

    fn done(&self, step: Step, actions: Vec<Action>) -> Plan {
        self.within(step, Way::Do, actions, self.turn_done(step))
    }

    fn turn_done(&self, step: Step) -> Command {
        Command::Done { turn: self.state.turn(step, Way::Do), payment: None, spent: Vec::new() }
    }

    fn undone(&self, step: Step, actions: Vec<Action>) -> Plan {
        self.within(step, Way::Undo, actions, Command::Undone { step })
    }

    fn within(&self, step: Step, way: Way, mut actions: Vec<Action>, note: Command) -> Plan {
        let (id, turn) = (self.id.clone(), self.state.turn(step, way));
        actions.push(Action::Purchase(id.clone(), note));
        let refused = move |refusal: &Refusal| {
            let reason = refusal.code.replace('-', "_");
            let detail = refusal.detail.clone();
            Action::Purchase(id, Command::Refused { turn, reason, detail })
        };
        Plan::Within(Within { name: self.name(step, way), actions, refused: Box::new(refused) })
    }

    /// Lots that a command makes are named after it, so each refund's has a name of its own.
    fn name(&self, step: Step, way: Way) -> String {
        match (step, self.state.refunds().open()) {
            (Step::SettleRefund, Some(refund)) => format!("{}/{}", name(step, way), refund.id),
            _ => name(step, way),
        }
    }

    fn note(&self, name: &str, command: Command) -> Plan {
        let action = Action::Purchase(self.id.clone(), command);
        let again = action.clone();
        let refused = Box::new(move |_: &Refusal| again);
        Plan::Within(Within { name: name.to_owned(), actions: vec![action], refused })
    }
}

/// A move's name, in command ids and failpoints.
fn name(step: Step, way: Way) -> String {
    match way {
        Way::Do => step.as_str().to_owned(),
        Way::Undo => format!("{}.undo", step.as_str()),
    }
}
