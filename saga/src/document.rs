//! What campaigns judge: an event as the document that rules read, with the account that an award
//! would go to. The next kind of event that can earn is one more arm here.

use accrue_domain::event::Event;
use accrue_domain::id::{AccountId, PurchaseId, SaleId};
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::purchase::discount::Discount;
use accrue_domain::purchase::{self, order};
use accrue_domain::sale::{self, Line};
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};
use serde_json::{Map, Number, Value, json};

/// An event that campaigns can judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Occasion {
    /// Who earns.
    pub account: AccountId,
    /// Business time: an award counts from then.
    pub occurred_at: DateTime<Utc>,
    /// The sale, where it is one: its returns take the award back.
    pub sale: Option<SaleId>,
    /// What the rules read.
    pub document: Value,
}

/// The event as an occasion; none for one that earns nothing, such as an anonymous sale.
#[must_use]
pub fn occasion(stream: &StreamKey, event: &Event) -> Option<Occasion> {
    match event {
        Event::Sale(sale::Event::SaleRecorded {
            account: Some(account),
            total,
            lines,
            occurred_at,
            reference,
        }) => {
            let mut document = json!({
                "type": "SaleRecorded",
                "sale": stream.id(),
                "account": account,
                "amount": major(*total),
                "currency": total.currency,
                "lines": lines.iter().map(|it| line(it, total.currency)).collect::<Value>(),
                "occurred_at": occurred_at,
            });
            note(&mut document, reference.as_deref());
            Some(Occasion {
                account: account.clone(),
                occurred_at: *occurred_at,
                sale: SaleId::new(stream.id()).ok(),
                document,
            })
        }
        // What is paid in points earns nothing: the amount is what was paid in money.
        Event::Purchase(purchase::event::Event::PurchaseCompleted {
            account: Some(account),
            lines,
            total,
            discounts,
            paid,
            occurred_at,
            reference,
            ..
        }) if *paid > Minor::ZERO => {
            let currency = total.currency;
            let purchase = PurchaseId::new(stream.id()).ok()?;
            let discount = discounts.iter().map(|it| it.amount);
            let discount = discount.fold(Minor::ZERO, |sum, it| sum.checked_add(it).unwrap_or(sum));
            let mut document = json!({
                "type": "PurchaseCompleted",
                "purchase": purchase,
                "account": account,
                "amount": minor(*paid, currency),
                "total": major(*total),
                "discount": minor(discount, currency),
                "discounts": discounts.iter().map(|it| taken_off(it, currency)).collect::<Value>(),
                "currency": currency,
                "lines": lines.iter().map(|it| ordered(it, currency)).collect::<Value>(),
                "occurred_at": occurred_at,
            });
            note(&mut document, reference.as_deref());
            Some(Occasion {
                account: account.clone(),
                occurred_at: *occurred_at,
                sale: Some(purchase.as_sale()),
                document,
            })
        }
        Event::Sale(sale::Event::SaleRecorded { account: None, .. })
        | Event::Sale(sale::Event::SaleReturned { .. })
        | Event::Account(_)
        | Event::Campaign(_)
        | Event::Product(_)
        | Event::Program(_)
        | Event::Purchase(_)
        | Event::Wallet(_) => None,
    }
}

/// Money in major units as a JSON number whose shortest text is exact: 13912 GBP is 139.12.
///
/// An amount has at most 15 significant digits (or is 10^15 itself), so a double keeps them all.
#[must_use]
pub fn major(money: Money) -> Number {
    let text = money.major();
    if let Ok(whole) = text.parse::<i64>() {
        return Number::from(whole);
    }
    let float = text.parse().ok().and_then(Number::from_f64);
    float.expect("digits with a point among them are a finite number")
}

fn line(line: &Line, currency: Currency) -> Value {
    let Line { product, quantity, amount, kind } = line;
    json!({
        "product": product,
        "quantity": quantity,
        "amount": minor(*amount, currency),
        "kind": kind,
    })
}

fn ordered(line: &order::Line, currency: Currency) -> Value {
    let order::Line { product, quantity, price, amount, .. } = line;
    json!({
        "product": product,
        "quantity": quantity,
        "price": minor(*price, currency),
        "amount": minor(*amount, currency),
    })
}

/// An absent id is an absent field, as an absent note is.
fn taken_off(discount: &Discount, currency: Currency) -> Value {
    let Discount { id, reason, amount, .. } = discount;
    let mut document = json!({ "reason": reason, "amount": minor(*amount, currency) });
    if let (Some(fields), Some(id)) = (document.as_object_mut(), id) {
        fields.insert("id".to_owned(), Value::from(id.as_str()));
    }
    document
}

fn minor(amount: Minor, currency: Currency) -> Number {
    major(Money { amount, currency })
}

/// An absent note is an absent field: a path to it selects nothing.
fn note(document: &mut Value, reference: Option<&str>) {
    let fields: Option<&mut Map<String, Value>> = document.as_object_mut();
    if let (Some(fields), Some(reference)) = (fields, reference) {
        fields.insert("reference".to_owned(), Value::from(reference));
    }
}

#[cfg(test)]
mod tests;
