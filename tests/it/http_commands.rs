//! Commands in bulk: one line in, one line out, in order, whatever the lines are.

use std::collections::BTreeMap;

use accrue_tests::server::Server;
use serde_json::{Value, json};

/// A line and what its answer must be: id and status.
fn line(at: usize) -> (String, Value, u64) {
    let id = format!("k{at}");
    let account = format!("a{}", at % 7);
    let envelope = |r#type: &str, mut body: Value| {
        body["id"] = json!(id);
        body["type"] = json!(r#type);
        body.to_string()
    };
    match at % 10 {
        0 => ("{\"id\":".to_owned(), Value::Null, 400),
        1 => (envelope("issue_points", json!({"account": account, "points": 0})), json!(id), 422),
        2 => (envelope("grant_points", json!({"account": account, "points": 1})), json!(id), 422),
        3 => (
            envelope("redeem_points", json!({"account": account, "points": 900_000})),
            json!(id),
            409,
        ),
        4 => {
            let total = json!({"amount": 100 + at, "currency": "GBP"});
            let sale = format!("s{at}");
            let body = json!({"sale": sale, "account": account, "total": total});
            (envelope("record_sale", body), json!(id), 201)
        }
        5 => (envelope("issue_points", json!({"points": 1})), json!(id), 422),
        6 => {
            let body = json!({"account": account, "points": 1, "reason": "r", "actor": "a"});
            (envelope("adjust_points", body), json!(id), 200)
        }
        _ => (envelope("issue_points", json!({"account": account, "points": 2})), json!(id), 201),
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("a sound line is JSON")
}

#[tokio::test]
async fn a_thousand_mixed_lines_are_answered_in_order_and_again_the_same() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let lines: Vec<_> = (0..1_000).map(line).collect();
    let body: String = lines.iter().map(|(text, ..)| format!("{text}\n")).collect();
    let first = client.post_lines("/v1/commands", body.clone()).await.expect(200);
    let answers = first.lines();
    assert_eq!(answers.len(), lines.len());
    let mut last = BTreeMap::new();
    for ((text, id, status), answer) in lines.iter().zip(&answers) {
        assert_eq!(&answer["status"], status, "{text}: {answer}");
        assert_eq!(&answer["id"], id, "{text}: {answer}");
        if *status < 300 {
            let position = answer["receipt"]["position"].as_i64().expect("a position");
            // Accounts may overtake each other; an account's own commands never do.
            let account = json_of(text)["account"].to_string();
            let before = last.insert(account, position).unwrap_or(0);
            assert!(position > before, "{text}: {answer}");
        } else {
            assert_eq!(&answer["problem"]["status"], status);
        }
    }
    let events = "SELECT count(*) FROM events";
    let count = database.number(events).await;
    // Issues: 3 in 10; adjustments and sales: 1 in 10; and seven accounts were opened.
    assert_eq!(count, 300 + 100 + 100 + 7);
    assert_eq!(Some(&count), last.values().max());

    let again = client.post_lines("/v1/commands", body).await.expect(200).lines();
    for (first, again) in answers.iter().zip(&again) {
        assert_eq!((&first["id"], &first["receipt"]), (&again["id"], &again["receipt"]));
        assert_eq!(first["problem"], again["problem"]);
        let decided = matches!(again["status"].as_u64(), Some(200 | 201 | 409));
        assert_eq!(again["replayed"] == true, decided, "{again}");
    }
    assert_eq!(database.number(events).await, count);
}

#[tokio::test]
async fn a_line_and_the_single_call_of_the_same_key_are_one_command() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let body = json!({"points": 5, "reference": "r"});
    let single = client.keyed("k").post("/v1/accounts/ann/points/issue", body).await.expect(201);
    let line =
        json!({"type": "issue_points", "reference": "r", "points": 5, "account": "ann", "id": "k"});
    let answer = client.post_lines("/v1/commands", line.to_string()).await.expect(200).lines();
    assert_eq!(answer.len(), 1, "a last line needs no end");
    assert_eq!(answer[0]["receipt"], single.json());
    assert_eq!(answer[0]["replayed"], true);
    assert_eq!(database.number("SELECT count(*) FROM events").await, 2);
}

#[tokio::test]
async fn a_line_may_say_which_version_it_changes() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let rules = |more_than: i64| {
        json!([{"variable": "$.amount",
                "condition": {"rule": "numeric_greater_than", "value": more_than},
                "action": {"command": "issue", "formula": "1"}}])
    };
    let campaign = json!({"id": "c", "name": "c", "rules": rules(1)});
    let created = client.post("/v1/campaigns", campaign).await.expect(201);
    assert_eq!(created.header("etag"), "\"1\"");
    let replace = |id: &str, more_than: i64, version: i64| {
        let line = json!({"id": id, "type": "replace_rules", "campaign": "c",
                          "rules": rules(more_than), "expected_version": version});
        format!("{line}\n")
    };
    let mut body = replace("first", 2, 1);
    body += &replace("late", 3, 1);
    body += &replace("negative", 4, -1);
    body += "{\"id\":\"new\",\"type\":\"issue_points\",\"account\":\"a\",\"points\":1,\"expected_version\":0}\n";
    let total = json!({"amount": 1, "currency": "GBP"});
    let sale = json!({"id": "s", "type": "record_sale", "sale": "s", "total": total, "expected_version": 0});
    body += &sale.to_string();
    let answers = client.post_lines("/v1/commands", body).await.expect(200).lines();
    let told = |answer: &Value| {
        let pointer = &answer["problem"]["errors"][0]["pointer"];
        (answer["status"].as_u64().unwrap_or(0), pointer.as_str().unwrap_or_default().to_owned())
    };
    let told: Vec<_> = answers.iter().map(told).collect();
    let version = || "/expected_version".to_owned();
    let wanted = [
        (200, String::new()),
        (412, version()),
        (422, version()),
        (201, String::new()),
        (422, version()),
    ];
    assert_eq!(told, wanted, "{answers:#?}");
    // What was accepted is known again whatever the version has become, what was refused for its version
    // by that alone.
    for (id, version, status) in
        [("first", 1, 200), ("first", 2, 200), ("late", 1, 412), ("late", 2, 422)]
    {
        let more_than = if id == "first" { 2 } else { 3 };
        let line = replace(id, more_than, version);
        let again = client.post_lines("/v1/commands", line).await.expect(200).lines();
        assert_eq!(again[0]["status"], status, "{id} {version}: {again:?}");
        if status == 422 {
            assert_eq!(again[0]["problem"]["type"], "/problems/idempotency-key-reused");
        } else {
            assert_eq!(again[0]["replayed"], true);
        }
    }
    let replaced = "SELECT count(*) FROM events WHERE event_type = 'CampaignRulesReplaced'";
    assert_eq!(database.number(replaced).await, 1);
}

#[tokio::test]
async fn lines_that_are_no_text_do_not_end_the_stream() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let good = |key: &str| {
        format!("{{\"id\":\"{key}\",\"type\":\"issue_points\",\"account\":\"a\",\"points\":1}}\n")
    };
    let mut body = good("k1").into_bytes();
    body.extend(b"\xff\xfe\n\0\0\n[1]\n\"x\"\n");
    body.extend(format!("{}\n", "[".repeat(200_000)).bytes());
    body.extend(format!("{{\"id\":\"{}\"}}\n", "x".repeat(2 << 20)).bytes());
    body.extend(good("k2").bytes());
    let answers = client.post_lines("/v1/commands", body).await.expect(200).lines();
    let statuses: Vec<_> = answers.iter().map(|it| it["status"].as_u64().unwrap_or(0)).collect();
    assert_eq!(statuses, [201, 400, 400, 422, 422, 422, 413, 201], "{answers:#?}");
    assert_eq!(answers[6]["line"], 7);
    let last = answers[7]["receipt"]["position"].as_i64().expect("a position");
    assert!(client.balance("a", last).await.starts_with("available 2;"));
    let keyed = client.keyed("k").post_lines("/v1/commands", good("k3")).await;
    assert_eq!(keyed.problem(), "422 invalid-request Idempotency-Key");
}

#[tokio::test]
async fn a_bulk_dry_run_keeps_nothing() {
    let (database, server) = Server::create().await;
    let client = server.client();
    let body: String = (0..50).map(|at| format!("{}\n", line(at).0)).collect();
    let answers = client.post_lines("/v1/commands?dry_run=true", body).await.expect(200).lines();
    assert_eq!(answers.len(), 50);
    assert_eq!(database.number("SELECT count(*) FROM events").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM idempotency").await, 0);
}
