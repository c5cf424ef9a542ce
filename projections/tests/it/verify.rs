//! Verification finds what was changed behind the log's back, and says where.

use accrue_domain::account::command::Command;
use accrue_domain::product::Offering;
use accrue_domain::wallet::command::Command as OnWallet;
use accrue_projections::model::MODELS;
use accrue_projections::verify::{Finding, verify};
use sqlx::Executor as _;

use crate::harness::{
    World, activate, adjust, award, caught_up, issue, money, offer, product, set_aside, wallet,
};
use crate::shop::{self, card, order, purchase};

async fn findings(world: &World) -> Vec<(String, i64)> {
    let codec = world.ledger.codec();
    let found = verify(&world.ledger.servers().current(), codec, |_| {}).await.unwrap();
    found
        .iter()
        .map(|Finding { subject, position, .. }| ((*subject).to_owned(), *position))
        .collect()
}

/// Three commands: a campaign at 1, member `a` at 3 and 4, member `b` from 5 on.
async fn world() -> World {
    let mut world = World::new().await;
    world.act(vec![activate("tenth")]).await.unwrap();
    let mut first = issue("lot", 5);
    first.source = award("tenth", "sale-1");
    world.to("a", Command::Issue(first)).await;
    world.to("b", Command::Issue(issue("lot", 7))).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_database_has_no_finding() {
    let mut world = world().await;
    let started = world.follow().await;
    world.live(31, 150).await;
    world.trade(31, 150).await;
    world.open_shop("default").await;
    world.buy(31, 150).await;
    caught_up(&world, &started.views).await;
    assert_eq!(findings(&world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_of_any_table_is_found_at_its_position() {
    let changes = [
        ("balances", "UPDATE balance_accounts SET free = free + 1 WHERE account = 'b'", 6),
        ("balances", "DELETE FROM balance_lots WHERE account = 'a'", 4),
        ("balances", "INSERT INTO balance_holds VALUES ('default', 'a', 'h', 1, '[]', NULL, 4)", 4),
        ("statement", "UPDATE statement_entries SET cause = '{}' WHERE position = 6", 6),
        ("campaigns", "UPDATE campaigns SET status = 'paused'", 2),
        ("campaigns", "UPDATE campaign_days SET points = points + 1", 4),
        ("campaigns", "DELETE FROM campaign_awards", 4),
        ("stock", "UPDATE stock_products SET held = 0, available = 3", 9),
        ("stock", "UPDATE stock_products SET words = ''", 9),
        ("stock", "DELETE FROM stock_holds", 9),
        ("wallets", "UPDATE wallets SET available = available + 1", 10),
        ("orders", "UPDATE orders SET state = 'stuck' WHERE purchase = 'on-its-way'", 15),
        ("orders", "UPDATE orders SET story = '{}' WHERE purchase = 'over'", 14),
        ("sagas", "DELETE FROM sagas", 15),
        ("sagas", "DELETE FROM saga_purchases WHERE purchase = 'over'", 14),
        ("takings", "UPDATE takings SET taken = taken + 1", 14),
        ("takings", "UPDATE takings_purchases SET tenders = 'card'", 14),
    ];
    let mut world = world().await;
    for command in [offer("Pen", Offering::Goods, 90), adjust(3), set_aside("h", 2, None)] {
        world.act(vec![product("pen", command)]).await.unwrap();
    }
    let top_up = OnWallet::TopUp { money: money(5, "USD"), reference: None };
    world.act(vec![wallet("w", top_up)]).await.unwrap();
    world.complete("over", order(None, 1, vec![shop::wallet("w", None)])).await;
    world.act(purchase("on-its-way", order(None, 1, vec![card()]))).await.unwrap();
    let started = world.follow().await;
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    for (model, change, position) in changes {
        conn.execute("BEGIN").await.unwrap();
        conn.execute(change).await.unwrap();
        conn.execute("COMMIT").await.unwrap();
        assert_eq!(findings(&world).await, [(model.to_owned(), position)], "{change}");
        accrue_projections::rebuild::rebuild(
            &world.ledger.servers().current(),
            world.ledger.codec(),
            model,
            |_| {},
        )
        .await
        .unwrap();
        assert_eq!(findings(&world).await, [], "after a rebuild");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_log_is_found_at_the_event_or_the_commit_that_was_changed() {
    let changes = [
        (
            "UPDATE events SET payload = replace(payload::text, '7', '8')::json WHERE position = 6",
            6,
        ),
        (
            "UPDATE events SET payload = replace(payload::text, '7', '8')::json WHERE position = 6;
             UPDATE commits SET marks = NULL",
            5,
        ),
        ("UPDATE events SET metadata = '{}' WHERE position >= 4", 4),
        ("UPDATE events SET metadata = '{}' WHERE position = 3", 3),
        ("UPDATE events SET recorded_at = recorded_at + '1us' WHERE position = 1", 1),
        ("UPDATE events SET program = 'other' WHERE position = 1", 1),
        ("DELETE FROM events WHERE position = 6", 6),
        ("DELETE FROM events WHERE position = 4", 4),
        ("UPDATE commits SET root = sha256(root) WHERE last_position = 4", 3),
        ("UPDATE commits SET hash = sha256(hash) WHERE last_position = 4", 3),
        ("DELETE FROM commits WHERE last_position = 4", 3),
        ("DELETE FROM commits WHERE last_position = 6", 5),
        ("UPDATE log_head SET hash = sha256(hash)", 6),
        ("UPDATE log_head SET position = 9", 7),
    ];
    for (change, position) in changes {
        let world = world().await;
        world.ledger.close().await;
        let mut conn = world.connect().await;
        let refused = conn.execute(change).await;
        let head = change.contains("log_head");
        assert_eq!(refused.is_ok(), head, "{change}");
        conn.execute(
            "ALTER TABLE events DISABLE TRIGGER events_are_immutable;
             ALTER TABLE commits DISABLE TRIGGER commits_are_immutable",
        )
        .await
        .unwrap();
        conn.execute(change).await.unwrap();
        let found = findings(&world).await;
        let first = found.iter().find(|(subject, _)| subject == "log");
        assert_eq!(first.map(|(_, position)| *position), Some(position), "{change}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_missing_are_said_to_be() {
    let world = world().await;
    let mut conn = world.connect().await;
    let listed = accrue_projections::list::list(&mut conn).await.unwrap();
    assert!(listed.iter().all(|it| (it.version, it.lag) == (None, 6)), "{listed:?}");
    let found =
        verify(&world.ledger.servers().current(), world.ledger.codec(), |_| {}).await.unwrap();
    assert_eq!(found.len(), MODELS.len());
    assert!(found.iter().all(|it| it.detail.contains("tables are missing")), "{found:?}");
}
