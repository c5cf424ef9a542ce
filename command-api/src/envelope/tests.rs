use std::fmt::Write as _;

use accrue_http::extract::from_json;
use insta::assert_snapshot;

use super::*;
use crate::target::{Nothing, OfAccount, OfHold};

fn line(text: &str) -> Result<Read, Box<Unread>> {
    read(&ProgramId::default(), text.as_bytes())
}

fn single<C: Command>(target: C::Target, body: &str) -> Envelope {
    let key = Some("k".parse().unwrap());
    let body: C = from_json(body.as_bytes()).unwrap();
    command::envelope(ProgramId::default(), Sender { key, ..Sender::default() }, target, body)
        .unwrap()
}

fn same(line: &str, single: &Envelope) {
    let Read { envelope, .. } = self::line(line).unwrap();
    assert_eq!(envelope.id, single.id);
    assert_eq!(envelope.fingerprint, single.fingerprint, "{line}");
    assert_eq!(envelope.actions, single.actions, "{line}");
    assert_eq!(envelope.occurred_at, single.occurred_at);
}

#[test]
fn a_line_is_the_same_command_as_its_single_call() {
    let account = || "a".parse().unwrap();
    same(
        r#"{"id":"k","type":"issue_points","account":"a","points":13,"lot":"l"}"#,
        &single::<IssuePoints>(OfAccount { account: account() }, r#"{"lot":"l","points":13}"#),
    );
    same(
        r#"{"total":{"currency":"GBP","amount":5},"type":"record_sale","account":"a","sale":"s","id":"k"}"#,
        &single::<RecordSale>(
            Nothing,
            r#"{"id":"s","account":"a","total":{"amount":5,"currency":"GBP"}}"#,
        ),
    );
    same(
        r#"{"id":"k","type":"return_sale","sale":"s","return":"r","all":true}"#,
        &single::<ReturnSale>(
            crate::target::OfSale { sale: "s".parse().unwrap() },
            r#"{"id":"r","all":true}"#,
        ),
    );
    same(
        r#"{"id":"k","type":"place_hold","account":"a","hold":"h","points":5}"#,
        &single::<PlaceHold>(OfAccount { account: account() }, r#"{"id":"h","points":5}"#),
    );
    same(
        r#"{"id":"k","type":"capture_hold","account":"a","hold":"h"}"#,
        &single::<CaptureHold>(OfHold { account: account(), hold: "h".parse().unwrap() }, "{}"),
    );
    same(
        r#"{"id":"k","type":"configure_program","currency":"GBP","zone":"UTC","expiry":"never"}"#,
        &single::<ConfigureProgram>(Nothing, r#"{"currency":"GBP","zone":"UTC","expiry":"never"}"#),
    );
}

#[test]
fn every_type_is_known() {
    for r#type in TYPES {
        let problem = line(&format!(r#"{{"id":"k","type":"{type}"}}"#)).unwrap_err().problem;
        assert_ne!(problem.errors[0].pointer, "/type", "{}", problem.detail);
    }
}

#[test]
fn a_line_says_who_sent_it_and_why() {
    let text = r#"{"type":"issue_points","correlation_id":"c","account":"a","causation_id":"event/4",
        "points":1,"actor":"me","occurred_at":"2026-01-01T00:00:00Z"}"#;
    let Read { envelope, status, .. } = line(text).unwrap();
    let who = [envelope.correlation_id, envelope.causation_id, envelope.actor];
    assert_eq!(who.map(|it| it.unwrap().to_string()), ["c", "event/4", "me"]);
    assert_eq!((status.as_u16(), envelope.fingerprint), (201, None));
    let text =
        r#"{"id":"k","type":"adjust_points","account":"a","points":1,"reason":"r","actor":"desk"}"#;
    assert_eq!(&*line(text).unwrap().envelope.actor.unwrap(), "desk");
}

#[test]
fn a_line_says_which_version_it_changes() {
    for (version, is) in
        [(r#","expected_version":3"#, Some(3)), (r#","expected_version":0"#, Some(0)), ("", None)]
    {
        let text = r#"{"id":"k","type":"activate_campaign","campaign":"c""#;
        let read = line(&format!("{text}{version}}}")).unwrap();
        assert_eq!(read.envelope.expected_version, is);
        same(
            &format!("{text}{version}}}"),
            &single::<ActivateCampaign>(
                crate::target::OfCampaign { campaign: "c".parse().unwrap() },
                "{}",
            ),
        );
    }
}

#[test]
fn a_line_that_is_no_command_names_what_is_wrong() {
    let mut out = String::new();
    for text in [
        r#"{"id":"k","type":"issue_points","points":1}"#,
        r#"{"id":"k","type":"issue_points","account":"a b","points":1}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1.5}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"hold":"h"}"#,
        r#"{"id":"k","type":"issue_points","account":"a","account":"a","points":1}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"points":1}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"actor":"x","actor":"y"}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"actor":"\n"}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"expected_version":-1}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"expected_version":"3"}"#,
        r#"{"id":"k","type":"issue_points","account":"a","points":1,"expected_version":3,"expected_version":3}"#,
        r#"{"id":"k","type":"record_sale","sale":"s","expected_version":0,"total":{"amount":5,"currency":"GBP"}}"#,
        r#"{"id":"k","type":"record_sale","total":{"amount":5,"currency":"GBP"}}"#,
        r#"{"id":"k","type":"record_sale","sale":"a/b","total":{"amount":5,"currency":"GBP"}}"#,
        r#"{"id":"k","type":"record_sale","sale":"a","sale":"b","total":{"amount":5,"currency":"GBP"}}"#,
        r#"{"id":"k","type":"record_sale","sale":"a","total":[5,"GBP"]}"#,
        r#"{"id":"k","type":"capture_hold","account":"a"}"#,
        r#"{"id":"k","type":"create_campaign","campaign":"c","name":"n","rules":[{}]}"#,
        r#"{"id":"k","type":"nope"}"#,
        r#"{"id":"k","type":7}"#,
        r#"{"id":"k"}"#,
        r#"{"id":"k","id":"l","type":"issue_points"}"#,
        r#"{"id":7,"type":"issue_points"}"#,
        r#"{"id":"a b","type":"issue_points"}"#,
        r#"["k","issue_points"]"#,
        r#"{"id":"k","type":"issue_points""#,
    ] {
        let Unread { id, problem } = *line(text).unwrap_err();
        let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let fields: Vec<_> = problem.errors.iter().map(|error| &*error.pointer).collect();
        writeln!(out, "{text}\n  {id} {} {} {fields:?}", problem.status, problem.detail).unwrap();
    }
    assert_snapshot!(out);
}
