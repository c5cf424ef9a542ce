//! What the simulated Stripe knows: intents, refunds, answers by key. Values in, values out.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cards::{Card, card};

/// Sums over all intents of a currency, in Stripe's units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Ever held.
    pub authorised: i64,
    /// Ever captured.
    pub captured: i64,
    /// Given back.
    pub refunded: i64,
    /// Held and let go, by voids and by captures of a part.
    pub released: i64,
}

/// A changing call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) form: &'a Bytes,
    pub(super) key: Option<&'a str>,
    pub(super) forget_keys: bool,
    pub(super) pending_refunds: bool,
    pub(super) decline: Option<&'a str>,
    pub(super) customer_action: bool,
    pub(super) now: DateTime<Utc>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// A change: the answer, and the events that webhooks tell.
type Change = Result<(Value, Vec<(&'static str, Value)>), Answer>;

type Form = BTreeMap<String, String>;

#[derive(Debug)]
struct Intent {
    id: String,
    status: &'static str,
    amount: i64,
    currency: String,
    captured: i64,
    refunded: i64,
    reference: Option<String>,
    created: i64,
}

#[derive(Debug)]
struct Refund {
    id: String,
    payment: String,
    amount: i64,
    currency: String,
    status: &'static str,
    failure_reason: Option<String>,
    key: Option<String>,
}

/// A used key: what it was used for, and what was answered.
#[derive(Debug)]
struct Kept {
    path: String,
    form: Bytes,
    answer: Answer,
}

#[derive(Debug, Default)]
pub(super) struct World {
    intents: BTreeMap<String, Intent>,
    refunds: BTreeMap<String, Refund>,
    kept: HashMap<String, Kept>,
    totals: BTreeMap<String, Totals>,
    ids: u64,
}

fn error(status: u16, kind: &str, code: &str) -> Answer {
    let message = format!("simulated: {code}");
    Answer { status, body: json!({"error": {"type": kind, "code": code, "message": message}}) }
}

fn invalid(code: &str) -> Answer {
    error(400, "invalid_request_error", code)
}

fn declined(code: &str, decline_code: &str) -> Answer {
    let mut answer = error(402, "card_error", code);
    answer.body["error"]["decline_code"] = json!(decline_code);
    answer
}

fn missing() -> Answer {
    error(404, "invalid_request_error", "resource_missing")
}

impl World {
    pub(super) fn ledger(&self) -> BTreeMap<String, Totals> {
        self.totals.clone()
    }

    /// A changing call: worked on once for each key.
    pub(super) fn post(&mut self, call: &Call<'_>) -> (Answer, Vec<Value>) {
        let known = call.key.filter(|_| !call.forget_keys);
        if let Some(kept) = known.and_then(|it| self.kept.get(it)) {
            let same = kept.path == call.path && kept.form == call.form;
            let other = || error(400, "idempotency_error", "idempotency_key_in_use_for_other");
            return (if same { kept.answer.clone() } else { other() }, vec![]);
        }
        let (answer, events) = match self.change(call) {
            Ok((body, events)) => (Answer { status: 200, body }, events),
            Err(answer) => (answer, vec![]),
        };
        if let Some(key) = call.key {
            let (path, form) = (call.path.to_owned(), call.form.clone());
            self.kept.insert(key.to_owned(), Kept { path, form, answer: answer.clone() });
        }
        let events = events.into_iter().map(|it| self.event(it, call.now)).collect();
        (answer, events)
    }

    /// The customer acts: the payment that waits for them is authorised, or declined by the
    /// issuer.
    pub(super) fn complete(
        &mut self,
        id: &str,
        authorised: bool,
        now: DateTime<Utc>,
    ) -> (Answer, Vec<Value>) {
        let Some(intent) = self.intents.get_mut(id) else { return (missing(), vec![]) };
        if intent.status != "requires_action" {
            return (Answer { status: 409, ..intent.unexpected_state() }, vec![]);
        }
        let kind = if authorised {
            intent.status = "requires_capture";
            "payment_intent.amount_capturable_updated"
        } else {
            intent.status = "requires_payment_method";
            "payment_intent.payment_failed"
        };
        let (body, amount, currency) = (intent.json(), intent.amount, intent.currency.clone());
        if authorised {
            self.total(&currency).authorised += amount;
        }
        let event = self.event((kind, body.clone()), now);
        (Answer { status: 200, body }, vec![event])
    }

    fn event(&mut self, (kind, object): (&str, Value), now: DateTime<Utc>) -> Value {
        let (id, created) = (self.id("evt"), now.timestamp());
        let data = json!({"object": object});
        json!({"id": id, "object": "event", "type": kind, "created": created, "data": data})
    }

    pub(super) fn get(&self, path: &str, query: &str) -> Answer {
        let body = match path.strip_prefix("/v1/payment_intents/") {
            Some("search") => self.search(query),
            Some(id) => self.intents.get(id).map(Intent::json),
            None if path == "/v1/refunds" => self.list_refunds(query),
            None => None,
        };
        body.map_or_else(missing, |body| Answer { status: 200, body })
    }

    fn change(&mut self, call: &Call<'_>) -> Change {
        let form: Form = parse_form(call.form).into_iter().collect();
        let path: Vec<_> = call.path.trim_start_matches("/v1/").split('/').collect();
        match path[..] {
            ["payment_intents"] => self.authorise(&form, call),
            ["payment_intents", id, "capture"] => match call.decline {
                Some(reason) => Err(declined("card_declined", reason)),
                None => self.capture(id, &form),
            },
            ["payment_intents", id, "cancel"] => self.cancel(id),
            ["refunds"] => match call.decline {
                Some(reason) => self.failed_refund(&form, reason),
                None => self.refund(&form, call.pending_refunds),
            },
            _ => Err(missing()),
        }
    }

    fn authorise(&mut self, form: &Form, call: &Call<'_>) -> Change {
        let amount = amount(form, "amount")?.ok_or_else(|| invalid("parameter_missing"))?;
        let currency = text(form, "currency")?.to_owned();
        let manual = text(form, "capture_method")? == "manual" && text(form, "confirm")? == "true";
        if !manual {
            return Err(invalid("not_simulated"));
        }
        let card =
            card(text(form, "payment_method")?).ok_or_else(|| invalid("resource_missing"))?;
        let mut intent = Intent {
            id: self.id("pi"),
            status: "requires_capture",
            amount,
            currency,
            captured: 0,
            refunded: 0,
            reference: form.get("metadata[reference]").cloned(),
            created: call.now.timestamp(),
        };
        let (code, decline_code) = match (call.decline, card) {
            (Some(reason), _) => ("card_declined", reason),
            (None, Card::Declined { code, decline_code }) => (code, decline_code),
            (None, Card::CustomerAction) => return Ok(self.wait_for_customer(intent)),
            (None, Card::Good) if call.customer_action => return Ok(self.wait_for_customer(intent)),
            (None, Card::Good) => {
                self.total(&intent.currency).authorised += amount;
                return Ok(self.keep(intent, "payment_intent.amount_capturable_updated"));
            }
        };
        intent.status = "requires_payment_method";
        let mut answer = declined(code, decline_code);
        answer.body["error"]["payment_intent"] = intent.json();
        self.intents.insert(intent.id.clone(), intent);
        Err(answer)
    }

    fn wait_for_customer(&mut self, mut intent: Intent) -> (Value, Vec<(&'static str, Value)>) {
        intent.status = "requires_action";
        self.keep(intent, "payment_intent.requires_action")
    }

    fn capture(&mut self, id: &str, form: &Form) -> Change {
        let intent = self.intents.get_mut(id).ok_or_else(missing)?;
        if intent.status != "requires_capture" {
            return Err(intent.unexpected_state());
        }
        let part = amount(form, "amount_to_capture")?.unwrap_or(intent.amount);
        if part > intent.amount {
            return Err(invalid("amount_too_large"));
        }
        intent.status = "succeeded";
        intent.captured = part;
        let (json, currency) = (intent.json(), intent.currency.clone());
        let released = intent.amount - part;
        let totals = self.total(&currency);
        totals.captured += part;
        totals.released += released;
        Ok((json.clone(), vec![("payment_intent.succeeded", json)]))
    }

    fn cancel(&mut self, id: &str) -> Change {
        let intent = self.intents.get_mut(id).ok_or_else(missing)?;
        let held = match intent.status {
            "requires_capture" => intent.amount,
            "requires_action" | "requires_payment_method" => 0,
            _ => return Err(intent.unexpected_state()),
        };
        intent.status = "canceled";
        let (json, currency) = (intent.json(), intent.currency.clone());
        self.total(&currency).released += held;
        Ok((json.clone(), vec![("payment_intent.canceled", json)]))
    }

    fn refund(&mut self, form: &Form, pending: bool) -> Change {
        let id = self.id("re");
        let payment = text(form, "payment_intent")?;
        let intent = self.intents.get_mut(payment).ok_or_else(missing)?;
        let left = intent.captured - intent.refunded;
        if intent.captured > 0 && left == 0 {
            return Err(invalid("charge_already_refunded"));
        }
        let part = amount(form, "amount")?.unwrap_or(left);
        if intent.captured == 0 {
            return Err(intent.unexpected_state());
        }
        if part > left {
            return Err(invalid("amount_too_large"));
        }
        intent.refunded += part;
        let currency = intent.currency.clone();
        self.total(&currency).refunded += part;
        let status = if pending { "pending" } else { "succeeded" };
        let refund = Refund { status, ..Refund::of(id, form, part, currency) };
        Ok(self.keep_refund(refund, "refund.created"))
    }

    /// The issuer does not take the money back: an answer like any other, not an error.
    fn failed_refund(&mut self, form: &Form, reason: &str) -> Change {
        let id = self.id("re");
        let intent = self.intents.get(text(form, "payment_intent")?).ok_or_else(missing)?;
        let part = amount(form, "amount")?.unwrap_or(intent.captured - intent.refunded);
        let failure_reason = Some(reason.to_owned());
        let currency = intent.currency.clone();
        let refund =
            Refund { status: "failed", failure_reason, ..Refund::of(id, form, part, currency) };
        Ok(self.keep_refund(refund, "refund.failed"))
    }

    /// Every refund that was taken on comes to nothing: the money is the merchant's again.
    pub(super) fn fail_refunds(&mut self, reason: &str, now: DateTime<Utc>) -> Vec<Value> {
        let taken_on = self.refunds.values_mut().filter(|it| it.status != "failed");
        let mut failed = Vec::new();
        for refund in taken_on {
            refund.status = "failed";
            refund.failure_reason = Some(reason.to_owned());
            if let Some(intent) = self.intents.get_mut(&refund.payment) {
                intent.refunded -= refund.amount;
            }
            self.totals.entry(refund.currency.clone()).or_default().refunded -= refund.amount;
            failed.push(("refund.failed", refund.json()));
        }
        failed.into_iter().map(|it| self.event(it, now)).collect()
    }

    /// The refunds of a payment, the newest first, a page of them.
    fn list_refunds(&self, query: &str) -> Option<Value> {
        let parameters: Form = parse_form(query.as_bytes()).into_iter().collect();
        let payment = parameters.get("payment_intent")?;
        let after = parameters.get("starting_after");
        let limit = parameters.get("limit").and_then(|it| it.parse().ok()).unwrap_or(10);
        let of_payment = self.refunds.values().rev().filter(|it| it.payment == *payment);
        let mut left = of_payment.filter(|it| after.is_none_or(|after| it.id < *after));
        let data: Vec<_> = left.by_ref().take(limit).map(Refund::json).collect();
        Some(json!({"object": "list", "data": data, "has_more": left.next().is_some()}))
    }

    fn keep_refund(
        &mut self,
        refund: Refund,
        kind: &'static str,
    ) -> (Value, Vec<(&'static str, Value)>) {
        let json = refund.json();
        self.refunds.insert(refund.id.clone(), refund);
        (json.clone(), vec![(kind, json)])
    }

    /// Knows one kind of query: an exact match of the reference.
    fn search(&self, query: &str) -> Option<Value> {
        let parameters = parse_form(query.as_bytes());
        let (_, query) = parameters.iter().find(|(name, _)| name == "query")?;
        let wanted = query.strip_prefix("metadata['reference']:'")?.strip_suffix('\'')?;
        let mut found: Vec<_> =
            self.intents.values().filter(|it| it.reference.as_deref() == Some(wanted)).collect();
        found.sort_by(|a, b| b.id.cmp(&a.id));
        let data: Vec<_> = found.into_iter().map(Intent::json).collect();
        Some(json!({"object": "search_result", "data": data, "has_more": false}))
    }

    fn keep(&mut self, intent: Intent, kind: &'static str) -> (Value, Vec<(&'static str, Value)>) {
        let json = intent.json();
        self.intents.insert(intent.id.clone(), intent);
        (json.clone(), vec![(kind, json)])
    }

    fn total(&mut self, currency: &str) -> &mut Totals {
        self.totals.entry(currency.to_owned()).or_default()
    }

    /// Ids are numbered, with leading zeros, so that they sort by age.
    fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}_sim{:012}", self.ids)
    }
}

impl Refund {
    fn of(id: String, form: &Form, amount: i64, currency: String) -> Self {
        let payment = form.get("payment_intent").cloned().unwrap_or_default();
        let (failure_reason, key) = (None, form.get("metadata[key]").cloned());
        Self { id, payment, amount, currency, status: "succeeded", failure_reason, key }
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "id": self.id, "object": "refund", "amount": self.amount, "currency": self.currency,
            "payment_intent": self.payment, "status": self.status, "metadata": {},
        });
        if let Some(reason) = &self.failure_reason {
            json["failure_reason"] = json!(reason);
        }
        if let Some(key) = &self.key {
            json["metadata"]["key"] = json!(key);
        }
        json
    }
}

impl Intent {
    fn json(&self) -> Value {
        let capturable = if self.status == "requires_capture" { self.amount } else { 0 };
        let mut json = json!({
            "id": self.id, "object": "payment_intent", "status": self.status,
            "amount": self.amount, "amount_capturable": capturable,
            "amount_received": self.captured, "currency": self.currency,
            "capture_method": "manual", "created": self.created, "livemode": false,
            "metadata": {}, "next_action": null,
        });
        if let Some(reference) = &self.reference {
            json["metadata"]["reference"] = json!(reference);
        }
        if self.status == "requires_action" {
            let url = format!("https://hooks.stripe.com/3d_secure_2/{}", self.id);
            json["next_action"] =
                json!({"type": "redirect_to_url", "redirect_to_url": {"url": url}});
        }
        json
    }

    fn unexpected_state(&self) -> Answer {
        let mut answer = invalid("payment_intent_unexpected_state");
        answer.body["error"]["payment_intent"] = self.json();
        answer
    }
}

fn text<'a>(form: &'a Form, name: &str) -> Result<&'a str, Answer> {
    form.get(name).map(String::as_str).ok_or_else(|| invalid("parameter_missing"))
}

/// Bounded as Stripe's own, which also keeps the totals within an `i64`.
fn amount(form: &Form, name: &str) -> Result<Option<i64>, Answer> {
    let Some(text) = form.get(name) else { return Ok(None) };
    let amount = text.parse().ok().filter(|it| (1..=99_999_999).contains(it));
    amount.map(Some).ok_or_else(|| invalid("parameter_invalid_integer"))
}

fn parse_form(form: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(form).into_owned().collect()
}
