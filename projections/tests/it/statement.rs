//! A statement adds up to the balance, whatever happened.

use accrue_domain::account::command::Command;
use accrue_domain::id::{LotId, ReturnId, SaleId};
use accrue_event_store::clock::Clock as _;
use accrue_projections::models::balances;
use accrue_projections::models::statement::{OfSale, Order, of_account, of_sale};

use crate::harness::{World, award, caught_up, issue};

#[tokio::test(flavor = "multi_thread")]
async fn entries_sum_to_what_the_account_has() {
    let mut world = World::new().await;
    let started = world.follow().await;
    world.live(41, 300).await;
    let now = world.clock.now();
    for member in 0..4 {
        world
            .act(vec![crate::harness::account(&format!("member-{member}"), Command::Settle)])
            .await
            .unwrap();
    }
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    for member in 0..4 {
        let id = format!("member-{member}");
        let account = ("default", &*id);
        let newest = of_account(&mut conn, account, Order::Newest, None, 500).await.unwrap();
        let oldest = of_account(&mut conn, account, Order::Oldest, None, 500).await.unwrap();
        let keys: Vec<_> = newest.iter().map(|entry| entry.key()).collect();
        assert!(oldest.iter().rev().map(|entry| entry.key()).eq(keys.iter().copied()));
        let sums = newest.iter().fold((0, 0, 0), |(points, held, debt), entry| {
            (points + entry.points, held + entry.held, debt + entry.debt)
        });
        let balance = balances::by_account(&mut conn, "default", &id, now).await.unwrap().unwrap();
        let all = balance.available + balance.pending + balance.held;
        assert_eq!(sums, (all, balance.held, balance.debt), "{id}");
        // Page by page it is the same.
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = of_account(&mut conn, account, Order::Newest, after, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key());
            seen.extend(page.iter().map(|entry| entry.key()));
        }
        assert_eq!(seen, keys);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_knows_what_it_earned_and_what_went_back() {
    let mut world = World::new().await;
    let started = world.follow().await;
    let awarded = |lot: &str, points| {
        let mut issue = issue(lot, points);
        issue.source = award("tenth", "sale-1");
        Command::Issue(issue)
    };
    world.to("a", awarded("one", 30)).await;
    world.to("a", awarded("two", 10)).await;
    world.to("a", Command::Issue(issue("three", 500))).await;
    caught_up(&world, &started.views).await;
    // Reversed long after the award, and in the same breath as another.
    let back = Command::ReverseSale {
        sale: SaleId::new("sale-1").unwrap(),
        return_id: ReturnId::new("return-1").unwrap(),
        returned: 1,
        total: 2,
    };
    world.to("a", back).await;
    let lot = LotId::new("three").unwrap();
    world.to("a", Command::Reverse { lot, points: None, reference: None }).await;
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    let sale = of_sale(&mut conn, "default", "sale-1").await.unwrap();
    assert_eq!(sale, OfSale { earned: 40, reversed: 20 });
    assert_eq!(of_sale(&mut conn, "default", "sale-2").await.unwrap(), OfSale::default());
}
