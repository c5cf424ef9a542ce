//! Deadlines: what time does is recorded once, soon, and in nobody's way.

use accrue_domain::account::command::Command;
use accrue_domain::id::HoldId;
use accrue_domain::points::Amount;
use accrue_event_store::executor::{RawEvent, RawStream};
use chrono::TimeDelta;
use insta::assert_snapshot;

use crate::world::{World, issue, later, to_account};

const EXPIRED: &str = "SELECT count(*) FROM events WHERE event_type = 'PointsExpired'";
const TIMERS: &str = "SELECT count(*) FROM timers";

#[tokio::test]
async fn a_lot_lapses_at_its_very_instant_and_once() {
    let world = World::new().await;
    world.execute(issue("early", 5, Some(later(9)))).await;
    world.execute(issue("late", 7, Some(later(10)))).await;
    // Two of them, as where two processes have the role.
    let (one, other) = (world.start(), world.start());
    world.clock.set(later(10) - TimeDelta::microseconds(1));
    world.until(EXPIRED, 1).await;
    assert_eq!(world.number(TIMERS).await, 1);
    world.clock.set(later(10));
    world.until(EXPIRED, 2).await;
    world.until(TIMERS, 0).await;
    // A third deadline comes and goes: whatever was to come for the others has come by then.
    world.execute(issue("marker", 1, Some(later(20)))).await;
    world.clock.set(later(20));
    world.until(EXPIRED, 3).await;
    one.end().await;
    other.end().await;
    assert_eq!(world.number(EXPIRED).await, 3);
    assert_snapshot!(world.account("late").await, @r#"
    4 {"PointsIssued":{"lot":"test-2","points":7,"expires_at":"2011-06-15T12:00:10Z","source":{"kind":"issue"}}}
    6 {"PointsExpired":{"points":7,"lots":[{"lot":"test-2","points":7}]}}
    "#);
}

#[tokio::test]
async fn a_hold_is_released_at_its_deadline_and_the_next_one_is_noted() {
    let world = World::new().await;
    world.execute(issue("a", 5, Some(later(20)))).await;
    let hold = HoldId::new("h").unwrap();
    let points = Amount::new(3).unwrap();
    let until = Some(later(10));
    let place = Command::PlaceHold { hold, points, until, reference: None };
    world.execute(to_account("a", place)).await;
    let running = world.start();
    world.clock.set(later(10));
    world.until("SELECT count(*) FROM events WHERE event_type = 'HoldReleased'", 1).await;
    world
        .until("SELECT extract(epoch FROM due_at)::bigint FROM timers", later(20).timestamp())
        .await;
    world.clock.set(later(20));
    world.until(TIMERS, 0).await;
    running.until("accrue_deadlines_settled", "accrue_deadlines_settled_total 2").await;
    running.end().await;
    assert_snapshot!(world.account("a").await, @r#"
    2 {"PointsIssued":{"lot":"test-1","points":5,"expires_at":"2011-06-15T12:00:20Z","source":{"kind":"issue"}}}
    3 {"HoldPlaced":{"hold":"h","points":3,"lots":[{"lot":"test-1","points":3}],"until":"2011-06-15T12:00:10Z"}}
    4 {"HoldReleased":{"hold":"h","points":3,"lots":[{"lot":"test-1","points":3}],"reason":"deadline"}}
    5 {"PointsExpired":{"points":5,"lots":[{"lot":"test-1","points":5}]}}
    "#);
}

/// A server whose clock lags takes over and issues points that lapse at an instant for which the
/// account was settled before.
#[tokio::test]
async fn a_deadline_that_comes_a_second_time_is_settled_a_second_time() {
    let first = World::new().await;
    first.execute(issue("a", 5, Some(later(10)))).await;
    let running = first.start();
    first.clock.set(later(10));
    first.until(TIMERS, 0).await;
    running.end().await;
    first.ledger.close().await;
    let second = World::open(first.options, later(9)).await;
    second.execute_as("second", issue("a", 7, Some(later(10)))).await;
    let running = second.start();
    second.clock.set(later(10));
    second.until(TIMERS, 0).await;
    running.end().await;
    assert_eq!(second.number(EXPIRED).await, 2);
}

#[tokio::test]
async fn a_deadline_that_cannot_be_settled_stands_in_nobodys_way() {
    let world = World::new().await;
    world.execute(issue("broken", 5, Some(later(1)))).await;
    world.execute(issue("sound", 7, Some(later(2)))).await;
    damage(&world, "broken").await;
    let running = world.start();
    world.clock.set(later(2));
    world.until(EXPIRED, 1).await;
    assert_eq!(world.number(TIMERS).await, 1, "the broken one is still due");
    running.until("accrue_deadlines_settled", "accrue_deadlines_settled_total 1").await;
    running.until("accrue_deadlines_set_aside", "accrue_deadlines_set_aside_total 1").await;
    running.end().await;
}

/// Spends points of a lot that never was.
async fn damage(world: &World, account: &str) {
    let stream = RawStream {
        aggregate_type: "account".into(),
        aggregate_id: format!("default/{account}").into(),
    };
    let event = RawEvent {
        event_type: "PointsRedeemed".into(),
        event_version: "1".into(),
        payload: r#"{"PointsRedeemed":{"points":9,"lots":[{"lot":"none","points":9}]}}"#.to_owned(),
        metadata: r#"{"command_id":"x","occurred_at":"2011-06-15T12:00:00Z"}"#.to_owned(),
    };
    world.ledger.executor().append(stream, 2, vec![event]).await.unwrap();
}

/// The process that looks for deadlines has the account in memory as it was before the other gave
/// it points; it compares memory with the log before it finds nothing to settle.
#[tokio::test]
async fn a_deadline_that_another_process_has_made_is_not_lost_to_a_stale_memory() {
    let one = World::new().await;
    one.execute(issue("a", 5, None)).await;
    let other = World::open(one.options.clone(), later(0)).await;
    other.execute_as("other", issue("a", 7, Some(later(10)))).await;
    let running = one.start();
    one.clock.set(later(10));
    one.until(TIMERS, 0).await;
    running.end().await;
    assert_eq!(one.number(EXPIRED).await, 1);
}
