//! Followers that are fed by Kafka: the same read models and awards as by the log.

use accrue_projections::model::MODELS;
use accrue_tests::client::Client;
use accrue_tests::database::Database;
use accrue_tests::eventually::eventually;
use accrue_tests::history;
use accrue_tests::kafka::{broker, prefix};
use accrue_tests::load::{Load, Manner};
use accrue_tests::program;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::feed_world::{fed, lag, takes, verified, with_feed};
use crate::relay_world::lines;
use crate::roles::business;

const ALL: &str = "api,projections,saga,campaigns,relay,timers";

#[tokio::test(flavor = "multi_thread")]
async fn every_read_model_that_kafka_feeds_is_that_of_the_log() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let server = fed(&database, broker, &prefix, ALL).await;
    let client = server.client();
    business(&client).await;
    client.post_lines("/v1/commands", lines(0..3_000)).await.expect(200);
    business(&client.of_program("other")).await;
    verified(&database).await;
    let live = history::read_models(&database).await;
    let filled = live.iter().filter(|(_, rows)| !rows.is_empty()).count();
    assert!(filled >= 10, "{:?}", live.iter().map(|it| &it.0).collect::<Vec<_>>());
    // From the log, beside the live one and into its place, while Kafka feeds it.
    for name in MODELS.map(|model| model.name) {
        let arguments = ["projections", "rebuild", name, "--database-url", &database.url];
        program::run(arguments).await.expect_success();
    }
    assert_eq!(live, history::read_models(&database).await);
    client.post_lines("/v1/commands", lines(3_000..4_000)).await.expect(200);
    verified(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_waits_sees_what_was_written_also_in_a_program_that_is_new() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let _worker = fed(&database, broker, &prefix, "projections,relay").await;
    let api = fed(&database, broker, &prefix, "api").await;
    let load = Load::start(&[api.client()], 4, Manner::Insists);
    for at in 0..8 {
        let client = api.client().of_program(&format!("brand{at}"));
        for round in 1..=3 {
            let issued = client.post("/v1/accounts/a/points/issue", json!({"points": 5})).await;
            let position = issued.expect(201).position();
            let asked = Instant::now();
            let balance = eventually("the balance is told", async || {
                let path = format!("/v1/accounts/a?min_position={position}");
                let answer = client.get(&path).await;
                // Not there yet is an answer, an older balance is none.
                (answer.status != 503).then(|| answer.expect(200).json()["available"].clone())
            })
            .await;
            println!("brand{at}, {round}: told after {:?}", asked.elapsed());
            assert_eq!(balance, round * 5);
        }
    }
    load.stop().await;
    verified(&database).await;
}

fn campaign_rules(points: usize) -> Value {
    json!([{
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": 0},
        "action": {"command": "issue", "formula": points.to_string()}
    }])
}

/// Sales among changes of the campaign that judges them: version `n` gives `n` points.
async fn sell(client: &Client) {
    for version in 1..=12 {
        let rules = campaign_rules(version);
        if version == 1 {
            let campaign = json!({"id": "c", "name": "C", "activate": true, "rules": rules});
            client.post("/v1/campaigns", campaign).await.expect(201);
        } else {
            let client = client.with("if-match", "*");
            client.put("/v1/campaigns/c/rules", json!({"rules": rules})).await.expect(200);
        }
        for at in 0..8 {
            let (id, account) = (format!("s{version}-{at}"), format!("a{at}"));
            let sale =
                json!({"id": id, "account": account, "total": {"amount": 500, "currency": "GBP"}});
            client.post("/v1/sales", sale).await.expect(201);
        }
    }
}

/// Awards that another version made than was in force at the position of their sale.
const MISJUDGED: &str = "
    SELECT count(*) FROM events a, LATERAL (
           SELECT count(*) AS version FROM events c
            WHERE c.aggregate_type = 'campaign' AND c.program = a.program
              AND c.event_type IN ('CampaignCreated', 'CampaignRulesReplaced')
              AND c.position < (a.payload #>> '{PointsIssued,source,event}')::bigint) c
     WHERE a.event_type = 'PointsIssued'
       AND ((a.payload #>> '{PointsIssued,source,version}')::bigint <> c.version
         OR (a.payload #>> '{PointsIssued,points}')::bigint <> c.version)";

/// Waits until every sale was judged.
async fn judged(database: &Database) {
    eventually("every sale is judged", async || (lag(database, "awards").await == 0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_judged_by_its_position_whichever_way_the_campaigns_events_come() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    // All before anybody judges, so that the campaign's partition and those of sales come as they
    // like, and everything behind is known when the first is judged.
    sell(&api.client()).await;
    let _worker = fed(&database, broker, &prefix, "campaigns").await;
    judged(&database).await;
    let awards = "SELECT count(*) FROM events WHERE event_type = 'PointsIssued'";
    assert_eq!(database.number(awards).await, 96);
    assert_eq!(database.number(MISJUDGED).await, 0);
    // And while two judge as it happens.
    let second = fed(&database, broker, &prefix, "campaigns").await;
    takes(&second, "awards", 6).await;
    sell(&api.client().of_program("live")).await;
    judged(&database).await;
    assert_eq!(database.number(awards).await, 192);
    assert_eq!(database.number(MISJUDGED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_may_change_both_ways_and_nothing_is_applied_twice_or_left_out() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    business(&api.client()).await;
    let load = Load::start(&[api.client()], 8, Manner::Insists);
    let mut worker = with_feed(&database, broker, &prefix, "projections,campaigns", "log").await;
    for (round, feed) in ["kafka", "log", "kafka", "kafka", "log"].into_iter().enumerate() {
        let from = round * 3_000;
        api.client().post_lines("/v1/commands", lines(from..from + 3_000)).await.expect(200);
        // In the middle of its work, so that partitions are not where the others are.
        if round % 2 == 0 {
            worker.kill9();
        } else {
            worker.sigterm();
            worker.exit().await;
        }
        worker = with_feed(&database, broker, &prefix, "projections,campaigns", feed).await;
        history::verify(&database).await.expect_success();
    }
    load.stop().await;
    verified(&database).await;
    assert_eq!(database.number("SELECT count(*) FROM feed_checkpoints").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_are_fed_differently_the_last_one_feeds_and_the_other_says_so() {
    let (broker, prefix) = (broker().await, prefix());
    let database = Database::create().await;
    let api = fed(&database, broker, &prefix, "api,relay").await;
    let by_log = with_feed(&database, broker, &prefix, "projections", "log").await;
    api.client().post_lines("/v1/commands", lines(0..500)).await.expect(200);
    let _by_kafka = fed(&database, broker, &prefix, "projections").await;
    api.client().post_lines("/v1/commands", lines(500..1_000)).await.expect(200);
    verified(&database).await;
    let ready = by_log.client().get("/readyz").await;
    assert!(ready.text.contains("another process feeds it by kafka"), "{}", ready.text);
}

#[tokio::test]
async fn a_feed_that_is_none_or_has_no_kafka_is_refused_by_name() {
    let cases = [("log2", "feed: expected log or kafka"), ("kafka", "kafka_bootstrap: expected")];
    for (feed, reason) in cases {
        let said = program::run(["serve", "--port", "0", "--feed", feed]).await;
        assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
        assert!(said.err.contains(reason), "{said:?}");
    }
}
