//! Awards: what a sale earns, and what a return takes back.

use accrue_domain::account::Account;
use accrue_domain::campaign::Command;
use accrue_domain::id::ProgramId;
use accrue_event_store::follow;
use insta::assert_snapshot;
use serde_json::json;

use crate::world::{World, campaign, each, give_back, issue, redeem, rules, sale, to_campaign};

async fn account(world: &World, id: &str) -> Account {
    let loaded = world.ledger.load::<Account>(&ProgramId::default(), id).await.unwrap();
    loaded.unwrap().0
}

#[tokio::test]
async fn a_sale_is_awarded_once_however_often_the_log_is_followed() {
    let world = World::new().await;
    world.execute(campaign("tenth", each("$.amount/10"))).await;
    world.execute(sale("s1", "a", 13_912)).await;
    let running = world.follow().await;
    assert_snapshot!(running.metric("accrue_awards"), @"accrue_awards_total 1");
    assert_snapshot!(running.metric("accrue_points_awarded"), @"accrue_points_awarded_total 13");
    running.end().await;
    let head = world.head().await;
    assert_snapshot!(world.account("a").await, @r#"5 {"PointsIssued":{"lot":"award:tenth.3","points":13,"source":{"kind":"campaign","campaign":"tenth","version":1,"event":3,"sale":"s1"}}}"#);
    // From the start again; then with every answer forgotten.
    for forget in ["SELECT", "DELETE FROM idempotency"] {
        world.run(forget).await;
        world.run("DELETE FROM checkpoints").await;
        let running = world.follow().await;
        assert_eq!(running.metric("accrue_awards"), "accrue_awards_total 0");
        running.end().await;
        assert_eq!(world.head().await, head, "after {forget}");
    }
}

#[tokio::test]
async fn a_sale_is_judged_by_the_version_that_was_active_at_its_position() {
    let world = World::new().await;
    world.execute(campaign("c", each("1"))).await;
    world.execute(sale("first", "a", 100)).await;
    world.execute(rules("c", each("2"))).await;
    world.execute(sale("second", "a", 100)).await;
    // Everything so far in one go.
    world.follow().await.end().await;
    // The third version is behind the checkpoint when the follower comes back, the fourth is not.
    world.execute(rules("c", each("3"))).await;
    world.follow().await.end().await;
    world.execute(sale("third", "a", 100)).await;
    world.execute(rules("c", each("4"))).await;
    world.execute(sale("fourth", "a", 100)).await;
    world.follow().await.end().await;
    let versions = "SELECT concat_ws(' ', payload #>> '{PointsIssued,source,sale}',
                                     payload #>> '{PointsIssued,source,version}',
                                     payload #>> '{PointsIssued,points}')
                      FROM events WHERE event_type = 'PointsIssued' ORDER BY position";
    assert_snapshot!(world.lines(versions).await, @r"
    first 1 1
    second 2 2
    third 3 3
    fourth 4 4
    ");
}

#[tokio::test]
async fn a_campaign_that_is_paused_or_retired_gives_nothing() {
    let world = World::new().await;
    let running = world.start();
    world.execute(campaign("c", each("1"))).await;
    let changes = [("paused", Command::Pause), ("active", Command::Activate)];
    for (id, change) in changes.into_iter().chain([("retired", Command::Retire)]) {
        world.execute(to_campaign("c", change)).await;
        world.execute(sale(id, "a", 100)).await;
        world.caught_up(&running).await;
    }
    running.end().await;
    assert_snapshot!(world.account("a").await, @r#"8 {"PointsIssued":{"lot":"award:c.6","points":1,"source":{"kind":"campaign","campaign":"c","version":1,"event":6,"sale":"active"}}}"#);
}

#[tokio::test]
async fn partial_returns_take_back_what_the_whole_would() {
    let world = World::new().await;
    world.execute(campaign("tenth", each("$.amount/10"))).await;
    // The sale and its first return come in one batch.
    world.execute(sale("s1", "a", 13_912)).await;
    world.execute(give_back("s1", "r1", 5_000)).await;
    let running = world.follow().await;
    assert_eq!(account(&world, "a").await.balance(), 9);
    for (id, pence, left) in [("r2", 1, 9), ("r3", 4_500, 5), ("r4", 4_410, 1), ("r5", 1, 0)] {
        world.execute(give_back("s1", id, pence)).await;
        world.caught_up(&running).await;
        assert_eq!(account(&world, "a").await.balance(), left, "{id}");
    }
    running.end().await;
    let head = world.head().await;
    world.run("DELETE FROM idempotency").await;
    world.run("DELETE FROM checkpoints").await;
    world.follow().await.end().await;
    assert_eq!(world.head().await, head, "a return is taken once");
}

#[tokio::test]
async fn a_skip_counts_once_also_after_a_restart_and_from_the_start_again() {
    let world = World::new().await;
    let holes = json!([each("$.weight")[0], each("1/($.amount-1)")[0], each("7")[0]]);
    world.execute(campaign("holes", holes)).await;
    world.execute(campaign("nonsense", json!([{"nonsense": true}]))).await;
    world.execute(sale("s1", "a", 100)).await;
    world.execute(sale("s2", "a", 200)).await;
    let running = world.follow().await;
    assert_snapshot!(running.metric("accrue_skips"), @r#"
    accrue_skips_total{reason="division_by_zero"} 1
    accrue_skips_total{reason="missing_value"} 2
    accrue_skips_total{reason="rules_do_not_compile"} 2
    "#);
    running.end().await;
    world.execute(sale("s3", "a", 100)).await;
    world.follow().await.end().await;
    let skips = world.skips().await;
    assert_snapshot!(skips, @r"
    holes 1 1 missing_value 3 10
    holes 1 2 division_by_zero 2 10
    nonsense 1 0 rules_do_not_compile 3 10
    ");
    world.run("DELETE FROM checkpoints").await;
    world.follow().await.end().await;
    assert_eq!(world.skips().await, skips);
    assert_eq!(account(&world, "a").await.balance(), 22, "the other rules gave their points");
}

#[tokio::test]
async fn an_award_that_is_refused_is_counted_and_stops_nothing() {
    let world = World::new().await;
    world.execute(campaign("c", each("1"))).await;
    world.execute(issue("full", 1_000_000_000_000, None)).await;
    world.execute(sale("s1", "full", 100)).await;
    world.execute(sale("s2", "other", 100)).await;
    world.follow().await.end().await;
    assert_snapshot!(world.skips().await, @"c 1 0 refused 1 5");
    assert_snapshot!(world.lines("SELECT last_detail FROM campaign_skips").await, @"the account's balance would exceed the limit of 1000000000000");
    assert_eq!(account(&world, "other").await.balance(), 1);
    // Now there would be room, but the answer stands.
    world.execute(redeem("full", 10)).await;
    world.run("DELETE FROM checkpoints").await;
    world.follow().await.end().await;
    assert_eq!(account(&world, "full").await.balance(), 999_999_999_990);
}

#[tokio::test]
async fn an_award_whose_id_somebody_else_has_used_is_made_all_the_same() {
    let world = World::new().await;
    world.execute(campaign("c", each("1"))).await;
    let receipt = world.execute(sale("s1", "a", 100)).await;
    let squatted = format!("award/default/c/{}", receipt.position);
    world.execute_as(&squatted, issue("squatter", 5, None)).await;
    world.follow().await.end().await;
    assert_eq!(account(&world, "a").await.balance(), 1);
    let head = world.head().await;
    world.run("DELETE FROM checkpoints").await;
    world.follow().await.end().await;
    assert_eq!(world.head().await, head);
}

#[tokio::test]
async fn a_return_that_the_account_refuses_sets_its_sale_aside() {
    let world = World::new().await;
    let most = 1_000_000_000_000;
    world.execute(campaign("c", each(&most.to_string()))).await;
    let running = world.start();
    for id in ["s1", "s2"] {
        world.execute(sale(id, "a", 100)).await;
        world.caught_up(&running).await;
        world.execute(redeem("a", most)).await;
    }
    // The first return leaves the largest debt that there can be.
    for id in ["s1", "s2"] {
        world.execute(give_back(id, "r1", 100)).await;
    }
    world.execute(sale("s3", "other", 100)).await;
    world.caught_up(&running).await;
    running.end().await;
    assert_eq!(account(&world, "other").await.balance(), most);
    let mut conn = world.ledger.pool().acquire().await.unwrap();
    let parked = follow::parked(&mut conn, "awards").await.unwrap();
    assert_snapshot!(format!("{} {}", parked[0].aggregate_id, parked[0].reason), @"default/s2 event at 11: the account's debt would exceed the limit of 1000000000000");
    assert_eq!(parked.len(), 1);
}
