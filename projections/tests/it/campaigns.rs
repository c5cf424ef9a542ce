//! What a campaign gave, and what of it went back.

use accrue_domain::account::command::Command;
use accrue_domain::id::LotId;
use accrue_projections::models::campaigns;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{World, activate, award, campaign, caught_up, hour, issue};

#[tokio::test(flavor = "multi_thread")]
async fn awards_count_on_their_day_and_reversals_on_theirs() {
    let mut world = World::new().await;
    let started = world.follow().await;
    world.act(vec![activate("tenth")]).await.unwrap();
    let awarded = |lot: &str, points| {
        let mut issue = issue(lot, points);
        issue.source = award("tenth", "sale-1");
        Command::Issue(issue)
    };
    world.to("a", awarded("one", 30)).await;
    world.to("b", awarded("one", 5)).await;
    world.to("b", Command::Issue(issue("plain", 1000))).await;
    caught_up(&world, &started.views).await;
    world.clock.set(hour(0) + TimeDelta::days(2));
    for lot in ["one", "plain"] {
        let lot = LotId::new(lot).unwrap();
        world.to("b", Command::Reverse { lot, points: None, reference: None }).await;
    }
    let rules = json!([]);
    let replaced = accrue_domain::campaign::Command::ReplaceRules { rules };
    world.act(vec![campaign("tenth", replaced)]).await.unwrap();
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    sqlx::query("INSERT INTO public.campaign_skips VALUES ('default', 'tenth', 1, 2, 'missing_value', 3, 9, 'no $.x')")
        .execute(&mut conn)
        .await
        .unwrap();
    let found = campaigns::by_id(&mut conn, "default", "tenth").await.unwrap().unwrap();
    assert_eq!(found.stream_version(), 3);
    let shown = serde_json::to_value(&found).unwrap();
    assert_eq!(
        shown,
        json!({
            "campaign": "tenth", "name": "A tenth", "status": "active", "version": 2,
            "awards": 2, "points": 35, "reversed": 5, "skipped": 3,
            "created_at": "2026-03-01T00:00:00Z", "updated_at": "2026-03-03T00:00:00Z",
            "created_position": 1, "position": 10, "rules": [],
            "days": [
                {"day": "2026-03-03", "awards": 0, "points": 0, "reversed": 5},
                {"day": "2026-03-01", "awards": 2, "points": 35, "reversed": 0},
            ],
            "skips": [{"version": 1, "rule": 1, "reason": "missing_value", "count": 3,
                       "last_position": 9, "last_detail": "no $.x"}],
        })
    );
    assert!(campaigns::by_id(&mut conn, "other", "tenth").await.unwrap().is_none());
    let page = campaigns::page(&mut conn, "default", "", 10).await.unwrap();
    assert_eq!(page, [found.summary]);
    assert_eq!(campaigns::page(&mut conn, "default", "tenth", 10).await.unwrap(), []);
}
