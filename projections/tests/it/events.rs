//! Events by filter, as pages and as lines.

use accrue_domain::account::command::Command;
use axum::http::StatusCode;
use serde_json::Value;

use crate::harness::{World, account, caught_up, issue};

fn positions(body: &Value) -> Vec<i64> {
    body["items"].as_array().unwrap().iter().map(|it| it["position"].as_i64().unwrap()).collect()
}

/// Positions 1 and 2: `a`; 3 and 4: `b` of another program; 5 and 6: `c`; 7: `a`.
async fn world() -> World {
    let mut world = World::new().await;
    world.to("a", Command::Issue(issue("one", 5))).await;
    let other = vec![account("b", Command::Issue(issue("one", 5)))];
    world.act_in("other", other).await.unwrap();
    world.to("c", Command::Issue(issue("one", 5))).await;
    world.to("a", Command::Issue(issue("two", 5))).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_the_callers_program_only_and_end_at_the_head() {
    let world = world().await;
    let web = world.web().await;
    let (_, all) = web.json("/v1/events").await;
    assert_eq!((positions(&all), &all["next"]), (vec![1, 2, 5, 6, 7], &Value::Null));
    let (_, first) = web.json("/v1/events?limit=2").await;
    assert_eq!((positions(&first), first["next"].as_i64()), (vec![1, 2], Some(2)));
    let (_, next) = web.json("/v1/events?limit=3&after=2").await;
    assert_eq!((positions(&next), &next["next"]), (vec![5, 6, 7], &Value::Null));
    let (_, typed) = web.json("/v1/events?type=PointsIssued&after=2").await;
    assert_eq!(positions(&typed), [6, 7]);
    let (_, of_a) = web.json("/v1/events?account=a&after=1").await;
    assert_eq!(positions(&of_a), [2, 7]);
    let (_, rest) = web.json("/v1/events?account=a&after=2&type=PointsIssued").await;
    assert_eq!(positions(&rest), [7]);
    let (_, of_b) = web.json("/v1/events?account=b").await;
    assert_eq!(positions(&of_b), [0; 0]);
    let item = &all["items"][1];
    assert_eq!(item["type"], "PointsIssued");
    assert_eq!(item["subject"], "account/a");
    assert_eq!(item["data"]["points"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_all_there_is_or_as_many_as_asked_for() {
    let mut world = world().await;
    for lot in 0..520 {
        world.to("busy", Command::Issue(issue(&format!("lot-{lot}"), 1))).await;
    }
    let web = world.web().await;
    let (_, text) = web.lines("/v1/events").await;
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut conn = world.connect().await;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE program = 'default'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(count > 520, "more than a page: {count}");
    assert_eq!(i64::try_from(events.len()).unwrap(), count);
    let (_, some) = web.lines("/v1/events?limit=510").await;
    assert_eq!(some.lines().count(), 510);
    assert!(text.starts_with(&some));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_stream_goes_on_with_what_happens_until_the_server_ends() {
    use futures::StreamExt as _;
    let mut world = world().await;
    let started = world.follow().await;
    let web = world.web_of(&started);
    let response = web.send("/v1/events?follow=true&after=6", true).await;
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"position\":7,"), "{first:?}");
    let last = world.to("c", Command::Issue(issue("three", 5))).await;
    let second = body.next().await.unwrap().unwrap();
    assert!(second.starts_with(format!("{{\"position\":{},", last.position).as_bytes()));
    caught_up(&world, &started.views).await;
    started.views.streams.cancel();
    assert!(body.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_its_name() {
    let world = world().await;
    let web = world.web().await;
    for (path, pointer) in [
        ("/v1/events?after=-1", "after"),
        ("/v1/events?after=x", "after"),
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=501", "limit"),
        ("/v1/events?type=", "type"),
        ("/v1/events?type=%00", "type"),
        ("/v1/events?account=a%2Fb", "account"),
        ("/v1/events?follow=true", "follow"),
        ("/v1/events?min_position=-1", "min_position"),
    ] {
        let (status, body) = web.json(path).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        assert_eq!(body["errors"][0]["pointer"], pointer, "{path}: {body}");
    }
    let (status, body) = web.json("/v1/events?typ=x").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
}
