//! Campaigns over HTTP: written, changed, paused, tried out; what they skip is there to see.

use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn rules(bound: Value, formula: &str) -> Value {
    json!([{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": bound},
        "action": {"command": "issue", "formula": formula}
    }])
}

fn campaign(id: &str, rules: &Value) -> Value {
    json!({"id": id, "name": "A campaign", "rules": rules})
}

fn sale(id: &str, account: &str, pence: i64) -> Value {
    json!({"id": id, "account": account, "total": {"amount": pence, "currency": "GBP"}})
}

#[tokio::test]
async fn a_campaign_goes_from_draft_to_retired_and_every_edit_is_a_version() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let first = rules(json!(100), "$.amount/10");
    let created = client.post("/v1/campaigns", campaign("c", &first)).await.expect(201);
    assert_eq!(created.data("CampaignCreated")[0]["version"], 1);
    let read = client.get(&format!("/v1/campaigns/c?min_position={}", created.position())).await;
    let read = read.expect(200);
    assert_eq!(read.json()["status"], "draft");
    assert_eq!(read.json()["rules"], first);
    let etag = read.header("etag").to_owned();
    assert_eq!(etag, created.header("etag"));

    let put = "/v1/campaigns/c/rules";
    let second = json!({"rules": rules(json!(50), "$.amount/5")});
    let blind = client.put(put, second.clone()).await;
    assert_snapshot!(blind.problem(), @"428 precondition-required If-Match");
    let stale = client.with("if-match", "\"77\"").put(put, second.clone()).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let replaced = client.with("if-match", &etag).put(put, second.clone()).await.expect(200);
    assert_eq!(replaced.data("CampaignRulesReplaced")[0]["version"], 2);
    let late = client.with("if-match", &etag).put(put, json!({"rules": first})).await;
    assert_eq!(late.status, 412, "somebody else was first: {}", late.text);

    let post = async |verb: &str| client.post(&format!("/v1/campaigns/c/{verb}"), json!({})).await;
    assert_snapshot!(post("pause").await.problem(), @"409 campaign-not-active");
    assert_eq!(post("activate").await.data("CampaignActivated").len(), 1);
    assert!(
        post("activate").await.expect(200).json()["events"].as_array().is_some_and(Vec::is_empty)
    );
    assert_eq!(post("pause").await.data("CampaignPaused").len(), 1);
    assert_eq!(post("retire").await.data("CampaignRetired").len(), 1);
    assert!(
        post("retire").await.expect(200).json()["events"].as_array().is_some_and(Vec::is_empty)
    );
    assert_snapshot!(post("activate").await.problem(), @"409 campaign-retired");
    let unknown = client.post("/v1/campaigns/none/activate", json!({})).await;
    assert_snapshot!(unknown.problem(), @"404 unknown-campaign");
    assert_snapshot!(client.get("/v1/campaigns/none").await.problem(), @"404 unknown-campaign");
    let taken = client.post("/v1/campaigns", campaign("c", &rules(json!(1), "1"))).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    // It could not be read: that path is another one's.
    let evaluate = client.post("/v1/campaigns", campaign("evaluate", &rules(json!(1), "1"))).await;
    assert_snapshot!(evaluate.problem(), @"422 invalid-request /id");
}

#[tokio::test]
async fn a_sale_is_judged_by_the_version_that_was_active_when_it_came() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/campaigns", campaign("c", &rules(json!(0), "1"))).await.expect(201);
    client.post("/v1/sales", sale("s0", "draft", 100)).await.expect(201);
    client.post("/v1/campaigns/c/activate", json!({})).await.expect(200);
    client.post("/v1/sales", sale("s1", "one", 100)).await.expect(201);
    let second = json!({"rules": rules(json!(0), "20")});
    client.with("if-match", "*").put("/v1/campaigns/c/rules", second).await.expect(200);
    client.post("/v1/sales", sale("s2", "two", 100)).await.expect(201);
    client.post("/v1/campaigns/c/pause", json!({})).await.expect(200);
    client.post("/v1/sales", sale("s3", "paused", 100)).await.expect(201);
    client.post("/v1/campaigns/c/activate", json!({})).await.expect(200);
    let end = client.post("/v1/sales", sale("s4", "again", 100)).await.expect(201).position();
    let last = eventually("the last sale earns", async || {
        let page = client.get("/v1/events?type=PointsIssued").await.expect(200).json();
        let items = page["items"].as_array()?.clone();
        let line = |it: &Value| {
            format!("{} {}", it["subject"].as_str().unwrap_or_default(), it["data"]["points"])
        };
        (items.len() >= 3).then(|| items.iter().map(line).collect::<Vec<_>>().join(", "))
    });
    assert_snapshot!(last.await, @"account/one 1, account/two 20, account/again 20");
    for account in ["draft", "paused"] {
        assert_eq!(client.balance(account, end).await, "available 0", "{account}");
    }
}

#[tokio::test]
async fn rules_that_do_not_compile_are_refused_with_their_place() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let with = |pointer: &str, value: Value| {
        let mut rules = rules(json!(100), "$.amount/10");
        *rules.pointer_mut(pointer).expect("the field is there") = value;
        rules
    };
    let wrong = [
        (with("/0/condition/rule", json!("numeric_like")), "/rules/0/condition/rule"),
        (with("/0/condition/value", json!("a hundred")), "/rules/0/condition/value"),
        (with("/0/action/command", json!("give")), "/rules/0/action/command"),
        (with("/0/variable", json!("amount")), "/rules/0/variable"),
        (with("/0/action/formula", json!("$.amount/")), "/rules/0/action/formula"),
        (with("/0/action/formula", json!("$.amount/0")), "/rules/0/action/formula"),
        (with("/0/action/formula", json!("system(1)")), "/rules/0/action/formula"),
        (with("/0", json!({"variable": "$.amount"})), "/rules/0/condition /rules/0/action"),
        (json!([]), "/rules"),
        (json!({}), "/rules"),
    ];
    for (rules, pointers) in wrong {
        let answer = client.post("/v1/campaigns", campaign("c", &rules)).await;
        assert_eq!(answer.problem(), format!("422 invalid-rules {pointers}"), "{}", answer.text);
    }
    let formula = with("/0/action/formula", json!("$.amount / 0 + 1"));
    let answer = client.post("/v1/campaigns", campaign("c", &formula)).await;
    assert_eq!(answer.json()["errors"][0]["column"], 12, "{}", answer.text);
    assert_eq!(client.events_count().await, 0, "nothing was appended");
}

#[tokio::test]
async fn rules_can_be_tried_out_and_say_why() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut tried = rules(json!(100), "$.amount/10");
    let second = json!({
        "variable": "$.lines", "condition": {"rule": "numeric_equals", "value": 1},
        "action": {"command": "issue", "formula": "1"}
    });
    tried.as_array_mut().expect("a list").push(second);
    let body = json!({"rules": tried, "document": {"amount": 139.12}});
    let unknown = client.post("/v1/campaigns/evaluate?version=2", body.clone()).await;
    assert_eq!(unknown.status, 422, "{}", unknown.text);
    let utf8 = client.with("content-type", "application/json; profile=x; charset=UTF-8");
    let answer = utf8.post("/v1/campaigns/evaluate", body).await.expect(200).json();
    assert_eq!(answer["points"], 13);
    assert_eq!(answer["awards"], json!([{"rule": 0, "points": 13}]));
    assert_eq!(answer["rules"][0]["value"], "13.912");
    assert_eq!(answer["rules"][0]["conditions"][0]["held"], true);
    assert_eq!(answer["rules"][1]["result"], "skipped");
    assert_eq!(answer["skipped"][0]["rule"], 1);
    assert_eq!(client.events_count().await, 0, "nothing is stored");
}

#[tokio::test]
async fn what_a_rule_could_not_judge_is_counted_and_stops_no_other() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut broken = campaign("broken", &rules(json!(0), "1/($.amount - 5)"));
    broken["activate"] = json!(true);
    client.post("/v1/campaigns", broken).await.expect(201);
    let mut sound = campaign("sound", &rules(json!(0), "7"));
    sound["activate"] = json!(true);
    client.post("/v1/campaigns", sound).await.expect(201);
    let mut end = 0;
    for at in 0..3 {
        let sale = sale(&format!("s{at}"), "ann", 500);
        end = client.post("/v1/sales", sale).await.expect(201).position();
    }
    eventually("the sound one awards all three", async || {
        client.balance("ann", end).await.starts_with("available 21;").then_some(())
    })
    .await;
    let skips = eventually("the skips are counted", async || {
        let campaign = client.get("/v1/campaigns/broken").await.json();
        let skips = campaign["skips"].as_array()?.clone();
        (skips.first()?["count"] == 3).then_some(skips)
    });
    let skips = skips.await;
    assert_eq!(skips.len(), 1);
    assert_eq!(skips[0]["reason"], "division_by_zero");
    eventually("the sound one's awards are counted", async || {
        let sound = client.get("/v1/campaigns/sound").await.json();
        ((&sound["awards"], &sound["points"]) == (&json!(3), &json!(21))).then_some(())
    })
    .await;
    let list = client.get("/v1/campaigns").await.expect(200).json();
    let ids: Vec<_> =
        list["items"].as_array().expect("items").iter().map(|it| &it["campaign"]).collect();
    assert_eq!(ids, ["broken", "sound"]);
    let metrics = client.get("/metrics").await.expect(200).text;
    let counted = metrics.lines().find(|it| it.contains("skip") && it.contains("division_by_zero"));
    assert!(counted.is_some_and(|it| it.ends_with(" 3")), "{counted:?}");
}
