//! However events reach a read model, in whatever portions, its rows are the same bytes.

use accrue_domain::account::command::Command;
use accrue_domain::points::Amount;
use accrue_event_store::{follow, log};
use accrue_projections::model::MODELS;
use accrue_projections::rebuild::{Progress, rebuild};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::harness::{World, activate, caught_up, dump, issue};

async fn rows(world: &World) -> Vec<String> {
    let mut conn = world.connect().await;
    let mut rows = Vec::new();
    for model in MODELS {
        rows.extend(dump(&mut conn, model.tables).await);
    }
    rows
}

async fn rebuild_all(world: &World) {
    for model in MODELS {
        let (options, codec) = (&world.ledger.servers().current(), world.ledger.codec());
        let mut seen = Vec::new();
        let done = rebuild(options, codec, model.name, |it: Progress| seen.push(it)).await.unwrap();
        assert_eq!(done.parked, 0);
        assert_eq!(seen.last().map(|it| it.position), Some(done.position), "progress is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_one_by_one_or_all_at_once_the_rows_are_the_same() {
    for seed in [11, 12] {
        let mut world = World::new().await;
        world.act(vec![activate("tenth")]).await.unwrap();
        world.open_shop("default").await;
        world.live(seed, 60).await;
        world.trade(seed, 60).await;
        world.buy(seed, 60).await;
        let started = world.follow().await;
        // Each command is followed before the next is given.
        for _ in 0..60 {
            world.live(seed + world.commands(), 1).await;
            world.trade(seed + world.commands(), 1).await;
            world.buy(seed + world.commands(), 1).await;
            caught_up(&world, &started.views).await;
        }
        world.live(seed * 7, 60).await;
        world.trade(seed * 7, 60).await;
        world.buy(seed * 7, 60).await;
        caught_up(&world, &started.views).await;
        let live = rows(&world).await;
        assert!(live.len() > 100, "{} rows", live.len());
        rebuild_all(&world).await;
        assert_eq!(rows(&world).await, live, "seed {seed}");
        // What is built from nothing, by a server that finds no tables.
        started.views.streams.cancel();
        let mut conn = world.connect().await;
        sqlx::query("DROP SCHEMA read CASCADE").execute(&mut conn).await.unwrap();
        world.follow().await;
        assert_eq!(rows(&world).await, live, "seed {seed}, from nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_follower_goes_on_behind_a_rebuild_while_commands_come_in() {
    let mut world = World::new().await;
    let started = world.follow().await;
    world.open_shop("default").await;
    world.live(21, 50).await;
    world.trade(21, 50).await;
    world.buy(21, 50).await;
    for (round, model) in (0..).zip(["orders", "stock", "balances", "sagas", "takings", "stock"]) {
        let (options, codec) = (world.ledger.servers().current(), world.ledger.codec().clone());
        let built = tokio::spawn(async move { rebuild(&options, &codec, model, |_| {}).await });
        while !built.is_finished() {
            world.live(22 + world.commands() * 7 + round, 1).await;
            world.trade(22 + world.commands() * 7 + round, 1).await;
            world.buy(22 + world.commands() * 7 + round, 1).await;
        }
        built.await.unwrap().unwrap();
        caught_up(&world, &started.views).await;
    }
    let live = rows(&world).await;
    rebuild_all(&world).await;
    assert_eq!(rows(&world).await, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_fail_while_tables_are_switched() {
    let mut world = World::new().await;
    let started = world.follow().await;
    world.to("a", Command::Issue(issue("lot", 5))).await;
    caught_up(&world, &started.views).await;
    let stop = CancellationToken::new();
    let (pool, ended) = (world.ledger.pool().clone(), stop.clone());
    let reader = tokio::spawn(async move {
        let mut reads = 0;
        while !ended.is_cancelled() {
            let mut conn = pool.acquire().await.unwrap();
            let now = crate::harness::hour(0);
            let balance =
                accrue_projections::models::balances::by_account(&mut conn, "default", "a", now)
                    .await
                    .unwrap()
                    .expect("the account is there all the time");
            assert_eq!(balance.available, 5);
            reads += 1;
        }
        reads
    });
    for _ in 0..5 {
        rebuild(&world.ledger.servers().current(), world.ledger.codec(), "balances", |_| {})
            .await
            .unwrap();
    }
    stop.cancel();
    assert!(reader.await.unwrap() > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_events_contradict_each_other_is_parked_alone() {
    let mut world = World::new().await;
    world.to("good", Command::Issue(issue("lot", 5))).await;
    world.to("bad", Command::Issue(issue("lot", 5))).await;
    // Nobody decided this: more leaves the lot than was in it.
    let bad = r#"{"PointsRedeemed":{"points":9,"lots":[{"lot":"lot","points":9}]}}"#;
    world.forge("bad", "PointsRedeemed", 3, bad).await;
    world.to("good", Command::Issue(issue("lot-2", 6))).await;
    let started = world.follow().await;
    let mut conn = world.connect().await;
    let head = log::head(&mut conn).await.unwrap();
    started.views.balances.reached(head).await;
    let built = dump(&mut conn, &["balance_accounts", "balance_lots", "parked"]).await;
    assert!(built.iter().any(|row| row.contains("default,good,11,")), "{built:#?}");
    assert!(built.iter().any(|row| row.contains("default,bad,5,")), "{built:#?}");
    // Live, from the start.
    sqlx::query("TRUNCATE balance_accounts, balance_lots, balance_holds")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("DELETE FROM parked").execute(&mut conn).await.unwrap();
    sqlx::query("UPDATE checkpoints SET position = 0").execute(&mut conn).await.unwrap();
    // The follower notices with the next event.
    let last = world.to("good", Command::Issue(issue("lot-3", 7))).await;
    while follow::position(&mut conn, "balances").await.unwrap() < Some(last.position) {
        tokio::task::yield_now().await;
    }
    let parked = follow::parked(&mut conn, "balances").await.unwrap();
    let streams: Vec<_> = parked.iter().map(|it| (&*it.aggregate_id, it.position)).collect();
    assert_eq!(streams, [("default/bad", 5)]);
    let live = dump(&mut conn, &["balance_accounts", "balance_lots"]).await;
    rebuild(&world.ledger.servers().current(), world.ledger.codec(), "balances", |_| {})
        .await
        .unwrap();
    assert_eq!(dump(&mut conn, &["balance_accounts", "balance_lots"]).await, live);
    conn.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_parked_is_followed_again_after_a_rebuild_at_the_same_position() {
    let mut world = World::new().await;
    let started = world.follow().await;
    let first = world.to("a", Command::Issue(issue("lot", 5))).await;
    started.views.balances.reached(first.position).await;
    let mut conn = world.connect().await;
    sqlx::query("DELETE FROM balance_lots").execute(&mut conn).await.unwrap();
    let points = Amount::new(2).unwrap();
    let redeem = Command::Redeem { points, reference: None };
    let second = world.to("a", redeem.clone()).await;
    started.views.balances.reached(second.position).await;
    assert_eq!(follow::parked(&mut conn, "balances").await.unwrap().len(), 1);
    rebuild(&world.ledger.servers().current(), world.ledger.codec(), "balances", |_| {})
        .await
        .unwrap();
    let third = world.to("a", redeem).await;
    while follow::position(&mut conn, "balances").await.unwrap() < Some(third.position) {
        tokio::task::yield_now().await;
    }
    let rows = dump(&mut conn, &["balance_accounts", "parked"]).await;
    assert_eq!(rows, ["balance_accounts (default,a,1,0,0,4,4)"]);
}
