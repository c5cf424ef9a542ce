//! One sample of every event of a purchase.

use super::{day, id, points};
use crate::account::event::Part;
use crate::digest::Fingerprint;
use crate::id::{AccountId, DiscountId, LotId, ProductId, RefundId, WalletId};
use crate::money::{Currency, Minor, Money};
use crate::payment_method::PaymentMethod;
use crate::product::Offering;
use crate::purchase::command::RefundedLine;
use crate::purchase::discount::Discount;
use crate::purchase::event::{Effect, Event, RefundPart};
use crate::purchase::order::{Line, Tender};
use crate::purchase::step::{KeyNumber, Step, Way};
use crate::quantity::Quantity;

pub(super) fn events() -> Vec<Event> {
    let mut events = on_the_way();
    events.extend(back());
    events.extend(ends());
    events
}

fn on_the_way() -> Vec<Event> {
    vec![
        Event::PurchasePlaced {
            account: account(),
            lines: lines(),
            total: pounds(1_530),
            discounts: discounts(),
            tenders: tenders(),
            occurred_at: day(0),
            placed_at: day(0),
            until: day(1),
            reference: reference(),
            asked: Fingerprint::of(&"order 17"),
        },
        Event::PurchaseStepStarted {
            step: Step::AuthoriseCard,
            way: Way::Do,
            attempt: 1,
            until: day(1),
        },
        Event::PurchaseStepDone {
            step: Step::AuthoriseCard,
            payment: Some("pi_3MtwBwLkdIwHu7ix28a3tqPa".to_owned()),
        },
        Event::PurchaseStepDelayed {
            step: Step::AuthoriseCard,
            way: Way::Do,
            effect: Effect::Unknown,
            detail: "no answer in time".to_owned(),
            retry_at: day(1),
        },
        Event::PurchaseActionRequired {
            payment: "pi_3MtwBwLkdIwHu7ix28a3tqPa".to_owned(),
            url: Some("https://bank.example/3ds".to_owned()),
            retry_at: day(1),
        },
    ]
}

fn back() -> Vec<Event> {
    let (reason, actor) = (|| "settled by telephone".to_owned(), || "night-desk".to_owned());
    vec![
        Event::PurchaseStepRefused {
            step: Step::HoldTenders,
            reason: "insufficient_funds".to_owned(),
            detail: "1530 were asked for, 200 are available".to_owned(),
        },
        Event::PurchaseStepUndone { step: Step::HoldStock },
        Event::PurchaseCancelled {
            reason: Some("found it cheaper".to_owned()),
            actor: Some(actor()),
        },
        Event::PurchaseTimedOut {},
        Event::PurchaseStuck {
            step: Step::AuthoriseCard,
            way: Way::Undo,
            detail: "no answer in time".to_owned(),
            refused: true,
        },
        Event::PurchaseRetried {
            reason: reason(),
            actor: actor(),
            key: Some(KeyNumber::default().next()),
        },
        Event::PurchaseStepAbandoned {
            step: Step::AuthoriseCard,
            way: Way::Undo,
            reason: reason(),
            actor: actor(),
        },
    ]
}

fn ends() -> Vec<Event> {
    let refund = || id(RefundId::new("refund-1"));
    let returned = || vec![RefundedLine { line: 1, quantity: quantity(1), restock: true }];
    let parts = || {
        vec![
            RefundPart { tender: 1, money: minor(50), points: points(50) },
            RefundPart { tender: 2, money: minor(205), points: points(0) },
        ]
    };
    vec![
        Event::PurchaseCompleted {
            account: account(),
            lines: lines(),
            total: pounds(1_530),
            discounts: discounts(),
            paid: minor(1_230),
            tenders: tenders(),
            spent: vec![Part { lot: id(LotId::new("lot-1")), points: points(300) }],
            occurred_at: day(0),
            reference: reference(),
        },
        Event::PurchaseRejected {
            reason: "insufficient_funds".to_owned(),
            detail: "1530 were asked for, 200 are available".to_owned(),
        },
        Event::PurchaseRefundRequested {
            refund: refund(),
            amount: pounds(255),
            lines: returned(),
            parts: parts(),
            requested_at: day(2),
            reference: Some("damaged".to_owned()),
            asked: Fingerprint::of(&"refund 1"),
        },
        Event::PurchaseRefunded {
            refund: refund(),
            account: account(),
            amount: pounds(255),
            parts: parts(),
            lines: returned(),
            returned: minor(205),
            paid: minor(1_230),
        },
        Event::PurchaseRefundFailed {
            refund: Some(refund()),
            key: KeyNumber::default(),
            detail: "the provider could not give it back: lost_or_stolen_card".to_owned(),
        },
    ]
}

fn account() -> Option<AccountId> {
    Some(id(AccountId::new("17850")))
}

fn reference() -> Option<String> {
    Some("basket 17".to_owned())
}

fn lines() -> Vec<Line> {
    vec![Line {
        product: id(ProductId::new("85123A")),
        name: "White hanging heart T-light holder".to_owned(),
        kind: Offering::Goods,
        quantity: quantity(6),
        price: minor(300),
        amount: minor(1_530),
    }]
}

fn discounts() -> Vec<Discount> {
    vec![Discount {
        id: Some(id(DiscountId::new("summer"))),
        reason: "summer sale".to_owned(),
        percent: Some(id("15".parse())),
        line: Some(1),
        amount: minor(270),
    }]
}

fn tenders() -> Vec<Tender> {
    vec![
        Tender::Points { points: points(300), money: minor(300) },
        Tender::Wallet { wallet: id(WalletId::new("derick")), money: minor(230) },
        Tender::Card {
            payment_method: id(PaymentMethod::parse("pm_card_visa")),
            money: minor(1_000),
        },
    ]
}

fn quantity(units: i64) -> Quantity {
    id(Quantity::new(units))
}

fn minor(units: i64) -> Minor {
    id(Minor::new(units))
}

fn pounds(units: i64) -> Money {
    Money { amount: minor(units), currency: Currency::GBP }
}
