//! Holds over HTTP: points set aside, spent in part, given back.

use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use chrono::{TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::json;

use crate::http_points::parts;

#[tokio::test]
async fn a_hold_is_captured_in_part_and_the_rest_comes_back() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client
        .post("/v1/accounts/a/points/issue", json!({"points": 100, "lot": "x"}))
        .await
        .expect(201);
    let held =
        client.post("/v1/accounts/a/holds", json!({"id": "h", "points": 60})).await.expect(201);
    assert_snapshot!(parts(&held.data("HoldPlaced")[0]), @"x 60");
    let balance = client.balance("a", held.position()).await;
    assert_snapshot!(balance, @"available 40, held 60; x 40");

    // What is promised can be spent by nobody else.
    let refused = client.post("/v1/accounts/a/points/redeem", json!({"points": 41})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-points /points");
    let refused = client.post("/v1/accounts/a/holds", json!({"id": "i", "points": 41})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-points /points");

    let capture = "/v1/accounts/a/holds/h/capture";
    let refused = client.post(capture, json!({"points": 61})).await;
    assert_snapshot!(refused.problem(), @"409 exceeds-hold /points");
    let captured = client.post(capture, json!({"points": 25})).await.expect(200);
    let data = &captured.data("HoldCaptured")[0];
    assert_snapshot!(parts(data), @"x 25");
    assert_eq!(data["released"], json!([{"lot": "x", "points": 35}]));
    assert_snapshot!(client.balance("a", captured.position()).await, @"available 75; x 75");

    let ended = client.post("/v1/accounts/a/holds/h/release", json!({})).await;
    assert_snapshot!(ended.problem(), @"409 hold-ended hold");
    let unknown = client.post("/v1/accounts/a/holds/z/release", json!({})).await;
    assert_snapshot!(unknown.problem(), @"404 unknown-hold hold");
    let reused = client.post("/v1/accounts/a/holds", json!({"id": "h", "points": 1})).await;
    assert_snapshot!(reused.problem(), @"409 hold-exists /id");
}

#[tokio::test]
async fn a_hold_is_released_on_request_or_by_its_deadline() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client
        .post("/v1/accounts/a/points/issue", json!({"points": 100, "lot": "x"}))
        .await
        .expect(201);
    client.post("/v1/accounts/a/holds", json!({"id": "h", "points": 60})).await.expect(201);
    let released = client.post("/v1/accounts/a/holds/h/release", json!({})).await.expect(200);
    assert_eq!(released.data("HoldReleased")[0]["reason"], "requested");
    assert_snapshot!(client.balance("a", released.position()).await, @"available 100; x 100");

    let until = Utc::now() + TimeDelta::milliseconds(1_500);
    let hold = json!({"id": "i", "points": 70, "until": until});
    let held = client.post("/v1/accounts/a/holds", hold).await.expect(201);
    assert_snapshot!(client.balance("a", held.position()).await, @"available 30, held 70; x 30");
    // For the record, by the server itself.
    let reason = eventually("the deadline releases the hold", async || {
        let page = client.get("/v1/events?type=HoldReleased&account=a").await.json();
        page["items"].as_array()?.get(1).map(|event| event["data"]["reason"].clone())
    });
    assert_eq!(reason.await, "deadline");
    assert_snapshot!(client.balance("a", held.position() + 1).await, @"available 100; x 100");

    let past = json!({"id": "j", "points": 1, "until": "2001-01-01T00:00:00Z"});
    let past = client.post("/v1/accounts/a/holds", past).await;
    assert_snapshot!(past.problem(), @"422 invalid-until /until");
}

#[tokio::test]
async fn a_lapsed_lot_is_in_no_balance_and_its_end_is_recorded() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let at = Utc::now() + TimeDelta::milliseconds(1_500);
    let body = json!({"points": 9, "lot": "short", "expires": {"at": at}});
    let issued = client.post("/v1/accounts/a/points/issue", body).await.expect(201);
    assert_snapshot!(client.balance("a", issued.position()).await, @"available 9; short 9");
    eventually("the lot lapses", async || {
        (client.balance("a", issued.position()).await == "available 0").then_some(())
    })
    .await;
    assert!(Utc::now() >= at, "not before its time");
    let expired = eventually("the end is recorded", async || {
        let page = client.get("/v1/events?type=PointsExpired&account=a").await.json();
        page["items"].as_array()?.first().map(|event| parts(&event["data"]))
    });
    assert_snapshot!(expired.await, @"short 9");
    let refused = client.post("/v1/accounts/a/points/redeem", json!({"points": 1})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-points /points");
}
