//! The same key: one effect and one answer, whatever happens in between.

use accrue_tests::client::Answer;
use accrue_tests::server::Server;
use serde_json::json;

const ISSUE: &str = "/v1/accounts/ann/points/issue";
const REDEEM: &str = "/v1/accounts/ann/points/redeem";

fn same(first: &Answer, again: &Answer) {
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(first.header("idempotency-hit"), "");
    assert_eq!(again.header("idempotency-hit"), "true");
}

#[tokio::test]
async fn the_same_key_is_answered_the_same_also_across_kill_and_restart() {
    let (database, mut server) = Server::create().await;
    let client = server.client();
    let body = json!({"points": 50, "reference": "welcome", "expires": {"after": "P1Y"}});
    let issued = client.keyed("k1").post(ISSUE, body.clone()).await.expect(201);
    let refused = client.keyed("k2").post(REDEEM, json!({"points": 51})).await;
    assert_eq!(refused.problem(), "409 insufficient-points /points");
    // What would let the refused one pass now does not: its answer was no.
    client.keyed("k3").post(ISSUE, json!({"points": 100})).await.expect(201);

    for round in 0..3 {
        match round {
            1 => {
                server.kill9();
                server.restart().await;
            }
            2 => {
                server.sigterm();
                assert!(server.exit().await.success(), "{}", server.log());
                server.restart().await;
            }
            _ => {}
        }
        let client = server.client();
        same(&issued, &client.keyed("k1").post(ISSUE, body.clone()).await);
        same(&refused, &client.keyed("k2").post(REDEEM, json!({"points": 51})).await);
        // Another order of the fields and other blanks are the same request.
        let text = r#"{ "expires": {"after":"P1Y"},"reference":"welcome",  "points":50 }"#;
        same(&issued, &client.keyed("k1").post_text(ISSUE, text).await);
    }
    assert_eq!(
        database.number("SELECT count(*) FROM events WHERE event_type = 'PointsIssued'").await,
        2
    );
    assert_eq!(database.number("SELECT count(*) FROM events").await, 3);
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let (_database, server) = Server::create().await;
    let client = server.client().keyed("k");
    client.post(ISSUE, json!({"points": 50})).await.expect(201);
    let before = client.events_count().await;
    for (path, body) in [
        (ISSUE, json!({"points": 51})),
        (ISSUE, json!({"points": 50, "reference": "x"})),
        (ISSUE, json!({"points": 50, "occurred_at": "2020-01-01T00:00:00Z"})),
        (REDEEM, json!({"points": 50})),
        ("/v1/accounts/bob/points/issue", json!({"points": 50})),
    ] {
        let answer = client.post(path, body.clone()).await;
        let expected = "422 idempotency-key-reused Idempotency-Key";
        assert_eq!(answer.problem(), expected, "{path} {body}");
    }
    assert_eq!(client.events_count().await, before);
}

#[tokio::test]
async fn twins_in_flight_are_one_command() {
    let (_database, server) = Server::create().await;
    let client = server.client().keyed("k");
    let send = || client.post(ISSUE, json!({"points": 5}));
    let answers = futures::future::join_all((0..40).map(|_| send())).await;
    let hits = answers.iter().filter(|it| it.header("idempotency-hit") == "true").count();
    assert_eq!(hits, 39);
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (201, &answers[0].text));
    }
    let position = answers[0].position();
    assert!(client.balance("ann", position).await.starts_with("available 5;"));
}

#[tokio::test]
async fn a_malformed_request_keeps_no_key_and_keys_have_a_form() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let key = client.keyed("k");
    assert_eq!(
        key.post(ISSUE, json!({"points": 0})).await.problem(),
        "422 invalid-request /points"
    );
    let issued = key.post(ISSUE, json!({"points": 1})).await.expect(201);
    assert_eq!(issued.json()["command_id"], "k");
    // Quoted, as the draft standard has it, is the same key.
    assert_eq!(client.keyed("\"k\"").post(ISSUE, json!({"points": 1})).await.text, issued.text);
    for wrong in ["", "a b", &"x".repeat(201)] {
        let answer = client.keyed(wrong).post(ISSUE, json!({"points": 1})).await;
        assert_eq!(answer.problem(), "422 invalid-request Idempotency-Key", "{wrong:?}");
    }
    let made = client.post(ISSUE, json!({"points": 1})).await.expect(201).json();
    assert_eq!(made["command_id"].as_str().map(str::len), Some(36), "{made}");
}
