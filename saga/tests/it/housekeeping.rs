//! Housekeeping: answers are kept as long as promised, and not longer.

use accrue_saga::housekeeping::forget;
use chrono::TimeDelta;

use crate::world::{World, issue, later};

const ANSWERS: &str = "SELECT count(*) FROM idempotency";

#[tokio::test]
async fn an_answer_is_forgotten_when_it_is_older_than_promised() {
    let world = World::new().await;
    world.execute(issue("a", 1, None)).await;
    world.clock.set(later(1));
    world.execute(issue("a", 1, None)).await;
    let kept = TimeDelta::days(30);
    world.clock.set(later(0) + kept);
    assert_eq!(forget(&world.ledger, kept).await.unwrap(), 0);
    world.clock.set(later(0) + kept + TimeDelta::microseconds(1));
    let running = world.start();
    world.until(ANSWERS, 1).await;
    running.end().await;
}
