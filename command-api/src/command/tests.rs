use accrue_http::extract::from_json;
use insta::assert_snapshot;

use super::*;
use crate::campaigns::CreateCampaign;
use crate::points::{AdjustPoints, IssuePoints};
use crate::sales::RecordSale;
use crate::target::{Nothing, OfAccount};

fn account() -> OfAccount {
    OfAccount { account: "17850".parse().unwrap() }
}

fn issue(json: &str) -> String {
    text(&account(), &from_json::<IssuePoints>(json.as_bytes()).unwrap())
}

fn text<C: Command>(target: &C::Target, body: &C) -> String {
    String::from_utf8(asked(target, body)).unwrap().replace('\0', "|")
}

#[test]
fn what_is_asked_is_type_path_and_body() {
    let sale = r#"{"id": "536365", "account": "17850", "total": {"amount": 13912, "currency": "GBP"},
        "lines": [{"product": "85123A", "quantity": 6, "amount": 13912}],
        "occurred_at": "2010-12-01T09:26:00.1234567+01:00", "reference": "till 4"}"#;
    let campaign = r#"{"id": "tenth", "name": "A tenth", "rules":
        [{"variable": "$.amount", "condition": {"value": 100, "rule": "numeric_greater_than"},
          "action": {"formula": "$.amount/10", "command": "issue"}}]}"#;
    let asked = [
        issue(r#"{"points": 13}"#),
        issue(
            r#"{"points": 13, "lot": "l", "available_from": "2026-01-01T00:00:00Z", "reference": "r",
                "expires": {"round": "month_end", "after": "P12M"}, "occurred_at": null}"#,
        ),
        text(&Nothing, &from_json::<RecordSale>(sale.as_bytes()).unwrap()),
        text(&Nothing, &from_json::<CreateCampaign>(campaign.as_bytes()).unwrap()),
    ];
    assert_snapshot!(asked.join("\n"));
}

#[test]
fn the_spelling_of_a_request_does_not_count() {
    let plain = issue(r#"{"points":13,"occurred_at":"2026-01-01T00:00:00Z"}"#);
    let other = issue(
        "{ \"occurred_at\": \"2026-01-01T01:00:00.000+01:00\",\n\"reference\": null, \"points\": 13 }",
    );
    assert_eq!(plain, other);
    assert_ne!(plain, issue(r#"{"points":14,"occurred_at":"2026-01-01T00:00:00Z"}"#));
    assert_ne!(plain, issue(r#"{"points":13}"#));
}

#[test]
fn only_a_command_with_a_key_has_a_fingerprint() {
    let body = || from_json::<IssuePoints>(br#"{"points":13}"#).unwrap();
    let program = ProgramId::default();
    let keyless = envelope(program.clone(), Sender::default(), account(), body()).unwrap();
    assert_eq!((keyless.fingerprint, keyless.id.as_str().len()), (None, 36));
    let key = Some("k".parse().unwrap());
    let keyed = envelope(program, Sender { key, ..Sender::default() }, account(), body()).unwrap();
    assert_eq!((keyed.fingerprint.is_some(), keyed.id.as_str()), (true, "k"));
}

#[test]
fn whoever_adjusts_is_the_sender_unless_another_is_named() {
    let body = br#"{"points":-3,"reason":"credited twice","actor":"desk-7"}"#;
    let actor = |sender: Option<&str>| {
        let sender = Sender { actor: sender.map(Arc::from), ..Sender::default() };
        let body = from_json::<AdjustPoints>(body).unwrap();
        envelope(ProgramId::default(), sender, account(), body).unwrap().actor.unwrap()
    };
    assert_eq!((&*actor(None), &*actor(Some("gateway"))), ("desk-7", "gateway"));
}
