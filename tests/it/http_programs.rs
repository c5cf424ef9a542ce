//! Programs: two brands in one ledger never see each other's anything.

use accrue_tests::client::Client;
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use serde_json::json;

#[tokio::test]
async fn no_program_lets_every_lot_lapse_before_its_issue() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let settings = |at: &str| json!({"currency": "GBP", "zone": "UTC", "expiry": {"at": at}});
    let past = client.put("/v1/program", settings("2020-01-01T00:00:00Z")).await;
    assert_eq!(past.problem(), "422 invalid-expiry /expiry/at");
    // As of then it was still to come.
    let mut then = settings("2020-01-01T00:00:00Z");
    then["occurred_at"] = json!("2019-01-01T00:00:00Z");
    client.put("/v1/program", then).await.expect(200);
    let issue = client.post("/v1/accounts/ann/points/issue", json!({"points": 1})).await;
    assert_eq!(issue.problem(), "422 invalid-expiry", "no field of the request is wrong");
    let own = json!({"points": 1, "expires": "never"});
    client.post("/v1/accounts/ann/points/issue", own).await.expect(201);
}

/// Says something in every place that holds text, everywhere with the same ids.
async fn live(client: &Client, mark: &str) {
    let note = format!("note-{mark}");
    client
        .put("/v1/program", json!({"currency": "GBP", "zone": "UTC", "expiry": "never"}))
        .await
        .expect(200);
    let campaign = json!({
        "id": "spring", "name": format!("name-{mark}"), "activate": true,
        "rules": [{
            "name": format!("rule-{mark}"), "variable": "$.amount",
            "condition": {"rule": "numeric_greater_than", "value": 0},
            "action": {"command": "issue", "formula": "$.amount"}
        }],
    });
    client.keyed("k1").post("/v1/campaigns", campaign).await.expect(201);
    let sale = json!({
        "id": "s", "account": "ann", "total": {"amount": 500, "currency": "GBP"},
        "lines": [{"product": format!("mug-{mark}"), "quantity": 1, "amount": 500}],
        "reference": note,
    });
    client.keyed("k2").post("/v1/sales", sale).await.expect(201);
    let issue = json!({"points": 40, "lot": format!("lot-{mark}"), "reference": note});
    let issue_to = "/v1/accounts/ann/points/issue";
    client.keyed("k3").with("accrue-actor", &note).post(issue_to, issue).await.expect(201);
    let adjust = json!({"points": 2, "reason": note, "actor": note, "lot": format!("gift-{mark}")});
    client.keyed("k4").post("/v1/accounts/ann/points/adjust", adjust).await.expect(200);
    let hold = json!({"id": format!("hold-{mark}"), "points": 3, "reference": note});
    client.keyed("k5").post("/v1/accounts/ann/holds", hold).await.expect(201);
    let only = format!("/v1/accounts/only-{mark}/points/issue");
    client.keyed("k6").post(&only, json!({"points": 1})).await.expect(201);
}

/// Every reading there is.
async fn everything(client: &Client, other: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let ndjson = client.with("accept", "application/x-ndjson");
    for (client, path) in [
        (client, "/v1/program".to_owned()),
        (client, "/v1/accounts".to_owned()),
        (client, "/v1/accounts?limit=1".to_owned()),
        (client, "/v1/accounts/ann".to_owned()),
        (client, "/v1/accounts/ann/statement".to_owned()),
        (client, "/v1/accounts/ann/lots".to_owned()),
        (client, "/v1/campaigns".to_owned()),
        (client, "/v1/campaigns/spring".to_owned()),
        (client, "/v1/sales/s".to_owned()),
        (client, "/v1/events".to_owned()),
        (client, "/v1/events?type=PointsIssued".to_owned()),
        (client, "/v1/events?account=ann".to_owned()),
        (&ndjson, "/v1/events".to_owned()),
        (client, format!("/v1/accounts/only-{other}")),
        (client, format!("/v1/accounts/only-{other}/statement")),
        (client, format!("/v1/events?account=only-{other}")),
    ] {
        let answer = client.get(&path).await;
        assert!(matches!(answer.status, 200 | 404), "{path}: {}", answer.text);
        if !path.contains(other) {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert!(!answer.text.is_empty(), "{path}");
        }
        // What was asked for may be repeated; nothing else of the other.
        texts.push(answer.text.replace(&format!("only-{other}"), ""));
    }
    texts
}

#[tokio::test]
async fn nothing_of_one_program_is_in_any_answer_of_another() {
    let (_database, server) = Server::create().await;
    let marks = [("acme", "canary-a"), ("bravo", "canary-b")];
    for (program, mark) in marks {
        live(&server.client().of_program(program), mark).await;
    }
    for ((program, mark), (_, other)) in [(marks[0], marks[1]), (marks[1], marks[0])] {
        let client = server.client().of_program(program);
        eventually("the sale has earned", async || {
            let text = client.get("/v1/accounts/ann").await.text;
            text.contains("spring").then_some(())
        })
        .await;
        let texts = everything(&client, other).await;
        let own = texts.iter().filter(|it| it.contains(mark)).count();
        assert!(own >= 9, "the canary is seen at home: {own}");
        for text in texts {
            assert!(!text.contains(other), "{other} in {program}: {text}");
        }
        let other_name = if program == "acme" { "bravo" } else { "acme" };
        let events = client.get("/v1/events").await.text;
        assert!(!events.contains(other_name), "{events}");
    }
    // The same keys again are hits in each program of its own.
    for (program, _) in marks {
        let client = server.client().of_program(program).keyed("k6");
        let other = client.post("/v1/accounts/zoe/points/issue", json!({"points": 1})).await;
        assert_eq!(other.problem(), "422 idempotency-key-reused Idempotency-Key");
    }
    let bystander = server.client();
    assert_eq!(bystander.events_count().await, 0);
    assert_eq!(bystander.get("/v1/accounts/ann").await.problem(), "404 unknown-account");
}

#[tokio::test]
async fn ids_keys_and_cursors_of_one_program_mean_nothing_in_another() {
    let (_database, server) = Server::create().await;
    let (acme, bravo) = (server.client().of_program("acme"), server.client().of_program("bravo"));
    for (program, mark) in [(&acme, "a"), (&bravo, "b")] {
        live(program, mark).await;
    }
    for (path, body, refused) in [
        ("points/reverse", json!({"lot": "lot-a"}), "404 unknown-lot /lot"),
        ("holds/hold-a/capture", json!({}), "404 unknown-hold hold"),
        ("holds/hold-a/release", json!({}), "404 unknown-hold hold"),
    ] {
        let answer = bravo.post(&format!("/v1/accounts/ann/{path}"), body.clone()).await;
        assert_eq!(answer.problem(), refused, "{path}");
        acme.with("idempotency-key", path)
            .post(&format!("/v1/accounts/ann/{path}?dry_run=true"), body)
            .await
            .expect(200);
    }
    // A line under a key that is used next door is a command of its own, in the program of its call.
    let line = r#"{"id":"k3","type":"issue_points","account":"zoe","points":9}"#;
    let fresh = server.client().of_program("cyan").post_lines("/v1/commands", line).await;
    let fresh = fresh.expect(200).lines();
    assert_eq!(fresh[0]["status"], 201);
    let at = format!("min_position={}", fresh[0]["receipt"]["position"]);
    let used = bravo.post_lines("/v1/commands", line).await.expect(200).lines();
    assert_eq!(used[0]["problem"]["type"], "/problems/idempotency-key-reused", "{used:?}");
    for program in [&acme, &bravo] {
        let zoe = program.get(&format!("/v1/accounts/zoe?{at}")).await;
        assert_eq!(zoe.problem(), "404 unknown-account");
    }
    // A cursor is a place in the order of ids and no key to anybody's.
    let first = acme.get(&format!("/v1/accounts?limit=1&{at}")).await.expect(200).json();
    let cursor = first["next"].as_str().expect("there is more");
    let next = bravo.get(&format!("/v1/accounts?cursor={cursor}&{at}")).await.expect(200);
    assert!(next.text.contains("only-b") && !next.text.contains("only-a"), "{}", next.text);
}
