//! `Prefer: return=minimal`: the receipt without its events. What is done is the same.

use accrue_tests::client::Answer;
use accrue_tests::server::Server;
use serde_json::{Value, json};

const ISSUE: &str = "/v1/accounts/ann/points/issue";
const APPLIED: &str = "preference-applied";

/// The members of an object, in their order.
fn members(object: &Value) -> String {
    let members = object.as_object().expect("an object").keys();
    members.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn place(answer: &Answer) -> (i64, String) {
    (answer.position(), answer.header("etag").to_owned())
}

#[tokio::test]
async fn a_minimal_answer_lacks_the_events_and_nothing_else() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let minimal = client.with("prefer", "return=minimal");
    let body = json!({"points": 50});
    let issued = minimal.keyed("one").post(ISSUE, body.clone()).await.expect(201);
    assert_eq!(members(&issued.json()), "command_id position version");
    assert_eq!(issued.json()["command_id"], "one");
    assert_eq!(issued.header(APPLIED), "return=minimal");
    assert_eq!(client.events_count().await, 2);
    assert_eq!(
        client.balance("ann", issued.position()).await.split(';').next(),
        Some("available 50")
    );

    // Which answer is wanted is no part of the request, so a retry may want the other.
    let whole = client.keyed("one").post(ISSUE, body.clone()).await.expect(201);
    assert_eq!(whole.header("idempotency-hit"), "true");
    assert_eq!((whole.data("PointsIssued").len(), whole.header(APPLIED)), (1, ""));
    let again = minimal.keyed("one").post(ISSUE, body.clone()).await.expect(201);
    assert_eq!(again.header("idempotency-hit"), "true");
    assert_eq!((again.json(), place(&again)), (issued.json(), place(&issued)));
    assert_eq!(place(&whole), place(&issued));

    let tried = minimal.post(&format!("{ISSUE}?dry_run=true"), body.clone()).await.expect(200);
    assert_eq!(members(&tried.json()), "command_id position version");
    let refused = minimal.post(ISSUE, json!({"points": 0})).await;
    assert_eq!(refused.problem(), "422 invalid-request /points");
    assert_eq!(client.events_count().await, 2);
}

#[tokio::test]
async fn a_preference_that_is_not_known_is_ignored() {
    let (_database, server) = Server::create().await;
    for prefer in ["return=representation", "return=little", "handling=strict", "wait=soon", ""] {
        let client = server.client().with("prefer", prefer);
        let issued = client.post(ISSUE, json!({"points": 1})).await.expect(201);
        assert_eq!(
            (issued.data("PointsIssued").len(), issued.header(APPLIED)),
            (1, ""),
            "{prefer}"
        );
    }
}

#[tokio::test]
async fn the_receipts_of_a_stream_of_commands_may_be_minimal_too() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let lines = [
        json!({"id": "a", "type": "issue_points", "account": "ann", "points": 5}),
        json!({"id": "b", "type": "redeem_points", "account": "ann", "points": 9}),
        json!({"id": "c", "type": "redeem_points", "account": "ann", "points": 2}),
    ];
    let text = lines.map(|line| format!("{line}\n")).concat();
    let minimal = client.with("prefer", "return=minimal");
    let answer = minimal.post_lines("/v1/commands", text.clone()).await.expect(200);
    assert_eq!(answer.header(APPLIED), "return=minimal");
    let results = answer.lines();
    assert_eq!(results.len(), 3);
    for (at, status) in [(0, 201), (2, 200)] {
        assert_eq!(results[at]["status"], status, "{}", results[at]);
        assert_eq!(members(&results[at]["receipt"]), "command_id position version");
    }
    assert_eq!(results[1]["problem"]["type"], "/problems/insufficient-points");
    let whole = client.post_lines("/v1/commands", text).await.expect(200);
    assert_eq!(whole.header(APPLIED), "");
    assert_eq!(whole.lines()[2]["receipt"]["events"][0]["type"], "PointsRedeemed");
}
